"""What all stochastic layers share: fidelities, and the way from a product to samples."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from nsm import functional, native
from nsm.functional import ESTIMATORS, Estimator
from nsm.nn.context import DRAWING, Draw, Fidelity, active_fidelity, check_fidelity, next_draw
from nsm.nn.preactivation import Preactivation
from nsm.noise import NoiseLaw


class StochasticLayer(Preactivation):
    """Binary threshold neurons behind synapses with multiplicative noise [N19].

    Forward law, for every fidelity that draws::

        u_i = sum_j (xi_ij + a_i) w_ij z_j + b_i + eta_i,    z'_i = +1 if u_i >= 0 else -1

    Gradient law: that of the firing probability, dz'_i/ds_i = (2/sqrt(pi)) exp(-s_i^2) at s_i = E[u_i]/sqrt(2
    Var[u_i]), or straight through. ``train()`` and ``eval()`` change nothing.

    At fidelity ``"marginal"`` an input z_j of a layer with ``binary_input`` is the mean of a sign (of K signs
    alike, where it is an average) that is drawn independently of the others, and

        Var[u_i] = s^2 sum_j w_ij^2 / K + eta_i^2 + (mu + a_i)^2 sum_j w_ij^2 (1 - z_j^2) / K,

    so that z'_i = erf(s_i) is what samples of a whole network average to, as far as neurons are independent.
    Its gradient is its own, whatever the estimator.

    Attributes:
        product: the plain torch module that computes w z; hooks, counters, pruning and quantisers see it.
        bias: b, shape (C,), or None.
        beta: the gain, shape (C,): s_i = beta_i w_i.z/||w_i|| + ... on +-1 inputs. Starts where a = 0.
        noise: the law of xi.
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
    ) -> None:
        super().__init__(product, noise=noise, eta=eta, binary_input=binary_input, pooled=pooled)
        if estimator not in ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
        self.estimator = estimator
        self.fidelity: Fidelity = check_fidelity(fidelity)

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
        )
        return layer

    def erf_argument(self, x: Tensor) -> Tensor:
        """s = E[u]/sqrt(2 Var[u]) for a batch of inputs: (N, P, C), P(z' = 1) = (1 + erf(s)) / 2."""
        u, scale, shift = self._argument(x, self.flat_product(x))
        return u * scale + shift

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
        if not len(x):
            return self._restore(self._pool(self.flatten(output), output), output)
        mode = active_fidelity(self.fidelity)
        draw = next_draw(self.index, len(x), x.device)
        if mode == "marginal":
            z = self._marginal(x, output).repeat_interleave(draw.samples(x), dim=0)
            return self._restore(z.to(output.dtype), output)
        u, scale, shift = self._argument(x, self.flatten(output))
        u = u.float() if u.dtype == torch.float16 else u
        if mode == "moment":
            z = self._fire(u, scale, shift, draw, output)
            return self._restore(z.to(output.dtype), output)
        repeat = draw.samples(x)
        s = u * scale + shift
        expected = self._expected(s, output, self.estimator).repeat_interleave(repeat, dim=0)
        if mode == "mean":
            z = expected
        elif mode == "threshold":
            signs = self._pool(functional.sign(s), output).repeat_interleave(repeat, dim=0)
            z = functional.with_gradient_of(signs, expected)
        else:
            with torch.no_grad():
                if mode == "synapse":
                    drawn = self._synapse(x, self.flatten(output), draw)
                else:
                    drawn = self._unit(x, draw)
                drawn = self._pool(functional.sign(self._add_eta(drawn, draw)), output)
            z = functional.with_gradient_of(drawn, expected)
        return self._restore(z.to(output.dtype), output)

    def _fire(self, u: Tensor, scale: Tensor, shift: Tensor, draw: Draw, like: Tensor) -> Tensor:  # noqa: ARG002
        """Samples (R, P, C) of what leaves the layer; ``like`` is the product in output layout."""
        return native.fire(u, scale, shift, draw.seed, draw.rows, draw.place(), self.estimator)

    def _expected(self, s: Tensor, like: Tensor, estimator: Estimator) -> Tensor:  # noqa: ARG002
        """E of what leaves the layer, (N, P, C)."""
        return functional.expected_state(s, estimator)

    def _marginal(self, x: Tensor, like: Tensor) -> Tensor:
        """E of what leaves the layer, (N, P, C), where inputs are means of independent signs."""
        gain, u = self._gain().to(self._wide), self.flatten(like).to(self._wide)
        bias = torch.zeros_like(gain) if self.bias is None else self.bias.to(self._wide)
        variance = self.variance(x)
        if self.binary_input:
            drawn = self.flatten(self._weighed((1.0 - x.to(self._wide).square()).to(x.dtype)))
            variance = variance + gain.square() * drawn.to(self._wide) / self.pooled
        s = native.standardize(u, variance.expand_as(u), gain, bias, 1.0, 0.0)
        return self._expected(s, like, "probability")

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

    def _argument(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(u, scale, shift) with s = u * scale + shift; u is w z wherever the variance does not depend on the
        input.
        """
        gain = self._gain().to(self._wide)
        bias = torch.zeros_like(gain) if self.bias is None else self.bias.to(self._wide)
        if not self.binary_input:
            power = self.flatten(self._weighed(x.square()))
            s = native.standardize(u, power, gain, bias, self.noise.variance, self.eta**2)
            return s, torch.ones_like(gain)[None], torch.zeros_like(gain)[None]
        variance = self.variance(x)
        # The same limits as in erf_argument, for a variance known before the input.
        noisy = variance != 0
        inverse = torch.where(noisy, torch.rsqrt(2.0 * torch.where(noisy, variance, 1.0)), 0.0)
        sure = torch.where(bias >= 0, torch.inf, -torch.inf).to(self._wide)
        return u, gain * inverse, torch.where(noisy, bias * inverse, sure)

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
        return ", ".join(parts)
