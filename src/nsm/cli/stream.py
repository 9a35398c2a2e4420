"""``nsm stream``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsm.cli import sampled
from nsm.cli.options import Confidence, DataDir, MaxSamples, RunFolder, Samples, Seed

if TYPE_CHECKING:
    from nsm.data.events import Events
    from nsm.streams import Decision


def stream(
    run: RunFolder,
    file: Annotated[
        str | None,
        typer.Argument(
            help="Recording, AEDAT 3.1 or in N-MNIST's format; - for standard input.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Play simulated recordings in place of a file.")
    ] = False,
    every: Annotated[float, typer.Option(help="Milliseconds of the stream between decisions.")] = 10.0,
    samples: Samples = None,
    confidence: Confidence = None,
    max_samples: MaxSamples = None,
    program: Annotated[
        Path | None,
        typer.Option(help="Ask this program of nsm compile in the network's place.", show_default=False),
    ] = None,
    seed: Seed = 0,
    data_dir: DataDir = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON lines: a decision each, then what became of the events."),
    ] = False,
) -> None:
    """Ask a trained network what a stream of events shows, again and again.

    A decision sees the window of time that the network learned from, up to
    now. Events that come late, twice, or from outside the sensor are counted
    and dropped. Ctrl-C ends the stream.

    Examples:
        nsm stream runs/nmnist-cnn NMNIST/Test/7/00018.bin
        nsm stream runs/dvsgesture-allconv user24_led.aedat --every 96 --confidence 0.99
        nsm stream runs/nmnist-cnn --simulate --program nmnist.nsm
        nsm stream runs/dvsgesture-allconv --simulate --every 96
        camera | nsm stream runs/nmnist-cnn - --json
    """
    if (file is None) != simulate:
        raise typer.BadParameter("give either a FILE (- for standard input) or --simulate")
    from nsm import data, streams, training
    from nsm.cli import sampled

    recipe = training.read_recipe(run)
    frames = streams.window_of(recipe.data.set)
    classes = data.describe(recipe.data.set).classes
    predictor = streams.StreamPredictor(
        sampled.load(run, program, len(classes)),
        frames,
        every=_microseconds(every),
        samples=samples,
        confidence=confidence,
        max_samples=max_samples,
        seed=seed,
    )
    with ExitStack() as opened:
        arrays = _simulated(recipe.data.set, seed, data_dir) if file is None else _played(file, opened)
        if not as_json:
            typer.echo(_HEADINGS)
        try:
            for decision in predictor.decisions(arrays):
                typer.echo(_json(decision, classes) if as_json else _line(decision, classes))
        finally:
            # After an error or Ctrl-C as well: what was dropped may explain what was said.
            counts = predictor.counts._asdict()
            told = ", ".join(f"{count} {name}" for name, count in counts.items())
            typer.echo(json.dumps({"events": counts}) if as_json else f"events: {told}")


def _microseconds(milliseconds: float) -> int:
    # Of a decimal fraction like 16.1, 1000 times its float may lie beside the whole number that was meant.
    if 1.0 <= 1000.0 * milliseconds < 2.0**53:
        microseconds = round(1000.0 * milliseconds)
        if microseconds / 1000.0 == milliseconds:
            return microseconds
    raise ValueError(f"--every must be a whole number of microseconds, at least 0.001, got {milliseconds}")


def _played(file: str, opened: ExitStack) -> Iterator[Events]:
    from nsm.data import DataError, events

    if file == "-":
        if sys.stdin is None:
            raise DataError("standard input: cannot be read (it is closed)")
        return events.play(sys.stdin.buffer, "standard input")
    try:
        return events.play(opened.enter_context(Path(file).open("rb")), file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from error


def _simulated(name: str, seed: int, data_dir: Path | None) -> Iterator[Events]:
    from nsm.streams.simulated import simulated

    return simulated(name, seed=seed, root=data_dir)


_HEADINGS = f"{'ms':>10}  {'class':<12}  probability  entropy  mutual information  samples"


def _row(decision: Decision, classes: Sequence[str]) -> dict[str, Any]:
    from nsm.inference import Reason

    prediction = decision.prediction
    sampled.check_finite(prediction.probabilities[0], f"{decision.time / 1000.0:g} ms: the network")
    assert prediction.reasons is not None
    return {
        "ms": decision.time / 1000.0,
        "class": classes[decision.label],
        "probability": decision.probability,
        "entropy": float(prediction.entropy[0]),
        "mutual_information": float(prediction.mutual_information[0]),
        "samples": int(prediction.samples_used[0]),
        "reason": Reason(int(prediction.reasons[0])).name.lower(),
    }


def _json(decision: Decision, classes: Sequence[str]) -> str:
    probabilities = decision.prediction.probabilities[0].tolist()
    named = dict(zip(classes, probabilities, strict=True))
    return json.dumps({**_row(decision, classes), "probabilities": named})


def _line(decision: Decision, classes: Sequence[str]) -> str:
    row = _row(decision, classes)
    used = sampled.used(row)
    return (
        f"{row['ms']:10.1f}  {row['class']:<12}  {row['probability']:11.3f}  {row['entropy']:7.3f}  "
        f"{row['mutual_information']:18.3f}  {used:>7}"
    )
