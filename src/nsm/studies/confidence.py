"""Uncertainty under shift, beside the methods that are usually taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product, repeat
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from nsm import data, measures, models, rivals
from nsm.data import ImageSet, Splits
from nsm.inference import tempered
from nsm.nn import stochastic_layers
from nsm.studies import runs, shifts
from nsm.studies.confidence_subjects import HELD_OUT, MEMBERS, SUBJECTS
from nsm.studies.cost import cost
from nsm.studies.method import FIXED, UNTIL_SETTLED, Method, fitted_noise
from nsm.studies.results import Row
from nsm.studies.signals import states

STUDY = "confidence"
_SEED = 0
_LEARNED = 10_000
_PRECISION = 1.0
_INSPECTED = 100
_FIXED, _ONCE = {"samples": FIXED}, {"samples": 1}
_UNSHIFTED = 100  # times as many images as of a shifted set: of 100, the whole test set


def score(_job: runs.Job, _net: models.Network, _splits: Splits) -> Mapping[str, Any]:
    """Nothing: the study reads the test set itself, shifted and as it is."""
    return {}


class Trained(NamedTuple):
    """The networks of one seed, as far as there are any.

    Attributes:
        nsm: Neural Sampling Machine.
        dropout: twin with dropout.
        twins: the ensemble's members; the first is the deterministic network.
        beside: further networks, each with what is said of it.
    """

    nsm: nn.Module | None = None
    dropout: nn.Module | None = None
    twins: Sequence[nn.Sequential] = ()
    beside: Sequence[tuple[str, nn.Module]] = ()


def trained(wanted: Sequence[runs.Job], seed: int) -> Trained:
    """Load the networks of one seed from their run folders; the ensemble has its twin and the next seeds'."""
    subject = SUBJECTS[wanted[0].config.network.name]
    folders = {(job.label, job.config.training.seed): job.folder for job in wanted}

    def load(kind: str, seed: int = seed) -> models.Network | None:
        return models.load(folders[kind, seed]).eval() if (kind, seed) in folders else None

    nsm, dropout, twin = subject.kinds
    members = (load(twin, seed + number) for number in range(MEMBERS))
    beside = ((further.title, load(kind)) for kind, further in subject.beside.items())
    return Trained(
        nsm=load(nsm),
        dropout=load(dropout),
        twins=[member for member in members if member is not None],
        beside=[(title, net) for title, net in beside if net is not None],
    )


def methods(nets: Trained, learned: ImageSet) -> list[Method]:
    """Neural Sampling Machines and their rivals.

    Args:
        nets: the networks.
        learned: their training images, for Laplace's approximation and for the noise of the machine's
            margins.
    """
    compared = []
    if nets.nsm is not None:
        until = {**UNTIL_SETTLED, "noise": fitted_noise(nets.nsm, learned)}
        compared += [
            Method(f"NSM, {FIXED} samples", nets.nsm, _FIXED),
            Method("NSM, until settled", nets.nsm, until),
            Method("NSM, one pass over marginals", nets.nsm, _ONCE, "marginal"),
        ]
    if nets.twins:
        compared.append(Method("deterministic", nets.twins[0], _ONCE))
    if nets.dropout is not None:
        compared.append(Method(f"MC dropout, {FIXED} samples", rivals.mc_dropout(nets.dropout), _FIXED))
    if nets.twins:
        x, _ = learned.batch(torch.arange(min(_LEARNED, len(learned))))
        laplace = rivals.last_layer_laplace(nets.twins[0], x, precision=_PRECISION)
        compared += [
            Method(f"ensemble of {MEMBERS}", rivals.Ensemble(nets.twins), {"samples": MEMBERS}),
            Method(f"last-layer Laplace, {FIXED} samples", laplace, _FIXED),
        ]
    for title, net in nets.beside:
        if stochastic_layers(net):
            compared += [
                Method(f"NSM, {title}, {FIXED} samples", net, _FIXED),
                Method(f"NSM, {title}, one pass over marginals", net, _ONCE, "marginal"),
            ]
        else:
            compared.append(Method(f"deterministic, {title}", net, _ONCE))
    return compared


class Question(NamedTuple):
    """What is asked of every network, the same in every process.

    Attributes:
        wanted: jobs that are trained, from :func:`jobs`.
        images: images of each shifted set; of the test set as it is, a hundred times as many.
        root: data folder, see :func:`nsm.data.load`.
    """

    wanted: tuple[runs.Job, ...]
    images: int
    root: Path | None


