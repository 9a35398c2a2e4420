"""Deep ensembles (Lakshminarayanan et al., NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nsm.nn import Drawing, is_stochastic
from nsm.nn.context import next_draw


class Ensemble(Drawing):
    """Networks that were trained apart, as samples: sample s of an input is what member s says of it.

    ``nsm.predict(ensemble, x, samples=M)`` gives the mean of all M. Members must draw nothing themselves.

    Args:
        members: the networks, each from (N, ...) to (N, C).

    Raises:
        ValueError: if there is no member, or one draws.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("members must hold at least one network, got none")
        for number, member in enumerate(members):
            if is_stochastic(member):
                raise ValueError(f"members[{number}] draws, but members must draw nothing themselves")
        self.members = nn.ModuleList(members)
        self.most_samples = len(members)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C) of the members that the pass asks for; outside :func:`nsm.nn.draws`, of the first.

        Raises:
            ValueError: if more samples are asked for than there are members.
        """
        if not len(x):
            empty: Tensor = self.members[0](x)
            return empty
        draw = next_draw(self.index, len(x), x.device)
        repeat = draw.samples(x)
        chosen = draw.rows[:, 0]
        if int(chosen.max()) >= len(self.members):
            raise ValueError(f"samples must be at most {len(self.members)}, the number of members")
        source = torch.arange(len(x), device=x.device).repeat_interleave(repeat)
        rows, outputs = [], []
        for number, member in enumerate(self.members):
            mine = (chosen == number).nonzero()[:, 0]
            if len(mine):
                rows.append(mine)
                outputs.append(member(x[source[mine]]))
        return torch.cat(outputs)[torch.cat(rows).argsort()]
