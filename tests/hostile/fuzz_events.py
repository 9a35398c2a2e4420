"""Fuzz the readers of event recordings with atheris, which has to be installed by hand.

    python -m tests.hostile.fuzz_events --minutes 10 --results results/fuzz-events.json

Each reader runs in a process of its own and begins with sound recordings of its format. It may refuse a file
with DataError; anything else that it raises, and events that are not sound, are findings. Of named readers
the rows are made anew, the others keep theirs.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nsm.data import DataError
from nsm.data import events as ev
from tests.data.events.recordings import random_events


def check_nmnist(path):
    for repair in (False, True):
        _check_events(lambda repair=repair: ev.read_nmnist(path, repair=repair), (34, 34))
    _check_played(ev.read_nmnist, path)


def check_aedat(path):
    for repair in (False, True):
        _check_events(lambda repair=repair: ev.read_aedat(path, repair=repair), (128, 128))
    _check_played(ev.read_aedat, path)


def check_precut(path):
    for repair in (False, True):
        _check_events(lambda repair=repair: ev.read_precut(path, repair=repair), (128, 128))


def check_labels(path):
    try:
        labels = ev.read_labels(path, 11)
    except DataError:
        return
    assert all(0 <= label.target < 11 and label.start < label.end for label in labels)


def _check_played(read, path):
    """What can be read can be played, and is the same."""
    parts, sound = [], True
    try:
        with path.open("rb") as file:
            parts.extend(ev.play(file, "input"))
    except DataError:
        sound = False
    try:
        events = read(path)
    except DataError:
        return
    assert sound
    assert np.array_equal(np.concatenate(parts), events)


def _check_events(read, size):
    try:
        events = read()
    except DataError:
        return
    assert events.dtype == ev.EVENT
    assert not len(events) or (events["x"].min() >= 0 and events["x"].max() < size[0])
    assert not len(events) or (events["y"].min() >= 0 and events["y"].max() < size[1])
    assert (np.diff(events["t"]) >= 0).all()


def seeds(reader, folder):
    """A few sound files of the format."""
    for n in (1, 3, 50):
        path = folder / f"{n}"
        events = random_events(n, (34, 34, 2), seed=n)
        if reader == "nmnist":
            ev.write_nmnist(path, events)
        elif reader == "aedat":
            events["t"][n // 2 :] += 2**31
            ev.write_aedat(path, events)
        elif reader == "labels":
            ev.write_labels(path, [ev.Label(i % 11, 10 * i, 10 * i + 5) for i in range(n)])
        else:
            rows = np.column_stack([events["x"], events["y"], events["p"], events["t"] / 1000.0])
            with path.open("wb") as file:
                np.save(file, rows)


# A file in memory is written much faster.
_MEMORY = next((place for place in ("/dev/shm",) if Path(place).is_dir()), None)
READERS = {"nmnist": check_nmnist, "aedat": check_aedat, "precut": check_precut, "labels": check_labels}


def fuzz(reader, corpus, seconds):
    """Fuzz in this process, which ends with it."""
    import warnings

    import atheris

    warnings.simplefilter("error")
    path = Path(tempfile.mkdtemp(dir=corpus.parent)) / "input"

    def one(data):
        path.write_bytes(data)
        READERS[reader](path)

    # atheris keeps some hundred bytes of each run, the readers none.
    options = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-rss_limit_mb=8192",
        f"-artifact_prefix={path}",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], one)
    for function in (ev.read_nmnist, ev.read_aedat, ev.read_precut, ev.read_labels):
        module = sys.modules[function.__module__]
        for name, value in vars(module).items():
            ours = getattr(value, "__module__", "").startswith("nsm.data.events")
            if ours and callable(value) and not isinstance(value, type):
                setattr(module, name, atheris.instrument_func(value))
    atheris.Fuzz()


def measured(reader, minutes):
    """Fuzz in a process of its own; its row of the result file."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        seeds(reader, corpus)
        command = [sys.executable, "-m", __spec__.name, reader, "--corpus", str(corpus)]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--minutes", str(minutes)], capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - started
        runs = re.findall(r"Done (\d+) runs|^#(\d+)\t", done.stderr, re.MULTILINE)
        row = {
            "reader": reader,
            "seconds": round(seconds),
            "runs": int(next(filter(None, runs[-1]))) if runs else 0,
            "corpus": len(list(corpus.iterdir())),
            "findings": int(done.returncode != 0),
        }
        if done.returncode:
            sys.stderr.write(done.stderr[-5000:])
        return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("readers", nargs="*", default=list(READERS))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.corpus:
        fuzz(arguments.readers[0], arguments.corpus, round(60 * arguments.minutes))
        return
    from nsm.studies import results

    path = arguments.results
    known = results.read_json(path)["rows"] if path and path.exists() else []
    rows = [row for row in known if row["reader"] not in arguments.readers]
    for reader in arguments.readers:
        rows.append(measured(reader, arguments.minutes))
        sys.stdout.write(f"{rows[-1]}\n")
        if path:
            results.write(path, "fuzz-events", rows)


if __name__ == "__main__":
    main()
