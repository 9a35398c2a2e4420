"""Measures against scikit-learn, closed forms and their own definitions without bins."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.calibration
import sklearn.metrics
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from nsm import measures
from nsm.measures import bins

N, C = 3001, 7


def draw(spread: float, seed: int = 0, n: int = N) -> tuple[Tensor, Tensor]:
    """Probabilities (n, C), more extreme for a larger spread, and classes drawn from milder ones."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(n, C, generator=generator, dtype=torch.float64)
    targets = (0.7 * logits).softmax(1).multinomial(1, generator=generator)[:, 0]
    return logits.softmax(1), targets


PROBS, TARGETS = draw(2.0)
SAMPLES = draw(3.0, 1, 40 * N)[0].view(N, 40, C)[:300]
CLASSIFIERS = {
    "nll": measures.CategoricalNLL,
    "brier": measures.BrierScore,
    "ece": measures.CalibrationError,
    "adaptive": measures.AdaptiveCalibrationError,
    "aurc": measures.AURC,
}


def value(metric: Metric, *arguments: Tensor) -> float:
    metric.update(*arguments)
    return float(metric.compute())


def test_likelihoods_are_those_of_scikit_learn() -> None:
    assert value(measures.CategoricalNLL(), PROBS, TARGETS) == pytest.approx(
        sklearn.metrics.log_loss(TARGETS, PROBS)
    )
    brier = np.square(PROBS.numpy() - np.eye(C)[TARGETS]).sum(1).mean()
    assert value(measures.BrierScore(), PROBS, TARGETS) == pytest.approx(brier)
    accuracy = measures.Accuracy(task="multiclass", num_classes=C)
    assert value(accuracy, PROBS, TARGETS) == pytest.approx(
        sklearn.metrics.accuracy_score(TARGETS, PROBS.argmax(1))
    )


def test_a_sure_error_has_a_finite_likelihood() -> None:
    probs = torch.tensor([[1.0, 0.0]])
    assert value(measures.CategoricalNLL(), probs, torch.tensor([1])) == pytest.approx(
        -math.log(torch.finfo(torch.float32).tiny)
    )


def calibration_error(probs: Tensor, targets: Tensor, groups: list[Tensor]) -> float:
    confidence, decided = probs.max(1)
    right = (decided == targets).double()
    gaps = [float((confidence[g] - right[g]).mean().abs()) * len(g) for g in groups if len(g)]
    return sum(gaps) / len(probs)


@pytest.mark.parametrize("count", [1, 10, 15])
@pytest.mark.parametrize("spread", [0.3, 2.0, 9.0])
def test_calibration_errors_by_their_definitions(count: int, spread: float) -> None:
    probs, targets = draw(spread, 3)
    confidence = probs.amax(1)
    equal = [
        ((confidence > low / count) & (confidence <= (low + 1) / count)).nonzero()[:, 0]
        for low in range(count)
    ]
    expected = calibration_error(probs, targets, equal)
    assert value(measures.CalibrationError(count), probs, targets) == pytest.approx(expected, abs=1e-9)
    order = confidence.argsort()
    adaptive = calibration_error(probs, targets, list(order.tensor_split(count)))
    cells = torch.bincount(bins.bin_of(bins.risk_of(probs)))
    bound = 2.0 * (count - 1) * int(cells.max()) / N
    got = value(measures.AdaptiveCalibrationError(count), probs, targets)
    assert abs(got - adaptive) <= min(bound, 0.002) + 1e-9


def test_reliability_says_what_was_counted() -> None:
    metric = measures.CalibrationError(10)
    metric.update(PROBS, TARGETS)
    count, confidence, accuracy = metric.reliability()
    assert count.sum() == N
    assert confidence.diff().min() > 0
    fraction, mean = sklearn.calibration.calibration_curve(
        (PROBS.argmax(1) == TARGETS).numpy(), PROBS.amax(1).numpy(), n_bins=10
    )
    np.testing.assert_allclose(accuracy, fraction)
    np.testing.assert_allclose(confidence, mean)


