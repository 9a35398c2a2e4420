"""Monte Carlo dropout: units left out in inference as in learning (Gal and Ghahramani, ICML 2016)."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from nsm import native, random
from nsm.nn import Drawing
from nsm.nn.context import next_draw


class SampledDropout(Drawing):
    """x m / (1 - p) with independent m in {0, 1}, P(m = 0) = p, in training and evaluation alike.

    Drawn like a stochastic layer, at the coordinates of the pass.

    Args:
        p: probability of leaving a unit out, in (0, 1).

    Raises:
        ValueError: if ``p`` is not in (0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0.0 < p < 1.0:
            raise ValueError(f"p must be in (0, 1), got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """A sample of the shape (N, ...) and dtype of ``x``; inside :func:`nsm.nn.draws` N may grow."""
        draw = next_draw(self.index, len(x), x.device)
        units = math.prod(x.shape[1:])
        # A neuron that fires with probability 1 - p whatever it receives.
        argument = torch.erfinv(torch.tensor(1.0 - 2.0 * self.p, dtype=torch.float64))
        shift = argument.float().expand(1, units).to(x.device)
        u = torch.zeros(len(x), 1, units, device=x.device)
        place = draw.place(random.Purpose.ACTIVATION)
        fired = native.fire(u, torch.zeros_like(shift), shift, draw.seed, draw.rows, place)
        if len(draw.rows) > len(x):
            x = x.repeat_interleave(draw.samples(x), dim=0)
        return x * (fired.view(x.shape) > 0) / (1.0 - self.p)

    def extra_repr(self) -> str:
        """The rate."""
        return f"p={self.p}"


def mc_dropout(net: nn.Module) -> nn.Module:
    """A copy of ``net`` whose dropout stays on and is drawn like the noise of a stochastic layer.

    Args:
        net: a network with ``nn.Dropout`` layers, such as the model ``"twin-dropout"``.

    Raises:
        ValueError: if it has none with p > 0, or dropout of another kind, which would stay off.

    >>> import nsm, torch
    >>> net = mc_dropout(nsm.models.build("digits-mlp", model="twin-dropout"))
    >>> nsm.predict(net, torch.rand(2, 1, 8, 8), samples=20).samples_used
    tensor([20, 20])
    """
    sampled = copy.deepcopy(net)
    # One module may stand in several places.
    everywhere = list(sampled.named_modules(remove_duplicate=False))
    others = [(name, type(child).__name__) for name, child in everywhere if isinstance(child, _OTHERS)]
    if others:
        name, kind = others[0]
        raise ValueError(f"net must have no dropout but nn.Dropout, got {kind} at {name}")
    found = [(name, child.p) for name, child in everywhere if isinstance(child, nn.Dropout) and child.p > 0.0]
    if not found:
        raise ValueError("net must have nn.Dropout layers with p > 0, but it has none")
    for name, p in found:
        sampled.set_submodule(name, SampledDropout(p))
    return sampled


_OTHERS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
