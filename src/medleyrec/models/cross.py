"""Attention across the views of DMESR: each side of an item asks the other.

Letters:  B rows   L positions   H width of a side   n items   K views of a side
Over a row, C being its coarse sequence and F its fine one, each with learned positions of its own and a layer norm:
    Fhat = C + CA_1(query C, keys and values F)     Chat = F + CA_2(query F, keys and values C)
Norm and residual are ours: the paper's abstract speaks of bidirectional cross-attention alone, which is what is left
without both. Without the residual the query's sequence is not added. Without the norm, item rows start so small that
every event is looked at alike, and attention learns slowly. Rows are left-aligned; a causal answer at t looks at the
events up to and including t, so padding on the right needs no mask. Only rows whose targets are masked, and whose
`lengths` are given, are looked at both ways; their padding is hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medleyrec.models.transformer import attention, causal_attention

POSITION_SCALE = 0.02  # standard deviation of fresh positions, the habit of the field


class CrossAttention(nn.Module):
    """Multi-head attention whose queries come from one sequence, keys and values from the other."""

    def __init__(self, width: int, *, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.keyed = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, asking: Tensor, asked: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, L, H) each -> (B, L, H); lengths (B,): look both ways, at so many events of each row."""
        q = self._split(self.query(asking))
        k, v = (self._split(part) for part in torch.chunk(self.keyed(asked), 2, -1))  # (B, heads, L, H / heads)
        p = self.dropout if self.training else 0.0
        if lengths is None:
            y = causal_attention(q, k, v, dropout_p=p)
        else:
            real = torch.arange(k.shape[2], device=k.device) < lengths[:, None]  # (B, L)
            y = attention(q, k, v, seen=real[:, None, None], dropout_p=p)
        answer: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return answer

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(1, 2)


class CrossFusion(nn.Module):
    """The coarse and the fine sequence of a row, each answered by the other."""

    def __init__(self, width: int, *, length: int, heads: int, dropout: float, norm: bool, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.coarse_positions, self.fine_positions = nn.Embedding(length, width), nn.Embedding(length, width)
        nn.init.normal_(self.coarse_positions.weight, std=POSITION_SCALE)
        nn.init.normal_(self.fine_positions.weight, std=POSITION_SCALE)
        self.coarse_norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.fine_norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.to_fine = CrossAttention(width, heads=heads, dropout=dropout)
        self.to_coarse = CrossAttention(width, heads=heads, dropout=dropout)

    def forward(self, coarse: Tensor, fine: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """C, F (B, L, H) -> Chat, Fhat (B, L, H); lengths as in CrossAttention.

        Rows that are looked at both ways are counted from their end, as BERT4Rec counts them (backbones.py): the place
        that a model is asked at is then one that training has been at.
        """
        at = torch.arange(coarse.shape[1], device=coarse.device)  # (L,)
        if lengths is not None:
            at = (lengths[:, None] - 1 - at).clamp(min=0)  # (B, L)
        c = self.coarse_norm(coarse + self.coarse_positions(at))
        f = self.fine_norm(fine + self.fine_positions(at))
        new_coarse, new_fine = self.to_coarse(f, c, lengths), self.to_fine(c, f, lengths)
        return (new_coarse + f, new_fine + c) if self.residual else (new_coarse, new_fine)


class ItemAttention(nn.Module):
    """Item by item: the coarse vector asks the fine views. With K = 1 the answer would not depend on the question."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.keyed = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, coarse: Tensor, fine: Tensor, counts: Tensor) -> Tensor:
        """coarse (n, H); fine (n, K, H) and which of them count (n, K) -> (n, H)"""
        q = self.query(coarse).unflatten(-1, (self.heads, -1))  # (n, heads, H / heads)
        k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.keyed(fine).chunk(2, -1))
        scores = torch.einsum("nhc,nkhc->nkh", q, k) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~counts[..., None], float("-inf")).softmax(1)  # (n, K, heads)
        answer: Tensor = self.out(torch.einsum("nkh,nkhc->nhc", weights, v).flatten(1))
        return answer
