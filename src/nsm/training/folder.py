"""The run folder: what may be written where, and what is there first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nsm.files import write_atomically
from nsm.locking import alone
from nsm.models import ModelFileError, Network
from nsm.models.files import CONFIG_FILE, WEIGHTS_FILE, read_config
from nsm.provenance import commit
from nsm.training.checkpoint import CHECKPOINT_FILE, versions
from nsm.training.config import Config, differences
from nsm.training.errors import RunFolderError
from nsm.training.metrics import METRICS_FILE

RECIPE_KEY = "recipe"
# What a run that was killed in the middle of writing leaves, see nsm.files.
_FILES = (CONFIG_FILE, WEIGHTS_FILE, CHECKPOINT_FILE, METRICS_FILE)
_LEFTOVER = re.compile(rf"\.({'|'.join(map(re.escape, _FILES))})\.[0-9]+(-[0-9]+)?\.tmp")


def read_recipe(folder: str | Path) -> Config:
    """The configuration of the run in ``folder``, key ``recipe`` of its ``config.json``.

    Raises:
        ModelFileError: if there is none, or it cannot be read.
    """
    path = Path(folder) / CONFIG_FILE
    description = read_config(Path(folder))
    if RECIPE_KEY not in description:
        raise ModelFileError(f"{path}: has no key {RECIPE_KEY!r}; it was not written by a training run")
    try:
        return Config.from_dict(description[RECIPE_KEY])
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """A block in which nobody else trains in ``folder``, which is made if it does not exist.

    Raises:
        RunFolderError: if it cannot be made, safetensors could not open files in it, or another run is being
            trained in it.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise RunFolderError(f"{folder} cannot be used as a run folder (its name is not UTF-8)") from None
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(folder, wait=False))
        except BlockingIOError:
            raise RunFolderError(f"{folder} is in use: a run is being trained in it") from None
        except OSError as error:
            raise RunFolderError(f"{folder} cannot be used as a run folder ({error.strerror})") from error
        yield


def prepare_folder(folder: Path, config: Config, net: Network, *, resume: bool) -> None:
    """Make ``folder``, which is :func:`claimed`, the folder of this run, with its ``config.json``.

    Raises:
        RunFolderError: if it cannot be read; if it holds anything and ``resume`` is not asked for; or if it
            holds something else than the same run.
    """
    try:
        present = list(folder.iterdir())
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be used as a run folder ({error.strerror})") from error
    leftovers = [path for path in present if _LEFTOVER.fullmatch(path.name)]
    if len(leftovers) == len(present):
        _remove(leftovers, folder)
        description = {
            "network": net.config,
            RECIPE_KEY: config.to_dict(),
            "versions": versions(),
            "commit": commit(),
        }
        write_atomically(folder / CONFIG_FILE, (json.dumps(description, indent=2) + "\n").encode())
        return
    if not resume:
        raise RunFolderError(f"{folder} is not empty: resume the run in it, or choose another folder")
    changed = differences(read_recipe(folder), config)
    if changed:
        raise RunFolderError(f"{folder} holds another run: {'; '.join(changed)}")
    _remove(leftovers, folder)


def _remove(leftovers: Sequence[Path], folder: Path) -> None:
    try:
        for path in leftovers:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be used as a run folder ({path.name}: {error.strerror})"
        ) from error
