"""SASRec: next-item prediction by causal self-attention (Kang & McAuley, ICDM 2018).

Letters:  B rows   L positions   D width
Rows are left-aligned, so a prefix has the same states alone as inside its row and one pass teaches every prefix.
What an item *is* (an id, a text, a picture) is the business of `rows`.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from medleyrec.config import Config
from medleyrec.models.base import Encoding, SequenceModel
from medleyrec.models.dropout import Dropout
from medleyrec.models.items import ItemRows
from medleyrec.models.transformer import Block
from medleyrec.schema import ID, Batch, Facts, Features, Mask


class SASRecSettings(Config):
    """Everything that changes the shape or the behaviour of the network, and nothing else."""

    items: tuple[str, ...] = Field(default=(ID,), description="what an item is: any of id, text, image")
    width: int = Field(default=64, gt=0)
    depth: int = Field(default=2, gt=0)
    heads: int = Field(default=2, gt=0)
    max_length: int = Field(default=50, gt=0, description="events of a history that count, the last ones")
    dropout: float = Field(default=0.5, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class SASRec(SequenceModel):
    Settings: ClassVar[type[Config]] = SASRecSettings
    name = "sasrec"

    def __init__(
        self,
        settings: SASRecSettings,
        facts: Facts,
        features: Features | None = None,
        *,
        train_items: Mask | None = None,
    ) -> None:
        super().__init__()
        self.max_length = settings.max_length
        self.rows = ItemRows(
            facts.num_items, settings.width, parts=settings.items, features=features, train_items=train_items
        )
        self.positions = nn.Embedding(settings.max_length, settings.width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            Block(width=settings.width, heads=settings.heads, dropout=settings.dropout) for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(settings.width)

    def encode(self, batch: Batch, table: Tensor) -> Encoding:
        """State t has seen the events up to and including t."""
        x = table[batch.items] + self.positions.weight[: batch.items.shape[1]]  # (B, L, D)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return Encoding(states=self.norm(x))
