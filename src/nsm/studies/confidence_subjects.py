"""The networks whose confidence is compared, and how they and their rivals are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nsm.studies import runs
from nsm.studies.comparisons import COMPARISONS
from nsm.studies.images import Comparison
from nsm.training import Config, with_overrides

MEMBERS = 5
# Images that no network learns and every temperature is fitted to.
HELD_OUT = 2000
_CENTERED = "-centered"


class Beside(NamedTuple):
    """A further network, of one seed, that is shown beside the compared ones.

    Attributes:
        title: what is said of it after the name of the method.
        kind: the comparison's kind that it is, and what is changed of it.
    """

    title: str
    kind: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A network whose confidence is compared.

    Attributes:
        comparison: the published comparison that it is one of.
        kinds: the compared kinds, each by the comparison's kind that it is and what is changed of it: the
            Neural Sampling Machine, the twin with dropout, and the twin, of which the ensemble consists.
        beside: further networks by the names of their kinds.
        changes: of every run.
    """

    comparison: Comparison
    kinds: Mapping[str, tuple[str, ...]]
    beside: Mapping[str, Beside] = field(default_factory=dict)
    changes: tuple[str, ...] = ()

    @property
    def all_kinds(self) -> Mapping[str, tuple[str, ...]]:
        """``kinds`` and those of ``beside``."""
        return {**self.kinds, **{name: further.kind for name, further in self.beside.items()}}


# The last quarter of the epochs shows the digits as they are: what a network is as sure of as it is right.
SUBJECTS: Mapping[str, Subject] = {
    "mnist-cnn": Subject(
        COMPARISONS["mnist"],
        {
            f"bnsm{_CENTERED}": ("bnsm", "centered=true"),
            f"twin-dropout{_CENTERED}": ("twin", "centered=true", "model=twin-dropout"),
            f"twin{_CENTERED}": ("twin", "centered=true"),
        },
        {
            "bnsm": Beside("not centered", ("bnsm",)),
            "twin": Beside("not centered", ("twin",)),
            f"bnsm-population{_CENTERED}": Beside(
                "eight neurons in each place", ("bnsm-population", "centered=true")
            ),
        },
        ("until=0.75",),
    ),
    "cifar10-allconv-third": Subject(
        COMPARISONS["cifar10"],
        {
            "bnsm-population": ("bnsm-population",),
            "twin-dropout": ("twin", "model=twin-bn-dropout"),
            "twin": ("twin",),
        },
    ),
}


def configuration(network: str, kind: str, *, seed: int, epochs: int | None) -> Config:
    """One run: a kind of network of :data:`SUBJECTS`, without the images held out."""
    subject = SUBJECTS[network]
    plain, *changes = subject.all_kinds[kind]
    changes += [f"validation={HELD_OUT}", *subject.changes]
    return with_overrides(subject.comparison.configuration(network, plain, seed=seed, epochs=epochs), changes)


def jobs(
    folder: Path,
    *,
    network: str,
    seeds: int,
    epochs: int | None = None,
    kinds: Sequence[str] | None = None,
) -> list[runs.Job]:
    """Every run that the study needs: machine and twin with dropout for each seed, as many twins as an
    ensemble has members for each, and what is shown beside them of one seed.

    Args:
        folder: where the run folders lie.
        network: of :data:`SUBJECTS`.
        seeds: seeds 0 .. seeds - 1.
        epochs: None for the recipe's.
        kinds: of the subject's, to ask the methods of these networks alone; None for all.

    Raises:
        ValueError: if network or kind is unknown.
    """
    if network not in SUBJECTS:
        raise ValueError(f"network must be one of {', '.join(SUBJECTS)}, got {network!r}")
    subject = SUBJECTS[network]
    for kind in kinds or ():
        if kind not in subject.all_kinds:
            raise ValueError(f"kind must be one of {', '.join(subject.all_kinds)}, got {kind!r}")
    counts = dict(zip(subject.kinds, (seeds, seeds, MEMBERS + seeds - 1), strict=True))
    counts |= dict.fromkeys(subject.beside, 1)
    return [
        runs.Job(
            kind,
            configuration(network, kind, seed=seed, epochs=epochs),
            folder / f"{network}-{kind}-{seed}" / str(epochs or "recipe"),
        )
        for kind, count in counts.items()
        if kinds is None or kind in kinds
        for seed in range(count)
    ]
