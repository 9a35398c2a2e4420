"""The rivals that a compiled network is timed beside do what they are said to do."""

import sys

import pytest
import torch
from torch import nn

from nsm.native import paths
from nsm.studies import ceiling, predictors


def twin():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


X = torch.rand(2, 1, 2, 3, generator=torch.Generator().manual_seed(1))


def test_passes_are_averaged():
    net = twin()
    found = predictors.torch_twin(net, X, 5000)(X)
    assert found.sum(1).tolist() == pytest.approx([1.0, 1.0])
    with torch.no_grad():
        hidden = net[:3](X).repeat_interleave(5000, dim=0)
        kept = torch.rand(hidden.shape, generator=torch.Generator().manual_seed(2)) < 0.7
        expected = net[4](hidden * kept / 0.7).softmax(-1).view(2, 5000, 3).mean(1)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.BatchNorm1d(4),
        nn.Linear(4, 3),
    )


IMAGES = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("hoisted", [False, True])
def test_onnxruntime_does_what_torch_does(hoisted, int8):
    pytest.importorskip("onnxruntime")
    net = convolutional()
    net.train()(torch.rand(50, 2, 4, 4))  # statistics of batch normalization
    expected = predictors.torch_twin(net, IMAGES, 5000)(IMAGES)
    found = predictors.onnx_twin(net, IMAGES, 5000, hoisted=hoisted, int8=int8, threads=1)(IMAGES)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=0.05 if int8 else 0.01, rtol=0)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_the_extra_is_named(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'neural-sampling-machines\[bench\]'"):
        predictors.onnx_twin(twin(), X, 2, hoisted=True, int8=False, threads=1)


def test_bfloat16_is_nearly_float32():
    net = convolutional()
    plain = predictors.torch_twin(net, IMAGES, 5000)(IMAGES)
    cast = predictors.torch_twin(net, IMAGES, 5000, precision=torch.bfloat16)(IMAGES)
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, plain, atol=0.03, rtol=0)


def test_preparing_one_rival_leaves_the_others_as_they_were():
    pytest.importorskip("onnxruntime")
    net = convolutional()
    before = predictors.torch_twin(net, IMAGES, 100)
    predictors.onnx_twin(net, IMAGES, 100, hoisted=True, int8=False, threads=1)
    assert not torch.equal(before(IMAGES), before(IMAGES))  # dropout is on
    assert net.training


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_compiled_twin_is_the_twin():
    try:
        compiled = predictors.compiled_twin(twin(), X, 5000)
    except predictors.UnavailableError as error:
        pytest.skip(f"torch.compile: {error}")
    plain = predictors.torch_twin(twin(), X, 5000)
    torch.testing.assert_close(compiled(X), plain(X), atol=0.01, rtol=0)


def test_why_a_twin_cannot_be_compiled_is_said(monkeypatch):
    def refuse(passes, **options):
        def run(x):
            raise RuntimeError("no C++ compiler\nmany lines more")

        return run

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(predictors.UnavailableError, match=r"^no C[+][+] compiler$"):
        predictors.compiled_twin(twin(), X, 4)


def test_the_products_peak_counts_what_it_does(monkeypatch):
    if paths.kernels() is None:
        assert ceiling.product(1) is None
        pytest.skip("the C++ kernels are not installed")
    monkeypatch.setattr(ceiling, "MULTIPLY_ADDS", 10**5)
    for instruction_set in paths.instruction_sets():
        monkeypatch.setenv(paths.VARIABLE, instruction_set)
        run, made = ceiling.product(1)
        run()
        assert 10**5 <= made < 2 * 10**5
        assert ceiling.product(2)[1] == 2 * made
