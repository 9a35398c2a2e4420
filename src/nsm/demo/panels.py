"""What the page shows of an answer: HTML from :mod:`nsm.report.page`, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nsm.demo.bands import axis, bands, colour, entropies
from nsm.demo.pictures import thumbnail
from nsm.demo.sampling import Look, answer, counted, percent
from nsm.inference import Reason
from nsm.report import Turned
from nsm.report.page import Markup, element, joined

_THUMBNAILS = 13


def answered(look: Look, classes: Sequence[str], *, least: float, image: str) -> Markup:
    """Headline, what the network saw, and the numbers.

    Args:
        look: what is known.
        classes: their names.
        least: see :func:`nsm.demo.sampling.answer`.
        image: what the network saw, as a data URL.
    """
    said = answer(look, classes, least=least)
    ended = look.reason is not Reason.RUNNING
    head = element(
        "div",
        element("img", src=image, alt="What the network sees"),
        element(
            "div",
            element("p", said.headline, class_="nsm-headline" + (" nsm-sure" if said.sure else "")),
            element("p", said.sentence, class_="nsm-sentence"),
            # Said aloud only once it is final.
            role="status",
            **{"aria-live": "polite", "aria-busy": "false" if ended else "true"},
        ),
        class_="nsm-answer",
    )
    prediction = look.prediction
    numbers = (
        ("Samples", f"{len(look.votes):,}", "samples"),
        ("Entropy", f"{float(prediction.entropy[0]):.3f} nats", "entropy"),
        ("Mutual information", f"{float(prediction.mutual_information[0]):.3f} nats", "mutual-information"),
        ("Time", f"{look.milliseconds:.1f} ms", "time"),
    )
    tiles = (
        element("div", element("dt", name), element("dd", value, class_=f"nsm-{key}"))
        for name, value, key in numbers
    )
    return joined([head, element("dl", *tiles, class_="nsm-tiles")])


def distribution(look: Look, classes: Sequence[str]) -> Markup:
    """The mean probability of each class, and its votes."""
    counts = np.bincount(look.votes, minlength=len(classes))
    rows = []
    for index, name in enumerate(classes):
        share = float(look.probabilities[index])
        bar = element(
            "div",
            element("div", style=f"width:{100 * share:.2f}%;background:{colour(index)}"),
            class_="nsm-bar",
        )
        rows.append(
            element(
                "tr",
                element("th", name, scope="row"),
                element("td", bar, **{"aria-hidden": "true"}),
                element("td", percent(share) if share else "0 %", class_="nsm-number nsm-probability"),
                element("td", f"{counts[index]:,}", class_="nsm-number nsm-votes-of"),
            )
        )
    head = element(
        "tr",
        element("th", "Class", scope="col"),
        element("td"),
        element("th", "Probability", scope="col", class_="nsm-number"),
        element("th", "Votes", scope="col", class_="nsm-number"),
    )
    return element("table", element("thead", head), element("tbody", *rows), class_="nsm-distribution")


def ballots(look: Look, classes: Sequence[str]) -> Markup:
    """One square for each sample, in its class's colour, in the order in which they came."""
    squares = [
        element("i", style=f"background:{colour(vote)}", title=f"sample {number}: {classes[vote]}")
        for number, vote in enumerate(look.votes, 1)
    ]
    counts = np.bincount(look.votes, minlength=len(classes))
    words = ", ".join(f"{classes[i]}: {counts[i]}" for i in np.argsort(-counts, kind="stable") if counts[i])
    return element(
        "div",
        element("h3", "Votes, one square a sample"),
        element("div", *squares, class_="nsm-ballots", role="img", **{"aria-label": f"Votes. {words}"}),
        class_="nsm-votes",
    )


def round_trip(turned: Turned, classes: Sequence[str]) -> Markup:
    """Probabilities and entropy against the angle; a line stands at the slider's angle."""
    span = (float(turned.degrees[0]), float(turned.degrees[-1]))
    shown = np.linspace(0, len(turned.degrees) - 1, _THUMBNAILS).round().astype(int)
    strip = element(
        "div",
        *(element("img", src=thumbnail(turned.images[index]), alt="") for index in shown),
        class_="nsm-strip",
        **{"aria-hidden": "true"},
    )
    least, most = int(turned.entropy.argmin()), int(turned.entropy.argmax())
    label = "Class probabilities against the angle"
    ticks = [(float(angle), f"{angle:g}°") for angle in np.arange(-180, 181, 90)]
    words = (
        f"Entropy is least at {turned.degrees[least]:g}° ({turned.entropy[least]:.2f} nats, "
        f"{classes[int(turned.probabilities[least].argmax())]}) and largest at {turned.degrees[most]:g}° "
        f"({turned.entropy[most]:.2f} nats); {counted(range(turned.samples))} at each angle."
    )
    plot = element(
        "div",
        element("h3", "Probability"),
        bands(turned.degrees, turned.probabilities, span, classes, label),
        key(),
        entropies(turned.degrees, turned.entropy, turned.mutual_information, span, len(classes)),
        class_="nsm-plot",
    )
    words = element("p", words, class_="nsm-words")
    return element("div", strip, plot, axis(ticks, span), words, class_="nsm-turned")


def key() -> Markup:
    """What the two parts of the entropy are."""
    return element(
        "h3",
        "Entropy (nats): ",
        element("span", class_="nsm-key", style="background:var(--nsm-between)"),
        "between samples, ",
        element("span", class_="nsm-key", style="background:var(--nsm-within)"),
        "within",
    )


def message(text: str) -> Markup:
    """Something the user has to know."""
    return element("p", text, class_="nsm-message", role="alert") if text else Markup("")


def nothing() -> Markup:
    """Where an answer would stand."""
    return element("p", "Draw something, upload a picture, or take one of the digits.", class_="nsm-nothing")
