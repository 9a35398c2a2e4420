"""The page of a study: its tables and pictures, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nsm.report import page
from nsm.report.words import WRITTEN_BY


class Exhibit(NamedTuple):
    """A part of the page.

    Attributes:
        heading: what it shows.
        headings: of the table.
        cells: rows of the table; no table is shown where there are none.
        texts: how many of the table's first columns hold text.
        notes: paragraphs on what is shown.
        picture: SVG, or None.
        alt: what the picture shows, for those who do not see it.
    """

    heading: str
    headings: Sequence[str] = ()
    cells: Sequence[Sequence[str]] = ()
    texts: int = 1
    notes: Sequence[str] = ()
    picture: bytes | None = None
    alt: str = ""


def study_report(
    title: str, lead: str, exhibits: Sequence[Exhibit], origin: Sequence[tuple[str, str]]
) -> str:
    """One HTML document that refers to nothing outside itself.

    Args:
        title: heading of the page.
        lead: what was studied, in a sentence or two.
        exhibits: in the order in which they are shown.
        origin: (what, value) pairs that say where the numbers come from.
    """
    sections = []
    for exhibit in exhibits:
        parts = [page.paragraph(note) for note in exhibit.notes]
        if exhibit.cells:
            parts.append(page.table(exhibit.headings, exhibit.cells, texts=exhibit.texts))
        if exhibit.picture is not None:
            parts.append(page.figure(exhibit.picture, exhibit.alt))
        sections.append(page.section(exhibit.heading, *parts))
    return page.page(title, lead, [*sections, page.section("Origin", page.facts(origin))], WRITTEN_BY)
