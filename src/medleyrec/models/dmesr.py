"""DMESR: dual-view, MLLM-enhanced sequential recommendation. A reconstruction from the abstract of arXiv 2602.13715.

The paper's equations, prompts and numbers were not available when this was written. What it states: a multimodal
language model describes the items in three ways; contrastive learning aligns the descriptions; bidirectional
cross-attention fuses these coarse views with the fine one of the item's original text; the two fused sequences feed any
sequential model. The rest follows the habits of that group's earlier systems (arXiv 2405.20646, 2409.19925).

Letters:  B rows   L positions   W = L + 1   H width of a side   S sides of an item: coarse, fine, id   D = S H
    rows        an item is [c; x; id]: the adapters of its views and what they come to                  (views.py)
    fusion      Chat, Fhat: each side's sequence, answered by the other's; the id's is left as it is    (cross.py)
    backbone    one for all sides, which are rows of one batch: u = [g(Chat); g(Fhat); g(id)]           (backbones.py)
    score       of item v: u . [c_v; x_v; id_v]
    losses      softmax over the catalogue (or one random item) + alpha x alignment of the coarse views  (align.py)
A side that is not there is left out; one alone is not fused, so that a model of ids alone is its plain backbone.

Everything is causal but with the backbone bert4rec. There an event is masked in all sides, before the fusion, and only
then may the sides and the backbone look both ways (masking.py).
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.config import Config
from medleyrec.models.align import alignment, different_items
from medleyrec.models.backbones import BACKBONES, Shape
from medleyrec.models.base import Encoding, SequenceModel, Taught
from medleyrec.models.cross import CrossFusion
from medleyrec.models.dmesr_settings import DMESRSettings, notes_of
from medleyrec.models.masking import appended, drawn, places, whole_rows
from medleyrec.models.transformer import at_ends
from medleyrec.models.views import ViewRows
from medleyrec.schema import ATTRIBUTES, DESCRIPTIONS, Batch, Facts, Features, Mask

ALIGN = "align"
SMALL = 0.02  # standard deviation of fresh mask vectors


class DMESR(SequenceModel):
    Settings: ClassVar[type[Config]] = DMESRSettings
    default_items = (*DESCRIPTIONS, ATTRIBUTES)
    name = "dmesr"
    rows: ViewRows

    def __init__(
        self,
        settings: DMESRSettings,
        facts: Facts,
        features: Features | None = None,
        *,
        train_items: Mask | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.max_length, self.notes = settings, settings.max_length, notes_of(settings)
        self.rows = ViewRows(
            facts.num_items,
            settings.width,
            parts=settings.items,
            features=features,
            train_items=train_items,
            coarse=settings.coarse,
            fused=settings.cross_heads if settings.fusion == "item" else 0,
            scaling=settings.content_vectors,
            content_scale=settings.content_scale,
        )
        shape = Shape(
            width=settings.width,
            max_length=settings.max_length,
            depth=settings.depth,
            heads=settings.heads,
            dropout=settings.dropout,
        )
        self.backbone = BACKBONES[settings.backbone](shape)
        self.causal, self.objective = self.backbone.causal, settings.objective
        self.fusion = _fusion(settings, causal=self.causal)
        self.mask_vector = None if self.causal else nn.Parameter(SMALL * torch.randn(self.rows.out_width))

    @classmethod
    def unsampled(cls, settings: DMESRSettings) -> str:
        return "the objective bce has no softmax" * (settings.objective == "bce")

    def encode(self, batch: Batch, table: Tensor) -> Encoding:
        """State t has seen the events up to and including t."""
        if self.mask_vector is not None:
            raise NotImplementedError("dmesr on bert4rec has no state that has seen the past alone; ask for last_state")
        return Encoding(self.states(F.embedding(batch.items, table), batch.lengths))

    def taught(self, batch: Batch, table: Tensor) -> Taught:
        """On bert4rec the targets are events masked anew at every call, from torch's generator."""
        if self.causal:
            return super().taught(batch, table)
        items, lengths = whole_rows(batch)
        masked = drawn(lengths, items.shape[1], self.settings.mask, last=self.settings.mask_last)
        at = places(masked)
        states = self.told(items, masked, lengths, table)
        return Taught(states.flatten(0, 1)[at], items.flatten()[at], Encoding(states))

    def last_state(self, batch: Batch, table: Tensor) -> Tensor:
        """On bert4rec the state of a mask after the last event."""
        if self.causal:
            sides, lengths = self.sides(F.embedding(batch.items, table), batch.lengths)
            return self._side_by_side(self.backbone.last(sides, lengths))
        items, lengths, masked = appended(batch, self.max_length)
        return at_ends(self.told(items, masked, lengths, table), lengths)

    def told(self, items: Tensor, masked: Tensor, lengths: Tensor, table: Tensor) -> Tensor:
        """States (B, W, D) of rows (B, W) whose `masked` events are hidden, in all sides, before they are looked at."""
        assert self.mask_vector is not None
        x = torch.where(masked[..., None], self.mask_vector, F.embedding(items, table))
        return self.states(x, lengths)

    def states(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Rows of items (B, L, D) -> (B, L, D)"""
        return self._side_by_side(self.backbone(*self.sides(x, lengths)))

    def sides(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of items (B, L, D) -> their fused sides as rows of one batch, (S B, L, H), and the lengths of these."""
        sides = self.fused(list(torch.split(x, self.settings.width, -1)), lengths)
        return torch.cat(sides), lengths.repeat(len(sides))

    def _side_by_side(self, states: Tensor) -> Tensor:
        """(S B, ..., H) -> (B, ..., S H)"""
        return torch.cat(states.chunk(self.rows.out_width // self.settings.width), -1)

    def fused(self, sides: list[Tensor], lengths: Tensor) -> list[Tensor]:
        """(B, L, H) each; the coarse and the fine one ask each other."""
        if self.fusion is None:
            return sides
        coarse, fine = self.fusion(sides[0], sides[1], None if self.causal else lengths)
        return [coarse, fine, *sides[2:]]

    def extra_losses(self, batch: Batch, encoding: Encoding, table: Tensor) -> dict[str, Tensor]:
        """The alignment of the coarse views of the batch's items, times alpha."""
        if not self.training or not self.settings.pairs:
            return {}
        if batch.touched is None and len(table) != self.rows.num_items:
            raise ValueError(f"alignment needs the whole item table, {self.rows.num_items} rows, and got {len(table)}")
        items, count = different_items(batch.catalogue(batch.items), self.settings.pool)
        names = {name for pair in self.settings.pairs for name in pair}
        views = {name: self.rows.view(name).aligned(items) for name in sorted(names)}
        terms = [
            alignment(
                views[a][0], views[b][0], count & views[a][1] & views[b][1], temperature=self.settings.temperature
            )
            for a, b in self.settings.pairs
        ]
        return {ALIGN: self.settings.alpha * torch.stack(terms).mean()}


def _fusion(settings: DMESRSettings, *, causal: bool) -> CrossFusion | None:
    if not settings.crosses:
        return None
    return CrossFusion(
        settings.width,
        length=settings.max_length + (not causal),  # the mask at the end
        heads=settings.cross_heads,
        dropout=settings.dropout,
        norm=settings.norm,
        residual=settings.residual,
    )
