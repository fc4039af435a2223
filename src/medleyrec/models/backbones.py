"""Backbones: what makes states of a sequence of item vectors.

Letters:  B rows   L positions   D width
A backbone adds its own positions and applies its own dropout and norms; it knows nothing of items. Its states are meant
for inner products with vectors of the same width D. Rows are left-aligned: position 0 is the window's first event,
padding is on the right, and nothing that stands there changes a state of a real position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from medleyrec.models.dropout import Dropout
from medleyrec.models.initial import xavier
from medleyrec.models.transformer import Block, PostBlock, at_ends, ends_of

SMALL = 0.02  # standard deviation of fresh positions
EPSILON = 1e-12  # of BERT4Rec's layer norms, as published


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Everything that changes a backbone.

    max_length: events of a history. A backbone that is not causal takes one position more, for the masked one.
    depth: blocks or recurrent layers.
    heads: of attention; a recurrent backbone has none.
    """

    width: int
    max_length: int
    depth: int = 2
    heads: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")


class Backbone(nn.Module):
    """`forward(x (B, L, D), lengths (B,)) -> states (B, L, D)`; a row of length 0 counts as one of length 1.

    Where `causal`, state t depends on the positions up to and including t alone; else on all of its row.
    """

    causal: ClassVar[bool] = True

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        raise NotImplementedError

    def last(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The state at each row's end, (B, D)."""
        return at_ends(self(x, lengths), lengths)


class SASRecBackbone(Backbone):
    """Causal self-attention, pre-norm (Kang & McAuley, ICDM 2018)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.positions = _positions(shape.max_length, shape.width)
        self.dropout = Dropout(shape.dropout)
        self.blocks = nn.ModuleList(
            Block(width=shape.width, heads=shape.heads, dropout=shape.dropout) for _ in range(shape.depth)
        )
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        x = self._placed(x)
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states

    def last(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The last block is asked at the ends alone."""
        x = self._placed(x)
        for block in self.blocks[:-1]:
            x = block(x)
        block = self.blocks[-1]
        assert isinstance(block, Block)
        state: Tensor = self.norm(block.last(x, ends_of(lengths)))
        return state

    def _placed(self, x: Tensor) -> Tensor:
        placed: Tensor = self.dropout(x + self.positions.weight[: x.shape[1]])
        return placed


class GRU4RecBackbone(Backbone):
    """Gated recurrent layers as wide as the vectors, then a linear layer (Hidasi et al., ICLR 2016); no positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.dropout = Dropout(shape.dropout)
        between = shape.dropout if shape.depth > 1 else 0.0  # torch warns where there is nothing between
        self.gru = nn.GRU(shape.width, shape.width, num_layers=shape.depth, batch_first=True, dropout=between)
        self.out = nn.Linear(shape.width, shape.width)
        self.apply(_gru_start)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        hidden, _ = self.gru(self.dropout(x))
        states: Tensor = self.out(hidden)
        return states


class BERT4RecBackbone(Backbone):
    """Bidirectional self-attention, post-norm, and the projection before the product with the items.

    Sun et al., CIKM 2019, with the layer norm of the inputs of its published code.
    Positions are counted from a row's end, not from its start: the one that a model is asked at, the last, is then one
    that training has been at, however long the history.
    """

    causal = False

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.positions = _positions(shape.max_length + 1, shape.width)
        self.norm, self.dropout = nn.LayerNorm(shape.width, eps=EPSILON), Dropout(shape.dropout)
        self.blocks = nn.ModuleList(
            PostBlock(width=shape.width, heads=shape.heads, dropout=shape.dropout, epsilon=EPSILON)
            for _ in range(shape.depth)
        )
        self.project = nn.Linear(shape.width, shape.width)
        self.gelu, self.last_norm = nn.GELU(), nn.LayerNorm(shape.width, eps=EPSILON)
        self.apply(_bert_start)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        from_end = lengths.clamp(min=1)[:, None] - 1 - torch.arange(x.shape[1], device=x.device)  # (B, L)
        real = from_end >= 0
        x = self.dropout(self.norm(x + self.positions(from_end.clamp(min=0))))
        for block in self.blocks:
            x = block(x, real)
        states: Tensor = self.last_norm(self.gelu(self.project(x)))
        return states


BACKBONES: dict[str, type[Backbone]] = {
    "sasrec": SASRecBackbone,
    "gru4rec": GRU4RecBackbone,
    "bert4rec": BERT4RecBackbone,
}


def _positions(length: int, width: int) -> nn.Embedding:
    positions = nn.Embedding(length, width)
    nn.init.normal_(positions.weight, std=SMALL)
    return positions


def _gru_start(module: nn.Module) -> None:
    """Xavier, and orthogonal from step to step: fresh item vectors are small, and torch's own start fades them out."""
    if isinstance(module, nn.GRU | nn.Linear):
        for name, weight in module.named_parameters():
            _start(name, weight.detach(), gates=3 if isinstance(module, nn.GRU) else 1)


def _start(name: str, weight: Tensor, *, gates: int) -> None:
    if weight.dim() == 1:
        nn.init.zeros_(weight)
        return
    for gate in weight.chunk(gates):
        if "_hh_" in name:
            nn.init.orthogonal_(gate)
        else:
            xavier(gate)


def _bert_start(module: nn.Module) -> None:
    """Xavier: the published deviation of 0.02 is that of much wider layers and leaves attention asleep for long."""
    if isinstance(module, nn.Linear):
        stacked = 3 if module.out_features == 3 * module.in_features else 1  # queries, keys and values
        xavier(module.weight, outputs=module.out_features // stacked)
        nn.init.zeros_(module.bias)
