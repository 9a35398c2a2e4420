"""Conversion of conventional networks and data-dependent initialisation."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import nsm
from nsm import data
from nsm.nn import StochasticLayer, least_squares, stochastic_layers


class Block(nn.Module):
    """A nested block that shares one in-place activation between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = weight_norm(nn.Conv2d(8, 8, 3))
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.first(x)))
        return self.act(self.second(x))


def conventional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Block(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(72, 20),
        nn.Tanh(),
        nn.Linear(20, 5),
    )


def test_layers_are_replaced_and_the_rest_absorbed() -> None:
    net, batch = conventional(), torch.randn(64, 1, 8, 8)
    net(torch.randn(32, 1, 8, 8))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    converted = nsm.convert(net, noise=nsm.Gaussian(0.7), calibration=batch)
    assert [name for name, _ in stochastic_layers(converted)] == ["0.first", "0.second", "4"]
    assert not [
        m for m in converted.modules() if isinstance(m, (nn.ReLU, nn.Tanh, nn.BatchNorm2d, nn.Dropout))
    ]
    block = converted.get_submodule("0")
    torch.testing.assert_close(block.first.weight, net[0].first.weight)
    assert not torch.equal(block.second.weight, net[0].second.weight)  # it receives signs now
    assert type(converted.get_submodule("6")) is nn.Linear
    assert [layer.binary_input for _, layer in stochastic_layers(converted)] == [False, True, True]
    assert all(layer.noise == nsm.Gaussian(0.7) for _, layer in stochastic_layers(converted))
    # The original is as it was, and still works.
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net(batch).shape == converted(batch).shape == (64, 5)


def test_firing_follows_the_original_activation() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 3))
    batch = torch.randn(400, 30)
    converted = nsm.convert(net, noise=nsm.Bernoulli(0.5), calibration=batch)
    fresh = torch.randn(400, 30)
    with nsm.fidelity("mean"), torch.no_grad():
        firing = converted.get_submodule("0")(fresh)
    correlation = torch.corrcoef(torch.stack((firing.flatten(), net[:2](fresh).flatten().detach())))[0, 1]
    assert correlation > 0.98
    # The classifier's mean outputs agree on the calibration batch.
    with torch.no_grad():
        torch.testing.assert_close(
            torch.stack([converted(batch) for _ in range(50)]).mean((0, 1)),
            net(batch).mean(0),
            atol=0.02,
            rtol=0,
        )


def test_a_batch_normalised_neuron_may_turn_its_sign() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(20, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([1.0, -1.0, 0.5, -2.0]))
        net[1].bias.copy_(torch.tensor([0.3, 0.3, -0.2, 0.0]))
    converted = nsm.convert(net, noise=nsm.Gaussian(0.5), calibration=torch.randn(200, 20))
    layer = converted.get_submodule("0")
    assert isinstance(layer, StochasticLayer)
    assert torch.equal(torch.sign(layer.beta + 0 * layer.a), torch.tensor([1.0, -1.0, 1.0, -1.0]))


