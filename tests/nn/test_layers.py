"""The contract that every stochastic layer keeps, whatever its kind, law and fidelity."""

import copy
import functools
import io
import itertools
import math
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

import nsm
from nsm.nn import FIDELITIES, Fidelity, StochasticLayer

Make = Callable[..., StochasticLayer]
LAYERS: dict[str, tuple[Make, tuple[int, ...], nn.Module]] = {
    "linear": (lambda **kw: nsm.nn.Linear(6, 4, **kw), (3, 6), nn.Linear(6, 4)),
    "linear-deep": (lambda **kw: nsm.nn.Linear(6, 4, **kw), (3, 2, 5, 6), nn.Linear(6, 4)),
    "conv1d": (lambda **kw: nsm.nn.Conv1d(2, 4, 3, 2, 1, **kw), (3, 2, 9), nn.Conv1d(2, 4, 3, 2, 1)),
    "conv2d": (
        lambda **kw: nsm.nn.Conv2d(2, 4, 3, 1, "same", 2, 2, **kw),
        (3, 2, 7, 6),
        nn.Conv2d(2, 4, 3, 1, "same", 2, 2),
    ),
    "conv2d-reflect": (
        lambda **kw: nsm.nn.Conv2d(2, 4, (3, 2), padding=(1, 0), padding_mode="reflect", **kw),
        (3, 2, 5, 4),
        nn.Conv2d(2, 4, (3, 2), padding=(1, 0), padding_mode="reflect"),
    ),
    "linear-population": (lambda **kw: nsm.nn.Linear(6, 4, population=3, **kw), (3, 6), nn.Linear(6, 4)),
    "conv2d-population": (
        lambda **kw: nsm.nn.Conv2d(2, 5, 3, padding=1, max_pool=2, population=4, **kw),
        (3, 2, 4, 6),
        nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.MaxPool2d(2)),
    ),
    "conv1d-maximum": (
        lambda **kw: nsm.nn.Conv1d(2, 4, 3, padding=1, max_pool=3, **kw),
        (3, 2, 8),
        nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.MaxPool1d(3)),
    ),
    "conv2d-maximum": (
        lambda **kw: nsm.nn.Conv2d(2, 5, 3, max_pool=(2, 1), **kw),
        (3, 2, 7, 6),
        nn.Sequential(nn.Conv2d(2, 5, 3), nn.MaxPool2d((2, 1))),
    ),
    "conv3d-maximum": (
        lambda **kw: nsm.nn.Conv3d(2, 4, (1, 2, 2), max_pool=2, **kw),
        (3, 2, 4, 5, 6),
        nn.Sequential(nn.Conv3d(2, 4, (1, 2, 2)), nn.MaxPool3d(2)),
    ),
    "conv3d": (
        lambda **kw: nsm.nn.Conv3d(2, 4, (1, 3, 2), **kw),
        (3, 2, 3, 4, 5),
        nn.Conv3d(2, 4, (1, 3, 2)),
    ),
}
DECLARATIONS: list[dict[str, Any]] = [{}, {"binary_input": True}, {"binary_input": True, "pooled": 2}]
MEANS = ("mean", "marginal")
MARGINAL = [
    {"fidelity": "marginal", "binary_input": True},
    {"fidelity": "marginal", "binary_input": True, "pooled": 3},
    {"fidelity": "marginal", "binary_input": True, "estimator": "smoothed"},  # which has no part in it
]
KINDS_AND_FIDELITIES = list(itertools.product(LAYERS, FIDELITIES))


def made(kind: str, **options: object) -> tuple[StochasticLayer, Tensor]:
    torch.manual_seed(0)
    make, shape, _ = LAYERS[kind]
    return make(**options), torch.randn(shape)


def one_pass(layer: nn.Module, x: Tensor, seed: int = 1) -> Tensor:
    with nsm.nn.draws(layer, seed=seed, samples=0, inputs=torch.arange(len(x))):
        result: Tensor = layer(x)
    return result


