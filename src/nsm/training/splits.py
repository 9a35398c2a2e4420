"""From a configuration to its images."""

from __future__ import annotations

from pathlib import Path

from nsm import data, random
from nsm.data import ImageSet, Splits
from nsm.data.events import EventAugmentation
from nsm.training.config import Config


def load_splits(config: Config, root: str | Path | None = None, *, changed: bool = False) -> Splits:
    """The images of a run.

    Args:
        config: the run.
        root: data folder, see :func:`nsm.data.load`.
        changed: whether the training set brings the copies that ``augmentation`` asks for.

    Raises:
        ValueError: if the set is not one of event recordings, but its events are to be changed, or its
            beginnings to be shown; if there are fewer images than are to be learnt.
    """
    wanted, augmentation = config.data, config.augmentation
    if augmentation.early and not data.describe(wanted.set).recorded:
        raise ValueError(f"augmentation.early needs recordings, but {wanted.set} holds images")
    changes = None
    if changed and (augmentation.drop or augmentation.jitter):
        changes = EventAugmentation(drop=augmentation.drop, jitter=augmentation.jitter)
    splits = data.load(
        wanted.set,
        root,
        validation=wanted.validation,
        fold=wanted.fold,
        unrecorded=wanted.unrecorded,
        simulated=wanted.simulated,
        changes=changes,
        copies=augmentation.copies,
        repair=wanted.repair,
    )
    return splits if wanted.images is None else splits._replace(train=_part(splits.train, wanted.images))


def _part(images: ImageSet, count: int) -> ImageSet:
    if count > len(images):
        raise ValueError(f"data.images must be at most {len(images)} for {images.name}, got {count}")
    order = random.permutation(random.derive(0, "data", images.name, "images"), 0, len(images))
    return images.subset(order[:count].sort().values)
