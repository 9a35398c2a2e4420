"""The networks that the page asks: that of a run folder, and small ones, trained at the first call."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nsm import data, models, training
from nsm.data.framing import FRAMINGS
from nsm.models import Network
from nsm.studies import digits
from nsm.training import Config

BUNDLED = "digits"
RECORDED = ("digits-simulated", "nmnist", "nmnist-simulated")
# What people draw leans and differs in size.
_MOVED = ("augmentation.rotation=12", "augmentation.scale=0.12", "augmentation.shift=0.6")
# Few epochs on few recordings: under a minute on one core. The page asks about beginnings as well.
_BRIEF = (
    "set=digits-simulated",
    "augmentation.early=0.5",
    "epochs=9",
    "lr=2e-3",
    "schedule=one-cycle",
    "averaging=0.95",
)


class Subject(NamedTuple):
    """A network and what it is asked about.

    Attributes:
        net: in evaluation mode.
        set_name: the data set that it learnt, which says how drawings are framed.
        title: what it is, in a few words.
    """

    net: Network
    set_name: str
    title: str

    @property
    def classes(self) -> tuple[str, ...]:
        """What its classes are called."""
        return data.describe(self.set_name).classes


class Subjects(NamedTuple):
    """One network for each tab."""

    drawings: Subject
    recordings: Subject


def subjects(run: Path | None, folder: Path, *, quiet: bool = False) -> Subjects:
    """The network in a run folder on the tab that it is for, and small ones where none is given.

    Args:
        run: of drawings or of recordings; None for small ones on both tabs.
        folder: where the small ones' run folders lie.
        quiet: show no progress bar.

    Raises:
        ValueError: if a file is missing or damaged, or the network is for neither.
    """
    given = None if run is None else load_subject(run)
    recorded = given is not None and given.set_name in RECORDED
    drawings = given if given is not None and not recorded else bundled_subject(folder, quiet=quiet)
    recordings = given if given is not None and recorded else bundled_recordings(folder, quiet=quiet)
    return Subjects(drawings, recordings)


def load_subject(run: Path) -> Subject:
    """The network in a run folder.

    Raises:
        ValueError: if a file is missing or damaged, or the network takes neither drawings nor recordings.
    """
    name = training.read_recipe(run).data.set
    known = (*FRAMINGS, *RECORDED)
    if name not in known:
        raise ValueError(f"run must be of one of {', '.join(known)}, but {run} is of {name}")
    return _subject(models.load(run), name)


def bundled_subject(folder: Path, *, quiet: bool = False) -> Subject:
    """A small network for the digits that come with scikit-learn."""
    config = training.with_overrides(digits.configuration("nsm"), _MOVED)
    return _trained(config, folder, quiet=quiet)


def bundled_recordings(folder: Path, *, quiet: bool = False) -> Subject:
    """A network for simulated recordings of these digits."""
    config = training.with_overrides(training.load_recipe("nmnist-cnn"), _BRIEF)
    return _trained(config, folder, quiet=quiet)


def _trained(config: Config, folder: Path, *, quiet: bool) -> Subject:
    """What was trained before by the same configuration is taken as it is."""
    result = training.train(config, digits.run_folder(folder, config), resume=True, quiet=quiet)
    return _subject(result.net, config.data.set)


def _subject(net: Network, name: str) -> Subject:
    net.eval()
    return Subject(net, name, f"{net.config['name']}, {net.config['model']}, {data.describe(name).title}")
