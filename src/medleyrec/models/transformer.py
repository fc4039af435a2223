"""Causal transformer blocks for left-aligned rows.

Letters:  B rows   L positions   D width   H heads
Padding is on the right, and nobody looks right: the causal mask is all that is needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.models.dropout import Dropout, dropout


class Block(nn.Module):
    """Pre-norm: attention, then a feed-forward of `4 x width`."""

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width ({width}) must be a multiple of heads ({heads})")
        self.heads, self.attention_dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attend(self.norm1(x)))
        fed: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return fed

    def attend(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, L, 3, H, D/H)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, L, D/H)
        y = causal_attention(q, k, v, dropout_p=self.attention_dropout if self.training else 0.0)
        mixed: Tensor = self.out(y.transpose(1, 2).flatten(2))  # (B, L, D)
        return mixed


def causal_attention(q: Tensor, k: Tensor, v: Tensor, *, dropout_p: float) -> Tensor:
    """Fused, but on the CPU with dropout: there the fused form falls back to slow masks, so it is written out."""
    if q.device.type != "cpu" or dropout_p == 0:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout_p)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (B, H, L, L)
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu_(1)
    weights = scores.masked_fill_(future, float("-inf")).softmax(-1)
    return dropout(weights, dropout_p) @ v
