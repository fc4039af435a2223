"""Who decides how much each expert counts at a position: the two routers of CAMMSR.

Letters:  M parts of an item   B rows   L positions   H width of a part   K experts

Attentive (Eqs. 6-7), one per part, without bias:  Q, K, V = e_m W,   G_m = softmax(Q K^T / sqrt(K)) V
is self-attention over the row whose answer IS the gates, K numbers of any sign and size; `softmax` makes shares of
them. A causal router sees the events up to its own, so a prefix has the same gates alone as inside its row; one that
is not sees the whole row, and fits only rows that teach their last event alone.
Linear, as in other mixtures:  G_m = softmax(W_m e_m + b_m), each position for itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.models.initial import xavier
from medleyrec.models.transformer import causal_attention


class AttentiveRouter(nn.Module):
    def __init__(self, parts: int, width: int, *, experts: int, causal: bool = True, softmax: bool = False) -> None:
        super().__init__()
        self.experts, self.causal, self.softmax = experts, causal, softmax
        self.weight = nn.Parameter(xavier(torch.empty(parts, 3, experts, width)))

    def forward(self, e: Tensor, lengths: Tensor) -> Tensor:
        """e (M, B, L, H), lengths (B,) -> gates (M, B, L, K)"""
        parts, rows, length, _ = e.shape
        q, k, v = self._projected(e)
        if self.causal:
            gates = causal_attention(q, k, v, dropout_p=0.0)
        else:
            gates = F.scaled_dot_product_attention(q, k, v, attn_mask=_real(lengths, length).repeat(parts, 1, 1, 1))
        gates = gates.view(parts, rows, length, self.experts)
        return gates.softmax(-1) if self.softmax else gates

    def maps(self, e: Tensor, lengths: Tensor) -> Tensor:
        """Who looks at whom: (M, B, L, L), the rows of real positions summing to 1. To look at, not to train with."""
        parts, rows, length, _ = e.shape
        q, k, _ = self._projected(e)
        scores = (q @ k.mT)[:, 0].view(parts, rows, length, length) / self.experts**0.5
        seen = _real(lengths, length)[:, 0]  # (B, 1, L)
        if self.causal:
            seen = seen & torch.ones(length, length, dtype=torch.bool, device=e.device).tril()
        shares: Tensor = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        return shares

    def _projected(self, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q, K and V, each (M B, 1, L, K)"""
        parts, rows, length, _ = e.shape
        projected = torch.bmm(e.flatten(1, 2), self.weight.flatten(1, 2).mT)  # (M, B L, 3 K)
        q, k, v = projected.view(parts * rows, 1, length, 3, self.experts).unbind(3)
        return q, k, v


class LinearRouter(nn.Module):
    def __init__(self, parts: int, width: int, *, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(xavier(torch.empty(parts, experts, width)))
        self.bias = nn.Parameter(torch.zeros(parts, experts))

    def forward(self, e: Tensor, lengths: Tensor) -> Tensor:
        """e (M, B, L, H) -> gates (M, B, L, K) that sum to 1"""
        logits = torch.baddbmm(self.bias[:, None], e.flatten(1, 2), self.weight.mT)  # (M, B L, K)
        return logits.softmax(-1).view(*e.shape[:3], -1)


def _real(lengths: Tensor, length: int) -> Tensor:
    """bool (B, 1, 1, L): what may be looked at; a row without events looks at its padding."""
    return (torch.arange(length, device=lengths.device) < lengths.clamp(min=1)[:, None])[:, None, None]
