"""The report of one run: how it learnt, what it gets wrong, and what it is unsure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nsm.data import SETS, ImageSet
from nsm.files import write_atomically
from nsm.inference import CurvePoint, Evaluation
from nsm.models.files import read_config
from nsm.provenance import machine
from nsm.report import page
from nsm.report.confusion import confusion_matrix, frequent
from nsm.report.curves import against_samples, learning_curves
from nsm.report.distribution import Answer, card
from nsm.report.drawing import NSM
from nsm.report.page import Markup
from nsm.report.uncertainty import reliability_diagram, risk_coverage, score_histograms
from nsm.report.words import WRITTEN_BY, counted, course, described, in_words, sampled, uncertainty
from nsm.training import Config, EpochMetrics, Result, read_recipe

REPORT_FILE = "report.html"
_UNCERTAIN = 12


class RunRecord(NamedTuple):
    """Everything that a run's report shows.

    Attributes:
        name: what the run is called.
        recipe: its configuration.
        epochs: one row for each epoch.
        evaluation: scores on ``images``.
        images: the test images, in the order of the evaluation.
        origin: (what, value) pairs that say where the numbers come from.
    """

    name: str
    recipe: Config
    epochs: Sequence[EpochMetrics]
    evaluation: Evaluation
    images: ImageSet
    origin: Sequence[tuple[str, str]]


def write_run_report(result: Result, evaluation: Evaluation, images: ImageSet) -> Path:
    """Write ``report.html`` into the folder of a run that is over.

    Args:
        result: what the run left.
        evaluation: scores of its network on ``images``.
        images: the test images.

    Returns:
        The path of the report.

    Raises:
        ModelFileError: if the folder's ``config.json`` cannot be read.
    """
    folder = result.folder
    origin = _origin(read_config(folder), machine())
    record = RunRecord(folder.resolve().name, read_recipe(folder), result.metrics, evaluation, images, origin)
    path = folder / REPORT_FILE
    write_atomically(path, run_report(record).encode())
    return path


def run_report(record: RunRecord) -> str:
    """The report as one HTML document that refers to nothing outside itself."""
    recipe, scores = record.recipe, record.evaluation
    title = SETS[record.images.name].title
    lead = (
        f"Network {recipe.network.name} ({recipe.network.model}), trained on {title} for "
        f"{counted(len(record.epochs), 'epoch')} and scored on {scores.n:,} test images."
    )
    sections = [
        _headline(scores),
        page.section("Learning and sampling", page.grid(_curves(record.epochs, scores.curve))),
        page.section("How far it can be trusted", *_trust(scores, record.images)),
        page.section("Confusions", *_confusions(scores, record.images.classes)),
        page.section("What it is least sure of", *_uncertain(scores, record.images)),
        page.section(
            "Recipe and origin", page.grid([page.facts(_fields(recipe)), page.facts(record.origin)])
        ),
    ]
    return page.page(record.name, lead, sections, WRITTEN_BY)


def _headline(scores: Evaluation) -> Markup:
    """The numbers that matter, as tiles."""
    tiles = [
        (
            "Test error",
            f"{scores.error_percent:.2f} %",
            f"average of {sampled(scores)} samples" if scores.samples > 1 else "one pass",
        )
    ]
    if len(scores.curve) > 1:
        one = scores.curve[0]
        tiles.append(("With one sample", f"{one.error_percent:.2f} %", f"mean of {one.groups}"))
    tiles += [
        ("Negative log-likelihood", f"{scores.nll:.4f}", "nats per image"),
        ("Calibration error", f"{scores.ece:.4f}", "ECE, 15 bins"),
    ]
    return page.tiles(tiles)


def _fields(recipe: Config) -> list[tuple[str, str]]:
    return [
        (f"{section}.{name}", in_words(value))
        for section, fields in recipe.to_dict().items()
        for name, value in fields.items()
    ]


def _origin(config: Mapping[str, Any], scored_on: Mapping[str, Any]) -> list[tuple[str, str]]:
    # A folder that another version of the library wrote may not say.
    trained = {f"{key} of the training": config.get(key) or "unknown" for key in ("versions", "commit")}
    return [*described(trained), *described(scored_on)]


def _curves(epochs: Sequence[EpochMetrics], curve: Sequence[CurvePoint]) -> list[Markup]:
    caption = "Training error is that of the steps, while the weights moved."
    figures = [page.figure(learning_curves(epochs), course(epochs), caption)]
    if len(curve) > 1:
        sizes = [point.samples for point in curve]
        for name, unit, values in (
            ("Test error", "%", [point.error_percent for point in curve]),
            ("Negative log-likelihood", "nats", [point.nll for point in curve]),
        ):
            picture = against_samples(sizes, values, f"{name} ({unit})")
            alt = f"{name} from {values[0]:.3g} with 1 sample to {values[-1]:.3g} {unit} with {sizes[-1]}"
            caption = "Fewer samples are scored in disjoint groups, and the groups' scores averaged."
            figures.append(page.figure(picture, alt, caption))
    return figures


def _trust(scores: Evaluation, images: ImageSet) -> list[Markup]:
    wrong = scores.prediction.probabilities.argmax(1) != images.targets
    entropy = scores.prediction.entropy
    kinds = {"right": entropy[~wrong].numpy(), "wrong": entropy[wrong].numpy()}
    half = scores.risk_coverage.coverage >= 0.5
    kept = f"{100 * float(scores.risk_coverage.risk[half][0]):.2f} % of the surest half are wrong"
    figures = [
        page.figure(
            reliability_diagram(scores.reliability),
            f"Accuracy against confidence; calibration error {scores.ece:.4f}",
            "On the dashed line, confidence is accuracy.",
        ),
        page.figure(
            risk_coverage({"kept": scores.risk_coverage}), f"Error against the share kept: {kept}", f"{kept}."
        ),
        page.figure(
            score_histograms(kinds, "entropy (nats)"),
            f"Mean entropy {float(entropy.mean()):.3f} nats over all images",
            f"Entropy where it is right and where it is wrong ({int(wrong.sum()):,} images).",
        ),
    ]
    return [page.grid(figures)]


def _confusions(scores: Evaluation, classes: Sequence[str]) -> list[Markup]:
    counts = scores.confusion.numpy()
    pairs = frequent(counts, classes)
    if not pairs:
        return [page.paragraph("None: every test image is classified correctly.")]
    rows = [(true, taken, str(times)) for true, taken, times in pairs]
    right = int(counts.trace())
    alt = f"Confusion matrix: {right:,} of {scores.n:,} test images on the diagonal; a table follows"
    figure = page.figure(
        confusion_matrix(counts, classes), alt, "Number of test images; errors are coloured."
    )
    table = page.table(["True", "Predicted", "Images"], rows, caption="Most frequent errors", texts=2)
    return [page.grid([figure, table])]


def _uncertain(scores: Evaluation, images: ImageSet) -> list[Markup]:
    order = scores.prediction.entropy.argsort(descending=True, stable=True)[:_UNCERTAIN]
    text = "Test images of the largest entropy. The true class's name is bold."
    cards = []
    for index in map(int, order):
        answer = Answer("Predicted", NSM, scores.prediction.probabilities[index].numpy())
        target = int(images.targets[index])
        pixels = images.images[index].numpy()
        cards.append(card(pixels, [answer], images.classes, target, uncertainty(scores.prediction, index)))
    return [page.paragraph(text), page.grid(cards, cards=True)]
