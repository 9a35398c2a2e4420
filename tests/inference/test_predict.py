"""Prediction against an obvious loop, its measures against closed forms, and what must not change it."""

import copy
import math
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import nsm
from nsm.nn import FIDELITIES, Fidelity
from tests.inference.nets import NETS, exact, obvious_votes, pixels, rectifiers

FLOATS = ("probabilities", "entropy", "expected_entropy", "mutual_information")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("fidelity", ["moment", "synapse", "unit"])
def test_it_is_a_loop_over_forward_passes(kind: str, fidelity: Fidelity) -> None:
    net, x, inputs = exact(kind, fidelity=fidelity), pixels(5), torch.tensor([3, 0, 7, 2**32 - 1, 4])
    votes = obvious_votes(net, x, 11, 8, inputs)
    assert not torch.equal(votes[:, 0], votes[:, 1])
    prediction = nsm.predict(net, x, samples=11, seed=8, votes=True, inputs=inputs)
    torch.testing.assert_close(prediction.votes, votes, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(prediction.probabilities, votes.mean(1), rtol=1e-6, atol=1e-7)
    assert prediction.samples_used.tolist() == [11] * 5
    assert prediction.samples_used.dtype == torch.int64
    assert nsm.predict(net, x, samples=11, seed=8, inputs=inputs).votes is None


def test_noisy_rectifiers_are_a_loop_over_forward_passes_too() -> None:
    torch.manual_seed(0)
    net, x, inputs = rectifiers(), torch.rand(5, 1, 8, 8), torch.arange(5)
    votes = obvious_votes(net, x, 11, 8, inputs)
    assert (votes[:, 0] - votes[:, 1]).abs().max() > 1e-3
    state = torch.get_rng_state()
    got = nsm.predict(net, x, samples=11, seed=8, votes=True, memory_mib=0.01).votes
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(got, votes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", NETS)
def test_votes_do_not_depend_on_batches_memory_or_threads(kind: str, threads: None) -> None:
    net, x, inputs = exact(kind), pixels(256), torch.arange(256)
    torch.set_num_threads(1)
    whole = nsm.predict(net, x, samples=7, votes=True)
    for memory in (1e-6, 0.005, 0.05, 4.0):
        got = nsm.predict(net, x[:40], samples=7, votes=True, memory_mib=memory)
        assert torch.equal(got.votes, whole.votes[:40])
        for name in FLOATS:
            torch.testing.assert_close(
                getattr(got, name), getattr(whole, name)[:40], rtol=1e-6, atol=1e-7, msg=name
            )
    for size in (1, 7):
        for first in range(0, 22, size):
            part = slice(first, first + size)
            got = nsm.predict(net, x[part], samples=7, votes=True, inputs=inputs[part])
            assert torch.equal(got.votes, whole.votes[part])
    torch.set_num_threads(2)
    assert torch.equal(nsm.predict(net, x, samples=7, votes=True).votes, whole.votes)


def test_fewer_samples_are_the_first_of_more() -> None:
    net, x = exact("conv"), pixels(9)
    many = nsm.predict(net, x, samples=50, votes=True).votes
    assert torch.equal(nsm.predict(net, x, samples=20, votes=True).votes, many[:, :20])


def test_rounding_in_another_batch_flips_hardly_a_draw() -> None:
    torch.manual_seed(0)
    net, x = nsm.models.build("digits-mlp"), torch.rand(256, 1, 8, 8)
    recorded: list[Tensor] = []
    net[-1].register_forward_pre_hook(lambda _module, inputs: recorded.append(inputs[0]))
    seen = []
    for memory in (0.5, 256.0):
        nsm.predict(net, x, samples=50, memory_mib=memory)
        assert len(recorded) >= 2
        seen.append(torch.cat(recorded[1:]))
        recorded.clear()
    assert seen[0].shape == seen[1].shape == (256 * 50, 128)
    # 4.9 million neurons drawn, each of whose thresholds rounding may move by a few of its 2^24 steps.
    assert (seen[0] != seen[1]).any(1).sum() <= 10


def test_the_default_indices_are_the_places_in_the_batch_and_seeds_matter() -> None:
    net, x = exact("mlp"), pixels(6)
    first = nsm.predict(net, x, samples=5, votes=True).votes
    assert torch.equal(
        nsm.predict(net, x, samples=5, votes=True, seed=0, inputs=torch.arange(6)).votes, first
    )
    assert not torch.equal(nsm.predict(net, x, samples=5, votes=True, seed=1).votes, first)
    assert not torch.equal(nsm.predict(net, x, samples=5, votes=True, inputs=torch.arange(1, 7)).votes, first)
    by_generator = [
        nsm.predict(net, x, samples=5, votes=True, seed=torch.Generator().manual_seed(3)).votes
        for _ in range(2)
    ]
    assert torch.equal(*by_generator)


def test_the_callers_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    nsm.predict(exact("mlp"), pixels(3), samples=5)
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    exact("mlp"), pixels(3)
    assert torch.equal(torch.get_rng_state(), after)


def test_measures_are_those_of_scipy() -> None:
    prediction = nsm.predict(exact("conv"), pixels(30), samples=40, votes=True)
    votes = prediction.votes.double().numpy()
    mean = votes.mean(1)
    whole, own = scipy.stats.entropy(mean, axis=1), scipy.stats.entropy(votes, axis=2).mean(1)
    np.testing.assert_allclose(prediction.probabilities, mean, atol=1e-7)
    np.testing.assert_allclose(prediction.entropy, whole, atol=1e-6)
    np.testing.assert_allclose(prediction.expected_entropy, own, atol=1e-6)
    np.testing.assert_allclose(prediction.mutual_information, whole - own, atol=1e-6)
    assert prediction.mutual_information.min() > 1e-3


def two_classes(logit: float) -> nn.Module:
    """One neuron that fires half of the time at x = 0, and the logits (a z, -a z)."""
    net = nn.Sequential(nsm.nn.Linear(1, 1), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        net[0].product.weight.fill_(1.0)
        net[0].a = -net[0].noise.mean
        net[0].bias.zero_()
        net[1].weight.copy_(torch.tensor([[logit], [-logit]]))
    return net


@pytest.mark.parametrize("logit", [0.0, 0.5, 20.0])
def test_two_classes_by_hand(logit: float) -> None:
    prediction = nsm.predict(two_classes(logit), torch.ones(1, 1), samples=1000, seed=5, votes=True)
    q = 1.0 / (1.0 + math.exp(-2.0 * logit))  # the softmax of (a, -a)
    fired = float((prediction.votes[0, :, 0] > 0.5).float().mean()) if logit else 0.5
    assert abs(fired - 0.5) < 4 * 0.5 / math.sqrt(1000)
    mean = fired * q + (1.0 - fired) * (1.0 - q)

    def entropy(p: float) -> float:
        return -sum(x * math.log(x) for x in (p, 1.0 - p) if x > 0.0)

    torch.testing.assert_close(
        prediction.probabilities, torch.tensor([[mean, 1.0 - mean]]), atol=1e-6, rtol=0
    )
    assert prediction.entropy.item() == pytest.approx(entropy(mean), abs=1e-6)
    assert prediction.expected_entropy.item() == pytest.approx(entropy(q), abs=1e-6)
    assert prediction.mutual_information.item() == pytest.approx(entropy(mean) - entropy(q), abs=1e-6)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("samples", [1, 2, 30])
def test_uncertainty_is_conserved_and_bounded(kind: str, samples: int) -> None:
    p = nsm.predict(exact(kind), pixels(64), samples=samples)
    torch.testing.assert_close(p.probabilities.sum(1), torch.ones(64))
    assert p.mutual_information.min() >= 0.0
    assert p.expected_entropy.min() >= 0.0
    assert p.entropy.max() <= math.log(3) + 1e-6
    torch.testing.assert_close(p.expected_entropy + p.mutual_information, p.entropy)
    if samples == 1:
        assert p.mutual_information.max() == 0.0


def test_certain_predictions_have_no_entropy() -> None:
    net = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1e4], [-1e4]]))
    prediction = nsm.predict(net, torch.ones(1, 1))
    assert [getattr(prediction, name).tolist() for name in FLOATS] == [[[1.0, 0.0]], [0.0], [0.0], [0.0]]


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_network_that_draws_nothing_takes_one_pass(fidelity: Fidelity) -> None:
    net, x = exact("mlp"), pixels(5)
    rows: list[int] = []
    net[-1].register_forward_hook(lambda _module, _inputs, output: rows.append(len(output)))
    with nsm.fidelity(fidelity):
        prediction = nsm.predict(net, x, samples=20, votes=True)
        expected = net(x).softmax(-1)
    samples = 1 if fidelity in ("mean", "marginal", "threshold") else 20
    assert sum(rows[1:-1]) == 5 * samples  # without the one that measures and the one just above
    assert prediction.samples_used.tolist() == [samples] * 5
    assert prediction.votes.shape == (5, samples, 3)
    if samples == 1:
        torch.testing.assert_close(prediction.probabilities, expected)
        assert prediction.mutual_information.max() == 0.0


