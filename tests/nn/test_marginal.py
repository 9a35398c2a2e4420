"""Fidelity "marginal": what samples of a network average to, as far as its neurons are independent."""

import pytest
import torch
from torch import Tensor, nn

import nsm

SAMPLES = 20_000
# Six standard errors of a mean of signs, and what the central limit theorem is off for so many synapses.
CLOSE = 6.0 / SAMPLES**0.5 + 0.004


def averages(net: nn.Module, x: Tensor) -> Tensor:
    samples, inputs = torch.arange(SAMPLES), torch.arange(len(x))
    with torch.no_grad():
        return nsm.nn.sample_outputs(net, x, seed=3, samples=samples, inputs=inputs).mean(1)


def passed(net: nn.Module, x: Tensor, fidelity: nsm.nn.Fidelity) -> Tensor:
    with torch.no_grad(), nsm.fidelity(fidelity):
        result: Tensor = net(x)
    return result


def networks() -> dict[str, tuple[nn.Sequential, tuple[int, ...]]]:
    torch.manual_seed(0)
    linear = nsm.nn.Linear(128, 20, binary_input=True, noise=nsm.Bernoulli(0.7), eta=0.3)
    with torch.no_grad():
        linear.a = 2.0
    averaging = nsm.nn.Linear(128, 20, binary_input=True, pooled=4)
    return {
        "signs": (nn.Sequential(nsm.nn.Linear(30, 128), linear), (30,)),
        "averages": (
            nn.Sequential(nsm.nn.Conv2d(3, 32, 3), nn.AvgPool2d(2), nn.Flatten(), averaging),
            (3, 6, 6),
        ),
    }


@pytest.mark.parametrize("name", ["signs", "averages"])
def test_it_is_what_samples_average_to(name: str) -> None:
    net, shape = networks()[name]
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    drawn = averages(net, x)
    assert float((passed(net, x, "marginal") - drawn).abs().max()) < CLOSE
    # Means taken for the signs themselves are surer than samples are.
    assert float((passed(net, x, "mean") - drawn).abs().max()) > 2 * CLOSE


def test_signs_are_as_certain_as_they_look() -> None:
    layer = nsm.nn.Linear(50, 8, binary_input=True, estimator="smoothed")
    x = torch.sign(torch.randn(6, 50))
    torch.testing.assert_close(passed(layer, x, "marginal"), passed(layer, x, "mean"))


def test_of_inputs_that_are_numbers_it_is_the_mean() -> None:
    layer = nsm.nn.Conv2d(2, 5, 3, padding=1, max_pool=2)
    x = torch.randn(3, 2, 6, 6)
    torch.testing.assert_close(passed(layer, x, "marginal"), passed(layer, x, "mean"))


def test_one_pass_says_all() -> None:
    net, shape = networks()["signs"]
    with nsm.fidelity("marginal"):
        assert nsm.predict(net, torch.randn(2, *shape), samples=50).samples_used.tolist() == [1, 1]
