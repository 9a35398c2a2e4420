"""How unlikely the truth was, apart from torchmetrics, which takes long to import."""

from __future__ import annotations

import torch
from torch import Tensor


def surprise(probs: Tensor, targets: Tensor) -> Tensor:
    """-ln of the true class's probability: (..., C) and (...,) to (...,), in nats. A probability below the
    smallest normal float32 (1.2e-38) counts as that.
    """
    true = probs.gather(-1, targets[..., None]).squeeze(-1)
    return -true.clamp(min=torch.finfo(torch.float32).tiny).log()
