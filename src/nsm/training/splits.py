"""From a configuration to its images."""

from __future__ import annotations

from pathlib import Path

from nsm import data
from nsm.data import Splits
from nsm.data.events import EventAugmentation
from nsm.training.config import Config


def load_splits(config: Config, root: str | Path | None = None, *, changed: bool = False) -> Splits:
    """The images of a run.

    Args:
        config: the run.
        root: data folder, see :func:`nsm.data.load`.
        changed: whether the training set brings the copies that ``augmentation`` asks for.

    Raises:
        ValueError: if the set is not one of event recordings, but its events are to be changed.
    """
    wanted, augmentation = config.data, config.augmentation
    changes = None
    if changed and (augmentation.drop or augmentation.jitter):
        changes = EventAugmentation(drop=augmentation.drop, jitter=augmentation.jitter)
    return data.load(
        wanted.set,
        root,
        validation=wanted.validation,
        fold=wanted.fold,
        unrecorded=wanted.unrecorded,
        simulated=wanted.simulated,
        changes=changes,
        copies=augmentation.copies,
    )
