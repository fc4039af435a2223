"""GRU4Rec as a next-item model: gated recurrent units over the items of a row, and the softmax over the catalogue.

Hidasi, Karatzoglou, Baltrunas & Tikk, ICLR 2016. Their ranking losses over sampled negatives and session-parallel
batches are not used: a row is a window of a user's events, and one pass over it teaches every prefix.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from medleyrec.config import Config
from medleyrec.models.plain import PlainModel, PlainSettings


class GRU4RecSettings(PlainSettings):
    depth: int = Field(default=1, gt=0, description="recurrent layers, each as wide as an item")


class GRU4Rec(PlainModel):
    Settings: ClassVar[type[Config]] = GRU4RecSettings
    name = "gru4rec"