@pytest.mark.parametrize(("kind", "fidelity"), KINDS_AND_FIDELITIES)
def test_shapes_and_values_are_those_of_torch_with_signs(kind: str, fidelity: Fidelity) -> None:
    layer, x = made(kind, fidelity=fidelity)
    torch_layer = LAYERS[kind][2]
    z = layer(x)
    assert z.shape == torch_layer(x).shape
    assert z.abs().max() <= 1.0
    if fidelity not in MEANS:
        positive = (z + 1.0) * (0.5 * layer.population)
        torch.testing.assert_close(positive, positive.round())
        assert len(z.unique()) > layer.population / 2
    if kind != "linear-deep":
        assert layer(x[0]).shape == torch_layer(x[0]).shape


@pytest.mark.parametrize(("kind", "fidelity"), KINDS_AND_FIDELITIES)
def test_train_and_eval_change_nothing(kind: str, fidelity: Fidelity) -> None:
    layer, x = made(kind, fidelity=fidelity)
    assert torch.equal(one_pass(layer.train(), x), one_pass(layer.eval(), x))


@pytest.mark.parametrize(("kind", "fidelity"), KINDS_AND_FIDELITIES)
def test_the_default_generator_decides_outside_a_fixed_pass(kind: str, fidelity: Fidelity) -> None:
    layer, x = made(kind, fidelity=fidelity)
    torch.manual_seed(5)
    first = layer(x)
    torch.manual_seed(5)
    assert torch.equal(layer(x), first)
    many = torch.stack([layer(x) for _ in range(20)])
    assert (many == many[0]).all() == (fidelity in (*MEANS, "threshold"))


