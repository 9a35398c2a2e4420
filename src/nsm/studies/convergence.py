"""How many epochs a network takes to 2 % and to 1 % error [N19], over learning rates and batch sizes.

A Neural Sampling Machine beside its conventional twin without normalization and with batch normalization,
with the same optimizer at a constant learning rate; judged on training images that are held out.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nsm.data import Splits
from nsm.files import write_atomically
from nsm.studies.kinds import Kind
from nsm.studies.results import Row
from nsm.studies.stepping import stepped
from nsm.training import Config, NotFiniteError, load_recipe, load_splits, with_overrides
from nsm.training.validate import validate

STUDY = "convergence"
NETWORK = "mnist-cnn"
THRESHOLDS = (2.0, 1.0)
_SEED = 0
# A run is given up that errs on so many images, in percent, after so much of its cap.
_HOPELESS, _GRACE = 20.0, 0.2

KINDS: Mapping[str, Kind] = {
    "bnsm": Kind("NSM, Bernoulli noise", ("model=nsm", "noise=bernoulli:0.5")),
    "twin-bn": Kind("rectifiers, batch norm", ("model=twin-bn",)),
    "twin": Kind("rectifiers", ("model=twin",)),
}

# Why a run ended: below the smallest threshold, at its cap, without hope, at infinity or NaN, or before it
# began.
End = Literal["reached", "cap", "given up", "not finite", "impossible"]


class Size(NamedTuple):
    """The grid, and how far a run may go.

    Attributes:
        rates: learning rates.
        caps: most epochs of a run by its batch size, in the order in which they are run.
        validation: training images that are held out, on which runs are judged.
        images: training images that are learnt; None for all others.
        samples: Monte Carlo samples of a judged image.
        first: learnt images after which a run is judged for the first time; then as many times as
        doubling: between one number and twice as many.
    """

    rates: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1)
    caps: Mapping[int, float] = {100: 1.5, 1000: 3.0, 10: 0.3, 1: 0.1}
    validation: int = 2500
    images: int | None = None
    samples: int = 4
    first: int = 2000
    doubling: int = 2


QUICK = Size((1e-3, 1e-1), {100: 1.0, 1: 0.05}, validation=200, images=1000, samples=2, first=20, doubling=1)


class Cell(NamedTuple):
    """One run of the grid."""

    kind: str
    rate: float
    batch: int


def cells(size: Size) -> list[Cell]:
    """Every run, in the order of the caps' batch sizes."""
    return [Cell(kind, rate, batch) for batch in size.caps for rate in size.rates for kind in KINDS]


def configuration(cell: Cell, size: Size) -> Config:
    """The recipe at a constant rate, without shifts, and with the weights of the last step as they are."""
    overrides = [
        *KINDS[cell.kind].overrides,
        f"lr={cell.rate}",
        f"batch_size={cell.batch}",
        f"epochs={math.ceil(size.caps[cell.batch])}",
        f"validation={size.validation}",
        f"images={size.images or 'none'}",
        "schedule=constant",
        "averaging=none",
        "shift=0",
    ]
    return with_overrides(load_recipe(NETWORK), overrides)


def rows(folder: Path, size: Size, root: Path | None = None) -> Iterator[Row]:
    """The row of each run, in the order of :func:`cells`; a run that ended before is not repeated.

    Args:
        folder: where what is known of each run is kept.
        size: the grid.
        root: data folder, see :func:`nsm.data.load`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits: Splits | None = None
    for cell in cells(size):
        config, path = configuration(cell, size), folder / f"{cell.kind}-{cell.rate:g}-{cell.batch}.json"
        # What may differ between two grids, in JSON's own types.
        asked = json.loads(json.dumps([config.to_dict(), size._asdict()]))
        known = json.loads(path.read_text()) if path.exists() else {}
        if known.get("asked") != asked:
            splits = splits or load_splits(config, root)
            known = {"asked": asked, "row": run(cell, config, size, splits)}
            write_atomically(path, (json.dumps(known, indent=1) + "\n").encode())
        yield known["row"]


def run(cell: Cell, config: Config, size: Size, splits: Splits) -> dict[str, Any]:
    """Learn until the smallest threshold is met or the run ends otherwise.

    Returns:
        A row: ``epochs_to_2`` and ``epochs_to_1``, None where that was not met; ``end``; ``curve``, pairs of
        epochs and error in percent wherever it was judged; ``best_error_percent``; processor ``seconds``.
    """
    started = time.process_time()
    curve: list[tuple[float, float]] = []
    end = _end(cell, config, size, splits, curve)
    return {
        "network": NETWORK,
        "model": cell.kind,
        "lr": cell.rate,
        "batch_size": cell.batch,
        "seed": config.training.seed,
        "learnt": len(splits.train),
        "cap_epochs": size.caps[cell.batch],
        **{f"epochs_to_{limit:g}": first_below(curve, limit) for limit in THRESHOLDS},
        "end": end,
        "best_error_percent": min((error for _, error in curve), default=None),
        "curve": curve,
        "seconds": time.process_time() - started,
    }


def first_below(curve: Sequence[tuple[float, float]], limit: float) -> float | None:
    """Epochs at the first point whose error is at most ``limit``; None if there is none.

    >>> first_below([(0.5, 3.0), (1.0, 1.9), (1.5, 2.1)], 2.0)
    1.0
    """
    return next((epochs for epochs, error in curve if error <= limit), None)


def _end(cell: Cell, config: Config, size: Size, splits: Splits, curve: list[tuple[float, float]]) -> End:
    """Fill the curve."""
    if KINDS[cell.kind].overrides[0] == "model=twin-bn" and cell.batch == 1:
        return "impossible"  # one image has no statistics
    learnt, cap = len(splits.train), size.caps[cell.batch]
    last = round(cap * learnt)
    looks = iter(_looks(size, last))
    due = next(looks)
    try:
        for run in stepped(config, splits):
            over, steps = divmod(run.progress.step, run.epoch_steps)
            seen = over * learnt + min(steps * cell.batch, learnt)
            if seen < due:
                continue
            error = validate(
                run.fabric, run.net, splits.validation, samples=size.samples, seed=_SEED
            ).error_percent
            curve.append((round(seen / learnt, 4), error))
            if error <= min(THRESHOLDS):
                return "reached"
            if seen >= last:
                return "cap"
            if seen >= _GRACE * last and error > _HOPELESS:
                return "given up"
            due = next(look for look in looks if look > seen)
    except NotFiniteError:
        return "not finite"
    return "cap"


def _looks(size: Size, last: int) -> list[int]:
    """Numbers of learnt images at which a run is judged, the last one at its cap."""
    ratio, looks = 2.0 ** (1.0 / size.doubling), [float(size.first)]
    while looks[-1] < last:
        looks.append(looks[-1] * ratio)
    return [round(look) for look in looks[:-1]] + [last]
