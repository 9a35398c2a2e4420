"""Building one HTML file that needs nothing else: every text is escaped, every picture is inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

_STYLE = Path(__file__).with_name("style.css")
_VOID = frozenset({"img", "meta"})


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """One HTML element.

    Args:
        tag: its name.
        children: markup as it is, any other text escaped.
        attributes: their values are escaped; a trailing underscore in a name is dropped (``class_``).

    >>> element("p", "2 < 3", element("b", "!"), class_="a")
    '<p class="a">2 &lt; 3<b>!</b></p>'
    """
    head = "".join(f' {name.rstrip("_")}="{html.escape(value)}"' for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{head}>")
    return Markup(f"<{tag}{head}>{joined(children)}</{tag}>")


def joined(children: Iterable[str]) -> Markup:
    """Several pieces one after the other: markup as it is, any other text escaped."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(child) for child in children))


def page(title: str, lead: str, sections: Sequence[Markup], footer: str) -> str:
    """A whole HTML document.

    Args:
        title: its heading, and what the browser calls it.
        lead: what it is about, in a sentence or two.
        sections: from :func:`section`.
        footer: where it comes from.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        # Style is no text: escaping it would change it.
        element("style", Markup(_STYLE.read_text(encoding="utf-8"))),
    )
    header = element("header", element("h1", title), element("p", lead))
    body = element("body", header, element("main", *sections), element("footer", element("p", footer)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def section(heading: str, *children: str) -> Markup:
    """A part of the page under its heading."""
    return element("section", element("h2", heading), *children)


def paragraph(*children: str) -> Markup:
    """Running text."""
    return element("p", *children)


def grid(children: Iterable[Markup], *, cards: bool = False) -> Markup:
    """Figures side by side, as many as the width allows; ``cards`` are half as wide."""
    return element("div", *children, class_="cards" if cards else "grid")


def tiles(values: Sequence[tuple[str, str, str]]) -> Markup:
    """Headline numbers.

    Args:
        values: (what it is, the number, a remark) of each.
    """
    parts = (
        element("div", element("dt", name), element("dd", element("b", value), element("span", remark)))
        for name, value, remark in values
    )
    return element("dl", *parts, class_="tiles")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", texts: int = 1
) -> Markup:
    """A table; it scrolls by itself where it is wider than the page.

    Args:
        columns: headings.
        rows: cells.
        caption: what the table shows.
        texts: how many of the first columns hold text; the others hold numbers, which are aligned right.
    """
    kinds = ["text" if i < texts else "number" for i in range(len(columns))]
    head = element(
        "tr", *(element("th", c, class_=k, scope="col") for c, k in zip(columns, kinds, strict=True))
    )
    body = [
        element("tr", *(element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)))
        for row in rows
    ]
    parts = [element("caption", caption)] if caption else []
    parts += [element("thead", head), element("tbody", *body)]
    return element("div", element("table", *parts), class_="scroll")


def facts(rows: Iterable[tuple[str, str]]) -> Markup:
    """A table of names and what each stands for."""
    body = (
        element("tr", element("th", name, class_="text", scope="row"), element("td", value, class_="text"))
        for name, value in rows
    )
    return element("div", element("table", element("tbody", *body), class_="facts"), class_="scroll")


def figure(picture: bytes, alt: str, caption: str = "") -> Markup:
    """A picture in SVG, kept apart from the page and from other pictures by being an image.

    Args:
        picture: the SVG file.
        alt: what it shows, for those who do not see it.
        caption: what stands below it.
    """
    source = "data:image/svg+xml;base64," + base64.b64encode(picture).decode()
    image = element("img", src=source, alt=alt)
    return element("figure", image, *([element("figcaption", caption)] if caption else []))