@pytest.mark.parametrize(("kind", "fidelity"), KINDS_AND_FIDELITIES)
@pytest.mark.parametrize("declared", DECLARATIONS, ids=str)
def test_every_fidelity_has_the_gradient_of_the_mean(
    kind: str, fidelity: Fidelity, declared: dict[str, Any]
) -> None:
    layer, x = made(kind, fidelity=fidelity, **declared)
    x = torch.sign(x).requires_grad_()
    inputs = (x, layer.product.weight, layer.beta, layer.bias)
    weights = torch.randn_like(layer(x))
    with nsm.fidelity("mean"):
        expected = torch.autograd.grad((layer(x) * weights).sum(), inputs)
    found = torch.autograd.grad((layer(x) * weights).sum(), inputs)
    # As the mean of a sign, an input also says how much that sign varies.
    first = 1 if fidelity == "marginal" and layer.binary_input else 0
    for got, wanted in zip(found[first:], expected[first:], strict=True):
        torch.testing.assert_close(got, wanted, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("declared", [{"fidelity": "mean"}, *MARGINAL], ids=str)
def test_gradients_of_means_by_finite_differences(kind: str, declared: dict[str, Any]) -> None:
    layer, x = made(kind, eta=0.3, dtype=torch.float64, **declared)
    x = x.tanh() if layer.binary_input else x
    names = ("product.weight", "beta", "bias")

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        return result

    parameters = [layer.get_parameter(name).detach().clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(forward, (x[:2].double().requires_grad_(), *parameters))


def test_the_straight_through_gradient_by_value() -> None:
    layer = nsm.nn.Linear(2, 3, bias=False, estimator="straight-through", noise=nsm.Gaussian(math.sqrt(0.5)))
    with torch.no_grad():
        # ||w|| = 1 and sqrt(2) s = 1: s_i = w_i . z = 0.5, 1, 2.
        layer.product.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
        layer.beta.copy_(torch.tensor([0.5, 1.0, 2.0]))
    layer.binary_input = True
    layer(torch.ones(1, 2)).sum().backward()
    torch.testing.assert_close(layer.beta.grad, torch.tensor([1.0, 1.0, 0.0]))


def test_the_smoothed_gradient_is_that_of_twice_the_noise() -> None:
    layers = [
        nsm.nn.Linear(2, 3, bias=False, estimator=estimator, noise=nsm.Gaussian(std), binary_input=True)
        for estimator, std in (("smoothed", 0.4), ("probability", 0.8))
    ]
    gradients = []
    for layer in layers:
        with torch.no_grad():
            layer.product.weight.copy_(torch.tensor([[1.0, 0.5], [0.2, 1.0], [-3.0, 0.1]]))
            layer.a = 0.3
        x = torch.ones(1, 2, requires_grad=True)
        layer(x).sum().backward()
        gradients.append((x.grad, layer.product.weight.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_probability_gradient_by_value() -> None:
    layer = nsm.nn.Linear(2, 2, bias=False, noise=nsm.Gaussian(math.sqrt(0.5)), binary_input=True)
    with torch.no_grad():
        layer.product.weight.copy_(torch.eye(2))
        layer.beta.copy_(torch.tensor([0.5, -1.5]))
    layer(torch.tensor([[1.0, 1.0]])).sum().backward()
    expected = torch.tensor(
        [2 / math.sqrt(math.pi) * math.exp(-0.25), 2 / math.sqrt(math.pi) * math.exp(-2.25)]
    )
    torch.testing.assert_close(layer.beta.grad, expected)


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_neurons_without_variance_are_deterministic(fidelity: Fidelity, declared: bool) -> None:
    layer = nsm.nn.Linear(3, 3, fidelity=fidelity, binary_input=declared)
    with torch.no_grad():
        layer.product.weight.zero_()
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    x = torch.ones(4, 3, requires_grad=True)
    z = layer(x)
    assert torch.equal(z, torch.tensor([-1.0, 1.0, 1.0]).expand(4, 3))
    z.sum().backward()
    for tensor in (x, layer.product.weight, layer.beta, layer.bias):
        assert tensor.grad is not None
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"pooled": 0, "binary_input": True}, "pooled must be a whole number of signs >= 1, got 0"),
        ({"pooled": 2.0, "binary_input": True}, "pooled must be a whole number of signs >= 1, got 2.0"),
        ({"pooled": 4}, "pooled=4 says that inputs are averages of signs: binary_input must be True"),
        ({"population": 0}, "population must be a whole number from 1 to 255, got 0"),
        ({"population": True}, "population must be a whole number from 1 to 255, got True"),
        ({"population": 2, "bias": False}, "population=2 needs a bias: without one its neurons would be"),
        ({"standardized": 1}, "standardized must be True or False, got 1"),
        ({"standardized": True, "bias": False}, "standardized=True needs a bias"),
    ],
)
def test_impossible_declarations_are_refused(declared: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        nsm.nn.Linear(3, 2, **declared)


@pytest.mark.parametrize("size", [0, (2, 2, 2), (2, 0), "22", 2.0, (2.0, 2.0), None])
def test_impossible_windows_are_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="max_pool must be a size >= 1 or one for each of 2 dimensions"):
        nsm.nn.Conv2d(1, 2, 3, max_pool=size)


def test_no_input_gives_no_sample() -> None:
    assert nsm.nn.Linear(3, 2)(torch.rand(0, 3)).shape == (0, 2)
    assert nsm.nn.Conv2d(1, 2, 3)(torch.rand(0, 1, 4, 4)).shape == (0, 2, 2, 2)


@pytest.mark.parametrize("shape", [(4, 4), (2, 1, 1, 4, 4)])
def test_inputs_of_other_dimensions_are_refused_as_torch_does(shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match=r"Expected 3D .* or 4D"):
        nsm.nn.Conv2d(1, 2, 3)(torch.rand(shape))


def test_a_window_larger_than_the_product_is_refused() -> None:
    layer = nsm.nn.Conv2d(1, 2, 3, max_pool=4)
    with pytest.raises(
        ValueError, match=r"max_pool \(4, 4\) is larger than the product's \(3, 5\) positions"
    ):
        layer(torch.randn(2, 1, 5, 7))


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_an_all_zero_input_is_defined(fidelity: Fidelity) -> None:
    layer = nsm.nn.Conv1d(1, 2, 3, padding=1, fidelity=fidelity)
    with torch.no_grad():
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor([0.5, -0.5]))
    x = torch.zeros(2, 1, 5, requires_grad=True)
    z = layer(x)
    assert torch.equal(z, torch.tensor([1.0, -1.0])[:, None].expand(2, 2, 5))
    z.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("law", [nsm.Bernoulli(0.25), nsm.Gaussian(0.4), nsm.Measured([0.5, 2.0])], ids=repr)
