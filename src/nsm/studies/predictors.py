"""What a user would otherwise sample with: Monte Carlo dropout of the conventional twin, in torch and in
onnxruntime.
"""

from __future__ import annotations

import copy
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    import onnx

_OPSET = 18
_PASS_BYTES = 64 * 2**20  # of the largest activation in one call
Predictor = Callable[[Tensor], object]


def torch_twin(
    net: nn.Sequential, x: Tensor, samples: int, *, precision: torch.dtype | None = None
) -> Predictor:
    """Monte Carlo dropout in plain torch, what comes before the first dropout shared by the samples.

    Args:
        net: a chain with ``nn.Dropout`` modules, the first of them behind the first product.
        x: an input batch of the size that will be predicted.
        samples: passes that are averaged.
        precision: of products, under autocast and with channels last; None for float32.

    Returns:
        From inputs (B, ...) to mean probabilities (B, C).
    """
    net = copy.deepcopy(net)
    if precision is None:
        return _in_passes(net, x, samples, _passes(net, samples))
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    passes = _passes(net, samples)

    def cast(x: Tensor) -> Tensor:
        with torch.autocast("cpu", precision):
            return passes(x.contiguous(memory_format=torch.channels_last)).float()

    return _in_passes(net, x, samples, cast)


def compiled_twin(net: nn.Sequential, x: Tensor, samples: int) -> Predictor:
    """:func:`torch_twin` by ``torch.compile``, whose code generator needs a C++ compiler.

    Args:
        net: as there.
        x: an input batch of the size that will be predicted.
        samples: passes that are averaged.

    Returns:
        From inputs (B, ...) to mean probabilities (B, C); already compiled for ``x`` and torch's threads.

    Raises:
        UnavailableError: with the reason, where it cannot compile.
    """
    net = copy.deepcopy(net)
    torch.compiler.reset()  # else another batch or number of threads counts as one recompilation too many
    passes = torch.compile(_passes(net, samples), dynamic=False, fullgraph=True)
    predict = _in_passes(net, x, samples, passes)
    try:
        predict(x)
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnavailableError(lines[0]) from error
    return predict


class UnavailableError(RuntimeError):
    """A rival that cannot run here: the message says why."""


def _passes(net: nn.Sequential, samples: int) -> Callable[[Tensor], Tensor]:
    """Mean probabilities of some inputs, what comes before the first dropout shared by the samples."""
    modules = list(net.eval())
    dropouts = [i for i, module in enumerate(modules) if isinstance(module, nn.Dropout)]
    for i in dropouts:
        modules[i].train()
    shared, sampled = nn.Sequential(*modules[: dropouts[0]]), nn.Sequential(*modules[dropouts[0] :])

    def passes(x: Tensor) -> Tensor:
        z = shared(x).repeat_interleave(samples, dim=0)
        mean: Tensor = sampled(z).softmax(-1).view(len(x), samples, -1).mean(1)
        return mean

    return passes


def _in_passes(net: nn.Sequential, x: Tensor, samples: int, passes: Callable[[Tensor], Tensor]) -> Predictor:
    inputs = _inputs_at_a_time(net, x, samples)

    def predict(x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([passes(some) for some in torch.split(x, inputs)])

    return predict


def onnx_twin(
    net: nn.Sequential, x: Tensor, samples: int, *, hoisted: bool, int8: bool, threads: int
) -> Predictor:
    """Monte Carlo dropout in onnxruntime.

    Args:
        net: a chain of Flatten, Linear, Conv2d, batch normalization, ReLU, Dropout, MaxPool2d and AvgPool2d.
        x: an input batch of the size that will be predicted.
        samples: passes that are averaged.
        hoisted: compute what comes before the first dropout once for all samples; else every sample is an
            input of its own, as an exported network is used.
        int8: statically quantized weights (per channel) and activations.
        threads: of onnxruntime.

    Returns:
        From inputs (B, ...) to mean probabilities (B, C).

    Raises:
        ModuleNotFoundError: if onnx or onnxruntime is not installed.
    """
    onnxruntime = _onnxruntime()
    inputs = _inputs_at_a_time(net, x, samples)
    model = _model(net, tuple(x.shape[1:]), inputs, samples, hoisted=hoisted)
    data = _quantized(model, x) if int8 else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # The optimizer takes dropout for something that inference does not do.
    session = onnxruntime.InferenceSession(
        data, options, providers=["CPUExecutionProvider"], disabled_optimizers=["EliminateDropout"]
    )

    def predict(x: Tensor) -> NDArray[np.float32]:
        parts = []
        for some in x.numpy().reshape(-1, inputs, *x.shape[1:]):
            fed = some if hoisted else np.repeat(some, samples, axis=0)
            parts.append(session.run(None, {"x": fed})[0])
        return np.concatenate(parts)

    return predict


def _onnxruntime() -> Any:
    try:
        import onnx  # noqa: F401 (the model is built by it)
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "onnxruntime is what this is measured beside: pip install 'neural-sampling-machines[bench]'"
        ) from error
    return onnxruntime


