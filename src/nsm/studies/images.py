"""Neural Sampling Machines, their conventional twins and other kinds of neurons on one set of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nsm import evaluate, fidelity, predict
from nsm.data import ImageSet, Splits
from nsm.inference import Evaluation
from nsm.inference.evaluate import score as score_predictions
from nsm.inference.prediction import Prediction, averaged
from nsm.models import Network
from nsm.nn import is_stochastic, stochastic_layers
from nsm.studies import results, runs
from nsm.studies.kinds import Kind
from nsm.studies.results import Row
from nsm.training import Config, load_recipe, with_overrides

SAMPLES = 100
MARGINAL = "marginal_"  # before what is said of one pass over marginals
MIRRORED = "mirrored_"  # of samples half of which see the mirrored image
_SEED = 0


class Size(NamedTuple):
    """How much is learnt and scored.

    Attributes:
        epochs: of each run; None for the recipe's.
        images: training images that are learnt; None for all.
        samples: Monte Carlo samples of a test image.
        judged: first images of the test set that are scored; None for all.
    """

    epochs: int | None = None
    images: int | None = None
    samples: int = SAMPLES
    judged: int | None = None


QUICK = Size(epochs=1, images=200, samples=2, judged=100)


@dataclass(frozen=True)
class Comparison:
    """A published table.

    Attributes:
        study: its name.
        title: of the set of images.
        kinds: what is compared, in the order of the table.
        networks: recipes, and the kinds in which each is compared.
        published: the network that the kinds' published errors are of; None where nothing is published.
        overrides: what is changed of every recipe.
    """

    study: str
    title: str
    kinds: Mapping[str, Kind]
    networks: Mapping[str, Sequence[str]]
    published: str | None = None
    overrides: tuple[str, ...] = ()

    def configuration(
        self, network: str, kind: str, *, seed: int, epochs: int | None = None, images: int | None = None
    ) -> Config:
        """One run: the network's recipe with this kind of neuron, on all training images.

        Recipes were chosen on held-out training images, which the reported runs learn as well.

        Args:
            network: of ``networks``.
            kind: of ``kinds``.
            seed: of the run.
            epochs: None for the recipe's.
            images: training images that are learnt; None for all.

        Raises:
            ValueError: if network, kind, seed or epochs is unknown or impossible.
        """
        self._check_network(network)
        if kind not in self.kinds:
            raise ValueError(f"kind must be one of {', '.join(self.kinds)}, got {kind!r}")
        overrides = [
            *self.overrides, *self.kinds[kind].overrides, f"training.seed={seed}", "validation=0"
        ]  # fmt: skip
        overrides += [f"epochs={epochs}"] if epochs is not None else []
        overrides += [f"data.images={images}"] if images is not None else []
        return with_overrides(load_recipe(network), overrides)

    def _check_network(self, network: str) -> None:
        if network not in self.networks:
            raise ValueError(f"network must be one of {', '.join(self.networks)}, got {network!r}")

    def jobs(
        self,
        folder: Path,
        *,
        networks: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        seeds: int = 3,
        epochs: int | None = None,
        images: int | None = None,
    ) -> list[runs.Job]:
        """Every run of the comparison, seed by seed, so that what finishes first is a whole comparison; with
        a kind that starts from another one's run, that other one.

        Args:
            folder: where the run folders lie, one for each network, kind and seed.
            networks: of ``self.networks``; None for all.
            kinds: of ``self.kinds``; None for all that a network is compared in.
            seeds: seeds 0 .. seeds - 1.
            epochs: None for the recipe's.
            images: training images that are learnt; None for all.
        """
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {seeds}")
        for network in networks or ():
            self._check_network(network)
        wanted = None if kinds is None else self._with_starts(kinds)
        chosen = [
            (seed, network, kind)
            for seed in range(seeds)
            for network in networks or self.networks
            for kind in (self.networks[network] if wanted is None else wanted)
            if kind not in self.kinds or kind in self.networks[network]
        ]
        if not chosen:
            raise ValueError(
                f"kind must be one that is compared, got {', '.join(kinds or ())}; "
                + "; ".join(f"{network}: {', '.join(known)}" for network, known in self.networks.items())
            )

        def run_folder(network: str, kind: str, seed: int) -> Path:
            return folder / f"{network}-{kind}-{seed}" / str(epochs or "recipe")

        jobs = []
        for seed, network, kind in chosen:
            config = self.configuration(network, kind, seed=seed, epochs=epochs, images=images)
            start = self.kinds[kind].start
            if start is not None:
                config = with_overrides(config, [f"start={run_folder(network, start, seed)}"])
            jobs.append(runs.Job(kind, config, run_folder(network, kind, seed)))
        return jobs

    def _with_starts(self, kinds: Sequence[str]) -> list[str]:
        starts = [self.kinds[kind].start for kind in kinds if kind in self.kinds]
        return [*kinds, *dict.fromkeys(start for start in starts if start and start not in kinds)]

    def table(self, rows: Iterable[Row]) -> list[dict[str, Any]]:
        """Mean and spread over seeds for each network and kind, with the published error."""
        summary = results.summarize(rows, ["network", "model", "epochs"], "error_percent")
        order = {kind: i for i, kind in enumerate(self.kinds)}
        summary.sort(key=lambda row: (row["network"], order[row["model"]]))
        for row in summary:
            kind = self.kinds[row["model"]]
            row["title"] = kind.title
            row["published"] = kind.published if row["network"] == self.published else None
        return summary


def scoring(size: Size) -> runs.Scoring:
    """:func:`score` of this size."""
    asked = {"samples": size.samples, "judged": size.judged}
    return runs.Scoring(partial(score, samples=size.samples, judged=size.judged), asked)


def score(
    job: runs.Job, net: Network, splits: Splits, *, samples: int = SAMPLES, judged: int | None = None
) -> dict[str, Any]:
    """Test error, likelihood and calibration; of a Neural Sampling Machine those of one pass over marginals
    as well, and of what learnt mirrored images those of samples half of which see the image mirrored.
    """
    test = splits.test if judged is None else splits.test.subset(torch.arange(judged))
    row: dict[str, Any] = evaluate(net, test, samples=samples, seed=_SEED).to_dict()
    if stochastic_layers(net) and is_stochastic(net):
        with fidelity("marginal"):
            passed = evaluate(net, test)
        row |= _named(MARGINAL, passed)
    if job.config.augmentation.flip:
        row |= _named(MIRRORED, mirrored(net, test, samples=samples))
    return row


def mirrored(net: Network, images: ImageSet, *, samples: int) -> Evaluation:
    """As many samples of each image as of its mirror image, ``samples`` together (of an odd number, one
    more), averaged.
    """

    def both_ways(pixels: Tensor, indices: Tensor) -> Prediction:
        each = (samples + 1) // 2
        ways = enumerate((pixels, pixels.flip(-1)), start=_SEED)
        return averaged([predict(net, way, samples=each, seed=seed, inputs=indices) for seed, way in ways])

    return score_predictions(both_ways, images)


def _named(prefix: str, scored: Evaluation) -> dict[str, float]:
    return {f"{prefix}{name}": getattr(scored, name) for name in ("error_percent", "nll", "ece")}