def test_a_realises_beta(law: nsm.NoiseLaw) -> None:
    layer = nsm.nn.Linear(5, 3, noise=law)
    torch.testing.assert_close(layer.a, torch.zeros(3), atol=1e-6, rtol=0)
    layer.a = torch.tensor([0.5, -0.25, 1.0])
    torch.testing.assert_close(layer.a, torch.tensor([0.5, -0.25, 1.0]))
    torch.testing.assert_close(layer.beta, (law.mean + layer.a) / math.sqrt(2 * law.variance))
    layer.a = 0.1
    torch.testing.assert_close(layer.a, torch.full((3,), 0.1))


@pytest.mark.parametrize("kind", LAYERS)
def test_state_is_parameters_alone_and_survives_files(kind: str) -> None:
    layer, x = made(kind)
    layer(x)
    assert set(layer.state_dict()) == {"product.weight", "beta", "bias"}
    other = LAYERS[kind][0]()
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(dict(layer.state_dict()))))
    assert torch.equal(one_pass(other, x), one_pass(layer, x))
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize("kind", LAYERS)
def test_copies_are_equal_and_independent(kind: str) -> None:
    layer, x = made(kind)
    twin = copy.deepcopy(layer)
    assert torch.equal(one_pass(twin, x), one_pass(layer, x))
    assert torch.equal(one_pass(pickle.loads(pickle.dumps(layer)), x), one_pass(layer, x))
    with torch.no_grad():
        twin.beta.zero_()
    assert not torch.equal(twin.beta, layer.beta)


@pytest.mark.parametrize("kind", LAYERS)
def test_batches_of_any_size_and_company_draw_the_same(kind: str) -> None:
    layer, x = made(kind)
    x = x.repeat_interleave(86, 0)[:256]
    whole = one_pass(layer, x)
    for size in (1, 7):
        for first in range(0, 21, size):
            part = x[first : first + size]
            with nsm.nn.draws(layer, seed=1, samples=0, inputs=torch.arange(first, first + len(part))):
                assert torch.equal(layer(part), whole[first : first + size])


