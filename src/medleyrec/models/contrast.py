"""Contrastive loss whose known false negatives are left out.

Letters:  N pairs   H width   T temperature
    c_ij = cos(a_i, b_j),   l_i = -c_ii / T + log sum_{j = i or not false_ij} exp(c_ij / T),   mean over i
Pairs of equal target are no negatives of each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(
    anchors: Tensor, others: Tensor, false: Tensor | None, *, temperature: float, counted: bool = False
) -> Tensor:
    """anchors, others (N, H); false (N, N) which pairs are known false negatives, None for none -> a scalar.

    counted: each false negative still adds exp(0) = 1 to the sum, as in the published code.
    """
    cosines = F.normalize(anchors, dim=-1) @ F.normalize(others, dim=-1).T  # (N, N)
    if temperature != 1:  # at 1 a division would be one more look at N x N numbers, and one more on the way back
        cosines = cosines / temperature
    logits = cosines if false is None else cosines.masked_fill(false, 0.0 if counted else float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def false_negatives(targets: Tensor, users: Tensor | None = None) -> Tensor:
    """(N, N) pairs that share their target, or their user where `users` (N,) is given; a pair is never its own."""
    same = targets[:, None] == targets
    if users is not None:
        same = same | (users[:, None] == users)
    return same.fill_diagonal_(False)


def random_pool(positions: Tensor, size: int) -> Tensor:
    """At most `size` of `positions` (T,), drawn without replacement."""
    if len(positions) <= size:
        return positions
    return positions[torch.randperm(len(positions), device=positions.device)[:size]]
