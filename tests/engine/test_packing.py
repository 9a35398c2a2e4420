"""What is worked out from weights when a program is laid out."""

import numpy as np
import pytest

from nsm.engine import packing


@pytest.mark.parametrize(
    ("fours", "weight", "expected"),
    [
        (3, 0, 3),
        (16, 127, 16),  # 64 of the largest weights
        (17, 127, 9),  # two parts
        (64, -127, 16),
        (256, 31, 64),
        (256, 1, 256),
    ],
)
def test_parts_of_merged_samples_are_as_long_as_their_sums_can_be_told_apart(fours, weight, expected):
    packed = np.full((2, 1, fours, packing.PANEL, 4), weight, np.int8)
    assert packing.merged(packed) == expected


def test_weights_of_two_signs_do_not_cancel():
    # Units of one sign may fire alone.
    packed = np.full((1, 1, 64, packing.PANEL, 4), 127, np.int8)
    packed[..., 1::2] = -127
    assert packing.merged(packed) == 32


def test_the_largest_neuron_decides():
    packed = np.zeros((3, 2, 40, packing.PANEL, 4), np.int8)
    packed[1, 1, :, 5] = 127
    assert packing.merged(packed) == 14
