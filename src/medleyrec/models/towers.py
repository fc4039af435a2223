"""Several causal Transformer encoders of one shape, run side by side: one set of kernels for all of them.

Letters:  M towers   G sequences of rows, each for one tower   B rows   L positions   H width   N = B x L
A tower may be named more than once in a call: its sequences share its weights and are one batch.
Rows are left-aligned and nobody looks right, so padding needs no mask.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.models.dropout import Dropout
from medleyrec.models.initial import xavier
from medleyrec.models.transformer import asked_at, causal_attention

EPSILON = 1e-12  # of the layer norms, the habit of this family of models


class TowerLinear(nn.Module):
    """M linear layers in one tensor, drawn with deviation `std`, or Xavier's where it is None.

    stacked: how many matrices lie one above the other in each layer.
    """

    def __init__(self, towers: int, inputs: int, outputs: int, *, std: float | None, stacked: int = 1) -> None:
        super().__init__()
        weight = torch.empty(towers, outputs, inputs)
        drawn = xavier(weight, outputs=outputs // stacked) if std is None else weight.normal_(std=std)
        self.weight = nn.Parameter(drawn)
        self.bias = nn.Parameter(torch.zeros(towers, outputs))

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        """(G, N, inputs) -> (G, N, outputs)"""
        weight, bias = self.weight.index_select(0, which), self.bias.index_select(0, which)
        return torch.baddbmm(bias[:, None], x, weight.mT)


class TowerNorm(nn.Module):
    """M layer norms in one tensor."""

    def __init__(self, towers: int, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(towers, width)), nn.Parameter(torch.zeros(towers, width))

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        weight, bias = self.weight.index_select(0, which), self.bias.index_select(0, which)
        return torch.addcmul(bias[:, None], F.layer_norm(x, x.shape[-1:], eps=EPSILON), weight[:, None])


class TowerTanh(nn.Module):
    """M dynamic tanh in one tensor: tanh(alpha x), alpha learnt, one per tower; nothing else."""

    def __init__(self, towers: int, *, start: float = 0.5) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((towers,), start))

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        return torch.tanh(self.alpha.index_select(0, which)[:, None, None] * x)


class TowerBlock(nn.Module):
    """Post-norm: attention, then a feed-forward with exact GELU; each is added to its input, then normalised."""

    def __init__(self, towers: int, *, width: int, heads: int, inner: int, dropout: float, std: float | None) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, dropout
        self.qkv = TowerLinear(towers, width, 3 * width, std=std, stacked=3)
        self.out = TowerLinear(towers, width, width, std=std)
        self.norm1, self.norm2 = TowerNorm(towers, width), TowerNorm(towers, width)
        self.up, self.down = TowerLinear(towers, width, inner, std=std), TowerLinear(towers, inner, width, std=std)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, which: Tensor, rows: int) -> Tensor:
        """(G, N, H), where N is `rows` rows"""
        x = self.norm1(x + self.drop(self.attend(x, which, rows)), which)
        fed = self.down(F.gelu(self.up(x, which)), which)
        normed: Tensor = self.norm2(x + self.drop(fed), which)
        return normed

    def last(self, x: Tensor, which: Tensor, ends: Tensor) -> Tensor:
        """What `forward` has at the positions `ends` (B,), (G, B, H), and no more work than that needs."""
        towers, rows = len(x), len(ends)
        q, k, v = self._asked(x, which, rows)
        dropout_p = self.attention_dropout if self.training else 0.0
        y = asked_at(q, k, v, ends.repeat(towers), dropout_p=dropout_p).view(towers, rows, -1)
        own = x.view(towers, rows, -1, x.shape[-1])[:, torch.arange(rows, device=x.device), ends]  # (G, B, H)
        z = self.norm1(own + self.drop(self.out(y, which)), which)
        normed: Tensor = self.norm2(z + self.drop(self.down(F.gelu(self.up(z, which)), which)), which)
        return normed

    def _asked(self, x: Tensor, which: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (G B, heads, L, H / heads)"""
        qkv = self.qkv(x, which).view(x.shape[0] * rows, -1, 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return q, k, v

    def attend(self, x: Tensor, which: Tensor, rows: int) -> Tensor:
        q, k, v = self._asked(x, which, rows)
        y = causal_attention(q, k, v, dropout_p=self.attention_dropout if self.training else 0.0)
        mixed: Tensor = self.out(y.transpose(1, 2).reshape(x.shape), which)
        return mixed


class Towers(nn.Module):
    """LayerNorm, or dynamic tanh where `tanh`; dropout; then `depth` blocks, for each of M towers."""

    def __init__(
        self,
        towers: int,
        *,
        width: int,
        depth: int,
        heads: int,
        inner: int,
        dropout: float,
        std: float | None = 0.02,
        tanh: bool = False,
    ) -> None:
        super().__init__()
        self.norm, self.drop = TowerTanh(towers) if tanh else TowerNorm(towers, width), Dropout(dropout)
        self.blocks = nn.ModuleList(
            TowerBlock(towers, width=width, heads=heads, inner=inner, dropout=dropout, std=std) for _ in range(depth)
        )

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        """x (G, B, L, H); which (G,) the tower of each sequence -> (G, B, L, H)"""
        encoded: Tensor = self._through(self.blocks, x, which).view(x.shape)
        return encoded

    def last(self, x: Tensor, which: Tensor, ends: Tensor) -> Tensor:
        """What `forward` has at the positions `ends` (B,): (G, B, L, H) -> (G, B, H)"""
        block = self.blocks[-1]
        assert isinstance(block, TowerBlock)
        return block.last(self._through(self.blocks[:-1], x, which), which, ends)

    def _through(self, blocks: nn.ModuleList, x: Tensor, which: Tensor) -> Tensor:
        """(G, N, H)"""
        y: Tensor = self.drop(self.norm(x.flatten(1, 2), which))
        for block in blocks:
            y = block(y, which, x.shape[1])
        return y
