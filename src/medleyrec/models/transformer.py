"""Transformer blocks for left-aligned rows.

Letters:  B rows   L positions   D width   H heads
Padding is on the right. In a causal block nobody looks right, and the causal mask is all that is needed; a block that
looks both ways is told which positions are real.
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
        q, k, v = _split(self.qkv(x), self.heads)
        y = causal_attention(q, k, v, dropout_p=self.attention_dropout if self.training else 0.0)
        mixed: Tensor = self.out(y.transpose(1, 2).flatten(2))  # (B, L, D)
        return mixed

    def last(self, x: Tensor, ends: Tensor) -> Tensor:
        """What `forward` has at the positions `ends` (B,), (B, D), and no more work than that needs."""
        q, k, v = _split(self.qkv(self.norm1(x)), self.heads)
        y = asked_at(q, k, v, ends, dropout_p=self.attention_dropout if self.training else 0.0)  # (B, D)
        z = x[torch.arange(len(x), device=x.device), ends] + self.drop(self.out(y))
        fed: Tensor = z + self.drop(self.mlp(self.norm2(z)))
        return fed


class PostBlock(nn.Module):
    """Post-norm and bidirectional: attention, then a feed-forward of `4 x width`; each is added, then normalised."""

    def __init__(self, *, width: int, heads: int, dropout: float, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=epsilon), nn.LayerNorm(width, eps=epsilon)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """real (B, L): which positions may be looked at; at least one per row."""
        x = self.norm1(x + self.drop(self.attend(x, real)))
        normed: Tensor = self.norm2(x + self.drop(self.mlp(x)))
        return normed

    def attend(self, x: Tensor, real: Tensor) -> Tensor:
        dropout_p = self.attention_dropout if self.training else 0.0
        q, k, v = _split(self.qkv(x), self.heads)
        y = attention(q, k, v, seen=real[:, None, None], dropout_p=dropout_p)
        mixed: Tensor = self.out(y.transpose(1, 2).flatten(2))  # (B, L, D)
        return mixed


def _split(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L, 3D) -> queries, keys and values, each (B, H, L, D/H)"""
    q, k, v = qkv.view(*qkv.shape[:-1], 3, heads, -1).permute(2, 0, 3, 1, 4)
    return q, k, v


def causal_attention(q: Tensor, k: Tensor, v: Tensor, *, dropout_p: float) -> Tensor:
    """Fused, but on the CPU with dropout: there the fused form falls back to slow masks, so it is written out."""
    if q.device.type != "cpu" or dropout_p == 0:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout_p)
    future = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu_(1)
    return _written_out(q, k, v, hidden=future, dropout_p=dropout_p)


def attention(q: Tensor, k: Tensor, v: Tensor, *, seen: Tensor, dropout_p: float) -> Tensor:
    """seen, broadcast to (B, H, L, L): which keys a query may look at, at least one."""
    if q.device.type != "cpu" or dropout_p == 0:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout_p)
    return _written_out(q, k, v, hidden=~seen, dropout_p=dropout_p)


def ends_of(lengths: Tensor) -> Tensor:
    """The last real position of each row, (B,); 0 where a row is empty."""
    return (lengths - 1).clamp(min=0)


def at_ends(states: Tensor, lengths: Tensor) -> Tensor:
    """Of states (B, L, D) the last one of each row, (B, D); the first where a row is empty."""
    return states[torch.arange(len(states), device=states.device), ends_of(lengths)]


def asked_at(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, *, dropout_p: float) -> Tensor:
    """Causal attention at one position `ends` (B,) of each row alone: (B, H, L, D/H) -> (B, D)."""
    own = q[torch.arange(len(q), device=q.device), :, ends][:, :, None]  # (B, H, 1, D/H)
    seen = torch.arange(k.shape[2], device=q.device) <= ends[:, None]  # (B, L)
    return attention(own, k, v, seen=seen[:, None, None], dropout_p=dropout_p).flatten(1)


def _written_out(q: Tensor, k: Tensor, v: Tensor, *, hidden: Tensor, dropout_p: float) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (B, H, L, L)
    weights = scores.masked_fill_(hidden, float("-inf")).softmax(-1)
    return dropout(weights, dropout_p) @ v
