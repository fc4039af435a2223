"""A plain backbone over item rows: what every richer model is compared with.

Letters:  B rows   L positions   D width
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator
from torch import Tensor

from medleyrec.config import Config
from medleyrec.models.backbones import BACKBONES, Shape
from medleyrec.models.base import Encoding, SequenceModel
from medleyrec.models.items import ItemRows
from medleyrec.schema import FEATURES, ID, Batch, Facts, Features, Mask


class PlainSettings(Config):
    """Everything that changes the shape or the behaviour of the network, and nothing else."""

    items: tuple[str, ...] = Field(default=(ID,), description=f"what an item is: any of {', '.join((ID, *FEATURES))}")
    width: int = Field(default=64, gt=0)
    depth: int = Field(default=2, gt=0)
    max_length: int = Field(default=50, gt=0, description="events of a history that count, the last ones")
    dropout: float = Field(default=0.5, ge=0, lt=1)


class AttentionSettings(PlainSettings):
    heads: int = Field(default=2, gt=0)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class PlainModel(SequenceModel):
    """The backbone of the model's own name over the item rows."""

    Settings: ClassVar[type[Config]] = PlainSettings

    def __init__(
        self,
        settings: PlainSettings,
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
        self.backbone = BACKBONES[self.name](shape_of(settings))

    def encode(self, batch: Batch, table: Tensor) -> Encoding:
        """State t has seen the events up to and including t."""
        return Encoding(self.backbone(self.inputs(batch, table), batch.lengths))

    def last_state(self, batch: Batch, table: Tensor) -> Tensor:
        state: Tensor = self.backbone.last(self.inputs(batch, table), batch.lengths)
        return state

    def inputs(self, batch: Batch, table: Tensor) -> Tensor:
        """(B, L, D)"""
        return table[batch.items]


def shape_of(settings: PlainSettings) -> Shape:
    return Shape(
        width=settings.width,
        max_length=settings.max_length,
        depth=settings.depth,
        heads=settings.heads if isinstance(settings, AttentionSettings) else 1,
        dropout=settings.dropout,
    )
