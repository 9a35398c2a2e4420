import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nsm
from nsm import models
from nsm.training import TrainingConfig
from nsm.training.averaging import WeightAverage
from nsm.training.muon import orthogonalized
from nsm.training.optimizer import build_optimizer, set_rates
from nsm.training.processes import launch
from nsm.training.schedule import Rates
from nsm.training.step import SampledNet, Shard, backward, losses


@pytest.fixture
def outputs():
    return torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


TARGETS = torch.tensor([0, 1, 2, 3, 0])


def test_average_is_the_cross_entropy_of_the_averaged_softmax(outputs):
    probabilities = outputs.softmax(-1).mean(1)
    expected = -probabilities[torch.arange(5), TARGETS].log()
    torch.testing.assert_close(losses(outputs, TARGETS, "average", 0.0), expected)
    smoothed = 0.9 * expected - 0.1 * probabilities.log().mean(-1)
    torch.testing.assert_close(losses(outputs, TARGETS, "average", 0.1), smoothed)


def test_sample_is_the_mean_of_the_cross_entropies(outputs):
    each = [F.cross_entropy(outputs[:, k], TARGETS, reduction="none", label_smoothing=0.1) for k in range(3)]
    torch.testing.assert_close(losses(outputs, TARGETS, "sample", 0.1), torch.stack(each).mean(0))


def test_both_agree_for_one_sample(outputs):
    one = outputs[:, :1]
    torch.testing.assert_close(losses(one, TARGETS, "sample", 0.1), losses(one, TARGETS, "average", 0.1))


def test_draws_depend_on_step_and_position_alone():
    sampled = SampledNet(models.build("digits-mlp"), seed=3, draws=2)
    images, positions = torch.rand(6, 1, 8, 8), torch.arange(6)
    whole = sampled(images, positions, 4)
    assert whole.shape == (6, 2, 10)
    torch.testing.assert_close(sampled(images[4:], positions[4:], 4), whole[4:])
    later = sampled(images, positions, 5)
    assert not torch.isclose(later, whole).all(-1).any()


@pytest.mark.parametrize(
    ("config", "fidelities"),
    [
        (TrainingConfig(means=0.5), ("mean", "mean", None, None)),
        (TrainingConfig(marginals=0.75), ("marginal", "marginal", "marginal", None)),
        (TrainingConfig(means=0.25, marginals=1.0), ("mean", "marginal", "marginal", "marginal")),
    ],
)
def test_the_first_steps_hand_on_means(config, fidelities):
    net = models.build("digits-mlp")
    shard = Shard(torch.rand(6, 1, 8, 8), torch.arange(6), torch.arange(6), 6)
    parameters = list(net.parameters())

    def gradient(seed, step):
        sampled = SampledNet(net, seed=seed, draws=1)
        backward(launch("32-true"), sampled, parameters, shard, config, step, 4)
        return torch.cat([parameter.grad.flatten() for parameter in parameters])

    def without_draws(name):
        net.zero_grad()
        with nsm.fidelity(name):
            F.cross_entropy(net(shard.images), shard.targets).backward()
        return torch.cat([parameter.grad.flatten() for parameter in parameters])

    for step, name in enumerate(fidelities):
        assert torch.equal(gradient(1, step), gradient(2, step)) == (name is not None)
        if name is not None:
            expected = without_draws(name)
            torch.testing.assert_close(gradient(1, step), expected)


def test_the_average_is_the_normalized_geometric_one():
    net, decay = nn.Linear(3, 2), 0.8
    average, seen = WeightAverage(net, decay), []
    for step in range(1, 6):
        with torch.no_grad():
            net.weight.normal_()
        seen.append(net.weight.detach().clone())
        average.update(step)
        shares = torch.tensor([decay ** (step - i) for i in range(1, step + 1)])
        expected = torch.einsum("i,ijk->jk", shares / shares.sum(), torch.stack(seen))
        torch.testing.assert_close(average.net.weight, expected)
        torch.testing.assert_close(average.net.bias, net.bias)


