"""Alignment of views: what was written of one item should know itself among what was written of others.

Letters:  N places compared   H width   V items, row 0 being padding   T temperature
Over the items that have both views a and b, each once, with c_ij = cos(a_i, b_j) / T:
    l = mean over i of ( -c_ii + log sum_j exp(c_ij)  -c_ii + log sum_j exp(c_ji) ) / 2
The number of different items in a batch is known to the device alone: N is fixed, and what is no item does not count.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medleyrec.schema import PAD


def different_items(items: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Of `items` (any shape): N item rows, N <= size, drawn at random where there are more; and which of them count.

    Those that count are different and real.
    """
    rising = items.flatten().sort().values
    first = torch.ones_like(rising, dtype=torch.bool)
    first[1:] = rising[1:] != rising[:-1]
    chance = torch.rand(len(rising), device=items.device)
    chance = torch.where(first & (rising != PAD), chance, -1.0)
    best, places = chance.topk(min(size, len(rising)))
    return rising[places], best >= 0


def alignment(one: Tensor, other: Tensor, counts: Tensor, *, temperature: float) -> Tensor:
    """Symmetric InfoNCE of one, other (N, H) over the places that count (N,); 0 where there is none."""
    cosines = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / temperature  # (N, N)
    own = torch.eye(len(one), dtype=torch.bool, device=one.device)
    hidden = ~counts & ~own  # a place that does not count still sees itself: no row is empty
    own_cosines = cosines.diagonal()
    forth = cosines.masked_fill(hidden, float("-inf")).logsumexp(1) - own_cosines
    back = cosines.T.masked_fill(hidden, float("-inf")).logsumexp(1) - own_cosines
    return ((forth + back) / 2 * counts).sum() / counts.sum().clamp(min=1)
