"""What the operators share: handing a job to its kernel, and the gradient of a draw."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nsm.native import paths


def run(kernel: str, **job: Tensor | float) -> None:
    """Do a job with the kernel of this name, on as many threads as torch would use.

    Args:
        kernel: name in ``nsm.native._kernels``.
        job: the fields of its job in ``kernels.hpp``; tensors are handed over by their address, so that their
            memory order must be what the kernel expects.
    """
    fields = {name: x.data_ptr() if isinstance(x, Tensor) else x for name, x in job.items()}
    chosen = paths.chosen()
    assert chosen, "asked for before"
    call = getattr(chosen.kernels, kernel)
    call(**fields, instruction_set=chosen.instruction_set, threads=torch.get_num_threads())


def register_gradient(name: str) -> None:
    """The gradient of an operator nsm::name(u, scale, shift, seed, rows, place, estimator):
    nsm::name_backward(grad, u, scale, shift, estimator) gives those of its first three arguments, the others
    have none.
    """
    backward = getattr(torch.ops.nsm, f"{name}_backward")

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 (torch's signature)
        ctx.save_for_backward(*inputs[:3])
        ctx.estimator = inputs[-1]

    def apply(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *backward(grad, *ctx.saved_tensors, ctx.estimator), None, None, None, None

    torch.library.register_autograd(f"nsm::{name}", apply, setup_context=setup_context)