def test_a_network_of_three_layers_is_nearly_as_accurate_as_the_original() -> None:
    images = data.load("digits")
    (x, y), (test_x, test_y) = images.train.batch(torch.arange(1000)), images.test.batch(torch.arange(300))
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32),
        nn.ReLU(), nn.Flatten(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    converted = nsm.convert(net.eval(), noise=nsm.Bernoulli(0.5), calibration=x)
    answer = nsm.predict(converted, test_x, samples=20)
    original = float((net(test_x).argmax(1) != test_y).double().mean())
    error = float((answer.probabilities.argmax(1) != test_y).double().mean())
    assert original < 0.08
    assert error < original + 0.06


@pytest.mark.parametrize(
    ("product", "shape"),
    [
        (nn.Linear(6, 4), (200, 6)),
        (nn.Linear(40, 4), (20, 40)),
        (nn.Conv1d(4, 6, 3, padding=1, groups=2), (30, 4, 9)),
        (nn.Conv2d(2, 5, 3, stride=2, dilation=2, bias=False), (40, 2, 9, 9)),
        (nn.Conv3d(1, 3, 2, padding=1, padding_mode="circular"), (20, 1, 3, 4, 3)),
    ],
    ids=["linear", "fewer inputs than synapses", "groups", "dilated", "3d"],
)
def test_weights_are_those_of_the_normal_equations(product: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(4)
    product.double()
    x = torch.randn(shape, dtype=torch.float64) + 0.5
    wanted = product(x).detach()
    wanted = wanted + 3.0 + 0.3 * torch.randn_like(wanted)
    synapses = product.weight[0].numel()
    # The product is linear: column j is what it gives with weight j of every neuron alone.
    columns = []
    for j in range(synapses):
        unit = torch.zeros(len(product.weight), synapses, dtype=torch.float64)
        unit[:, j] = 1.0
        state = {"weight": unit.view(product.weight.shape)}
        if product.bias is not None:
            state["bias"] = torch.zeros_like(product.bias)
        columns.append(torch.func.functional_call(product, state, (x,)))
    channel = wanted.dim() - 1 if isinstance(product, nn.Linear) else 1
    matrix = torch.stack(columns).movedim(channel + 1, 0).flatten(2).mT  # neuron, row, synapse
    rows = wanted.movedim(channel, 0).flatten(1)
    matrix, rows = matrix - matrix.mean(1, keepdim=True), rows - rows.mean(1, keepdim=True)
    ridge = least_squares._RIDGE * x.square().mean() * rows.shape[1]
    normal = matrix.mT @ matrix + ridge * torch.eye(synapses, dtype=torch.float64)
    solution = torch.linalg.solve(normal, (matrix.mT @ rows[..., None]))[..., 0]
    bias = None if product.bias is None else product.bias.clone()
    least_squares.fit_weights(product, x, wanted)
    torch.testing.assert_close(product.weight.flatten(1), solution, atol=1e-3, rtol=1e-2)
    assert bias is None or torch.equal(product.bias, bias)


def test_a_neuron_that_should_give_a_constant_gets_no_weights() -> None:
    product = nn.Linear(3, 2)
    x = torch.randn(50, 3)
    least_squares.fit_weights(product, x, torch.stack((torch.full((50,), 7.0), x[:, 0]), dim=1))
    assert torch.equal(product.weight[0], torch.zeros(3))
    torch.testing.assert_close(product.weight[1], torch.tensor([1.0, 0.0, 0.0]), atol=0.05, rtol=0)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(x)))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.act, self.out = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.hidden(self.act(self.hidden(x)))))


def test_normalizations_of_input_and_classifier_stay() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.BatchNorm1d(6), nn.Linear(6, 40), nn.ReLU(), nn.Dropout(0.1), nn.BatchNorm1d(40), nn.Linear(40, 3)
    )
    batch = 3.0 * torch.randn(4000, 6) + 1.0
    for _ in range(50):
        net(batch[:500])
    before = net[0].running_mean.clone()
    converted = nsm.convert(net, noise=nsm.Bernoulli(0.5), calibration=batch)
    assert [name for name, _ in stochastic_layers(converted)] == ["1"]
    assert torch.equal(converted[0].running_mean, before)
    assert all(module.training for module in converted.modules())
    # What the classifier receives is normalized as it was, though it is of signs now.
    converted.eval()
    signs = converted[:4](batch)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    normalized = converted[:5](batch)
    torch.testing.assert_close(normalized.mean(0), torch.zeros(40), atol=0.1, rtol=0)
    torch.testing.assert_close(normalized.std(0), torch.ones(40), atol=0.1, rtol=0)
    outputs = nsm.nn.sample_outputs(
        converted, batch, seed=1, samples=torch.arange(20), inputs=torch.arange(4000)
    )
    torch.testing.assert_close(outputs.mean((0, 1)), net.eval()(batch).mean(0), atol=0.03, rtol=0)


def pruned(layer: nn.Linear) -> nn.Linear:
    prune.l1_unstructured(layer, "weight", amount=0.5)
    with torch.no_grad():
        layer.weight_orig.mul_(2.0)  # what weight says in the next pass
    return layer


