"""Scores of a network against scikit-learn, obvious loops and predictions of single images."""

import json
import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch import Tensor, nn

import nsm
from nsm.data import ImageSet
from nsm.inference import Evaluation
from tests.inference.nets import exact

CLASSES = ("a", "b", "c")


def images(count: int, classes: tuple[str, ...] = CLASSES) -> ImageSet:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 2, (count, 1, 4, 4), generator=generator) * 255
    targets = torch.randint(0, len(classes), (count,), generator=generator)
    return ImageSet(pixels.to(torch.uint8), targets, classes, "noise")


SET = images(301)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return exact("conv")


@pytest.fixture(scope="module")
def scores(net: nn.Module) -> Evaluation:
    return nsm.evaluate(net, SET, samples=12, seed=4)


@pytest.fixture(scope="module")
def votes(net: nn.Module) -> Tensor:
    prediction = nsm.predict(net, SET.batch(torch.arange(len(SET)))[0], samples=12, seed=4, votes=True)
    assert prediction.votes is not None
    votes = prediction.votes.double()
    return votes / votes.sum(
        -1, keepdim=True
    )  # sums of float32 are not 1 to the digits that scikit-learn wants


def test_predictions_are_those_of_predict(net: nn.Module, scores: Evaluation) -> None:
    x, _ = SET.batch(torch.arange(len(SET)))
    expected = nsm.predict(net, x, samples=12, seed=4)
    for got, wanted in zip(scores.prediction, expected, strict=True):
        if wanted is None:
            assert got is None
        else:
            torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-7)
    assert (scores.samples, scores.n) == (12, 301)


def test_scores_are_those_of_scikit_learn(scores: Evaluation, votes: Tensor) -> None:
    mean, targets = votes.mean(1).numpy(), SET.targets.numpy()
    decided = mean.argmax(1)
    assert 0.0 < scores.error_percent < 100.0
    assert scores.error_percent == pytest.approx(100 * (1 - sklearn.metrics.accuracy_score(targets, decided)))
    assert scores.nll == pytest.approx(sklearn.metrics.log_loss(targets, mean), rel=1e-6)
    confidence, right = votes.mean(1).max(1)
    right = (right == SET.targets).double()
    order = confidence.argsort(descending=True)
    risks = 1.0 - right[order].cumsum(0) / torch.arange(1, 302)
    assert scores.aurc == pytest.approx(float(risks.mean()), abs=2e-3)
    groups = [float((confidence[g] - right[g]).mean().abs()) * len(g) for g in order.tensor_split(15)]
    assert scores.adaptive_ece == pytest.approx(sum(groups) / 301, abs=0.02)
    assert scores.brier == pytest.approx(np.square(mean - np.eye(3)[targets]).sum(1).mean(), rel=1e-6)
    confusion = sklearn.metrics.confusion_matrix(targets, decided, labels=range(3))
    np.testing.assert_array_equal(scores.confusion, confusion)


class _FirstPixels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 5.0 * x.flatten(1)[:, :3]


def calibration_error(confidence: Tensor, right: Tensor, bins: int) -> float:
    total = 0.0
    for low in range(bins):
        inside = (confidence > low / bins) & (confidence <= (low + 1) / bins)
        if inside.any():
            total += float(
                (confidence[inside] - right[inside].double()).mean().abs() * inside.double().mean()
            )
    return total


def test_calibration_error_by_its_definition() -> None:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (1000, 1, 4, 4), generator=generator).to(torch.uint8)
    confidence, decided = _FirstPixels()(pixels.double() / 255.0).softmax(1).max(1)
    right = (20 * confidence).long() % 2 == 0  # too sure here and not sure enough there
    some = ImageSet(pixels, torch.where(right, decided, (decided + 1) % 3), CLASSES, "noise")
    expected = calibration_error(confidence, right, 15)
    assert nsm.evaluate(_FirstPixels(), some).ece == pytest.approx(expected, abs=1e-6)
    assert abs(calibration_error(confidence, right, 10) - expected) > 0.01


def test_entropies_are_means_over_images(scores: Evaluation) -> None:
    assert scores.entropy == pytest.approx(float(scores.prediction.entropy.mean()), rel=1e-6)
    assert scores.expected_entropy == pytest.approx(
        float(scores.prediction.expected_entropy.mean()), rel=1e-6
    )
    assert scores.mutual_information == pytest.approx(scores.entropy - scores.expected_entropy, abs=1e-6)


def test_images_may_be_sampled_until_settled(net: nn.Module) -> None:
    x, _ = SET.batch(torch.arange(len(SET)))
    arguments = {"confidence": 0.6, "max_samples": 15, "noise": nsm.MarginNoise(0.2, 5.0), "seed": 4}
    expected = nsm.predict(net, x, **arguments)
    scores = nsm.evaluate(net, SET, **arguments)
    assert torch.equal(scores.prediction.samples_used, expected.samples_used)
    assert torch.equal(scores.prediction.reasons, expected.reasons)
    torch.testing.assert_close(scores.prediction.probabilities, expected.probabilities)
    assert scores.samples == pytest.approx(float(expected.samples_used.double().mean()))
    assert scores.curve == ()
    with pytest.raises(ValueError, match="samples must not be given with a confidence, got 3"):
        nsm.evaluate(net, SET, samples=3, confidence=0.9)


