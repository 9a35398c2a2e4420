"""The firing probability of the integer pipeline, by enumeration, against the law: nothing is sampled."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import ndtr

import nsm
from nsm import native
from nsm.engine import arguments, plain
from nsm.engine.steps import Geometry, Noise, Sampled, largest_squared_weight
from nsm.native import paths

BOUND = 5e-5
FORMAT = Path(__file__).parents[2] / "docs" / "format.md"
ALL = torch.arange(2**16)
# Standard deviations of u in units of a sum's step, which is 2: the smallest layers to the largest.
SCALES = (0.3, 1.0, 5.0, 17.3, 60.0, 346.0, 1000.0, 30_000.0)


def probability(argument: torch.Tensor) -> np.ndarray:
    """P(z = 1) as the program draws it: the share of the 2^16 uniform numbers for which a neuron fires."""
    limit, side = plain.limits(argument)
    return torch.where(side, 2**16 - limit, limit).double().numpy() / 2**16


def test_the_share_of_uniform_numbers_is_what_the_threshold_says():
    argument = arguments.UNITS * torch.linspace(-5, 5, 41)
    limit, side = plain.limits(argument)
    fired = (ALL[:, None] < limit) != side
    assert np.array_equal(fired.double().mean(0).numpy(), probability(argument))


def test_every_threshold_is_within_the_bound():
    # Every argument that the pipeline tells apart, and those between, where it is rounded.
    y = torch.arange(-(2**17), 2**17 + 1) / 2.0
    error = probability(y) - ndtr(y.double().numpy() / arguments.UNITS)
    assert np.abs(error).max() < BOUND
    far = y.abs().numpy() > 4.0 * arguments.UNITS
    assert np.abs(error[far]).max() < 1e-5
    sure = probability(torch.tensor([-4.4, 4.4, -torch.inf, torch.inf]) * arguments.UNITS)
    assert sure.tolist() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.skipif(native.active() != "native", reason="the C++ kernels are not installed")
@pytest.mark.parametrize("instruction_set", paths.instruction_sets() if native.active() == "native" else [])
def test_kernels_have_the_same_thresholds(instruction_set):
    y = torch.cat((torch.arange(-(2**17), 2**17 + 1) / 2.0, torch.tensor([torch.inf, -torch.inf, 1e30])))
    limit, side = (torch.empty(len(y), dtype=torch.int16) for _ in range(2))
    paths.kernels().limits(
        argument=y.data_ptr(),
        count=len(y),
        limit=limit.data_ptr(),
        side=side.data_ptr(),
        instruction_set=instruction_set,
    )
    expected = plain.limits(y)
    assert torch.equal(limit.long() & 0xFFFF, expected[0])
    assert torch.equal(side != 0, expected[1])


def bound_of_maximum(error: np.ndarray, quiet: np.ndarray, members: int) -> float:
    """The largest error of a product of ``members`` factors with these errors, found factor by factor."""
    worst = 0.0
    for sign in (1.0, -1.0):
        # At first all factors alike; then each in turn what makes it worst, which it stays.
        chosen = [int(np.argmax(sign * error * quiet ** (members - 1)))] * members
        for turn in range(3 * members):
            others = np.delete(chosen, turn % members)
            rest = np.prod(quiet[others])
            drift = sum(error[k] * np.prod(np.delete(quiet[others], i)) for i, k in enumerate(others))
            total = sign * (error * rest + quiet * drift)
            chosen[turn % members] = int(np.argmax(total))
            worst = max(worst, float(total.max()))
    return worst


@pytest.mark.parametrize("members", [2, 3, 4, 6])
def test_a_maximum_drawn_at_once_is_within_the_bound(members):
    y = torch.arange(-(2**17), 2**17 + 1) / 2.0
    quiet = ndtr(-y.double().numpy() / arguments.UNITS)
    error = plain.silent(y).double().numpy() - quiet
    assert np.abs(error).max() < 2e-5
    # One rounding to 16 bits comes last.
    assert bound_of_maximum(error, quiet, members) + 2.0**-17 < BOUND
    # Pairs and their product as it is rounded, at every 16th argument.
    few = slice(None, None, 2**9)
    limit, side = plain.limits_of_maximum(
        torch.stack(torch.broadcast_tensors(y[few, None], y[None, few]), -1)
    )
    share = torch.where(side, 2**16 - limit, limit).double().numpy() / 2**16
    assert np.abs(share - (1 - quiet[few, None] * quiet[None, few])).max() < BOUND


def test_a_maximum_of_sure_neurons_is_sure():
    y = torch.tensor([[-4.4, -4.4, -5.0], [-4.4, 4.4, -4.4], [torch.inf, -1.0, 0.0], [-torch.inf] * 3])
    limit, side = plain.limits_of_maximum(y * arguments.UNITS)
    assert ((ALL[:, None] < limit) != side).double().mean(0).tolist() == [0.0, 1.0, 1.0, 0.0]


def neuron(weights: np.ndarray, gain: float, bias: float, noise: nsm.NoiseLaw, eta: float = 0.0) -> Sampled:
    geometry = Geometry((weights.size, 1, 1), 1)
    numbers = Noise(
        np.array([gain], np.float32), np.array([bias], np.float32), noise.variance, eta**2, layer=0
    )
    scale = np.array([0.013], np.float32)
    return Sampled(geometry, weights.reshape(1, -1, 1, 1).astype(np.int8), scale, numbers)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("bias", [0.0, 1.3])
@pytest.mark.parametrize("eta", [0.0, 0.2])
def test_every_sum_of_a_layer_on_signs_is_within_the_bound(scale, bias, eta):
    # ||w|| s is the standard deviation: weights of one size, as many as it takes.
    size = min(127, max(1, round(scale / 4)))
    fan_in = max(1, round((2 * scale / size) ** 2))
    law = nsm.Bernoulli(0.5)
    step = neuron(np.full(fan_in, size), gain=0.9, bias=bias, noise=law, eta=eta)
    fixed = arguments.of_signs(step, area=1)
    total = size * fan_in
    # A sum of codes 0 and 2 is an even number of weights.
    active = np.arange(fan_in + 1) if fan_in < 10**6 else np.unique(np.linspace(0, fan_in, 10**6).astype(int))
    sums = torch.from_numpy(2 * size * active).float()
    found = probability(sums * torch.from_numpy(fixed.scale[0]) + torch.from_numpy(fixed.shift[0]))
    product = float(step.scale[0]) * (2.0 * size * active - total)
    deviation = np.sqrt(law.variance * float(step.scale[0]) ** 2 * size * total + eta**2)
    gain, shift = float(step.noise.gain[0]), float(step.noise.bias[0])
    assert np.abs(found - ndtr((gain * product + shift) / deviation)).max() < BOUND


@pytest.mark.parametrize("area", [4, 9, 16])
@pytest.mark.parametrize("fan_in", [1, 25, 800])
def test_sums_of_a_layer_on_averages_are_within_the_bound(area, fan_in):
    generator = np.random.default_rng(area + fan_in)
    weights = np.rint(36 * generator.standard_normal(fan_in)).clip(-127, 127)
    weights[0] = 127
    law = nsm.Bernoulli(0.25)
    step = neuron(weights, gain=1.1, bias=0.05, noise=law)
    numbers = arguments.of_averages(step, area)
    codes = 2 * generator.integers(0, area + 1, (20_000, fan_in))
    z = (codes - area) / area
    power = (
        np.square(z)
        @ numbers.squares.reshape(-1)
        * arguments.squared_weights(step, largest_squared_weight(area))[1]
    )
    mean = 1.1 * float(step.scale[0]) * (z @ weights) + float(step.noise.bias[0])
    variance = law.variance * float(step.scale[0]) ** 2 * power
    expected = np.where(variance > 0, ndtr(mean / np.sqrt(np.where(variance > 0, variance, 1))), mean >= 0)
    distance = (codes - area) // arguments.spacing(area)
    sums = torch.from_numpy(codes @ weights).float()
    squares = torch.from_numpy(np.square(distance) @ numbers.squares.reshape(-1).astype(np.int64)).float()
    argument, _ = plain._quotient(sums.view(-1, 1, 1, 1), squares.view(-1, 1, 1, 1), numbers)
    assert np.abs(probability(argument.flatten()) - expected).max() < BOUND


@pytest.mark.parametrize(("pooled", "area"), [(1, 1), (4, 4), (0, 4)])
def test_a_neuron_that_hears_nothing_has_the_sign_of_its_bias(pooled, area):
    generator = np.random.default_rng(area)
    numbers = generator.standard_normal((3, 300)).astype(np.float32)
    bias, gain = np.repeat(np.array([0.0, 0.3, -0.3], np.float32), 100), numbers[0]
    weights = np.rint(60 * numbers[1]).clip(-127, 127).astype(np.int8).reshape(300, 1, 1, 1)
    geometry = Geometry((1, 1, 1), 300, padding=(1, 1, 1, 1))
    step = Sampled(geometry, weights, np.abs(numbers[2]), Noise(gain, bias, 0.25, 0.0, 0), pooled)
    # Its field lies in the padding, or is an average that is 0.
    argument = plain._argument(step, torch.full((1, 1, 1, 1), area), area)[0, 0]
    heard = argument[:, 0, 0] if pooled else argument.flatten(1).t()
    assert ((heard >= 0).numpy() == (bias >= 0)).all()


@pytest.mark.parametrize("largest", [255, 202])
def test_squared_weights_keep_each_neurons_sum(largest):
    generator = np.random.default_rng(largest)
    weights = np.rint(30 * generator.standard_normal((20, 300))).clip(-127, 127)
    weights[0] = 0
    geometry = Geometry((300, 1, 1), 20)
    one = np.ones(20, np.float32)
    step = Sampled(
        geometry, weights.reshape(20, 300, 1, 1).astype(np.int8), one, Noise(one, one, 1.0, 0.0, 0)
    )
    squares, unit = arguments.squared_weights(step, largest)
    assert squares.max() == largest
    exact = np.square(weights)
    assert np.abs(squares.reshape(20, 300) * unit[:, None] - exact).max() <= unit.max()
    assert (np.abs(squares.reshape(20, 300).sum(1) * unit - exact.sum(1)) <= 0.5 * unit + 1e-9).all()


def test_the_tables_of_the_format_are_those_of_the_program():
    rows = re.findall(r"^\| \d+ \|((?: [-\d.e]+ \|){6})$", FORMAT.read_text(), re.MULTILINE)
    documented = [[float(value) for value in row.replace("|", " ").split()] for row in rows]
    tables = (plain._BASE, plain._SLOPE, plain._CURVE, plain._LEVEL, plain._FALL, plain._BEND)
    assert documented == [list(row) for row in zip(*tables, strict=True)]