def test_the_average_takes_running_statistics_along():
    net = nn.BatchNorm1d(4)
    average = WeightAverage(net, 0.5)
    net(torch.randn(8, 4) + 3.0)
    average.update(1)
    torch.testing.assert_close(average.net.running_mean, net.running_mean)
    assert average.net.num_batches_tracked == 1
    assert not average.net.training


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_a_step_is_that_of_torch(kind):
    net = models.build("digits-mlp")
    twin = copy.deepcopy(net)
    config = TrainingConfig(
        optimizer=kind, lr=0.01, gain_lr=3.0, weight_decay=0.1, schedule="constant", betas=(0.8, 0.99)
    )
    optimizer = build_optimizer(net, config)
    gains = [value for name, value in twin.named_parameters() if name.endswith("beta")]
    weights = [value for name, value in twin.named_parameters() if name.endswith("weight")]
    biases = [value for name, value in twin.named_parameters() if name.endswith("bias")]
    groups = [
        {"params": weights, "weight_decay": 0.1, "lr": 0.005},
        {"params": gains, "weight_decay": 0.0, "lr": 0.015},
        {"params": biases, "weight_decay": 0.0, "lr": 0.005},
    ]
    reference = {
        "adam": lambda: torch.optim.Adam(groups, betas=(0.6, 0.99)),
        "adamw": lambda: torch.optim.AdamW(groups, betas=(0.6, 0.99)),
        "sgd": lambda: torch.optim.SGD(groups, momentum=0.6),
    }[kind]()
    for _ in range(3):
        set_rates(optimizer, config, Rates(0.5, 0.6))
        for left, right in zip(net.parameters(), twin.parameters(), strict=True):
            left.grad = torch.randn_like(left)
            right.grad = left.grad.clone()
        optimizer.step()
        reference.step()
    for left, right in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("options", [{"model": "twin-wn"}, {"population": 2}], ids=str)
def test_only_weights_decay(options):
    optimizer = build_optimizer(models.build("digits-mlp", **options), TrainingConfig(weight_decay=0.1))
    decayed = [len(group["params"]) for group in optimizer.param_groups if group["weight_decay"]]
    assert decayed == [3]


def test_muon_turns_hidden_weights_and_steps_the_rest_as_adamw():
    net = models.build("digits-mlp")
    before, twin = copy.deepcopy(net), copy.deepcopy(net)
    config = TrainingConfig(optimizer="muon", lr=1e-3, gain_lr=3.0, weight_decay=0.1, schedule="constant")
    reference = TrainingConfig(optimizer="adamw", lr=1e-3, gain_lr=3.0, weight_decay=0.1, schedule="constant")
    optimizers = build_optimizer(net, config), build_optimizer(twin, reference)
    for _ in range(3):
        for parameters in zip(net.parameters(), twin.parameters(), strict=True):
            parameters[0].grad = torch.randn_like(parameters[0])
            parameters[1].grad = parameters[0].grad.clone()
        for optimizer, of in zip(optimizers, (config, reference), strict=True):
            set_rates(optimizer, of, Rates(0.5, 0.9))
            optimizer.step()
    hidden = [f"{i}.product.weight" for i in range(2)]
    start, like = dict(before.named_parameters()), dict(twin.named_parameters())
    for name, value in net.named_parameters():
        if not name.endswith("product.weight"):
            torch.testing.assert_close(value, like[name])
            continue
        torch.testing.assert_close(value.norm(), start[name].norm())
        # Three steps of a twentieth, as good as at right angles to each other and to the weights.
        assert 0.05 < (value - start[name]).norm() / start[name].norm() < 0.15
    assert sum(name.endswith("product.weight") for name in like) == len(hidden)


def test_muon_follows_orthogonalized_momentum():
    weight = torch.nn.Linear(20, 6, bias=False)
    net = torch.nn.Sequential(weight, torch.nn.Linear(6, 2))
    config = TrainingConfig(optimizer="muon", lr=1e-3, betas=(0.5, 0.99), schedule="constant")
    optimizer, momentum = build_optimizer(net, config), torch.zeros(6, 20)
    for _ in range(3):
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter)
        wanted, size = weight.weight.detach().clone(), weight.weight.norm().item()
        momentum = 0.5 * momentum + weight.weight.grad
        direction = orthogonalized(weight.weight.grad + 0.5 * momentum)
        wanted -= 0.1 * size * direction / direction.norm()
        set_rates(optimizer, config, Rates(1.0, None))
        optimizer.step()
        torch.testing.assert_close(weight.weight.detach(), wanted * size / wanted.norm())


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (12, 12)])
def test_orthogonalized_keeps_directions_and_evens_out_their_sizes(shape):
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    # The least of them is a hundredth of the Euclidean norm, or more.
    sizes = torch.logspace(0, -1.8, min(shape)) * 0.9
    found = left.T @ orthogonalized(left * sizes @ right) @ right.T
    assert found.diagonal().min() > 0.68
    assert found.diagonal().max() < 1.14
    torch.testing.assert_close(found, found.diagonal().diag(), atol=1e-4, rtol=0.0)


def test_muon_leaves_zeros_alone():
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    torch.nn.init.zeros_(net[0].weight)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = build_optimizer(net, TrainingConfig(optimizer="muon"))
    optimizer.step()
    assert not net[0].weight.any()
    assert all(parameter.isfinite().all() for parameter in net.parameters())
