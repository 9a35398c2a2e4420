"""Single samples are decided by estimates of thresholds where these will do, bit for bit as by thresholds."""

import pytest
import torch

from nsm import functional, native, random

pytestmark = pytest.mark.skipif(native.active() != "native", reason="the C++ kernels are not installed")

GROUPS, GROUP = 30_000, 64
DRAW = (torch.tensor(5), torch.tensor([[3, 8]]), random.place(2))


def near_thresholds(window: int) -> torch.Tensor:
    """Arguments (1, GROUPS, window, GROUP): the first element of each group has its threshold 1 to 2^14 units
    from its number, the others are sure. Neurons of a window are alike: errors of their estimates add up.
    """
    seed, rows, place = DRAW
    uniform = random.words(seed, rows, GROUPS * GROUP, place)[0, ::GROUP] >> 8
    away = 2.0 ** torch.linspace(0.0, 14.0, GROUPS // 2, dtype=torch.float64)
    silent = 1.0 - (uniform + torch.cat((away, -away))) / 2**24
    one = silent.clamp(2.0**-24, 1.0 - 2.0**-24) ** (1.0 / window)
    s = torch.full((1, GROUPS, window, GROUP), 10.0)
    s[0, :, :, 0] = torch.special.erfinv(1.0 - 2.0 * one).float()[:, None]
    return s


@pytest.mark.usefixtures("instruction_set")
def test_neurons_fire_as_their_thresholds_say():
    s, one = near_thresholds(1)[:, :, 0], torch.ones(1, GROUP)
    law = one, 0.0 * one, *DRAW
    expected = functional.fire(s, *law)
    assert torch.equal(native.fire(s, *law), expected)
    position_last = s.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(native.fire(position_last, *law), expected)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("window", [1, 2, 4, 5])
def test_windows_fire_as_their_thresholds_say(window):
    one = torch.ones(1, 1, 1, GROUP)
    case = near_thresholds(window), one, 0.0 * one, *DRAW
    assert torch.equal(native.fire_max(*case), functional.fire_max(*case))
