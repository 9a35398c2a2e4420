"""The fully connected stochastic layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsm.functional import Estimator
from nsm.nn.context import Fidelity
from nsm.nn.layer import StochasticLayer
from nsm.noise import Bernoulli, NoiseLaw


class Linear(StochasticLayer):
    r"""Binary stochastic neurons, all to all: ``torch.nn.Linear`` followed by noise and sign.

    Args:
        in_features: size of the last dimension of the input.
        out_features: number of neurons C.
        bias: whether neurons have a bias b.
        device: as in torch.
        dtype: as in torch.
        noise: law of the multiplicative noise xi.
        fidelity: how much of the physics is drawn, see :func:`nsm.fidelity`.
        estimator: ``"probability"``, ``"straight-through"`` or ``"smoothed"``, see
            :func:`nsm.functional.derivative`.
        eta: standard deviation of additive Gaussian noise, in the unit of u.
        binary_input: promise that every input is +1 or -1; the variance of u is then a property of the
            weights and costs nothing. Without it the variance is computed from the input, exactly, by a
            second product.
        pooled: number K of signs whose average each input is, 1 for the signs themselves; needs
            ``binary_input``. Behind an average over K neurons each of these has a synapse of its own, of
            weight w/K and with noise of its own: u = sum_jk (xi_jk + a) (w_j/K) z_jk + b. The variance then
            is a property of the weights, too: s^2 sum_j w_j^2 / K.
        population: number K of neurons in each of the C places, at most 255, which hear the same u with noise
            and biases of their own, and whose average leaves the layer; a layer behind it is ``pooled=K``.
        standardized: count gains and biases from the mean and the standard deviation of w z over a batch,
            see :class:`nsm.nn.StochasticLayer`; needs a bias.

    Shape: (\\*, in_features) to (\\*, out_features).

    Raises:
        ValueError: for an unknown fidelity or estimator, an impossible eta, number of pooled signs or
            population, or a population or a standardized layer without what it needs.
        TypeError: if ``noise`` is not a noise law.
    """

    product: nn.Linear

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        noise: NoiseLaw = Bernoulli(0.5),
        fidelity: Fidelity = "moment",
        estimator: Estimator = "probability",
        eta: float = 0.0,
        binary_input: bool = False,
        pooled: int = 1,
        population: int = 1,
        standardized: bool = False,
    ) -> None:
        super().__init__(
            nn.Linear(in_features, out_features, bias, device, dtype),
            noise=noise,
            fidelity=fidelity,
            estimator=estimator,
            eta=eta,
            binary_input=binary_input,
            pooled=pooled,
            population=population,
            standardized=standardized,
        )

    @property
    def _unbatched_dims(self) -> int:
        return 1

    def flatten(self, u: Tensor) -> Tensor:
        """(N, ..., C) to (N, P, C)."""
        return u.unsqueeze(1).flatten(1, -2)

    def _restore(self, z: Tensor, like: Tensor) -> Tensor:
        return z.reshape(z.shape[0], *like.shape[1:])

    def _weighed(self, values: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        weight = self.weight.to(torch.promote_types(self.weight.dtype, values.dtype))
        return F.linear(values, weight.square())

    def _binary_power(self, x: Tensor) -> Tensor:  # noqa: ARG002
        return self.weight.to(self._wide).square().sum(1)[None]

    def _fields(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1, 1, x.shape[-1])