def test_the_curve_averages_groups_of_samples(scores: Evaluation, votes: Tensor) -> None:
    assert [point.samples for point in scores.curve] == [1, 2, 3, 5, 10, 12]
    for size, error_percent, nll, groups in scores.curve:
        assert groups == 12 // size
        errors, surprises = [], []
        for group in range(groups):
            mean = votes[:, group * size : (group + 1) * size].mean(1).numpy()
            errors.append(100 * float((mean.argmax(1) != SET.targets.numpy()).mean()))
            surprises.append(sklearn.metrics.log_loss(SET.targets, mean))
        assert error_percent == pytest.approx(np.mean(errors))
        assert nll == pytest.approx(np.mean(surprises), rel=1e-6)
    last = scores.curve[-1]
    assert (last.error_percent, last.nll) == (scores.error_percent, scores.nll)
    # Averaging more samples cannot make the mean likelihood of nested groups worse (Jensen).
    nested = [point.nll for point in scores.curve if point.samples in (1, 2)]
    assert nested[0] > nested[1] > scores.nll


def test_the_sizes_of_the_curve_go_by_decades() -> None:
    curve = nsm.evaluate(exact("mlp"), images(3), samples=200).curve
    assert [point.samples for point in curve] == [1, 2, 3, 5, 10, 20, 50, 100, 200]
    assert [point.samples for point in nsm.evaluate(exact("mlp"), images(3), samples=1).curve] == [1]


def test_scores_do_not_depend_on_the_memory_bound(net: nn.Module, scores: Evaluation) -> None:
    small = nsm.evaluate(net, SET, samples=12, seed=4, memory_mib=0.02)
    for name, value in scores.to_dict().items():
        assert small.to_dict()[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name
    assert torch.equal(small.confusion, scores.confusion)


def test_every_image_goes_through_the_network_once() -> None:
    net, rows, progress = exact("mlp"), [], []
    net[1].product.register_forward_hook(lambda _module, _inputs, output: rows.append(len(output)))
    nsm.evaluate(net, SET, samples=12, progress=lambda done, total: progress.append((done, total)))
    assert sum(rows) == 301 + 2  # two tell how much memory a pass needs
    assert progress == [(250, 301), (301, 301)]


def test_a_network_that_draws_nothing_has_a_curve_of_one_point() -> None:
    torch.manual_seed(0)
    twin = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
    ).train()
    scores = nsm.evaluate(twin, SET, samples=100)
    assert twin.training
    assert scores.samples == 1
    assert [(point.samples, point.groups) for point in scores.curve] == [(1, 1)]
    assert scores.mutual_information == 0.0
    with torch.no_grad():
        logits = twin.eval()(SET.batch(torch.arange(301))[0])
    assert scores.nll == pytest.approx(float(nn.functional.cross_entropy(logits, SET.targets)), rel=1e-5)
    with nsm.fidelity("mean"):
        assert nsm.evaluate(exact("conv"), SET).samples == 1


def test_scores_are_numbers_that_json_can_hold(scores: Evaluation) -> None:
    values = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert set(values) >= {"error_percent", "nll", "ece", "samples", "n"}
    assert all(isinstance(value, (int, float)) for value in values.values())
    assert values["error_percent"] == scores.error_percent


def test_a_prediction_that_is_sure_and_wrong_has_a_finite_score() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([1e4, 0.0, 0.0]))
    share = float((SET.targets != 0).double().mean())
    scores = nsm.evaluate(net, SET)
    assert scores.nll == pytest.approx(-share * math.log(torch.finfo(torch.float32).tiny))
    assert scores.error_percent == pytest.approx(100 * share)
    assert scores.brier == pytest.approx(2 * share)
    assert scores.ece == pytest.approx(share, abs=1e-6)


def test_impossible_arguments_are_refused(net: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"net must be a torch\.nn\.Module, got NoneType"):
        nsm.evaluate(None, SET)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"images must be an nsm\.data\.ImageSet, got Tensor"):
        nsm.evaluate(net, torch.rand(2, 1, 8, 8))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images must hold at least one image, got none"):
        nsm.evaluate(net, SET.subset(torch.arange(0)))
    with pytest.raises(ValueError, match=r"samples must be in \[1, 2\^32\], got 0"):
        nsm.evaluate(net, SET, samples=0)
    with pytest.raises(ValueError, match="memory_mib must be a finite number > 0, got -1"):
        nsm.evaluate(net, SET, memory_mib=-1)
    with pytest.raises(ValueError, match="seed must be in"):
        nsm.evaluate(net, SET, seed=2**63)


def test_networks_that_do_not_fit_the_images_are_refused(net: nn.Module) -> None:
    with pytest.raises(ValueError, match="output for each of the 2 classes of noise, got 3 outputs"):
        nsm.evaluate(net, images(4, ("a", "b")))
    with pytest.raises(ValueError, match=r"images must have shape \(B, 1, 8, 8\).*got \(4, 1, 4, 4\)"):
        nsm.evaluate(nsm.models.build("digits-mlp"), images(4))


class _BreaksAtWhite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.amax((1, 2, 3)) < 1.0, 0.0, math.nan)[:, None].repeat(1, 3)


def test_predictions_that_are_not_finite_are_refused() -> None:
    pixels = torch.zeros(260, 1, 4, 4, dtype=torch.uint8)
    pixels[255:, 0, 1, 1] = 255
    some = ImageSet(pixels, torch.zeros(260, dtype=torch.int64), CLASSES, "spots")
    with pytest.raises(ValueError, match="net must give finite outputs, but those for image 255 are not"):
        nsm.evaluate(_BreaksAtWhite(), some)