@pytest.mark.parametrize("model", ["twin", "twin-bn", "twin-wn", "twin-dropout", "bd", "bn"])
def test_conventional_networks_are_run_as_in_evaluation(model: nsm.models.Model) -> None:
    torch.manual_seed(0)
    net, x = nsm.models.build("digits-mlp", model=model), torch.rand(6, 1, 8, 8)
    net.train()
    net(x)  # statistics of batch normalization that are not the initial ones
    expected = net.eval()(x).softmax(-1)
    net.train()
    net[1].eval()
    modes = [module.training for module in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    prediction = nsm.predict(net, x)
    torch.testing.assert_close(prediction.probabilities, expected)
    assert prediction.samples_used.tolist() == [1] * 6
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_modes_are_restored_after_an_error() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken")

    net = nn.Sequential(nn.Dropout(), Broken()).train()
    net[1].eval()
    with pytest.raises(RuntimeError, match="broken"):
        nsm.predict(net, torch.ones(1, 1))
    assert [module.training for module in net.modules()] == [True, True, False]


def test_predictions_have_no_gradient_and_can_be_used_where_others_have() -> None:
    prediction = nsm.predict(exact("mlp"), pixels(2), samples=3)
    assert not prediction.probabilities.requires_grad
    weight = torch.ones(3, requires_grad=True)
    (prediction.probabilities @ weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("dtype", "result"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)]
)
def test_results_are_float32_at_the_least(dtype: torch.dtype, result: torch.dtype) -> None:
    prediction = nsm.predict(exact("mlp").to(dtype), pixels(2).to(dtype), samples=3, votes=True)
    assert {getattr(prediction, name).dtype for name in (*FLOATS, "votes")} == {result}