def test_fewer_examples_than_bins() -> None:
    metric = measures.AdaptiveCalibrationError(15)
    metric.update(PROBS[:4], TARGETS[:4])
    assert metric.reliability().examples.tolist() == [1.0] * 4
    right = (PROBS[:4].argmax(1) == TARGETS[:4]).double()
    assert float(metric.compute()) == pytest.approx(float((PROBS[:4].amax(1) - right).abs().mean()))


def test_uncertainties_are_those_of_scipy() -> None:
    votes = SAMPLES.numpy()
    whole = scipy.stats.entropy(votes.mean(1), axis=1)
    own = scipy.stats.entropy(votes, axis=2).mean(1)
    assert value(measures.Entropy(), SAMPLES) == pytest.approx(whole.mean())
    assert value(measures.Entropy(), SAMPLES.mean(1)) == pytest.approx(whole.mean())
    assert value(measures.MutualInformation(), SAMPLES) == pytest.approx((whole - own).mean())
    decided = votes.argmax(2)
    pairs = [np.mean([a != b for i, a in enumerate(row) for b in row[:i]]) for row in decided]
    assert value(measures.Disagreement(), SAMPLES) == pytest.approx(np.mean(pairs))


def test_samples_that_agree() -> None:
    same = PROBS[:, None].expand(-1, 5, -1)
    assert value(measures.Disagreement(), same) == 0.0
    assert value(measures.MutualInformation(), same) == pytest.approx(0.0, abs=1e-12)


