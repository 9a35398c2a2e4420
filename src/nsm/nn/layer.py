"""What all stochastic layers share: fidelities, and the way from a product to samples."""

from __future__ import annotations

import functools
import operator
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from nsm import functional, native
from nsm.functional import ESTIMATORS, Estimator
from nsm.nn.context import DRAWING, Draw, Fidelity, active_fidelity, check_fidelity, next_draw
from nsm.nn.preactivation import Neurons, Preactivation
from nsm.noise import NoiseLaw

# Thresholds of a population's neurons lie within so many standard deviations of what they hear.
_RANGE = 2.5


# Their sum is a whole number in every dtype, bfloat16 included.
_LARGEST = 255


def check_population(population: int) -> None:
    """Nothing, if so many neurons can stand in one place.

    Raises:
        ValueError: if not.
    """
    if isinstance(population, bool) or not (isinstance(population, int) and 1 <= population <= _LARGEST):  # type: ignore[redundant-expr]
        raise ValueError(f"population must be a whole number from 1 to {_LARGEST}, got {population!r}")


class Member(NamedTuple):
    """One neuron of every population, or all neurons of a layer without populations: s = u * scale + shift.

    Attributes:
        gain: mu + a, (C,).
        bias: b in the unit of u, (C,).
        u: (N, P, C).
        scale: (Q, C), Q in {1, P}.
        shift: (Q, C).
    """

    gain: Tensor
    bias: Tensor
    u: Tensor
    scale: Tensor
    shift: Tensor


def _drawable(u: Tensor) -> Tensor:
    """``u`` in a dtype that can be drawn from."""
    return u.float() if u.dtype == torch.float16 else u