def run(
    question: Question, *, seeds: int, processes: int, progress: Callable[[int, int], object]
) -> Iterator[list[Row]]:
    """All rows known so far, after every measured set, in the order of seeds and sets.

    Args:
        question: what is measured.
        seeds: seeds 0 .. seeds - 1.
        processes: sets that are measured at a time, each by one process.
        progress: called with the number of sets measured and of all.
    """
    numbers, sets = range(seeds), len(_exhibits(question).shifted)
    fitted = list(runs.mapped(_fitted, repeat(question), numbers, processes=processes))
    tasks = list(product(numbers, range(sets)))
    arguments = (
        [seed for seed, _ in tasks],
        [place for _, place in tasks],
        [fitted[seed] for seed, _ in tasks],
    )
    rows = list[Row]()
    for number, found in enumerate(
        runs.mapped(_measured, repeat(question), *arguments, processes=processes), 1
    ):
        rows += found
        progress(number, len(tasks))
        yield rows


class _Exhibits(NamedTuple):
    learned: ImageSet
    held_out: ImageSet
    plain: ImageSet
    shifted: Sequence[shifts.Shifted]


@lru_cache(maxsize=1)
def _exhibits(question: Question) -> _Exhibits:
    splits = data.load(question.wanted[0].config.data.set, question.root, validation=HELD_OUT)
    some = splits.test.subset(torch.arange(min(question.images, len(splits.test))))
    more = splits.test.subset(torch.arange(min(_UNSHIFTED * question.images, len(splits.test))))
    shifted = [shifts.Shifted("none", "none", 0, more), *shifts.known(some)]
    shifted += shifts.unknown(some, len(some), question.root)
    return _Exhibits(splits.train, splits.validation, some, shifted)


@lru_cache(maxsize=1)
def _compared(question: Question, seed: int) -> list[Method]:
    return methods(trained(question.wanted, seed), _exhibits(question).learned)


def _fitted(question: Question, seed: int) -> list[float]:
    """The temperature of each method, fitted to images that no network learned."""
    held_out = _exhibits(question).held_out
    return [method.fitted_temperature(held_out) for method in _compared(question, seed)]


def _measured(question: Question, seed: int, place: int, temperatures: Sequence[float]) -> list[Row]:
    """The rows of all methods on one set."""
    exhibits = _exhibits(question)
    return [
        _under_shift(seed, method, temperature, exhibits.shifted[place], exhibits.plain)
        for method, temperature in zip(_compared(question, seed), temperatures, strict=True)
    ]


def _under_shift(
    seed: int, method: Method, temperature: float, shift: shifts.Shifted, plain: ImageSet
) -> dict[str, Any]:
    """How good a method's predictions are, as they are and at a temperature, and whether their uncertainty
    tells unknown images from known ones.
    """
    said, milliseconds = method.predict(shift.images)
    used = float(said.samples_used.double().mean())
    with method.asked():
        spent = cost(method.net, plain.batch(torch.arange(1))[0], max(1, round(used)))
    row: dict[str, Any] = {
        "seed": seed,
        "method": method.name,
        "set": shift.kind,
        "name": shift.name,
        "strength": shift.strength,
        "n": len(shift.images),
        "samples": used,
        "milliseconds": milliseconds,
        **spent._asdict(),
    }
    if stochastic_layers(method.net) and "samples" in method.arguments and method.fidelity is None:
        x, _ = shift.images.batch(torch.arange(min(_INSPECTED, len(shift.images))))
        for number, state in enumerate(states(method.net, x), 1):
            row |= {f"undecided_{number}": 100.0 * state.undecided, f"common_{number}": 100.0 * state.common}
    if shift.is_known:
        targets = shift.images.targets
        wrong = said.probabilities.argmax(1) != targets
        row |= {"error_percent": 100.0 * float(wrong.double().mean()), **_scores(said.probabilities, targets)}
        cooled = _scores(tempered(said.probabilities, temperature), targets)
        row["temperature"] = temperature
        row |= {f"tempered_{name}": value for name, value in cooled.items() if name != "aurc"}
        return row
    known, _ = method.predict(plain)
    target = torch.cat((torch.zeros(len(known.entropy)), torch.ones(len(said.entropy))))
    for name in ("entropy", "mutual_information"):
        values = torch.cat((getattr(known, name), getattr(said, name)))
        for label, detector in (
            ("auroc", measures.AUROC()),
            ("aupr", measures.AUPR()),
            ("fpr95", measures.FPR95()),
        ):
            detector.update(values, target)
            row[f"{label}_{name}"] = float(detector.compute())
    return row


def _scores(probs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    scores = {
        "nll": measures.CategoricalNLL(),
        "ece": measures.CalibrationError(),
        "aurc": measures.AURC(),
    }
    for measure in scores.values():
        measure.update(probs, targets)
    return {name: float(measure.compute()) for name, measure in scores.items()}