def _inputs_at_a_time(net: nn.Sequential, x: Tensor, samples: int) -> int:
    """A divisor of the batch whose samples' activations stay small."""
    largest, z = 0, x[:1]
    with torch.no_grad():
        for module in copy.deepcopy(net).eval():
            z = module(z)
            largest = max(largest, z.numel())
    most = max(1, _PASS_BYTES // (4 * samples * largest))
    return max(k for k in range(1, len(x) + 1) if len(x) % k == 0 and k <= most)


class _Graph:
    """ONNX nodes one after another."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
        self.constants.append(numpy_helper.from_array(np.array(array), f"c{len(self.constants)}"))
        return f"c{len(self.constants) - 1}"

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [f"t{len(self.nodes)}"], **attributes))
        return f"t{len(self.nodes) - 1}"


def _model(
    net: nn.Sequential, shape: tuple[int, ...], inputs: int, samples: int, *, hoisted: bool
) -> onnx.ModelProto:
    from onnx import TensorProto, checker, helper

    graph, value = _Graph(), "x"
    rows, inner = inputs if hoisted else inputs * samples, torch.zeros(1, *shape)
    expanded = not hoisted
    for module in copy.deepcopy(net).eval():
        if isinstance(module, nn.Dropout) and not expanded:
            spread = graph.add("Unsqueeze", value, graph.constant([1]))
            target = graph.constant([inputs, samples, *inner.shape[1:]])
            spread = graph.add("Expand", spread, target)
            value = graph.add("Reshape", spread, graph.constant([inputs * samples, *inner.shape[1:]]))
            expanded = True
        value = _node(graph, module, value)
        inner = module(inner)
    value = graph.add("Softmax", value, axis=-1)
    value = graph.add("Reshape", value, graph.constant([inputs, samples, inner.shape[1]]))
    graph.nodes.append(helper.make_node("ReduceMean", [value, graph.constant([1])], ["y"], keepdims=0))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [inputs, inner.shape[1]])
    body = helper.make_graph(graph.nodes, "twin", [x], [y], graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    checker.check_model(model)
    return model


def _node(graph: _Graph, module: nn.Module, value: str) -> str:
    if isinstance(module, nn.Linear):
        product = graph.add("MatMul", value, graph.constant(module.weight.t()))
        return graph.add("Add", product, graph.constant(module.bias))
    if isinstance(module, nn.Conv2d):
        biases = [] if module.bias is None else [graph.constant(module.bias)]
        padding = [*module.padding, *module.padding]
        return graph.add("Conv", value, graph.constant(module.weight), *biases, pads=padding)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        numbers = (module.weight, module.bias, module.running_mean, module.running_var)
        return graph.add("BatchNormalization", value, *map(graph.constant, numbers), epsilon=module.eps)
    if isinstance(module, nn.ReLU):
        return graph.add("Relu", value)
    if isinstance(module, nn.Dropout):
        return graph.add("Dropout", value, graph.constant(np.float32(module.p)), graph.constant(True))
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kind = "MaxPool" if isinstance(module, nn.MaxPool2d) else "AveragePool"
        sides = [module.kernel_size] * 2
        return graph.add(kind, value, kernel_shape=sides, strides=sides)
    assert isinstance(module, nn.Flatten)
    return graph.add("Flatten", value)


@contextmanager
def _without_advice() -> Iterator[None]:
    """onnxruntime recommends a preparation that changes nothing here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _quantized(model: onnx.ModelProto, x: Tensor) -> bytes:
    import onnx
    from onnxruntime import quantization

    class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            shape = [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
            repeats = math.ceil(shape[0] / len(x))
            self._batches: Iterator[Any] = iter([{"x": np.concatenate([x.numpy()] * repeats)[: shape[0]]}])

        def get_next(self) -> Any:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder, _without_advice():
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, plain)
        quantization.quantize_static(
            plain,
            small,
            Calibration(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Conv"],
        )
        return small.read_bytes()