def test_two_threads_of_torch_draw_what_one_draws() -> None:
    layer, x = made("conv2d")
    x = x.repeat(40, 1, 1, 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = one_pass(layer, x)
        torch.set_num_threads(2)
        assert torch.equal(one_pass(layer, x), alone)
    finally:
        torch.set_num_threads(before)


def test_several_samples_share_the_first_product() -> None:
    net = nn.Sequential(nsm.nn.Linear(6, 5), nsm.nn.Linear(5, 4, binary_input=True), nn.Linear(4, 2))
    calls: list[int] = []
    net[0].product.register_forward_hook(lambda _module, _inputs, output: calls.append(len(output)))
    x, samples = torch.randn(3, 6), torch.arange(10, 17)
    together = nsm.nn.sample_outputs(net, x, seed=4, samples=samples, inputs=torch.arange(3))
    assert together.shape == (3, 7, 2)
    assert calls == [3]
    for i, sample in enumerate(samples.tolist()):
        with nsm.nn.draws(net, seed=4, samples=sample, inputs=torch.arange(3)):
            torch.testing.assert_close(net(x), together[:, i])


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nsm.nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def test_networks_that_are_no_chains_are_sampled_all_the_same() -> None:
    net = nn.Sequential(_Residual(), nsm.nn.Linear(6, 4))
    assert not nsm.nn.is_chain(net)
    x = torch.randn(3, 6)
    together = nsm.nn.sample_outputs(net, x, seed=4, samples=torch.arange(5), inputs=torch.arange(3))
    with nsm.nn.draws(net, seed=4, samples=3, inputs=torch.arange(3)):
        torch.testing.assert_close(net(x), together[:, 3])


def test_sequences_that_do_more_are_no_chains() -> None:
    x, inputs, samples = torch.randn(3, 6), torch.arange(3), torch.arange(5)
    hooked, changed = (nn.Sequential(nsm.nn.Linear(6, 6)) for _ in range(2))
    hooked.register_forward_hook(lambda _module, received, output: received[0] + output)
    forward = changed.forward
    changed.forward = lambda x: x + forward(x)  # type: ignore[method-assign]
    for net in (hooked, changed):
        assert not nsm.nn.is_chain(nn.Sequential(net))
        assert nsm.nn.sample_outputs(net, x, seed=4, samples=samples, inputs=inputs).shape == (3, 5, 6)


def test_a_layer_applied_twice_draws_afresh() -> None:
    layer = nsm.nn.Linear(1, 200, bias=False)
    x = torch.zeros(1, 1) + 1e-3
    with torch.no_grad():
        layer.a = -0.5
    with nsm.nn.draws(layer, seed=0, samples=0, inputs=torch.arange(1)):
        assert not torch.equal(layer(x), layer(x))


def in_a_thread(action: Callable[[], object]) -> None:
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


def test_passes_of_networks_that_share_layers_leave_each_other_alone() -> None:
    net = nn.Sequential(nsm.nn.Linear(6, 8), nsm.nn.Linear(8, 8))
    part, x, received, seen = net[1:], torch.randn(3, 6), torch.randn(3, 8), []

    fixed = functools.partial(nsm.nn.draws, seed=4, samples=0, inputs=torch.arange(3))

    def use_a_part() -> None:
        with fixed(part):
            seen.append(part(received))

    with fixed(net):
        expected = net(x)
    use_a_part()
    for use in (use_a_part, lambda: in_a_thread(use_a_part)):
        with fixed(net):
            use()
            assert torch.equal(net(x), expected)
    assert all(torch.equal(found, seen[0]) for found in seen)


def test_a_pass_within_what_is_checkpointed_is_drawn_again_alike() -> None:
    net = nn.Sequential(nsm.nn.Linear(6, 8), nsm.nn.Linear(8, 8, binary_input=True), nn.Linear(8, 2))
    x = torch.randn(5, 6, requires_grad=True)

    def gradients(loss: Tensor) -> tuple[Tensor, ...]:
        net.zero_grad()
        loss.backward()
        return tuple(p.grad.clone() for p in net.parameters() if p.grad is not None)

    expected = gradients(one_pass(net, x).square().sum())
    again = checkpoint(lambda inputs: one_pass(net, inputs), x, use_reentrant=True)
    torch.testing.assert_close(gradients(again.square().sum()), expected, rtol=0, atol=0)


def test_a_pass_refuses_a_batch_that_it_does_not_cover() -> None:
    layer = nsm.nn.Linear(2, 2)
    with (
        nsm.nn.draws(layer, seed=0, samples=0, inputs=torch.arange(4)),
        pytest.raises(ValueError, match="4 rows but a layer received a batch of 3"),
    ):
        layer(torch.ones(3, 2))


def test_a_pass_has_one_sample_for_every_row() -> None:
    with (
        pytest.raises(ValueError, match=r"samples must be .* for each of the 2 rows of inputs, .* \(3,\)"),
        nsm.nn.draws(nn.Identity(), seed=0, samples=torch.arange(3), inputs=torch.arange(2)),
    ):
        pass


def test_the_fidelity_of_a_block_ends_with_it() -> None:
    layer, x = nsm.nn.Linear(3, 4, fidelity="synapse"), torch.randn(2, 3)

    def leave_by_an_error() -> None:
        with nsm.fidelity("mean"):
            with nsm.fidelity("threshold"):
                assert set(layer(x).abs().unique().tolist()) == {1.0}
            assert layer(x).abs().max() < 1.0
            raise RuntimeError("out")

    with pytest.raises(RuntimeError, match="out"):
        leave_by_an_error()
    assert set(layer(x).abs().unique().tolist()) == {1.0}


def test_the_fidelity_of_a_block_is_its_threads_own() -> None:
    layer, x, seen = nsm.nn.Linear(3, 4), torch.randn(2, 3), []
    with nsm.fidelity("mean"):
        in_a_thread(lambda: seen.append(layer(x)))
    assert set(seen[0].abs().unique().tolist()) == {1.0}


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("declared", [False, True])
def test_compiled_layers_draw_the_same_without_graph_breaks(declared: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nsm.nn.Conv2d(1, 4, 3, padding=1, binary_input=declared),
        nn.Flatten(),
        nsm.nn.Linear(64, 5, binary_input=True),
    )
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    x = torch.sign(torch.randn(3, 1, 4, 4))
    assert torch.equal(one_pass(compiled, x), one_pass(net, x))
    compiled(x).sum().backward()
    assert compiled(x).shape == (3, 5)


def test_channels_last_is_kept_and_draws_the_same() -> None:
    layer = nsm.nn.Conv2d(3, 8, 3)
    x = torch.randn(2, 3, 9, 9)
    plain = one_pass(layer, x)
    last = one_pass(
        layer.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    )
    assert last.is_contiguous(memory_format=torch.channels_last)
    # The products' last bits may differ between formats: a sample flips only where its threshold is met to 24
    # bits.
    assert (last == plain).float().mean() > 0.999


def test_autocast_gives_bfloat16_samples() -> None:
    layer, x = nsm.nn.Linear(20, 30, binary_input=True), torch.sign(torch.randn(4, 20))
    with torch.autocast("cpu", torch.bfloat16):
        z = layer(x)
    assert z.dtype == torch.bfloat16
    assert set(z.unique().tolist()) == {-1.0, 1.0}
    z.sum().backward()
    assert layer.beta.grad is not None
    assert layer.beta.grad.dtype == torch.float32


def test_the_product_is_a_plain_child_that_pruning_sees() -> None:
    layer = nsm.nn.Linear(8, 3)
    prune.l1_unstructured(layer.product, "weight", amount=0.5)
    assert (layer.weight == 0).sum() == 12
    layer(torch.randn(2, 8)).sum().backward()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"fidelity": "exact"},
            ValueError,
            "fidelity must be one of moment, synapse, unit, mean, marginal, threshold, got 'exact'",
        ),
        (
            {"estimator": "ste"},
            ValueError,
            "estimator must be one of probability, straight-through, smoothed, got 'ste'",
        ),
        ({"eta": -1.0}, ValueError, "eta must be a finite standard deviation >= 0, got -1.0"),
        ({"eta": math.nan}, ValueError, "eta must be"),
        ({"eta": "x"}, ValueError, "eta must be a finite standard deviation >= 0, got 'x'"),
        ({"noise": 0.5}, TypeError, "noise must be a noise law such as"),
    ],
)
def test_impossible_arguments_are_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        nsm.nn.Linear(3, 3, **options)  # type: ignore[arg-type]