def scores(kind: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    targets = (torch.rand(N, generator=generator) < 0.3).long()
    normal = torch.randn(N, generator=generator, dtype=torch.float64) + targets
    return {"real": normal, "entropy": (4.0 * normal).exp() * 1e-4, "tied": normal.round()}[kind], targets


@pytest.mark.parametrize("kind", ["real", "entropy", "tied"])
def test_detection_is_that_of_scikit_learn(kind: str) -> None:
    score, targets = scores(kind)
    places = bins.bin_of(score)
    found, false = (torch.bincount(places[targets == t], minlength=bins.COUNT).double() for t in (1, 0))
    bound = float((found * false).sum() / found.sum() / false.sum()) / 2.0
    slack = (1e-12 if kind == "tied" else bound) + 1e-12
    exact = sklearn.metrics.roc_auc_score(targets, score)
    assert abs(value(measures.AUROC(), score, targets) - exact) <= slack
    if kind != "tied":
        assert bound < 0.002
    exact = sklearn.metrics.average_precision_score(targets, score)
    assert abs(value(measures.AUPR(), score, targets) - exact) <= (1e-12 if kind == "tied" else 0.002)
    rates, recalls, _ = sklearn.metrics.roc_curve(targets, score, drop_intermediate=False)
    exact = rates[recalls >= 0.95][0]
    assert abs(value(measures.FPR95(), score, targets) - exact) <= (1e-12 if kind == "tied" else 0.005)


def test_scores_in_one_bin_count_as_equal_and_others_do_not() -> None:
    target = torch.tensor([0, 1])
    for near, expected in ((1.0 + 2.0**-10, 0.5), (1.01, 1.0), (-1.0, 0.0)):
        assert value(measures.AUROC(), torch.tensor([1.0, near]), target) == expected
    assert value(measures.AUROC(), torch.tensor([-2.0, -1.0]), target) == 1.0
    assert value(measures.AUROC(), torch.tensor([1e-7, 2e-7]), target) == 1.0


def test_bins_keep_the_order_of_numbers() -> None:
    generator = torch.Generator().manual_seed(6)
    magnitude = torch.exp2(60.0 * torch.rand(100_000, generator=generator) - 42.0)
    numbers = torch.cat((magnitude, -magnitude, torch.zeros(1))).sort().values
    places = bins.bin_of(numbers)
    assert places.diff().min() >= 0
    assert (int(places.min()), int(places.max())) >= (0, 0)
    assert places.max() < bins.COUNT
    together = (places.diff() == 0) & (numbers[1:].abs() > 2.0**-39)
    ratio = (numbers[1:] / numbers[:-1])[together]
    assert torch.maximum(ratio, 1.0 / ratio).max() < 1.0 + 1.0 / 256.0
    ends = bins.bin_of(torch.tensor([-1e30, 1e30, 1e-30]))
    assert ends.tolist() == [0, bins.COUNT - 1, bins.COUNT // 2]


@pytest.mark.parametrize("spread", [0.3, 2.0, 9.0])
def test_the_risk_coverage_area_by_its_definition(spread: float) -> None:
    probs, targets = draw(spread, 4)
    rest = probs.sort(1).values[:, :-1].sum(1)  # 1 - max, without cancellation
    wrong = (probs.argmax(1) != targets).double()[rest.argsort()]
    exact = float((wrong.cumsum(0) / torch.arange(1, N + 1)).mean())
    metric = measures.AURC()
    assert value(metric, probs, targets) == pytest.approx(exact, abs=1e-3)
    coverage, risk = metric.curve()
    assert coverage[-1] == 1.0
    assert float(risk[-1]) == pytest.approx(float(wrong.mean()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [measures.AURC, measures.AdaptiveCalibrationError])
def test_narrow_probabilities_are_ranked_as_the_wide_ones_they_are(
    kind: type[Metric], dtype: torch.dtype
) -> None:
    narrow = draw(6.0, 7)[0].to(dtype)
    metric, wide = kind(), kind()
    metric.update(narrow, TARGETS)
    wide.update(narrow.double(), TARGETS)
    for name, kept in wide.metric_state.items():
        assert torch.equal(metric.metric_state[name], kept), name


def test_the_area_of_tied_predictions_is_the_mean_over_their_orders() -> None:
    probs = torch.tensor([[0.75, 0.25]]).repeat(6, 1)
    assert value(measures.AURC(), probs, torch.tensor([0, 1, 0, 0, 1, 0])) == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_batches_merged_and_reset(name: str) -> None:
    whole = value(CLASSIFIERS[name](), PROBS, TARGETS)
    metric = CLASSIFIERS[name]()
    sizes = {key: value.shape for key, value in metric.metric_state.items()}
    for probs, targets in zip(PROBS.split(97), TARGETS.split(97), strict=True):
        metric(probs, targets)
    assert {key: value.shape for key, value in metric.metric_state.items()} == sizes
    assert float(metric.compute()) == pytest.approx(whole, rel=1e-9)
    left, right = CLASSIFIERS[name](), CLASSIFIERS[name]()
    left.update(PROBS[:1000], TARGETS[:1000])
    right.update(PROBS[1000:], TARGETS[1000:])
    left.merge_state(right)
    assert float(left.compute()) == pytest.approx(whole, rel=1e-9)
    metric.reset()
    metric.update(PROBS, TARGETS)
    assert float(metric.compute()) == pytest.approx(whole, rel=1e-9)


def test_predictions_do_not_wait_for_torchmetrics() -> None:
    code = "import sys, nsm; nsm.predict; assert 'torchmetrics' not in sys.modules; nsm.measures.AURC"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert set(measures.__all__) <= set(dir(measures))
    with pytest.raises(AttributeError, match=r"module 'nsm\.measures' has no attribute 'MSE'"):
        measures.MSE  # noqa: B018


ALL = [*CLASSIFIERS.values(), measures.AUROC, measures.AUPR, measures.FPR95, measures.Entropy]


@pytest.mark.parametrize("kind", [*ALL, measures.MutualInformation, measures.Disagreement])
def test_nothing_seen_is_nan(kind: type[Metric]) -> None:
    metric = kind()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert metric.compute().isnan()


@pytest.mark.parametrize("kind", ALL)
def test_measures_inside_and_outside_of_autograd(kind: type[Metric]) -> None:
    probs, targets = draw(1.0, n=20)
    arguments = {"probs": probs, "targets": targets, "scores": probs[:, 0]}
    if kind in (measures.AUROC, measures.AUPR, measures.FPR95):
        arguments["targets"] = targets % 2
    metric = kind()
    taken = metric._filter_kwargs(**arguments)
    with torch.inference_mode():
        metric.update(**taken)
        metric.reset()
    metric.update(**taken)
    metric.compute()
    # As in a training step.
    metric(**taken | {name: value.requires_grad_() for name, value in taken.items() if name != "targets"})
    assert not metric.compute().requires_grad


@pytest.mark.parametrize("kind", [measures.AUROC, measures.AUPR, measures.FPR95])
def test_one_kind_alone_cannot_be_detected(kind: type[Metric]) -> None:
    only_negative = value(kind(), torch.rand(4), torch.zeros(4))
    assert math.isnan(only_negative)


@pytest.mark.parametrize(
    ("metric", "arguments", "error", "message"),
    [
        (
            measures.BrierScore,
            ([[1.0]], TARGETS),
            TypeError,
            "probs must be a floating-point tensor, got list",
        ),
        (measures.BrierScore, (PROBS.long(), TARGETS), TypeError, "got torch.int64"),
        (measures.BrierScore, (PROBS[0], TARGETS), ValueError, r"shape \(N, C\), got \(7,\)"),
        (measures.AURC, (2.0 * PROBS, TARGETS), ValueError, r"probs must lie in \[0, 1\], got values from"),
        (measures.AURC, (PROBS * math.nan, TARGETS), ValueError, r"probs must lie in \[0, 1\]"),
        (measures.AURC, (PROBS, TARGETS[1:]), ValueError, r"targets must have shape \(3001,\)"),
        (measures.AURC, (PROBS, TARGETS + 1), ValueError, r"targets must lie in \[0, 7\), got 1 to 7"),
        (measures.AURC, (PROBS, TARGETS.double()), TypeError, "targets must be a tensor of integers"),
        (measures.Disagreement, (PROBS,), ValueError, r"shape \(N, S, C\), got \(3001, 7\)"),
        (measures.Disagreement, (SAMPLES[:, :1],), ValueError, "samples of each input, at least 2, got 1"),
        (measures.Entropy, (SAMPLES[:, :0],), ValueError, "samples of each input, at least 1, got 0"),
        (measures.MutualInformation, (SAMPLES[:, :0],), ValueError, "of each input, at least 1, got 0"),
        (measures.AUROC, (TARGETS, TARGETS), TypeError, "scores must be a floating-point tensor"),
        (measures.AUROC, (torch.rand(1), [1]), TypeError, "targets must be a tensor, got list"),
        (measures.AUROC, (torch.rand(3), torch.ones(2)), ValueError, r"both have shape \(N,\)"),
        (measures.AUROC, (torch.rand(2), torch.tensor([0, 2])), ValueError, "targets must be 0 or 1"),
        (measures.AUROC, (torch.tensor([math.nan]), torch.ones(1)), ValueError, "scores must be finite"),
    ],
)
def test_impossible_arguments_are_refused(
    metric: type[Metric], arguments: tuple[Tensor, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        metric().update(*arguments)


@pytest.mark.parametrize("count", [0, 2.0, True])
def test_impossible_numbers_of_bins_are_refused(count: object) -> None:
    for kind in (measures.CalibrationError, measures.AdaptiveCalibrationError):
        with pytest.raises(ValueError, match="num_bins must be a whole number >= 1"):
            kind(count)


def test_a_collection_keeps_its_measures_apart() -> None:
    # The first batch gives all of them the same sums.
    probs, targets = torch.eye(3).repeat(2, 1), torch.tensor([0, 1, 2, 0, 1, 2])
    more, classes = draw(1.0, n=50)
    kinds = (measures.CategoricalNLL, measures.BrierScore)
    together = MetricCollection([kind() for kind in kinds])
    for batch in ((probs, targets), (more[:, :3] / more[:, :3].sum(1, keepdim=True), classes % 3)):
        together.update(batch[0].double(), batch[1])
    for kind in kinds:
        alone = kind()
        alone.update(probs.double(), targets)
        alone.update(more[:, :3] / more[:, :3].sum(1, keepdim=True), classes % 3)
        assert together.compute()[kind.__name__] == alone.compute()
    samples = MetricCollection([measures.MutualInformation(), measures.Disagreement()])
    samples.update(torch.eye(2)[None].expand(4, 2, 2)[:, :1].expand(4, 3, 2))
    samples.update(torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]]))
    assert samples.compute()["Disagreement"] == pytest.approx(2 / 3 / 5)


def test_probabilities_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"probs must sum to 1 over the classes, got sums from 2.0 to 2.0"):
        measures.CategoricalNLL().update(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64))
