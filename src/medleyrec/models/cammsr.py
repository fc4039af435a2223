"""CAMMSR: category-guided attentive mixture of experts (Xu et al., ICDE 2026, arXiv 2603.04320).

Letters:  B rows   L positions   M parts of an item (id, text, image)   H width of a part   D = M H   K experts
          P pairs of parts   N positions compared   V items

An event passes, in the paper's order and names, with the numbers of its equations:
     4      item embedding   x_id = V[s], x_m = W_m f_m + b_m;   e_m = x_m + P, one position table    (items.py)
     5      experts          Expert_mk([e_id; e_text; e_image]), K for each part                      (experts.py)
     6-7    router           G_m = softmax(Q K^T / sqrt(K)) V over the row: its answer is the gates   (routers.py)
     8-10   guidance         w = softmax over the parts of how far e_m is from the item's categories  (guidance.py)
    11      residual         ebar_m = e_m + w_m sum_k G_m[k] Expert_mk
    12-14   encoders         Z_m = Transformer_m(Dropout(tanh(alpha_m ebar_m)))                       (towers.py)
    15      score of item v  sum_m Z_m . x_m[v]: one product of the states side by side and the raw item row
and learns from the softmax over the catalogue plus lambda times the modality swap (Eqs. 16-20): the states of two
parts that exchanged some of their events should know each other among those of other rows (swap.py, contrast.py).

With the causal router each step depends on the past alone, so one pass over a row has the states and the softmax loss
of all its prefixes; the swap compares a pool of its positions in place of a batch of prefixes. The paper says neither
whether the router looks ahead nor what it means by several of its numbers: each such choice is a setting.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.config import Config
from medleyrec.models.base import Encoding, SequenceModel
from medleyrec.models.cammsr_settings import CAMMSRSettings, guided, notes_of
from medleyrec.models.categories import Categories
from medleyrec.models.contrast import false_negatives, info_nce, random_pool
from medleyrec.models.experts import PartExperts
from medleyrec.models.guidance import CategoryGuidance
from medleyrec.models.initial import xavier
from medleyrec.models.items import ItemRows
from medleyrec.models.mislabel import spoilt
from medleyrec.models.routers import AttentiveRouter, LinearRouter
from medleyrec.models.swap import present, swapped
from medleyrec.models.towers import Towers
from medleyrec.models.transformer import ends_of
from medleyrec.schema import PAD, Batch, Facts, Features, InputError, Mask

MSCL, CATEGORY = "mscl", "category"
SMALL = 0.02  # standard deviation of fresh weights where they are not Xavier's


class CAMMSR(SequenceModel):
    Settings: ClassVar[type[Config]] = CAMMSRSettings
    uses_categories = True
    name = "cammsr"
    first: Tensor
    second: Tensor
    once: Tensor
    towered: Tensor

    def __init__(
        self,
        settings: CAMMSRSettings,
        facts: Facts,
        features: Features | None = None,
        *,
        train_items: Mask | None = None,
        categories: Categories | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.max_length = settings, settings.max_length
        parts, width, inner = settings.items, settings.width, settings.inner or 4 * settings.width
        self.rows = ItemRows(
            facts.num_items,
            width,
            parts=parts,
            features=features,
            train_items=train_items,
            join="concat",
            scaling=settings.content_vectors,
            content_scale=settings.content_scale,
        )
        self.notes = notes_of(settings, facts)
        self.positions = nn.Embedding(settings.max_length, width)
        nn.init.normal_(self.positions.weight, std=SMALL)
        self.experts = PartExperts(len(parts), width, experts=settings.experts, inner=inner)
        self.router = _router(settings)
        self.guidance = _guidance(settings, facts, categories)
        self.towers = Towers(
            len(parts),
            width=width,
            depth=settings.depth,
            heads=settings.heads,
            inner=inner,
            dropout=settings.dropout,
            std=None if settings.init == "xavier" else SMALL,
            tanh=settings.dyt,
        )
        self.pairs = present(settings.pairs, parts) if settings.mscl else []
        first, second = [m for m, _ in self.pairs], [m for _, m in self.pairs]
        self._hold("first", first)
        self._hold("second", second)
        self._hold("once", [*range(len(parts))])
        self._hold("towered", [*range(len(parts)), *first, *second])
        if settings.init == "xavier":
            self._draw()

    def _hold(self, name: str, numbers: list[int]) -> None:
        """A tensor that moves with the model and is not saved with it."""
        self.register_buffer(name, torch.tensor(numbers, dtype=torch.int64), persistent=False)

    def _draw(self) -> None:
        """Xavier for the embeddings and projections; the rest starts so by itself."""
        with torch.no_grad():
            for module in self.rows.modules():
                if isinstance(module, nn.Embedding | nn.Linear):
                    xavier(module.weight)
            if self.rows.ids is not None:
                self.rows.ids.weight[PAD] = 0
            xavier(self.positions.weight)

    def encode(self, batch: Batch, table: Tensor) -> Encoding:
        """State t has seen the events up to and including t (with a router that looks ahead: the whole row).

        parts, while training: "swapped" (2 P, B, L, H), states of the swapped pairs; "category" (M, B, L), how far
        each part is from telling the categories.
        """
        x, terms = self.fused(batch, table)
        parts = {} if terms is None or not self.training else {CATEGORY: terms}
        if not self.training or not self.pairs:
            states = self.towers(x, self.once)
        else:
            states = self.towers(torch.cat([x, swapped(x, self.first, self.second, self.drawn(batch))]), self.towered)
            parts["swapped"] = states[len(x) :]
        return Encoding(states[: len(x)].permute(1, 2, 0, 3).flatten(-2), parts)

    def last_state(self, batch: Batch, table: Tensor) -> Tensor:
        x, _ = self.fused(batch, table)
        state: Tensor = self.towers.last(x, self.once, ends_of(batch.lengths))
        return state.permute(1, 0, 2).flatten(-2)

    def fused(self, batch: Batch, table: Tensor) -> tuple[Tensor, Tensor | None]:
        """ebar (M, B, L, H), and how far each part is from telling the categories, (M, B, L) or nothing. Eqs. 4-11."""
        self._check(batch, table)
        c, e = self.embedded(batch, table)
        answer = self.experts(c, self.router(e, batch.lengths))  # (M, B, L, H)
        if self.guidance is None:
            return e + answer / len(e), None
        weights, terms = self.guidance(e, batch.catalogue(batch.items))
        if not self.settings.guidance:
            return e + answer / len(e), terms
        return e + weights[..., None] * answer, terms

    def _check(self, batch: Batch, table: Tensor) -> None:
        if self.guidance is not None and batch.touched is None and len(table) < len(self.guidance.labels):
            raise ValueError(
                f"category guidance needs the whole item table, {len(self.guidance.labels)} rows, and got {len(table)}"
            )
        looks_ahead = isinstance(self.router, AttentiveRouter) and not self.router.causal
        if looks_ahead and batch.num_targets > len(batch):
            raise InputError(
                'model cammsr: router_attention = "prefix" looks at the whole row, so a row may teach its last event '
                'only; set train.mode = "prefix" or router_attention = "causal"'
            )

    def embedded(self, batch: Batch, table: Tensor) -> tuple[Tensor, Tensor]:
        """Item rows plus positions: c (B, L, D), whole, and e (M, B, L, H), the same by part. Eq. 4."""
        parts = len(self.settings.items)
        c = F.embedding(batch.items, table) + self.positions.weight[: batch.items.shape[1]].repeat(1, parts)
        return c, c.view(*c.shape[:2], parts, -1).permute(2, 0, 1, 3)

    def drawn(self, batch: Batch) -> Tensor:
        """bool (P, B, L): the events that each pair swaps, one draw for all prefixes of a row."""
        return torch.rand(len(self.pairs), *batch.items.shape, device=batch.items.device) < self.settings.swap

    def extra_losses(self, batch: Batch, encoding: Encoding, table: Tensor) -> dict[str, Tensor]:
        """The modality swap and the category loss, as far as they are on, each times its weight. Eqs. 18-20."""
        losses: dict[str, Tensor] = {}
        if "swapped" in encoding.parts:
            taught = torch.nonzero_static((batch.targets != PAD).flatten(), size=batch.num_targets)[:, 0]
            pool = random_pool(taught, self.settings.pool)
            losses[MSCL] = self.settings.mscl * self._contrast(batch, encoding.parts["swapped"], pool)
        if CATEGORY in encoding.parts and self.settings.category_loss_weight:
            losses[CATEGORY] = self.settings.category_loss_weight * self._category(batch, encoding.parts[CATEGORY])
        return losses

    def _contrast(self, batch: Batch, states: Tensor, pool: Tensor) -> Tensor:
        """Sum over the pairs; states (2 P, B, L, H), pool (N,) positions of the batch."""
        false = None if self.settings.same_target_negatives else false_negatives(batch.targets.flatten()[pool])
        pooled = states.flatten(1, 2).index_select(1, pool)  # (2 P, N, H)
        terms = [
            info_nce(one, other, false, temperature=self.settings.temperature)
            for one, other in zip(*pooled.chunk(2), strict=True)
        ]
        return torch.stack(terms).sum()

    def _category(self, batch: Batch, terms: Tensor) -> Tensor:
        """Mean over the parts and the events whose item has a label; `terms` (M, B, L)."""
        assert self.guidance is not None
        labelled = self.guidance.of(batch.catalogue(batch.items))[1].any(-1)  # (B, L)
        return (terms * labelled).sum() / (len(terms) * labelled.sum().clamp(min=1))


def _router(settings: CAMMSRSettings) -> AttentiveRouter | LinearRouter:
    parts, width = len(settings.items), settings.width
    if settings.router == "linear":
        return LinearRouter(parts, width, experts=settings.experts)
    causal, softmax = settings.router_attention == "causal", settings.gates == "softmax"
    return AttentiveRouter(parts, width, experts=settings.experts, causal=causal, softmax=softmax)


def _guidance(settings: CAMMSRSettings, facts: Facts, categories: Categories | None) -> CategoryGuidance | None:
    if not guided(settings, facts):
        return None
    if categories is None or len(categories) != facts.num_items:
        raise ValueError(
            "category guidance needs the categories of every row of the item table: pass `categories` to build, or set "
            "guidance = false and category_loss_weight = 0"
        )
    if settings.labels_missing or settings.labels_wrong:
        categories = spoilt(categories, missing=settings.labels_missing, wrong=settings.labels_wrong)
    return CategoryGuidance(
        len(settings.items),
        settings.width,
        categories,
        sign=settings.category_sign,
        reduction=settings.category_reduction,
        labels=settings.multi_label,
    )