def test_an_unknown_fidelity_of_a_block_is_refused() -> None:
    unknown = nsm.fidelity("exact")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fidelity must be one of"), unknown:
        pass


def test_a_broken_network_does_not_pass_for_a_working_one() -> None:
    layer = nsm.nn.Linear(2, 2)
    assert layer(torch.tensor([[math.nan, 1.0]])).isnan().all()


@pytest.fixture
def default_dtype() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize(
    "law", [nsm.Gaussian(0.5), nsm.Measured([0.5, 1.0, 1.7])], ids=["gaussian", "measured"]
)
@pytest.mark.usefixtures("default_dtype")
def test_torchs_default_dtype_changes_no_draw(
    dtype: torch.dtype, fidelity: Fidelity, law: nsm.NoiseLaw
) -> None:
    layer = nsm.nn.Linear(64, 30, noise=law, fidelity=fidelity, eta=0.1)
    x = torch.randn(5, 64)
    with nsm.nn.draws(layer, seed=1, samples=0, inputs=torch.arange(5)):
        before = layer(x)
    torch.set_default_dtype(dtype)
    with nsm.nn.draws(layer, seed=1, samples=0, inputs=torch.arange(5)):
        assert torch.equal(layer(x), before)


@pytest.mark.parametrize("pooled", range(2, 129))
def test_every_average_has_its_number_of_positive_signs(pooled: int) -> None:
    layer = nsm.nn.Linear(3, 2, binary_input=True, pooled=pooled)
    positive = torch.arange(pooled + 1)
    averages = torch.where(torch.arange(pooled) < positive[:, None], 1.0, -1.0).mean(1)
    assert torch.equal((layer._signs(averages) > 0).sum(1), positive)