def test_autocast_is_in_force() -> None:
    net, seen = exact("mlp"), []
    net[-1].register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        prediction = nsm.predict(net, pixels(2), samples=3)
    assert set(seen) == {torch.bfloat16}
    assert prediction.probabilities.dtype == torch.float32


@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiled_network_predicts_the_same() -> None:
    net, x = exact("mlp"), pixels(4)
    compiled = torch.compile(net, backend="aot_eager")
    expected = nsm.predict(net, x, samples=6, votes=True).votes
    torch.testing.assert_close(nsm.predict(compiled, x, samples=6, votes=True).votes, expected)
    # The passes that are measured leave no mark on the compiler.
    whole = torch.compile(exact("mlp"), backend="aot_eager", fullgraph=True)
    assert whole(x).shape == (4, 3)


def test_broken_weights_show() -> None:
    net = exact("mlp")
    with torch.no_grad():
        net[1].product.weight[0, 0] = math.nan
    assert nsm.predict(net, pixels(2), samples=3).probabilities.isnan().all()


NAN = torch.full((2, 1, 4, 4), 0.5)
NAN[1, 0, 2, 2] = math.nan


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"net": torch.relu}, TypeError, "net must be a torch.nn.Module, got builtin"),
        ({"x": [[0.0]]}, TypeError, "x must be a tensor, got list"),
        (
            {"x": torch.ones(2, 1, 4, 4, dtype=torch.uint8)},
            TypeError,
            "x must be floating point, got torch.uint8",
        ),
        (
            {"x": torch.ones(0, 1, 4, 4)},
            ValueError,
            r"x must have shape \(B, ...\) with B >= 1, got \(0, 1, 4, 4\)",
        ),
        ({"x": torch.ones(4)}, ValueError, r"x must have shape \(B, ...\) with B >= 1, got \(4,\)"),
        ({"x": NAN}, ValueError, "x must be finite, but input 1 holds NaN or infinity"),
        ({"x": NAN / 0.0}, ValueError, "x must be finite, but input 0 holds NaN or infinity"),
        (
            {"x": torch.ones(2, 1, 4, 4, dtype=torch.float64)},
            TypeError,
            r"x must be torch\.float32, as this network is, got torch\.float64",
        ),
        ({"samples": 0}, ValueError, r"samples must be in \[1, 2\^32\], got 0"),
        ({"samples": 2**32 + 1}, ValueError, r"samples must be in \[1, 2\^32\], got 4294967297"),
        ({"samples": 2.0}, TypeError, "samples must be an int, got float"),
        ({"samples": True}, TypeError, "samples must be an int, got bool"),
        ({"seed": -1}, ValueError, "seed must be in"),
        ({"seed": "0"}, TypeError, "seed must be an int, a torch.Generator or None, got str"),
        ({"inputs": [0, 1]}, TypeError, "inputs must be an int64 tensor, got list"),
        (
            {"inputs": torch.tensor([0.0, 1.0])},
            TypeError,
            "inputs must be an int64 tensor, got torch.float32",
        ),
        ({"inputs": torch.arange(3)}, ValueError, r"inputs must have shape \(2,\).*got \(3,\)"),
        (
            {"inputs": torch.tensor([0, -1])},
            ValueError,
            r"inputs must hold indices in \[0, 2\^32\), got -1 to 0",
        ),
        ({"inputs": torch.tensor([0, 2**32])}, ValueError, "got 0 to 4294967296"),
        ({"votes": "yes"}, ValueError, "votes must be True or False, got 'yes'"),
        ({"votes": 1, "confidence": 0.9}, ValueError, "votes must be True or False, got 1"),
        ({"memory_mib": 0}, ValueError, "memory_mib must be a finite number > 0, got 0"),
        ({"memory_mib": math.nan}, ValueError, "memory_mib must be a finite number > 0, got nan"),
        ({"memory_mib": "1"}, TypeError, "memory_mib must be a number, got str"),
    ],
)
def test_impossible_arguments_are_refused(
    changes: dict[str, object], error: type[Exception], message: str
) -> None:
    arguments = {"net": exact("mlp"), "x": pixels(2), **changes}
    with pytest.raises(error, match=message):
        nsm.predict(arguments.pop("net"), arguments.pop("x"), **arguments)


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (1, 8, 8), (2, 64)])
def test_a_published_network_says_what_it_takes(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"x must have shape \(B, 1, 8, 8\), which this network takes, got \("
    ):
        nsm.predict(nsm.models.build("digits-mlp"), torch.rand(shape))


class _Returns(nn.Module):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> object:
        return self.value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2), "net must return one tensor of 1 rows for as many inputs, got tuple"),
        (torch.ones(()), r"net must return one tensor of 1 rows for as many inputs, got \(\)"),
        (torch.ones(3, 2), r"net must return one tensor of 1 rows for as many inputs, got \(3, 2\)"),
        (torch.ones(1), r"net must return logits of shape \(N, C\), got \(1,\) for N = 1"),
        (torch.ones(1, 2, 2), r"net must return logits of shape \(N, C\), got \(1, 2, 2\) for N = 1"),
    ],
)
def test_outputs_that_are_no_logits_are_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nsm.predict(_Returns(value), torch.ones(1, 1))


def test_threads_leave_a_network_that_learns_as_it_was() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm1d(8), nsm.nn.Linear(8, 16), nn.Linear(16, 3)).train()
    x, seen = torch.rand(64, 8), []
    net[0].register_forward_hook(lambda module, _inputs, _output: seen.append(module.training))
    before = copy.deepcopy(net.state_dict())
    workers = [
        threading.Thread(target=lambda: [nsm.predict(net, x, samples=3) for _ in range(30)]) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not any(seen)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
