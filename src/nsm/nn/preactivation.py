"""What neurons hear through synapses with multiplicative noise: its mean, its variance, and samples of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nsm import native, random
from nsm.nn import autocast
from nsm.nn.context import Draw
from nsm.nn.drawing import Drawing
from nsm.noise import Gaussian, NoiseLaw

_MOMENTUM = 0.1  # of running averages, as in torch's batch normalization
_LEAST = 1e-6  # variance of u, so that a neuron that hears nothing can be counted from itself


class Neurons(NamedTuple):
    """What a layer's neurons add to their product.

    Attributes:
        gain: mu + a, (C,).
        biases: b in the unit of u, (C,) of each neuron of a population, one after the other.
    """

    gain: Tensor
    biases: tuple[Tensor, ...]


class Heard(NamedTuple):
    """What neurons hear in a batch, (C,) each.

    Attributes:
        center: mean of w z.
        deviation: its standard deviation.
        power: mean of sum_j w_j^2 z_j^2.
    """

    center: Tensor
    deviation: Tensor
    power: Tensor


class Preactivation(Drawing, ABC):
    """u_i = sum_j (xi_ij + a_i) w_ij z_j + b_i + eta_i: a product and the noise of its synapses.

    Attributes and arguments as of :class:`nsm.nn.StochasticLayer`.
    """

    bias: nn.Parameter | None
    center: Tensor
    deviation: Tensor
    power: Tensor

    def __init__(
        self,
        product: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d,
        *,
        noise: NoiseLaw,
        eta: float,
        binary_input: bool,
        pooled: int,
        standardized: bool,
    ) -> None:
        super().__init__()
        if not isinstance(noise, NoiseLaw):
            raise TypeError(f"noise must be a noise law such as nsm.Bernoulli(0.5), got {noise!r:.80}")
        if isinstance(eta, bool) or not (isinstance(eta, int | float) and math.isfinite(eta) and eta >= 0.0):  # type: ignore[redundant-expr]
            raise ValueError(f"eta must be a finite standard deviation >= 0, got {eta!r}")
        if not isinstance(binary_input, bool):
            raise ValueError(f"binary_input must be True or False, got {binary_input!r}")
        if isinstance(pooled, bool) or not (isinstance(pooled, int) and pooled >= 1):  # type: ignore[redundant-expr]
            raise ValueError(f"pooled must be a whole number of signs >= 1, got {pooled!r}")
        if pooled > 1 and not binary_input:
            raise ValueError(
                f"pooled={pooled} says that inputs are averages of signs: binary_input must be True"
            )
        if not isinstance(standardized, bool):
            raise ValueError(f"standardized must be True or False, got {standardized!r}")
        if standardized and product.bias is None:
            raise ValueError("standardized=True needs a bias")
        self.noise, self.eta, self.standardized = noise, float(eta), standardized
        self.binary_input, self.pooled = binary_input, pooled
        self.product = product
        bias: nn.Parameter | None = product.bias  # type: ignore[assignment]
        product.register_parameter("bias", None)
        self.register_parameter("bias", bias)
        start = noise.mean / math.sqrt(2.0 * noise.variance)
        self.beta = nn.Parameter(product.weight.new_full(product.weight.shape[:1], start))
        if standardized:
            self.register_buffer("center", torch.zeros_like(self.beta, requires_grad=False))
            self.register_buffer("deviation", torch.ones_like(self.beta, requires_grad=False))
            if not binary_input:
                self.register_buffer("power", torch.ones_like(self.beta, requires_grad=False))

    @property
    def weight(self) -> Tensor:
        """w, the product's weight."""
        return self.product.weight

    @property
    def a(self) -> Tensor:
        """a_i, shape (C,): the constant added to every xi_ij of neuron i that realises beta_i = (mu +
        a_i)/(sqrt(2) s), or what a standardized layer has in evaluation.
        """
        return self.neurons().gain - self.noise.mean

    @a.setter
    def a(self, value: Tensor | float) -> None:
        with torch.no_grad():
            self.beta.copy_((torch.as_tensor(value) + self.noise.mean) / self._unit() * self._deviation())

    def adopt(self, gain: Tensor, bias: Tensor | None) -> None:
        """Set beta and, where it is given, ``bias``, so that the law has these.

        Args:
            gain: (C,), mu + a.
            bias: (C,), or (K, C) of populations, b in the unit of u.
        """
        self.a = gain - self.noise.mean
        if bias is None:
            return
        assert self.bias is not None
        with torch.no_grad():
            if self.standardized:
                bias = bias / self._unit() + self.beta * self.center / self.deviation
            self.bias.copy_(bias)

    def neurons(self) -> Neurons:
        """Gain and biases of the neurons; of a standardized layer those that it has in evaluation."""
        if not self.standardized:
            return Neurons(self.beta * self._unit(), self._biases())
        return self._counted(self._remembered())

    def neurons_of(self, u: Tensor, power: Tensor) -> Neurons:
        """Gain and biases for one batch, from whose statistics a standardized layer counts in training.
        Running averages follow.

        Args:
            u: (N, P, C), w z.
            power: sum_j w_j^2 z_j^2, see :meth:`power_of`.
        """
        if not (self.standardized and self.training):
            return self.neurons()
        heard = self._statistics(u, power)
        self._follow(heard, share=_MOMENTUM)
        return self._counted(heard)

    def _counted(self, heard: Heard) -> Neurons:
        unit, rate = self._difference(heard.power), self.beta / heard.deviation
        return Neurons(rate * unit, tuple((bias - rate * heard.center) * unit for bias in self._biases()))

    def _biases(self) -> tuple[Tensor, ...]:
        if self.bias is None:
            return (torch.zeros_like(self.beta),)
        return self.bias.unbind() if self.bias.dim() == 2 else (self.bias,)

    def _statistics(self, u: Tensor, power: Tensor) -> Heard:
        center, variance = native.statistics(u)
        deviation = torch.sqrt(variance.clamp(min=_LEAST))
        mean = self._sign_power() if self.binary_input else power.to(self._wide).mean((0, 1))
        return Heard(center, deviation, mean)

    def _remembered(self) -> Heard:
        power = self._sign_power() if self.binary_input else self.power
        return Heard(self.center, self.deviation, power)

    def _sign_power(self) -> Tensor:
        """sum_j w_j^2 / pooled, (C,): behind signs, where no zeros of a padding are heard."""
        return self.weight.to(self._wide).square().flatten(1).sum(1) / self.pooled

    @torch.no_grad()
    def take_statistics(self, x: Tensor, u: Tensor) -> None:
        """Let a standardized layer count from a batch of inputs and their ``u``, (N, P, C), w z."""
        self._follow(self._statistics(u, self.power_of(x)), share=1.0)

    @torch.no_grad()
    def _follow(self, heard: Heard, share: float) -> None:
        for name, value in heard._asdict().items():
            if name != "power" or not self.binary_input:
                average = getattr(self, name)
                average.lerp_(value.to(average.dtype), share)

    def _unit(self) -> Tensor | float:
        """What gains are counted in: sqrt(2) s; in a standardized layer the difference of u that is one of s
        on average, (C,).
        """
        if not self.standardized:
            return math.sqrt(2.0 * self.noise.variance)
        return self._difference(self._remembered().power)

    def _difference(self, power: Tensor) -> Tensor:
        return torch.sqrt((2.0 * (self.noise.variance * power + self.eta**2)).clamp(min=_LEAST))

    def _deviation(self) -> Tensor | float:
        return self.deviation if self.standardized else 1.0

    @property
    @abstractmethod
    def _unbatched_dims(self) -> int:
        """Dimensions of an input without its batch dimension, at the least."""

    @abstractmethod
    def flatten(self, u: Tensor) -> Tensor:
        """From the layer's output layout to (N, P, C)."""

    @abstractmethod
    def _restore(self, z: Tensor, like: Tensor) -> Tensor:
        """(R, P, C) to output layout, with the positions of ``like``."""

    @abstractmethod
    def _weighed(self, values: Tensor, x: Tensor) -> Tensor:
        """sum_j w_ij^2 v_j in output layout; ``values`` v in input layout, in the memory order of the inputs
        ``x``.
        """

    @abstractmethod
    def _binary_power(self, x: Tensor) -> Tensor:
        """sum_j w_ij^2 z_j^2 for +-1 inputs of the shape of ``x``: (1, C), or (P, C) where zero padding makes
        it vary.
        """

    @abstractmethod
    def _fields(self, x: Tensor) -> Tensor:
        """Receptive fields (N, P, G, F) of ``x``: F presynaptic values for each position and each of G
        groups of neurons.
        """

    def flat_product(self, x: Tensor) -> Tensor:
        """w z for a batch of inputs: (N, P, C), P positions (1 for an (N, F) input of a linear layer), C
        neurons.
        """
        return self.flatten(self.product(x))

    def variance(self, x: Tensor) -> Tensor:
        """Var[u] = s^2 sum_j w_ij^2 z_j^2 + eta^2 for a batch of inputs; where an input is the average of K
        signs, s^2 sum_j w_ij^2 / K + eta^2.

        Returns:
            (N, P, C); or (1, C) or (P, C) where ``binary_input`` makes it the same for every input.
        """
        return self._variance(self.power_of(x))

    def power_of(self, x: Tensor) -> Tensor:
        """sum_j w_ij^2 z_j^2 for a batch of inputs, averages taken for signs; of the shapes of
        :meth:`variance`.
        """
        if self.binary_input:
            return self._binary_power(x)
        if autocast.dtype(x) != torch.float16:
            return self.flatten(self._weighed(x.square(), x))
        # Squares leave float16's range long before what is squared.
        with autocast.off(x):
            return self.flatten(self._weighed(x.float().square(), x))

    def _variance(self, power: Tensor) -> Tensor:
        return (self.noise.variance / self.pooled) * power.to(self._wide) + self.eta**2

    @property
    def _wide(self) -> torch.dtype:
        return torch.promote_types(self.weight.dtype, torch.float32)

    def _synapse(self, x: Tensor, common: Tensor, gain: Tensor, bias: Tensor, draw: Draw) -> Tensor:
        """u with every xi_ij drawn: (R, P, C); ``common`` is w z, (N, P, C)."""
        signs, weight = self._signs(self._fields(x)), self.weight.flatten(1)
        if self.pooled > 1:
            # An average of 0 has synapses, a cell of the padding has none.
            signs = signs * self._fields(torch.ones_like(x[:1]))[..., None]
            weight = (weight / self.pooled).repeat_interleave(self.pooled, dim=1)
        where = draw.place(random.Purpose.SYNAPSE)
        noisy = native.synapse(signs.flatten(-2), weight, self.noise, draw.seed, draw.rows, where)
        sure = (gain - self.noise.mean) * common + bias
        return noisy + sure.repeat_interleave(draw.samples(x), dim=0)

    def _signs(self, x: Tensor) -> Tensor:
        """The presynaptic values behind ``x``, (*x.shape, K): K signs of that average, or ``x`` itself where
        K is 1. Noise is independent and alike for all of them: it does not matter which ones are positive.
        """
        if self.pooled == 1:
            return x[..., None]
        # An average is rounded: the number of positive signs is the whole number nearest to what it says.
        count = torch.round((x.double() + 1.0) * (0.5 * self.pooled))
        positive = torch.arange(self.pooled, device=x.device) < count[..., None]
        return torch.where(positive, 1.0, -1.0).to(x.dtype)

    def _units(self, x: Tensor, gain: Tensor, bias: Tensor, draw: Draw) -> Tensor:
        """u with one xi_j per presynaptic unit, shared by all neurons (and positions) that it feeds: (R, P,
        C).
        """
        repeated = x.repeat_interleave(draw.samples(x), dim=0)
        drawn = random.words(
            draw.seed, draw.rows, math.prod(x.shape[1:]) * self.pooled, draw.place(random.Purpose.UNIT)
        )
        xi = self.noise.from_words(drawn).to(x.dtype).view(*repeated.shape, self.pooled)
        received = (xi * self._signs(repeated)).mean(-1)
        common, noisy = self.flatten(self.product(repeated)), self.flatten(self.product(received))
        return noisy + (gain - self.noise.mean) * common + bias

    def _add_eta(self, u: Tensor, draw: Draw) -> Tensor:
        if self.eta == 0.0:
            return u
        drawn = random.words(
            draw.seed, draw.rows, math.prod(u.shape[1:]), draw.place(random.Purpose.ADDITIVE)
        )
        return u + (Gaussian(self.eta).from_words(drawn) - 1.0).view_as(u)
