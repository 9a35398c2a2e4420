"""Simulated gestures as files, laid out as the release of DVS Gestures is."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from nsm import random
from nsm.data.arguments import whole
from nsm.data.errors import DataError
from nsm.data.events import write_aedat, write_labels
from nsm.data.simulated.gestures.people import LIGHTINGS, USERS, checked_lighting, checked_user
from nsm.data.simulated.gestures.recording import simulate_gestures
from nsm.files import write_atomically
from nsm.locking import alone

FOLDER = "DvsGestureSimulated"
_DESCRIPTION = "simulation.json"
_FORMAT = 1  # of what is computed; raise it when that changes
_LAST_TRAINING_USER = 23
_SMALL_USERS, _SMALL_LIGHTINGS = (1, 24), 1


class Trial(NamedTuple):
    """One recording: a user, and under which light."""

    user: int
    lighting: str

    @property
    def name(self) -> str:
        """Of its file, without an ending."""
        return f"user{self.user:02d}_{self.lighting}"


def trials(users: Sequence[int] = USERS, *, lightings: int = 4) -> list[Trial]:
    """The recordings of these users, each under so many of the five lights; which ones differs by user.

    Raises:
        ValueError: if a user or the number of lights is impossible.
    """
    numbers = {checked_user(f"users[{place}]", user) for place, user in enumerate(users)}
    if not numbers:
        raise ValueError("users must hold at least one number, got none")
    lightings = whole("lightings", lightings, 1, len(LIGHTINGS))
    names = list(LIGHTINGS)
    return [
        Trial(user, name)
        for user in sorted(numbers)
        for place, name in enumerate(names)
        if (place - user) % len(names) < lightings
    ]


def small_trials() -> list[Trial]:
    """Two recordings, one for training and one for the test: enough to try everything out."""
    return trials(_SMALL_USERS, lightings=_SMALL_LIGHTINGS)


def write_gestures(
    folder: str | Path,
    chosen: Sequence[Trial],
    *,
    seed: int,
    processes: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Simulate recordings into a folder, in the layout that :func:`nsm.data.events.dvs_gesture` reads.

    A recording and its label table are made for each trial, and at last the lists of trials: users 1 to 23
    are for training, 24 to 29 for the test. What an interrupted call has finished is kept; a call while
    another one writes into the folder waits for it.

    Args:
        folder: made if it does not exist.
        chosen: at least one trial of each part, each of them once.
        seed: seed of the simulation, in [0, 2^63).
        processes: recordings that are made at a time, >= 1.
        progress: called with the number of recordings done and of all.

    Raises:
        ValueError: if a trial is impossible or comes twice, a part has none, or ``processes`` is less than 1;
            nothing is written then.
        DataError: if the folder holds something else.
    """
    folder, chosen = Path(folder), _checked(chosen)
    parts = {
        "train": [trial for trial in chosen if trial.user <= _LAST_TRAINING_USER],
        "test": [trial for trial in chosen if trial.user > _LAST_TRAINING_USER],
    }
    if not all(parts.values()):
        raise ValueError(
            f"users must have some of 1 to {_LAST_TRAINING_USER} and some of {_LAST_TRAINING_USER + 1} to "
            f"{USERS[-1]}, got {sorted({trial.user for trial in chosen})}"
        )
    processes = whole("processes", processes, 1)
    seed = random.resolve_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        _begin(folder, seed, [trial.name for trial in chosen])
        _make(folder, chosen, seed, processes, progress or (lambda _done, _total: None))
        for part, listed in parts.items():
            lines = "".join(f"{trial.name}.aedat\n" for trial in listed)
            write_atomically(folder / f"trials_to_{part}.txt", lines.encode())


def _checked(chosen: Sequence[Trial]) -> list[Trial]:
    """Trials of users and lights that there are, each of them once."""
    found: list[Trial] = []
    for place, trial in enumerate(chosen):
        name = f"chosen[{place}]"
        if not isinstance(trial, Trial):
            raise ValueError(f"{name} must be a Trial, got {trial!r:.80}")
        checked = Trial(
            checked_user(f"{name}.user", trial.user), checked_lighting(f"{name}.lighting", trial.lighting)
        )
        if checked in found:
            raise ValueError(f"{name} must differ from those before it, got {checked} again")
        found.append(checked)
    return found


def _make(
    folder: Path, chosen: Sequence[Trial], seed: int, processes: int, show: Callable[[int, int], object]
) -> None:
    """The recordings that are not in the folder yet."""
    missing = [trial for trial in chosen if not (folder / f"{trial.name}_labels.csv").is_file()]
    known = len(chosen) - len(missing)
    show(known, len(chosen))
    if processes == 1:
        for done, trial in enumerate(missing, known + 1):
            _write(folder, trial, seed)
            show(done, len(chosen))
    elif missing:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, context) as pool:
            made = [pool.submit(_write, folder, trial, seed) for trial in missing]
            try:
                for done, future in enumerate(as_completed(made), known + 1):
                    future.result()
                    show(done, len(chosen))
            except BaseException:
                # Leaving the pool waits for all that it has been given.
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _begin(folder: Path, seed: int, names: list[str]) -> None:
    """Say in the folder what will be in it, and refuse one that was begun as something else."""
    description = {"simulated": True, "format": _FORMAT, "seed": seed, "trials": names}
    text = (json.dumps(description, indent=1) + "\n").encode()
    path = folder / _DESCRIPTION
    if path.is_file():
        if path.read_bytes() != text:
            raise DataError(f"{folder}: holds another simulation, see {_DESCRIPTION}; remove it first")
        return
    # A process that was killed may have left the description's temporary file.
    if not all(found.match(f".{_DESCRIPTION}.*.tmp") for found in folder.iterdir()):
        raise DataError(f"{folder}: holds files that are not simulated; name another folder")
    write_atomically(path, text)


def _write(folder: Path, trial: Trial, seed: int) -> None:
    events, labels = simulate_gestures(trial.user, trial.lighting, seed=seed)
    comments = ("Simulated by nsm: nobody was recorded", f"Seed {seed}, user {trial.user}, {trial.lighting}")
    write_aedat(folder / f"{trial.name}.aedat", events, comments=comments)
    # Last: a trial with labels is complete.
    write_labels(folder / f"{trial.name}_labels.csv", labels)
