"""BERT4Rec: masked events of a row are told from both sides (Sun et al., CIKM 2019).

Letters:  B rows   L positions   W = L + 1   D width   T masked events
A row is a window's events with the last target. While training, a random share of its events is masked; in some rows
the last event alone is, which is the question at inference. Asked for the next event, the model appends a mask and
answers with the state there. The mask token is a parameter, never an item.
The published output bias per item is left out: a score is always the inner product of a state and an item row. So
new and changed items score as with any model.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from medleyrec.config import Config
from medleyrec.models.backbones import SMALL
from medleyrec.models.base import Encoding, Taught
from medleyrec.models.masking import SLOW, appended, drawn, places, whole_rows
from medleyrec.models.plain import AttentionSettings, PlainModel
from medleyrec.models.transformer import at_ends
from medleyrec.schema import Batch, Facts, Features, Mask


class BERT4RecSettings(AttentionSettings):
    dropout: float = Field(default=0.2, ge=0, lt=1)
    mask: float = Field(
        default=0.6, gt=0, lt=1, description="share of a row's events masked; published: 0.6 short rows, 0.2 long ones"
    )
    mask_last: float = Field(default=0.1, ge=0, le=1, description="share of rows with the last event alone masked")


class BERT4Rec(PlainModel):
    Settings: ClassVar[type[Config]] = BERT4RecSettings
    causal = False
    name = "bert4rec"
    notes = (SLOW,)

    def __init__(
        self,
        settings: BERT4RecSettings,
        facts: Facts,
        features: Features | None = None,
        *,
        train_items: Mask | None = None,
    ) -> None:
        super().__init__(settings, facts, features, train_items=train_items)
        self.settings = settings
        self.mask = nn.Parameter(SMALL * torch.randn(settings.width))

    def encode(self, batch: Batch, table: Tensor) -> Encoding:
        raise NotImplementedError("bert4rec has no state that has seen the past alone; ask for last_state or taught")

    def taught(self, batch: Batch, table: Tensor) -> Taught:
        """Masks anew at every call, from torch's generator; the targets are the masked items."""
        items, lengths = whole_rows(batch)
        masked = drawn(lengths, items.shape[1], self.settings.mask, last=self.settings.mask_last)
        at = places(masked)
        states = self.states(table[items], masked, lengths)
        return Taught(states.flatten(0, 1)[at], items.flatten()[at], Encoding(states))

    def last_state(self, batch: Batch, table: Tensor) -> Tensor:
        items, lengths, masked = appended(batch, self.max_length)
        return at_ends(self.states(table[items], masked, lengths), lengths)

    def states(self, x: Tensor, masked: Tensor, lengths: Tensor) -> Tensor:
        """x (B, W, D) item rows, masked (B, W) -> (B, W, D). What stands at a masked position is never looked at."""
        states: Tensor = self.backbone(torch.where(masked[..., None], self.mask, x), lengths)
        return states
