"""From a trained network to a program of integers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from nsm.engine import populations
from nsm.engine.chain import CompileError, chain, check_plain, input_shape, named
from nsm.engine.checks import LARGEST_POPULATION
from nsm.engine.normalization import Affine, BatchNorm, affine, alone, behind, in_front
from nsm.engine.program import Program
from nsm.engine.quantization import PRECISIONS, Precision, quantized
from nsm.engine.reading import bias_of, checked, float32, mean_of, pair
from nsm.engine.steps import (
    Classifier,
    First,
    Floats,
    Geometry,
    Noise,
    Pool,
    Real,
    Sampled,
    Shape,
    Step,
    area_behind,
    is_drawn_as_one,
    is_residual,
)
from nsm.nn import Binarize, Conv2d, Drawing, Linear, Residual, StochasticLayer
from nsm.nn.checks import check_net
from nsm.nn.conv import margins
from nsm.nn.pruning import refresh
from nsm.noise import Bernoulli

Law = Literal["moment", "synapse"]
LAWS: tuple[Law, ...] = get_args(Law)
_IGNORED = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)


def compile(  # noqa: A001 (as in torch.compile)
    net: nn.Module,
    *,
    weights: Precision = "int8",
    image: Shape | None = None,
    fidelity: Law | None = None,
) -> Program:
    """A program of small integers that samples a trained network, see ``docs/engine.md``.

    The network is a chain of modules: an optional :class:`nsm.nn.Binarize`; deterministic layers
    (``torch.nn.Linear``, ``Conv2d``, ``BatchNorm1d``, ``BatchNorm2d``, ``ReLU``) or none; stochastic layers
    (:class:`nsm.nn.Linear`, :class:`nsm.nn.Conv2d` with zero padding; in :class:`nsm.nn.Residual` or not) at
    fidelity ``"moment"`` or ``"synapse"``, between them ``torch.nn.MaxPool2d``, ``AvgPool2d`` and
    ``Flatten``; a ``torch.nn.Linear`` on top, with a batch normalization in front of it or without. Dropout
    is left out; batch normalization and standardized layers use their running statistics, as in evaluation.
    The neurons of a population share their sums; where they are too many for that, or every synapse is drawn,
    they become single neurons, as many as there are, with synapses of their own. All layers up to the first
    stochastic one keep float32 weights and real inputs, and run once for all samples; the others get
    weights of the precision asked for, with a scale of their own for every neuron.

    At fidelity ``"moment"`` a neuron takes one draw, from the normal law with the mean and variance of u
    [N19]. At ``"synapse"`` every synapse takes one, of Bernoulli noise: a neuron fires by
    u = sum_j (xi_ij + a_i) w_ij z_j + b_i itself. Such a program is as many times slower as a neuron has
    synapses.

    Args:
        net: the network; it is not changed.
        weights: ``"int8"``, ``"int4"`` ([-7, 7]), ``"ternary"`` or ``"binary"``.
        image: (channels, height, width) of an input; None for the network's own ``image``, or the size that a
            first fully connected layer says.
        fidelity: ``"moment"`` or ``"synapse"`` for all layers; None for each layer's own.

    Raises:
        CompileError: naming the module that cannot be compiled, and why.
        TypeError: if ``net`` is not a module.
        ValueError: if ``weights`` or ``fidelity`` is unknown, or ``image`` is missing or not of three
            positive numbers.

    >>> import nsm, torch
    >>> program = nsm.compile(nsm.models.build("digits-mlp"))
    >>> program.predict(torch.rand(3, 1, 8, 8), samples=20).probabilities.shape
    torch.Size([3, 10])
    """
    check_net(net)
    if weights not in PRECISIONS:
        raise ValueError(f"weights must be one of {', '.join(PRECISIONS)}, got {weights!r}")
    if fidelity is not None and fidelity not in LAWS:
        raise ValueError(f"fidelity must be one of {', '.join(LAWS)} or None, got {fidelity!r}")
    modules = list(chain(net))
    for number, (name, module) in enumerate(modules):
        with named(name, module):
            check_plain(module, modules[:number])
    refresh(net)
    shape, flat = input_shape(net, modules, image)
    drawing = [module for module in net.modules() if isinstance(module, Drawing)]
    numbers = {module: index for index, module in enumerate(drawing)}
    walk = _Walk(shape, flat, weights, numbers, fidelity)
    for name, module in modules:
        with named(name, module):
            walk.add(module)
    try:
        return Program(tuple(walk.steps), vector=flat)
    except ValueError as error:
        raise CompileError(f"the network cannot be compiled: {error}") from error


class _Walk:
    """The steps made so far, and the shape of what the next module receives."""

    def __init__(
        self,
        shape: Shape,
        flat: bool,
        precision: Precision,
        numbers: dict[Drawing, int],
        fidelity: Law | None,
    ) -> None:
        self.steps: list[Step] = []
        self._shape, self._flat, self._precision, self._numbers = shape, flat, precision, numbers
        self._fidelity = fidelity
        layers = [module for module in numbers if isinstance(module, StochasticLayer)]
        self._transmits = any((fidelity or layer.fidelity) != "moment" for layer in layers)
        self._binarize, self._area = False, 1
        self._copies = 1  # single neurons in each place of what the next module receives
        # What the classifier has to take in: of neurons, and of more of them than a code can count.
        self._normalization: Affine | None = None
        self._average: Pool | None = None

    def add(self, module: nn.Module) -> None:
        if self.steps and isinstance(self.steps[-1], Classifier):
            raise CompileError("it stands behind the classifier")
        if isinstance(module, _IGNORED):
            return
        if isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise CompileError("it must flatten everything behind the batch dimension")
            self._flat = True
            return
        self._check_reader(module)
        if isinstance(module, StochasticLayer):
            self._add_stochastic(module, shared=populations.can_share(module, 0, transmits=self._transmits))
        elif isinstance(module, Residual):
            self._add_residual(module)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            self._add_pool(module)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            self._add_normalization(module)
        elif self._is_real():
            self._add_real(module)
        elif isinstance(module, nn.Linear):
            self._add_classifier(module)
        else:
            raise CompileError(
                "behind its first stochastic layer a program has stochastic layers (nsm.nn.Linear, "
                "nsm.nn.Conv2d, either in nsm.nn.Residual), maximum and average pooling, Flatten, Dropout "
                "and a torch.nn.Linear on top"
            )

    def _check_reader(self, module: nn.Module) -> None:
        """Refuse a module that receives what only the classifier can take in."""
        if self._normalization is not None and not isinstance(module, nn.Linear):
            raise CompileError("behind a batch normalization of neurons only the classifier can stand")
        if self._average is not None and not isinstance(module, nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d):
            raise CompileError(
                f"it receives averages over more than {LARGEST_POPULATION} neurons: only the classifier can, "
                "with a batch normalization in front of it or without"
            )

    def _is_real(self) -> bool:
        """Whether all layers so far are deterministic."""
        return not any(isinstance(step, First) for step in self.steps)

    def _append(self, step: Step, outputs: Shape) -> None:
        self.steps.append(step)
        self._shape, self._area = outputs, area_behind(step, self._area)
        self._binarize = False

    def _add_real(self, module: nn.Module) -> None:
        """A module in front of the first stochastic layer."""
        if isinstance(module, Binarize):
            if self.steps or self._binarize:
                raise CompileError("it must be the first module")
            self._binarize = True
        elif isinstance(module, nn.Linear | nn.Conv2d):
            geometry = self._connected(module) if isinstance(module, nn.Linear) else self._convolution(module)
            weights, bias = float32(module.weight), bias_of(module.bias, geometry)
            self._append_real(Real(geometry, weights.reshape(geometry.weight_shape), bias))
        elif isinstance(module, nn.ReLU):
            # Whichever comes first, maximum or rectifier.
            places = [i for i, step in enumerate(self.steps) if isinstance(step, Real)]
            if not places:
                raise CompileError("it must stand behind a deterministic layer")
            before = self.steps[places[-1]]
            assert isinstance(before, Real)
            self.steps[places[-1]] = replace(before, rectified=True)
        else:
            raise CompileError(
                "in front of its first stochastic layer (nsm.nn.Linear, nsm.nn.Conv2d) a program has "
                "Binarize, Conv2d, Linear, batch normalization, ReLU, maximum and average pooling, Flatten "
                "and Dropout"
            )

    def _append_real(self, step: Real) -> None:
        self._append(replace(step, binarize=self._binarize), step.geometry.outputs)

    def _add_normalization(self, norm: BatchNorm) -> None:
        channels, height, width = self._shape
        channels //= self._copies
        spread = isinstance(norm, nn.BatchNorm1d) and (height, width) != (1, 1)
        if isinstance(norm, nn.BatchNorm2d) == self._flat:
            raise CompileError(f"it receives {'a flat vector' if self._flat else 'images'}")
        features = channels * height * width if spread else channels
        if norm.num_features != features:
            raise CompileError(f"it takes {norm.num_features} features and would receive {features}")
        try:
            by = affine(norm)
        except ValueError as error:
            raise CompileError(str(error)) from error
        if not self._is_real():
            shape = (channels, height, width) if spread else (channels, 1, 1)
            self._normalization = Affine(by.scale.reshape(shape), by.shift.reshape(shape))
        elif spread:
            raise CompileError("in front of the first stochastic layer it must normalize channels")
        elif self.steps and isinstance(self.steps[-1], Real) and not self.steps[-1].rectified:
            self.steps[-1] = behind(self.steps[-1], by)
        else:
            self._append_real(alone(by, self._shape))

    def _add_residual(self, module: Residual) -> None:
        if self._is_real():
            raise CompileError("it must stand behind a stochastic layer")
        if module.layer.pooled != self._area * self._copies:
            raise CompileError(
                f"its layer says that inputs are averages of {module.layer.pooled} signs, "
                f"but they are of {self._area * self._copies}"
            )
        before, area = self._shape, self._area
        shared = self._copies == 1 and populations.can_share(module.layer, area, transmits=self._transmits)
        if not shared and module.layer.population != self._copies:
            raise CompileError(
                f"its layer's population must be that of what it receives, {self._copies}, "
                f"got {module.layer.population}"
            )
        self._add_stochastic(module.layer, shared=shared)
        layer = self.steps.pop()
        if not isinstance(layer, Sampled) or self._shape != before:
            raise CompileError("its layer must keep the shape of what it receives")
        self._shape, self._area = before, area
        self._append(replace(layer, residual=True), before)

    def _transmission(self, layer: StochasticLayer) -> float:
        """p of synapses that are drawn one by one; 0 where they are not."""
        fidelity = self._fidelity or layer.fidelity
        if fidelity == "moment":
            return 0.0
        if fidelity != "synapse":
            raise CompileError(f'its fidelity must be "moment" or "synapse", got "{fidelity}"')
        if not isinstance(layer.noise, Bernoulli):
            raise CompileError(f'at fidelity "synapse" its noise must be Bernoulli, got {layer.noise!r}')
        return layer.noise.p

    def _add_stochastic(self, layer: StochasticLayer, *, shared: bool) -> None:
        transmission = self._transmission(layer)
        copies = 1 if shared else layer.population
        geometry = self._geometry(layer, copies)
        gain, biases = layer.neurons()
        weights = self._weights(layer.weight, geometry, copies)
        bias = float32(torch.stack(biases))
        noise = Noise(
            gain=populations.neurons(float32(gain), copies),
            bias=bias if shared and layer.population > 1 else bias.T.ravel(),
            variance=layer.noise.variance,
            additive=layer.eta**2,
            layer=self._numbers[layer],
            transmission=transmission,
        )
        if self._is_real():
            if layer.pooled > 1:
                raise CompileError("its inputs are averages, but it stands behind no neurons")
            self._append(First(geometry, weights, noise, self._binarize), geometry.outputs)
        else:
            whole, scale = quantized(weights, self._precision)
            # Behind neurons inputs are signs, declared or not.
            known = layer.binary_input or self._area == 1 or self._copies > 1
            pooled = populations.pooled(layer, self._copies) if known else 0
            before = self.steps[-1]
            if not (pooled or isinstance(before, Pool) or is_residual(before)):
                raise CompileError(f"it hears populations of {self._area}: its binary_input must be True")
            self._append(Sampled(geometry, whole, scale, noise, pooled), geometry.outputs)
        self._copies = copies
        if isinstance(layer, Conv2d) and max(layer.max_pool, default=1) > 1:
            window = pair(layer.max_pool)
            self._append_pool(Pool(self._shape, window, window, average=False), by_neurons=True)

    def _geometry(self, layer: StochasticLayer, copies: int) -> Geometry:
        if isinstance(layer, Linear):
            return self._connected(layer.product, copies)
        if not isinstance(layer, Conv2d):
            raise CompileError("of the stochastic layers, Linear and Conv2d can be compiled")
        conv = layer.product
        assert isinstance(conv, nn.Conv2d)
        return self._convolution(conv, copies)

    def _weights(self, weight: Tensor, geometry: Geometry, copies: int) -> Floats:
        neurons, channels, *kernel = geometry.weight_shape
        shape = (neurons // copies, channels // self._copies, *kernel)
        return populations.neurons(populations.synapses(float32(weight).reshape(shape), self._copies), copies)

    def _convolution(self, conv: nn.Conv2d, copies: int = 1) -> Geometry:
        if self._flat:
            raise CompileError("it receives a flat vector")
        channels = self._shape[0] // self._copies
        if conv.in_channels != channels:
            raise CompileError(f"it takes {conv.in_channels} channels and would receive {channels}")
        around = margins(conv)
        if conv.padding_mode != "zeros" and any(map(any, around)):
            raise CompileError(f'its padding_mode must be "zeros", got "{conv.padding_mode}"')
        (top, bottom), (left, right) = around
        return checked(
            Geometry(
                self._shape,
                conv.out_channels * copies,
                pair(conv.kernel_size),
                pair(conv.stride),
                (top, left, bottom, right),
                pair(conv.dilation),
                conv.groups,
            )
        )

    def _connected(self, linear: nn.Linear, copies: int = 1) -> Geometry:
        if not self._flat and self._shape[1:] != (1, 1):
            raise CompileError("it needs a Flatten in front of it")
        features = math.prod(self._shape) // self._copies
        if linear.in_features != features:
            raise CompileError(f"it takes {linear.in_features} inputs and would receive {features}")
        return checked(Geometry(self._shape, linear.out_features * copies, self._shape[1:]))

    def _add_pool(self, pool: nn.MaxPool2d | nn.AvgPool2d) -> None:
        if self._is_real() and self._binarize:
            raise CompileError("signs of inputs go to a layer, not into a pooling")
        if self._flat:
            raise CompileError("it receives a flat vector")
        if pair(pool.padding) != (0, 0) or pool.ceil_mode:
            raise CompileError("it must have padding=0 and ceil_mode=False")
        if isinstance(pool, nn.MaxPool2d):
            if self._copies > 1:
                raise CompileError(
                    "it takes maxima of averages over neurons that share no sums: max_pool of a layer takes "
                    "those of neurons"
                )
            if pair(pool.dilation) != (1, 1) or pool.return_indices:
                raise CompileError("it must have dilation=1 and return_indices=False")
        elif pool.divisor_override is not None:
            raise CompileError("it must have divisor_override=None")
        kernel, stride = pair(pool.kernel_size), pair(pool.stride or pool.kernel_size)
        step = Pool(self._shape, kernel, stride, average=isinstance(pool, nn.AvgPool2d))
        if step.average and self._is_real():
            self._append_real(mean_of(step))
        else:
            self._append_pool(step, by_neurons=False)

    def _append_pool(self, step: Pool, *, by_neurons: bool) -> None:
        """A pooling, of populations by their neurons, one of each at a time, or by their sums."""
        try:
            step.check()
        except ValueError as error:
            raise CompileError(str(error)) from error
        before = self.steps[-1] if self.steps else None
        if isinstance(before, First | Sampled) and is_drawn_as_one(before, step, by_neurons=by_neurons):
            self.steps[-1], self._shape = replace(before, window=step.kernel), step.outputs
            return
        many = step.average and self._area * math.prod(step.kernel) > LARGEST_POPULATION
        if many and step.outputs[1:] == (1, 1):
            self._average, self._shape = step, step.outputs
        else:
            self._append(step, step.outputs)

    def _add_classifier(self, linear: nn.Linear) -> None:
        geometry = self._connected(linear)
        neurons, channels, *kernel = geometry.weight_shape
        weights = float32(linear.weight).reshape(neurons, channels // self._copies, *kernel)
        bias = bias_of(linear.bias, geometry)
        if self._normalization is not None:
            weights, bias = in_front(weights, bias, self._normalization)
        weights = populations.synapses(weights, self._copies)
        if self._average is not None:
            pool = self._average
            geometry = Geometry(pool.inputs, linear.out_features, pool.kernel, pool.stride)
            weights = np.tile(weights / np.float32(math.prod(pool.kernel)), (1, 1, *pool.kernel))
        whole, scale = quantized(weights, "int8")
        self._append(Classifier(geometry, whole, scale, bias), geometry.outputs)