@pytest.mark.parametrize("change", [nsm.nn.centered, weight_norm, spectral_norm, pruned])
def test_weights_that_are_made_from_others_are_resolved(change: Callable[[nn.Linear], nn.Linear]) -> None:
    torch.manual_seed(0)
    net, batch = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 3)), torch.randn(500, 6)
    changed = nn.Sequential(change(net[0]), nn.ReLU(), change(net[2]))
    converted = nsm.convert(changed, noise=nsm.Bernoulli(0.5), calibration=batch)
    wanted = changed.eval()(batch)
    assert [name for name, _ in converted.named_parameters() if "weight" in name] == [
        "0.product.weight",
        "2.weight",
    ]
    torch.testing.assert_close(converted[0].weight, changed[0].weight)
    outputs = nsm.nn.sample_outputs(
        converted, batch, seed=1, samples=torch.arange(40), inputs=torch.arange(500)
    )
    torch.testing.assert_close(outputs.mean((0, 1)), wanted.mean(0), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        *itertools.product(("cifar10-allconv-third", "nmnist-cnn"), ("twin", "twin-bn")),
        ("dvsgesture-allconv", "twin-bn"),
    ],
)
def test_the_twins_that_come_with_the_library_can_be_converted(name: str, model: nsm.models.Model) -> None:
    net = nsm.models.build(name, model=model)
    images = torch.rand(3, *net.image)
    converted = nsm.convert(net, noise=nsm.Bernoulli(0.5), calibration=images)
    products = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(stochastic_layers(converted)) == len(products) - 1
    assert nsm.predict(converted.eval(), images, samples=2).probabilities.isfinite().all()


@pytest.mark.parametrize(
    ("net", "complaints"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)), ["0 (Linear): followed by 1 (GELU)"]),
        (Functional(), ["hidden (Linear): followed by no module"]),
        (Twice(), ["hidden: applied more than once"]),
        (
            nn.Sequential(
                nn.Linear(4, 4),
                nn.ReLU(),
                nn.BatchNorm1d(4),
                nn.LayerNorm(4),
                nn.Linear(4, 4),
                nn.ReLU(),
                nn.Linear(4, 2),
            ),
            ["2 (BatchNorm1d): a normalization must stand", "3 (LayerNorm): has parameters"],
        ),
        (
            nn.Sequential(nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
            ["0 (Tanh): an activation whose"],
        ),
        (nn.Sequential(nn.Linear(4, 2)), ["at least one Linear or Conv layer before its classifier"]),
    ],
    ids=["gelu", "functional", "twice", "norms", "first", "head-only"],
)
def test_what_cannot_be_converted_is_named(net: nn.Module, complaints: list[str]) -> None:
    with pytest.raises(ValueError, match=r"convert|must have") as caught:
        nsm.convert(net, noise=nsm.Bernoulli(0.5), calibration=torch.randn(8, 4))
    for complaint in complaints:
        assert complaint in str(caught.value)


def test_one_input_is_no_calibration() -> None:
    with pytest.raises(ValueError, match=r"calibration must have shape \(B, ...\) with B >= 2, got \(1, "):
        nsm.convert(conventional(), noise=nsm.Bernoulli(0.5), calibration=torch.randn(1, 1, 8, 8))


def test_a_batch_that_holds_no_numbers_calibrates_nothing() -> None:
    broken = torch.full((4, 1, 8, 8), torch.nan)
    with pytest.raises(ValueError, match="calibration must be finite, but input 0 holds NaN"):
        nsm.convert(conventional(), noise=nsm.Bernoulli(0.5), calibration=broken)
    with pytest.raises(ValueError, match="batch must be finite, but input 0 holds NaN"):
        nsm.nn.calibrate(nsm.nn.Conv2d(1, 2, 3), broken)
    with pytest.raises(ValueError, match=r"batch must have shape \(B, ...\) with B >= 1, got \(0, 2\)"):
        nsm.nn.calibrate(nsm.nn.Linear(2, 2), torch.ones(0, 2))
    with pytest.raises(TypeError, match=r"batch must be floating point, got torch\.int64"):
        nsm.nn.calibrate(nsm.nn.Linear(2, 2), torch.ones(3, 2, dtype=torch.int64))


