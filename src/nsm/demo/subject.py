"""The network that the page asks: that of a run folder, or a small one that is trained in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nsm import data, models, training
from nsm.data.framing import FRAMINGS
from nsm.models import Network
from nsm.studies import digits

BUNDLED = "digits"


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


def load_subject(run: Path) -> Subject:
    """The network in a run folder.

    Raises:
        ValueError: if a file is missing or damaged, or the network does not take drawings.
    """
    recipe = training.read_recipe(run)
    name = recipe.data.set
    if name not in FRAMINGS:
        raise ValueError(
            f"run must be of a data set of drawings ({', '.join(FRAMINGS)}), but {run} is of {name}"
        )
    net = models.load(run)
    return _subject(net, name)


def bundled_subject(folder: Path, *, quiet: bool = False) -> Subject:
    """A small network for the digits that come with scikit-learn, trained at the first call.

    Args:
        folder: where its run folder lies.
        quiet: show no progress bar.
    """
    config = digits.configuration("nsm")
    result = training.train(config, digits.run_folder(folder, config), resume=True, quiet=quiet)
    return _subject(result.net, BUNDLED)


def _subject(net: Network, name: str) -> Subject:
    net.eval()
    return Subject(net, name, f"{net.config['name']}, {net.config['model']}, {data.describe(name).title}")