class StochasticLayer(Preactivation):
    """Binary threshold neurons behind synapses with multiplicative noise [N19].

    Forward law, for every fidelity that draws::

        u_i = sum_j (xi_ij + a_i) w_ij z_j + b_i + eta_i,    z'_i = +1 if u_i >= 0 else -1

    Gradient law: that of the firing probability, dz'_i/ds_i = (2/sqrt(pi)) exp(-s_i^2) at s_i = E[u_i]/sqrt(2
    Var[u_i]), or straight through. ``train()`` and ``eval()`` change nothing but what a standardized layer
    counts from.

    At fidelity ``"marginal"`` an input z_j of a layer with ``binary_input`` is the mean of a sign (of K signs
    alike, where it is an average) that is drawn independently of the others, and

        Var[u_i] = s^2 sum_j w_ij^2 / K + eta_i^2 + (mu + a_i)^2 sum_j w_ij^2 (1 - z_j^2) / K,

    so that z'_i = erf(s_i) is what samples of a whole network average to, as far as neurons are independent.
    Its gradient is its own, whatever the estimator.

    With ``population=K`` every u_i is heard by K neurons. They have the synapses' weights and the gain in
    common, each its own noise and bias b_ik, and what leaves the layer is their average::

        z'_i = (1/K) sum_k sgn(u_ik),    E[z'_i] = (1/K) sum_k erf(s_ik)

    As their thresholds lie in a row, a population says how far u_i is above the first: a rectifier in K + 1
    steps, for one product. A layer behind it declares ``pooled=K``. Gradient law: that of the average.

    With ``standardized`` gains and biases are counted from what neurons hear: from the mean m_i and the
    standard deviation d_i of w_i.z over the batch and all positions, in evaluation from running averages of
    them. With D_i^2 = 2 (s^2 q_i + eta^2), where q_i is sum_j w_ij^2 / pooled behind signs, and behind real
    inputs the mean of sum_j w_ij^2 z_j^2 over batch and positions (or its running average)::

        mu + a_i = beta_i D_i / d_i,    b_ik = D_i (bias_ik - beta_i m_i / d_i)

    so that s_ik = beta_i (w_i.z - m_i) / d_i + bias_ik behind signs wherever no zeros of a padding are heard,
    and that times the root of q_i over sum_j w_ij^2 z_j^2 behind real inputs (eta apart). In evaluation these
    are constants and the law is the one above. Gradients pass through m, d and q, as in batch normalization
    (Ioffe and Szegedy, ICML 2015).

    Attributes:
        product: the plain torch module that computes w z; hooks, counters, pruning and quantisers see it.
        bias: b, shape (C,), or (K, C) of populations; or None.
        beta: the gain, shape (C,): s_i = beta_i w_i.z/||w_i|| + ... on +-1 inputs. Starts where a = 0.
        noise: the law of xi.
        center: running average of m, shape (C,), of a standardized layer.
        deviation: running average of d, likewise.
        power: running average of q, likewise, behind real inputs.
    """

    def __init__(
        self,
        product: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d,
        *,
        noise: NoiseLaw,
        fidelity: Fidelity,
        estimator: Estimator,
        eta: float,
        binary_input: bool,
        pooled: int,
        population: int,
        standardized: bool,
    ) -> None:
        super().__init__(
            product, noise=noise, eta=eta, binary_input=binary_input, pooled=pooled, standardized=standardized
        )
        if estimator not in ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
        check_population(population)
        if population > 1 and self.bias is None:
            raise ValueError(f"population={population} needs a bias: without one its neurons would be alike")
        self.estimator, self.population = estimator, population
        self.fidelity: Fidelity = check_fidelity(fidelity)
        if population > 1 or standardized:
            assert self.bias is not None
            unit = torch.sqrt(2.0 * noise.variance / pooled * self.weight.detach().square().flatten(1).sum(1))
            row = self.in_a_row(self.bias.detach(), unit, self.beta.detach())
            self.bias = nn.Parameter(row / unit if standardized else row)

    @classmethod
    def from_product(
        cls,
        product: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d,
        *,
        noise: NoiseLaw,
        fidelity: Fidelity = "moment",
        estimator: Estimator = "probability",
        eta: float = 0.0,
        binary_input: bool = False,
        pooled: int = 1,
        population: int = 1,
        standardized: bool = False,
    ) -> Self:
        """A layer around an existing torch module, which it takes over; the module's bias becomes the
        layer's.
        """
        layer = cls.__new__(cls)
        StochasticLayer.__init__(
            layer,
            product,
            noise=noise,
            fidelity=fidelity,
            estimator=estimator,
            eta=eta,
            binary_input=binary_input,
            pooled=pooled,
            population=population,
            standardized=standardized,
        )
        return layer

    def in_a_row(self, bias: Tensor, unit: Tensor, spread: Tensor) -> Tensor:
        """Biases of a layer whose neurons, if they were single, would have these.

        Args:
            bias: (C,).
            unit: (C,), the difference of u that is one of s.
            spread: (C,), standard deviation of s.

        Returns:
            (K, C): s of a population's neurons lies lower by equal steps, 5/2 standard deviations in all; the
            bias itself for K = 1.
        """
        if self.population == 1:
            return bias
        steps = (torch.arange(self.population, dtype=bias.dtype, device=bias.device) + 0.5) / self.population
        return bias - steps[:, None] * (_RANGE * spread * unit)

    def erf_argument(self, x: Tensor) -> Tensor:
        """s = E[u]/sqrt(2 Var[u]) for a batch of inputs: (N, P, C), of populations (K, N, P, C);
        P(z' = 1) = (1 + erf(s)) / 2. Of a standardized layer it is that of evaluation.
        """
        u = self.flat_product(x)
        members = self._members(u, self.power_of(x), self.neurons())
        found = torch.stack([member.u * member.scale + member.shift for member in members])
        return found if self.population > 1 else found[0]

    def is_drawing(self) -> bool:
        """Whether the fidelity in force is one that draws."""
        return active_fidelity(self.fidelity) in DRAWING

    def forward(self, x: Tensor) -> Tensor:
        """Samples (or means, or signs, by fidelity) of the layer's neurons.

        Args:
            x: as for the torch module of the same name; batched, or one input without batch dimension.

        Returns:
            the torch module's output shape, values in {-1, +1} (in [-1, 1] at fidelities ``"mean"`` and
            ``"marginal"``). Inside :func:`nsm.nn.draws` the batch may grow, see there.
        """
        if x.dim() == self._unbatched_dims:
            z = self._sample(x.unsqueeze(0))
            return z.squeeze(0) if len(z) == 1 else z
        return self._sample(x)

    def _sample(self, x: Tensor) -> Tensor:
        output = self.product(x)
        mode, u = active_fidelity(self.fidelity), self.flatten(output)
        if not (u.shape[0] and u.shape[1]):
            return self._restore(self._pool(u, output), output)
        power = self.power_of(x)
        neurons = self.neurons_of(u, power)
        if mode == "moment" and self.population > 1:
            drawn = self._fire_together(x, u, power, neurons, output)
            return self._restore(drawn.to(output.dtype), output)
        marginal = mode == "marginal"
        members = self._marginal(x, u, power, neurons) if marginal else self._members(u, power, neurons)
        answers = [self._answer(mode, member, x, output) for member in members]
        # Whole numbers, whatever their order.
        z = functools.reduce(operator.add, answers)
        return self._restore((z / self.population if self.population > 1 else z).to(output.dtype), output)

    def _fire_together(self, x: Tensor, u: Tensor, power: Tensor, neurons: Neurons, like: Tensor) -> Tensor:  # noqa: ARG002
        """Samples (R, P, C) of the averages over populations; ``like`` is the product in output layout."""
        if not self.binary_input:
            return self._hear(x, u.unsqueeze(2), power.unsqueeze(2), neurons)
        members = self._members(u, power, neurons)
        draw = next_draw(self.index, x.shape[0], x.device, uses=len(members))
        scale, shift = members[0].scale, torch.stack([member.shift for member in members])
        return native.fire(_drawable(u), scale, shift, draw.seed, draw.rows, draw.place(), self.estimator)

    def _hear(self, x: Tensor, u: Tensor, power: Tensor | None, neurons: Neurons) -> Tensor:
        """The same from windows (N, *P, *W, C) of u and power, see :func:`nsm.native.hear`."""
        draw = next_draw(self.index, x.shape[0], x.device, uses=self.population)
        gain, bias = neurons.gain.to(self._wide), torch.stack(neurons.biases).to(self._wide)
        law, u = (self.noise.variance / self.pooled, self.eta**2), _drawable(u)
        if power is not None:
            wider = torch.promote_types(u.dtype, power.dtype)
            u, power = u.to(wider), power.to(wider)
        z = native.hear(u, power, gain, bias, *law, draw.seed, draw.rows, draw.place(), self.estimator)
        return z.flatten(1, -2)

    def _answer(self, mode: Fidelity, member: Member, x: Tensor, output: Tensor) -> Tensor:
        """What leaves the layer, (R, P, C), if it has these neurons alone."""
        draw = next_draw(self.index, x.shape[0], x.device)
        gain, bias, u, scale, shift = member
        if mode == "moment":
            return self._fire(_drawable(u), scale, shift, draw, output)
        repeat = draw.samples(x)
        s = u * scale + shift
        estimator = "probability" if mode == "marginal" else self.estimator
        expected = self._expected(s, output, estimator).repeat_interleave(repeat, dim=0)
        if mode in ("mean", "marginal"):
            return expected
        if mode == "threshold":
            signs = self._pool(functional.sign(s), output).repeat_interleave(repeat, dim=0)
            return functional.with_gradient_of(signs, expected)
        with torch.no_grad():
            if mode == "synapse":
                drawn = self._synapse(x, self.flatten(output), gain, bias, draw)
            else:
                drawn = self._units(x, gain, bias, draw)
            drawn = self._pool(functional.sign(self._add_eta(drawn, draw)), output)
        return functional.with_gradient_of(drawn, expected)

    def _fire(self, u: Tensor, scale: Tensor, shift: Tensor, draw: Draw, like: Tensor) -> Tensor:  # noqa: ARG002
        """Samples (R, P, C) of what leaves the layer; ``like`` is the product in output layout."""
        return native.fire(u, scale, shift, draw.seed, draw.rows, draw.place(), self.estimator)

    def _expected(self, s: Tensor, like: Tensor, estimator: Estimator) -> Tensor:  # noqa: ARG002
        """E of what leaves the layer, (N, P, C)."""
        return functional.expected_state(s, estimator)

    def _marginal(self, x: Tensor, u: Tensor, power: Tensor, neurons: Neurons) -> list[Member]:
        """As :meth:`_members`, where inputs are means of independent signs."""
        gain, u, variance = neurons.gain.to(self._wide), u.to(self._wide), self._variance(power)
        if self.binary_input:
            drawn = self.flatten(self._weighed((1.0 - x.to(self._wide).square()).to(x.dtype), x))
            variance = variance + gain.square() * drawn.to(self._wide) / self.pooled
        variance = variance.expand_as(u)
        return self._by_inputs(u, variance, Neurons(gain, neurons.biases), 1.0, 0.0)

    def _pool(self, z: Tensor, like: Tensor) -> Tensor:  # noqa: ARG002
        """What leaves the layer when its neurons do ``z``, (N, P, C)."""
        return z

    def mean_activity(self, s: Tensor, like: Tensor) -> Tensor:
        """E of what leaves the layer, averaged over inputs and positions: (C,).

        Args:
            s: (N, P, C), argument of erf.
            like: product of the same inputs, in output layout.
        """
        return self._expected(s, like, self.estimator).mean((0, 1))

    def _members(self, u: Tensor, power: Tensor, neurons: Neurons) -> list[Member]:
        """The layer's neurons, ``u`` being w z, (N, P, C), and ``power`` that of :meth:`power_of`; theirs is
        the same wherever the variance does not depend on the input.
        """
        gain = neurons.gain.to(self._wide)
        if not self.binary_input:
            return self._by_inputs(u, power, Neurons(gain, neurons.biases), self.noise.variance, self.eta**2)
        variance = self._variance(power)
        # The same limits as in erf_argument, for a variance known before the input.
        noisy = variance != 0
        inverse = torch.where(noisy, torch.rsqrt(2.0 * torch.where(noisy, variance, 1.0)), 0.0)

        def member(bias: Tensor) -> Member:
            wide = bias.to(self._wide)
            sure = torch.where(wide >= 0, torch.inf, -torch.inf).to(self._wide)
            return Member(gain, bias, u, gain * inverse, torch.where(noisy, wide * inverse, sure))

        return [member(bias) for bias in neurons.biases]

    def _by_inputs(
        self, u: Tensor, power: Tensor, neurons: Neurons, variance: float, extra: float
    ) -> list[Member]:
        """Neurons whose variance their inputs decide, see :func:`nsm.functional.standardize`."""
        gain, biases = neurons
        s = native.standardize(u, power, gain, torch.stack(biases).to(self._wide), variance, extra)
        one, zero = torch.ones_like(gain)[None], torch.zeros_like(gain)[None]
        # The gradient of a single part taken by unbind would be copied.
        parts = s.unbind() if len(biases) > 1 else [s.squeeze(0)]
        return [Member(gain, bias, part, one, zero) for bias, part in zip(biases, parts, strict=True)]

    def extra_repr(self) -> str:
        """Bias, noise law, fidelity, and whatever differs from the default."""
        parts = [f"bias={self.bias is not None}", f"noise={self.noise!r}", f"fidelity={self.fidelity!r}"]
        if self.estimator != "probability":
            parts.append(f"estimator={self.estimator!r}")
        if self.eta:
            parts.append(f"eta={self.eta}")
        if self.binary_input:
            parts.append("binary_input=True")
        if self.pooled > 1:
            parts.append(f"pooled={self.pooled}")
        if self.population > 1:
            parts.append(f"population={self.population}")
        if self.standardized:
            parts.append("standardized=True")
        return ", ".join(parts)