@pytest.mark.parametrize("binary_input", [False, True])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_float16_draws_as_float32_does(fidelity: Fidelity, binary_input: bool) -> None:
    layer = nsm.nn.Linear(16, 8, fidelity=fidelity, binary_input=binary_input).half()
    x = torch.sign(torch.randn(40, 16)).half()
    z = layer(x)
    assert z.dtype == torch.float16
    assert z.abs().max() <= 1.0
    with torch.autocast("cpu", dtype=torch.float16):
        assert layer.float()(x.float()).abs().max() <= 1.0
        assert nsm.nn.Conv2d(1, 8, 3, fidelity=fidelity)(torch.rand(2, 1, 6, 6)).abs().max() <= 1.0


@pytest.mark.parametrize("half", ["inputs", "autocast"])
@pytest.mark.parametrize("kind", LAYERS)
def test_squares_that_float16_cannot_hold_are_not_lost(kind: str, half: str) -> None:
    layer, x = made(kind, fidelity="mean")
    x = 500.0 * x
    expected = layer(x)
    if half == "inputs":
        found = copy.deepcopy(layer).half()(x.half())
    else:
        with torch.autocast("cpu", dtype=torch.float16):
            found = layer(x)
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=0)
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize("strict", [False, True])
def test_a_network_is_exported_for_batches_of_any_size(strict: bool) -> None:
    net = nn.Sequential(
        nsm.nn.Conv2d(1, 4, 3, max_pool=2, population=3, standardized=True),
        nn.Flatten(),
        nsm.nn.Linear(16, 5, binary_input=True, pooled=3),
    ).eval()
    sizes = ({0: torch.export.Dim("batch", min=2)},)
    exported = torch.export.export(net, (torch.rand(3, 1, 6, 6),), dynamic_shapes=sizes, strict=strict)
    assert exported.module()(torch.rand(7, 1, 6, 6)).shape == (7, 5)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("kind", LAYERS)
def test_no_inputs_give_no_outputs(kind: str, fidelity: Fidelity) -> None:
    make, shape, plain = LAYERS[kind]
    x = torch.empty(0, *shape[1:])
    assert make(fidelity=fidelity)(x).shape == plain(x).shape
    assert make(fidelity=fidelity, binary_input=True)(x).shape == plain(x).shape


@pytest.mark.parametrize("declared", [False, True])
def test_shapes_are_found_without_numbers(declared: bool) -> None:
    kind = "conv2d-population"
    layer, x = made(kind, binary_input=declared, device="meta", dtype=torch.float16)
    z = layer(x.to("meta", torch.float16))
    assert (z.device.type, z.dtype, z.shape) == ("meta", torch.float16, LAYERS[kind][2](x).shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"binary_input": "no"}, "binary_input must be True or False, got 'no'"),
        ({"eta": True}, "eta must be a finite standard deviation"),
        ({"binary_input": True, "pooled": True}, "pooled must be a whole number"),
        ({"max_pool": True}, "max_pool must be a size"),
    ],
)
def test_what_is_no_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nsm.nn.Conv1d(1, 2, 3, **options)


def test_binarize_keeps_nan_and_takes_no_integers() -> None:
    signs = nsm.nn.Binarize()(torch.tensor([0.2, 0.5, math.nan]))
    assert signs[:2].tolist() == [-1.0, 1.0]
    assert signs[2].isnan()
    with pytest.raises(TypeError, match=r"x must be floating point, in \[0, 1\], got torch.uint8"):
        nsm.nn.Binarize()(torch.tensor([0, 255], dtype=torch.uint8))
