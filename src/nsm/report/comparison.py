"""Networks side by side: their scores, what they say of some images, and of one that is turned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nsm.data import ImageSet
from nsm.inference import Evaluation
from nsm.report import page
from nsm.report.curves import learning_curves
from nsm.report.distribution import Answer, card
from nsm.report.page import Markup
from nsm.report.rotation import Turned, rotation
from nsm.report.words import WRITTEN_BY, course, sampled, uncertainty
from nsm.training import EpochMetrics

_CERTAIN, _UNCERTAIN = 3, 9


class Side(NamedTuple):
    """One of the compared networks.

    Attributes:
        name: short, such as ``"NSM"``.
        colour: of its bars.
        colour_name: what readers call it.
        parameters: number of trained parameters.
        scores: its scores on the test images; further ones follow for other numbers of samples.
        epochs: how it learnt.
        turned: what it says of the image that is turned.
    """

    name: str
    colour: str
    colour_name: str
    parameters: int
    scores: tuple[Evaluation, ...]
    epochs: Sequence[EpochMetrics]
    turned: Turned


class Comparison(NamedTuple):
    """Everything that the page shows.

    Attributes:
        title: heading of the page.
        lead: what was compared.
        sides: the networks; uncertain images are those of the first.
        images: the test images.
        target: class of the image that is turned.
        origin: (what, value) pairs that say where the numbers come from.
    """

    title: str
    lead: str
    sides: Sequence[Side]
    images: ImageSet
    target: int
    origin: Sequence[tuple[str, str]]


HEADINGS = ("Network", "Samples", "Error (%)", "NLL", "ECE", "Parameters")


def cells(sides: Sequence[Side]) -> list[tuple[str, ...]]:
    """Rows of the table under :data:`HEADINGS`."""
    return [
        (
            side.name,
            sampled(scores),
            f"{scores.error_percent:.2f}",
            f"{scores.nll:.4f}",
            f"{scores.ece:.4f}",
            f"{side.parameters:,}",
        )
        for side in sides
        for scores in side.scores
    ]


def comparison_report(comparison: Comparison) -> str:
    """The comparison as one HTML document that refers to nothing outside itself."""
    sides, images = comparison.sides, comparison.images
    sections = [
        page.section(
            f"{len(images):,} test images",
            page.table(HEADINGS, cells(sides)),
            page.paragraph(
                "NLL is the mean negative log-likelihood in nats; ECE the expected calibration "
                "error, the distance between confidence and accuracy. Lower is better."
            ),
        ),
        page.section("One image, turned", *_turned(comparison)),
        page.section("Predictive distributions", *_distributions(sides, images)),
        page.section("Learning", page.grid(_learning(sides))),
        page.section("Origin", page.facts(comparison.origin)),
    ]
    return page.page(comparison.title, comparison.lead, sections, WRITTEN_BY)


def _turned(comparison: Comparison) -> list[Markup]:
    classes, target = comparison.images.classes, comparison.target
    text = (
        f"A test image of class {classes[target]}, turned counter-clockwise. Above, the probability of every "
        "class as the height of its band; below, the entropy of that distribution in two parts: what the "
        "samples are unsure of by themselves, and what they disagree about."
    )
    figures = []
    for side in comparison.sides:
        wrong = side.turned.probabilities.argmax(1) != target
        words = f"{side.name}: another class is the most probable at {wrong.sum()} of {len(wrong)} angles"
        if wrong.any():
            words += f"; the mean entropy there is {side.turned.entropy[wrong].mean():.2f} nats"
        picture = rotation(side.name, side.turned, classes, target)
        figures.append(page.figure(picture, "Class probabilities and entropy against the angle", f"{words}."))
    return [page.paragraph(text), page.grid(figures)]


def _distributions(sides: Sequence[Side], images: ImageSet) -> list[Markup]:
    entropy = sides[0].scores[0].prediction.entropy
    order = entropy.argsort(descending=True, stable=True).tolist()
    names = ", ".join(f"{side.name} ({side.colour_name} bars)" for side in sides)
    text = (
        f"{names}: first the images that the {sides[0].name} is surest of, then those that it is least sure "
        "of. The true class's name is bold."
    )
    cards = []
    for index in [*order[: -_CERTAIN - 1 : -1], *order[:_UNCERTAIN]]:
        answers = [
            Answer(side.name, side.colour, side.scores[0].prediction.probabilities[index].numpy())
            for side in sides
        ]
        remark = uncertainty(sides[0].scores[0].prediction, index)
        target = int(images.targets[index])
        cards.append(card(images.images[index].numpy(), answers, images.classes, target, remark))
    return [page.paragraph(text), page.grid(cards, cards=True)]


def _learning(sides: Sequence[Side]) -> list[Markup]:
    return [
        page.figure(learning_curves(side.epochs, side.colour), course(side.epochs), side.name)
        for side in sides
    ]
