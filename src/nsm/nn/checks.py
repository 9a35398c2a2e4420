"""What is no batch of inputs, in words."""

from __future__ import annotations

from torch import Tensor


def check_batch(x: object, name: str, *, least: int = 1) -> None:
    """Refuse what is not a batch of at least ``least`` finite inputs; ``name`` is what the caller calls it.

    Raises:
        TypeError: if it is no floating-point tensor.
        ValueError: if there are fewer inputs, or one holds NaN or infinity.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {x.dtype}")
    if x.dim() < 2 or len(x) < least:
        raise ValueError(f"{name} must have shape (B, ...) with B >= {least}, got {tuple(x.shape)}")
    finite = x.isfinite().flatten(1).all(1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise ValueError(f"{name} must be finite, but input {first} holds NaN or infinity")
