"""From a configuration to its images."""

import pytest

from nsm import data
from nsm.training import load_splits, with_overrides
from tests.training.configs import digits


def test_channels_are_bins_of_time_where_a_set_is_recorded():
    assert all(info.recorded == (info.image[0] > 3) for info in data.SETS.values())


def test_images_have_no_beginning():
    with pytest.raises(ValueError, match=r"augmentation\.early needs recordings, but digits holds images"):
        load_splits(with_overrides(digits(), ["early=0.5"]))


def test_recordings_have_one(shared_folder):
    config = with_overrides(digits(), ["early=0.5", "set=digits-simulated"])
    assert len(load_splits(config, shared_folder).train) == 1437 - config.data.validation
