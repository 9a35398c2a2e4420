"""Stochastic convolutions in one, two and three dimensions."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsm.functional import Estimator
from nsm.nn.context import Fidelity
from nsm.nn.layer import StochasticLayer
from nsm.noise import Bernoulli, NoiseLaw

_CORRELATE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class _Conv(StochasticLayer):
    product: nn.Conv1d | nn.Conv2d | nn.Conv3d
    _module: ClassVar[type[nn.Conv1d | nn.Conv2d | nn.Conv3d]]
    _dims: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        noise: NoiseLaw = Bernoulli(0.5),
        fidelity: Fidelity = "moment",
        estimator: Estimator = "probability",
        eta: float = 0.0,
        binary_input: bool = False,
        pooled: int = 1,
    ) -> None:
        super().__init__(
            self._module(
                in_channels,
                out_channels,
                kernel_size,  # type: ignore[arg-type]
                stride,  # type: ignore[arg-type]
                padding,  # type: ignore[arg-type]
                dilation,  # type: ignore[arg-type]
                groups,
                bias,
                padding_mode,
                device,
                dtype,
            ),
            noise=noise,
            fidelity=fidelity,
            estimator=estimator,
            eta=eta,
            binary_input=binary_input,
            pooled=pooled,
        )

    @property
    def _unbatched_dims(self) -> int:
        return self._dims + 1

    def flatten(self, u: Tensor) -> Tensor:
        """(N, C, *positions) to (N, P, C)."""
        return u.flatten(2).transpose(1, 2)

    def _restore(self, z: Tensor, like: Tensor) -> Tensor:
        return z.transpose(1, 2).view(len(z), z.shape[2], *like.shape[2:])

    def _margins(self) -> list[tuple[int, int]]:
        """Padding before and after each spatial dimension; torch puts the odd cell of "same" behind."""
        conv = self.product
        if conv.padding == "valid":
            return [(0, 0)] * self._dims
        if conv.padding == "same":
            totals = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
            return [(total // 2, total - total // 2) for total in totals]
        return [(int(p), int(p)) for p in conv.padding]

    def _pad(self, x: Tensor) -> Tensor:
        margins = self._margins()
        if not any(map(any, margins)):
            return x
        mode = "constant" if self.product.padding_mode == "zeros" else self.product.padding_mode
        return F.pad(x, [cell for margin in reversed(margins) for cell in margin], mode=mode)

    def _correlate(self, x: Tensor, weight: Tensor) -> Tensor:
        conv = self.product
        result: Tensor = _CORRELATE[self._dims](
            self._pad(x), weight, None, conv.stride, 0, conv.dilation, conv.groups
        )
        return result

    def _power(self, x: Tensor) -> Tensor:
        return self._correlate(x.square(), self.weight.square())

    def _binary_power(self, x: Tensor) -> Tensor:
        if self.product.padding_mode != "zeros" or not any(map(any, self._margins())):
            return self.weight.square().flatten(1).sum(1)[None]
        # At a border some z_j are the padding's zeros: one image of ones tells the variance for the whole
        # batch.
        ones = torch.ones_like(x[:1], memory_format=torch.contiguous_format)
        return self.flatten(self._correlate(ones, self.weight.square()))[0]

    def _fields(self, x: Tensor) -> Tensor:
        conv = self.product
        x = self._pad(x)
        for dim, (size, stride, dilation) in enumerate(
            zip(conv.kernel_size, conv.stride, conv.dilation, strict=True), start=2
        ):
            x = x.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
        # (N, Cin, *positions, *kernel) to one field per group, repeated for the group's neurons.
        x = x.flatten(2, 1 + self._dims).transpose(1, 2)
        x = x.reshape(len(x), x.shape[1], conv.groups, -1)
        return x.repeat_interleave(conv.out_channels // conv.groups, dim=2)


class Conv1d(_Conv):
    """Binary stochastic neurons behind a 1-d convolution: ``torch.nn.Conv1d`` followed by noise and sign.

    Arguments are those of ``torch.nn.Conv1d``, then the keywords of :class:`nsm.nn.Linear`. Every synapse of
    every position has its own noise. Zero padding lowers the variance of u at the border; it is accounted for
    exactly.

    Shape: (N, C_in, L) to (N, C_out, L'), or without N.
    """

    _module, _dims = nn.Conv1d, 1


class Conv2d(_Conv):
    """Binary stochastic neurons behind a 2-d convolution: ``torch.nn.Conv2d`` followed by noise and sign.

    Arguments as in :class:`Conv1d`. Shape: (N, C_in, H, W) to (N, C_out, H', W'), or without N; channels_last
    is kept.
    """

    _module, _dims = nn.Conv2d, 2


class Conv3d(_Conv):
    """Binary stochastic neurons behind a 3-d convolution: ``torch.nn.Conv3d`` followed by noise and sign.

    Arguments as in :class:`Conv1d`. Shape: (N, C_in, D, H, W) to (N, C_out, D', H', W'), or without N.
    """

    _module, _dims = nn.Conv3d, 3