@pytest.mark.parametrize("bias", [True, False])
def test_calibration_centres_and_spreads_every_layer(bias: bool) -> None:
    torch.manual_seed(3)
    net = nn.Sequential(
        nsm.nn.Conv2d(2, 6, 3, padding=1, bias=bias),
        nn.MaxPool2d(2),
        nsm.nn.Conv2d(6, 8, 3, padding=1, binary_input=True, bias=bias),
        nn.Flatten(),
        nsm.nn.Linear(128, 32, binary_input=True, bias=bias),
        nn.Linear(32, 3),
    )
    batch = 3.0 * torch.randn(300, 2, 8, 8) + 1.0
    nsm.nn.calibrate(net, batch, spread=0.8, seed=4)
    seen: list[Tensor] = []
    for _, layer in stochastic_layers(net):
        layer.register_forward_hook(lambda layer, inputs, _: seen.append(argument(layer, inputs[0])))
    with nsm.nn.draws(net, seed=4, samples=0, inputs=torch.arange(300)), torch.no_grad():
        net(batch)
    for s in seen:
        deviation = s.std((0, 1))
        if bias:
            activity = torch.erf(s).mean((0, 1))
            torch.testing.assert_close(activity, torch.zeros_like(activity), atol=0.05, rtol=0)
            torch.testing.assert_close(deviation, torch.full_like(deviation, 0.8), atol=0.08, rtol=0)
        else:
            assert (deviation < 1.0).all()


def test_calibration_balances_the_maximum() -> None:
    torch.manual_seed(4)
    layer = nsm.nn.Conv2d(2, 6, 3, max_pool=2, binary_input=True)
    batch = torch.sign(torch.randn(400, 2, 8, 8))
    nsm.nn.calibrate(nn.Sequential(layer), batch, seed=5)
    assert (layer.erf_argument(batch).mean((0, 1)) < -0.3).all()
    with nsm.nn.draws(layer, seed=6, samples=0, inputs=torch.arange(400)), torch.no_grad():
        activity = layer(batch).mean((0, 2, 3))
    torch.testing.assert_close(activity, torch.zeros(6), atol=0.05, rtol=0)


def argument(layer: StochasticLayer, x: Tensor) -> Tensor:
    """The argument of erf, from the public moments."""
    mean = layer.flat_product(x) * (layer.noise.mean + layer.a)
    if layer.bias is not None:
        mean = mean + layer.bias
    return mean / (2.0 * layer.variance(x)).sqrt()


@pytest.mark.parametrize("spread", [0.0, -1.0, float("nan")])
def test_an_impossible_spread_is_refused(spread: float) -> None:
    with pytest.raises(ValueError, match="spread must be positive"):
        nsm.nn.calibrate(nsm.nn.Linear(2, 2), torch.randn(4, 2), spread=spread)


def test_arguments_of_another_type_are_named() -> None:
    x = torch.randn(4, 2)
    with pytest.raises(TypeError, match="spread must be a number, got str"):
        nsm.nn.calibrate(nsm.nn.Linear(2, 2), x, spread="a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"net must be a torch\.nn\.Module, got NoneType"):
        nsm.nn.calibrate(None, x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"net must be a torch\.nn\.Module, got NoneType"):
        nsm.convert(None, noise=nsm.Bernoulli(0.5), calibration=x)  # type: ignore[arg-type]


def test_neurons_that_see_nothing_keep_their_parameters() -> None:
    layer = nsm.nn.Linear(3, 2)
    with torch.no_grad():
        layer.product.weight[0] = 0.0
    beta = layer.beta.detach().clone()
    nsm.nn.calibrate(layer, torch.randn(50, 3))
    torch.testing.assert_close(layer.beta[0], beta[0])
    assert layer.beta[1] != beta[1]
    assert all(p.isfinite().all() for p in layer.parameters())
