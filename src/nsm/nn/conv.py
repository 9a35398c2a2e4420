"""Stochastic convolutions in one, two and three dimensions."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsm import functional, native
from nsm.fields import Fields, counts
from nsm.functional import Estimator
from nsm.native.checks import KERNEL_DTYPES
from nsm.nn import autocast
from nsm.nn.context import Draw, Fidelity, active_fidelity, next_draw
from nsm.nn.layer import StochasticLayer
from nsm.nn.memory import channels_last
from nsm.nn.preactivation import Neurons
from nsm.noise import Bernoulli, NoiseLaw

_SMALL_FIELD = 32  # inputs of a neuron
_CORRELATE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class _Conv(StochasticLayer):
    product: nn.Conv1d | nn.Conv2d | nn.Conv3d
    # Of layers that are made around a product.
    max_pool: tuple[int, ...] = ()
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
        population: int = 1,
        standardized: bool = False,
        max_pool: int | tuple[int, ...] = 1,
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
            population=population,
            standardized=standardized,
        )
        window = max_pool if isinstance(max_pool, tuple) else (max_pool,) * self._dims
        if len(window) != self._dims or not all(type(size) is int and size >= 1 for size in window):
            raise ValueError(
                f"max_pool must be a size >= 1 or one for each of {self._dims} dimensions, got {max_pool}"
            )
        self.max_pool = window

    @property
    def _unbatched_dims(self) -> int:
        return self._dims + 1

    def flatten(self, u: Tensor) -> Tensor:
        """(N, C, *positions) to (N, P, C)."""
        return u.flatten(2).transpose(1, 2)

    def _restore(self, z: Tensor, like: Tensor) -> Tensor:
        return z.transpose(1, 2).view(z.shape[0], z.shape[2], *self._positions(like))

    def _positions(self, like: Tensor) -> tuple[int, ...]:
        """Positions of what leaves the layer along each dimension."""
        return tuple(size // width for size, width in zip(like.shape[2:], self._window, strict=True))

    @property
    def _window(self) -> tuple[int, ...]:
        return self.max_pool or (1,) * self._dims

    @property
    def _pools(self) -> bool:
        return max(self._window) > 1

    def _windows(self, x: Tensor, like: Tensor) -> Tensor:
        """(M, P, C) to (M, *positions, *window, C); what a last, incomplete window would hold is left out."""
        counts = self._positions(like)
        if min(counts) < 1:
            raise ValueError(
                f"max_pool {self._window} is larger than the product's {tuple(like.shape[2:])} positions"
            )
        if x.shape[1] == 1 and math.prod(like.shape[2:]) > 1:
            return x.view(x.shape[0], *(1,) * (2 * self._dims), x.shape[2])
        x = torch.unflatten(x, 1, like.shape[2:])
        for dim, (count, width) in enumerate(zip(counts, self._window, strict=True)):
            if x.shape[1 + 2 * dim] != count * width:  # the gradient of a part is a copy of the whole
                x = x.narrow(1 + 2 * dim, 0, count * width)
            x = torch.unflatten(x, 1 + 2 * dim, (count, width))
        dims = range(1, 1 + 2 * self._dims)
        return x.permute(0, *dims[::2], *dims[1::2], -1)

    def _sample(self, x: Tensor) -> Tensor:
        # Windows are looked through with neurons last: grey images lie in either order.
        if self._pools and x.dim() == 4 and x.shape[1] == 1:
            x = channels_last(x)
        if x.dim() != self.weight.dim() or not x.shape[0] or not self._senses(x):
            return super()._sample(x)
        padded, where = (
            self._pad(x).contiguous(),
            Fields(self.product.stride, self.product.dilation, self._window),
        )
        if min(counts(padded.shape, self.weight.shape, where)) < 1:
            return super()._sample(x)
        draw, (gain, (bias,)) = next_draw(self.index, x.shape[0], x.device), self.neurons()
        z = native.sense(
            padded,
            self.weight,
            gain,
            bias,
            self.noise.variance,
            self.eta**2,
            where,
            draw.seed,
            draw.rows,
            draw.place(),
            autocast.dtype(x),
            self.estimator,
        )
        return z.movedim(-1, 1)

    def _senses(self, x: Tensor) -> bool:
        """Whether samples come straight from the inputs: where receptive fields are small, and nobody wants
        the product or a gradient at its input.
        """
        conv = self.product
        hooked = conv._forward_hooks or conv._forward_pre_hooks  # noqa: SLF001
        plain = type(conv).forward is self._module.forward and not hooked
        return (
            plain
            and not self.binary_input
            and self.population == 1
            and not (self.standardized and self.training)
            and active_fidelity(self.fidelity) == "moment"
            and (not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") in KERNEL_DTYPES)
            and conv.groups == 1
            and self.weight[0].numel() <= _SMALL_FIELD
            and x.device.type == "cpu"
            and {x.dtype, self.weight.dtype} == {torch.float32}
            and not x.requires_grad
        )

    def _fire_together(self, x: Tensor, u: Tensor, power: Tensor, neurons: Neurons, like: Tensor) -> Tensor:
        if not self._pools:
            return super()._fire_together(x, u, power, neurons, like)
        heard = self._windows(u, like)
        if self.binary_input and len(power) == 1:
            members = self._members(u, power, neurons)
            shifts = tuple(member.shift.squeeze(0) for member in members)
            return self._hear(x, heard, None, Neurons(members[0].scale.squeeze(0), shifts))
        if self.binary_input:  # near a margin of zeros the variance is another one, for all inputs
            power = power.contiguous().expand(u.shape[0], -1, -1)
        return self._hear(x, heard, self._windows(power, like), neurons)

    def _fire(self, u: Tensor, scale: Tensor, shift: Tensor, draw: Draw, like: Tensor) -> Tensor:
        if not self._pools:
            return super()._fire(u, scale, shift, draw, like)
        # Scale and shift of all positions, or of one.
        scale, shift = self._windows(scale[None], like), self._windows(shift[None], like)
        z = native.fire_max(
            self._windows(u, like), scale, shift, draw.seed, draw.rows, draw.place(), self.estimator
        )
        return z.flatten(1, -2)

    def _expected(self, s: Tensor, like: Tensor, estimator: Estimator) -> Tensor:
        if not self._pools:
            return super()._expected(s, like, estimator)
        silent = 0.5 - 0.5 * functional.expected_state(self._windows(s, like), estimator)
        silent = silent.flatten(1 + self._dims, -2).prod(-2)
        return 1.0 - 2.0 * silent.flatten(1, -2)

    def _pool(self, z: Tensor, like: Tensor) -> Tensor:
        if not self._pools:
            return z
        # A NaN is the largest of any window.
        return self._windows(z, like).flatten(1 + self._dims, -2).amax(-2).flatten(1, -2)

    def extra_repr(self) -> str:
        """Noise law, fidelity, and whatever differs from the default."""
        return super().extra_repr() + (f", max_pool={self._window}" if self._pools else "")

    def _pad(self, x: Tensor) -> Tensor:
        around = margins(self.product)
        if not any(map(any, around)):
            return x
        mode = "constant" if self.product.padding_mode == "zeros" else self.product.padding_mode
        return F.pad(x, [cell for margin in reversed(around) for cell in margin], mode=mode)

    def _correlate(self, x: Tensor, weight: Tensor) -> Tensor:
        conv = self.product
        zeros = conv.padding_mode == "zeros"
        result: Tensor = _CORRELATE[self._dims](
            x if zeros else self._pad(x),
            weight,
            None,
            conv.stride,
            conv.padding if zeros else 0,
            conv.dilation,
            conv.groups,
        )
        return result

    def _weighed(self, values: Tensor, x: Tensor) -> Tensor:
        # Of one channel, a result of arithmetic no longer says in which order it is.
        if x.dim() == 4 and x.stride(1) == 1:
            values = channels_last(values)
        weight = self.weight.to(torch.promote_types(self.weight.dtype, values.dtype))
        return self._correlate(values, weight.square())

    def _binary_power(self, x: Tensor) -> Tensor:
        squares = self.weight.to(self._wide).square()
        if self.product.padding_mode != "zeros" or not any(map(any, margins(self.product))):
            return squares.flatten(1).sum(1)[None]
        # At a border some z_j are the padding's zeros: one image of ones tells the variance for the whole
        # batch.
        ones = torch.ones_like(x[:1], dtype=self._wide, memory_format=torch.contiguous_format)
        with autocast.off(x):
            return self.flatten(self._correlate(ones, squares))[0]

    def _fields(self, x: Tensor) -> Tensor:
        conv = self.product
        x = self._pad(x)
        for dim, (size, stride, dilation) in enumerate(
            zip(conv.kernel_size, conv.stride, conv.dilation, strict=True), start=2
        ):
            x = x.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
        # (N, Cin, *positions, *kernel) to one field per group.
        x = x.flatten(2, 1 + self._dims).transpose(1, 2)
        return x.reshape(len(x), x.shape[1], conv.groups, -1)


def margins(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[tuple[int, int]]:
    """Padding before and after each spatial dimension; torch puts the odd cell of "same" behind."""
    if conv.padding == "valid":
        return [(0, 0)] * len(conv.kernel_size)
    if conv.padding == "same":
        totals = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(int(p), int(p)) for p in conv.padding]


class Conv1d(_Conv):
    """Binary stochastic neurons behind a 1-d convolution: ``torch.nn.Conv1d`` followed by noise and sign.

    Arguments are those of ``torch.nn.Conv1d``, then the keywords of :class:`nsm.nn.Linear` and ``max_pool``.
    Every synapse of every position has its own noise. Zero padding lowers the variance of u at the border; it
    is accounted for exactly.

    ``max_pool``, a size or one for each dimension, pools the neurons by their maximum over windows that lie
    side by side, as ``torch.nn.MaxPool1d(max_pool)`` behind the layer would. The law is the same: +1 unless
    every neuron of the window is -1, P(max = 1) = 1 - prod_k (1 - P_k), since neurons are independent given
    their inputs. At fidelity ``"moment"`` one number decides a window, and the gradient is that of
    E[max] = 1 - 2 prod_k (1 - P_k): every neuron gets its share, where the gradient through a maximum of
    samples goes to the first of equals. At ``"mean"`` and ``"marginal"`` E[max] is passed on, which is not
    the maximum of means.

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
