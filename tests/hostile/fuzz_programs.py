"""Fuzz the reader of program files with atheris, which has to be installed by hand.

    python -m tests.hostile.fuzz_programs --minutes 10 --results results/fuzz-programs.json

The fuzzer begins with sound files and renews the checksum of what it makes, so that it gets behind it. The
reader may refuse a file with ValueError; anything else that it raises is a finding. What it accepts must be
written again as the same bytes, and run.
"""

import argparse
import contextlib
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from nsm.engine import Program, files
from nsm.engine.steps import Pool, Step, shapes
from tests.hostile.programs import signed, whole

_SMALL = 2**21  # of a program that is also run


def check(data: bytes) -> None:
    try:
        steps, vector = files.from_bytes(data)
    except ValueError:
        return
    assert files.to_bytes(steps, vector=vector) == data
    program = Program(steps, vector=vector)
    if sum(map(_size, steps)) < _SMALL:
        with contextlib.suppress(ValueError):  # a first layer whose sums overflow
            program.predict(torch.rand(1, *program.shape), samples=5)


def _size(step: Step) -> int:
    """Activations and weights of a step, and the multiplications of one sample."""
    before, after = shapes(step)
    padding = 0 if isinstance(step, Pool) else sum(step.geometry.padding)
    weights = 0 if isinstance(step, Pool) else step.weights.size
    images = before[0] * (before[1] + padding) * (before[2] + padding) + math.prod(after)
    return images + weights * (1 + after[1] * after[2])


def fuzz(corpus: Path, seconds: int) -> None:
    """Fuzz in this process, which ends with it."""
    import atheris

    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        return signed(atheris.Mutate(data, min(max_size, len(data) + 64)))[:max_size]

    options = [
        f"-max_total_time={seconds}",
        "-max_len=65536",
        "-timeout=20",
        "-rss_limit_mb=4096",
        f"-artifact_prefix={corpus.parent}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], check, custom_mutator=mutated)
    for name, value in vars(files).items():
        if getattr(value, "__module__", "") == files.__name__ and not isinstance(value, type):
            setattr(files, name, atheris.instrument_func(value))
    atheris.Fuzz()


def measured(minutes: float) -> dict[str, object]:
    """Fuzz in a process of its own; the row of the result file."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for name in (
            "vectors",
            "averaged",
            "pooled",
            "grouped",
            "features",
            "stem",
            "residual",
            "synapses",
            "shared",
        ):
            (corpus / name).write_bytes(whole(name))
        command = [sys.executable, "-m", __spec__.name, "--corpus", str(corpus), "--minutes", str(minutes)]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        runs = re.findall(r"Done (\d+) runs|^#(\d+)\t", done.stderr, re.MULTILINE)
        if done.returncode:
            sys.stderr.write(done.stderr[-5000:])
        return {
            "reader": "program",
            "seconds": round(time.monotonic() - started),
            "runs": int(next(filter(None, runs[-1]))) if runs else 0,
            "corpus": len(list(corpus.iterdir())),
            "findings": int(done.returncode != 0),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.corpus:
        fuzz(arguments.corpus, round(60 * arguments.minutes))
        return
    row = measured(arguments.minutes)
    sys.stdout.write(f"{row}\n")
    if arguments.results:
        from nsm.studies import results

        results.write(arguments.results, "fuzz-programs", [row])


if __name__ == "__main__":
    main()
