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

from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from medleyrec.config import Config
from medleyrec.models.base import Encoding, SequenceModel
from medleyrec.models.categories import Categories
from medleyrec.models.contrast import false_negatives, info_nce, random_pool
from medleyrec.models.experts import PartExperts
from medleyrec.models.guidance import CategoryGuidance
from medleyrec.models.initial import xavier
from medleyrec.models.items import ItemRows, Scaling
from medleyrec.models.mislabel import spoilt
from medleyrec.models.routers import AttentiveRouter, LinearRouter
from medleyrec.models.swap import PAIRS, Pair, present, swapped
from medleyrec.models.towers import Towers
from medleyrec.schema import ID, PAD, Batch, Facts, Features, InputError, Mask

MSCL, CATEGORY = "mscl", "category"
SMALL = 0.02  # standard deviation of fresh weights where they are not Xavier's


class CAMMSRSettings(Config):
    """Everything that changes the shape, the behaviour or the losses of the network, and nothing else."""

    items: tuple[str, ...] = Field(default=(ID,), description="what an item is: any of id, text, image")
    width: int = Field(default=64, gt=0, description="of each part of an item")
    depth: int = Field(default=2, gt=0)
    heads: int = Field(default=2, gt=0)
    inner: int = Field(default=0, ge=0, description="width of feed-forwards and experts; 0 is four times the width")
    max_length: int = Field(default=50, gt=0, description="events of a history that count, the last ones")
    dropout: float = Field(default=0.5, ge=0, lt=1)
    dyt: bool = Field(default=True, description="dynamic tanh in front of the encoders; false: LayerNorm")
    experts: int = Field(default=4, gt=0, description="of each part")
    router: Literal["attentive", "linear"] = Field(
        default="attentive", description="linear: a softmax gate that sees one event at a time"
    )
    router_attention: Literal["causal", "prefix"] = Field(
        default="causal",
        description="causal: an event sees those before it; prefix: the whole row, both ways, as the paper's formula "
        'reads; goes with train.mode = "prefix"',
    )
    gates: Literal["raw", "softmax"] = Field(default="raw", description="of the attentive router, as printed: raw")
    guidance: bool = Field(default=True, description="false: the parts of an item weigh the same")
    category_sign: Literal[1, -1] = Field(
        default=1, description="1: more weight to the part that tells the categories worse, as printed; -1: better"
    )
    category_reduction: Literal["sum", "mean"] = Field(
        default="sum", description="over the classes; with sum, weights come near 0 and 1 where there are many"
    )
    multi_label: Literal["multi_hot", "max"] = Field(
        default="multi_hot", description="max: the worst of an item's labels alone decides how far off a part is"
    )
    category_loss_weight: float = Field(
        default=0.0, ge=0, description="of a loss of its own on the categories; without it the heads learn by weights"
    )
    labels_missing: float = Field(default=0.0, ge=0, le=1, description="share of items that lose their labels")
    labels_wrong: float = Field(default=0.0, ge=0, le=1, description="share of items that get another item's labels")
    mscl: float = Field(default=0.25, ge=0, description="weight lambda of the modality swap; 0 turns it off")
    pairs: tuple[Pair, ...] = Field(default=PAIRS, description="of parts that are swapped, as far as both are there")
    swap: float = Field(default=0.5, ge=0, le=1, description="probability that an event is swapped")
    temperature: float = Field(default=1.0, gt=0)
    same_target_negatives: bool = Field(
        default=True, description="false: positions that predict the same item are no negatives of each other"
    )
    pool: int = Field(default=1024, gt=1, description="positions of a step that the modality swap compares")
    init: Literal["xavier", "normal"] = Field(
        default="xavier",
        description="xavier: all fresh weights, as the paper says; normal: what hm4sr has too starts as there",
    )
    content_vectors: Scaling = Field(
        default="unit",
        description="unit: each of the same length; standardised: column by column; centred: one scale for all columns",
    )
    content_scale: float = Field(default=1.0, gt=0, description="length of a content vector before its projection")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self

    @model_validator(mode="after")
    def _pairs_differ(self) -> Self:
        if len(set(self.pairs)) < len(self.pairs):
            raise ValueError(f"pairs = {list(self.pairs)} names a pair twice; name each once")
        return self


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
        self.notes = _notes(settings, facts)
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

    def fused(self, batch: Batch, table: Tensor) -> tuple[Tensor, Tensor | None]:
        """ebar (M, B, L, H), and how far each part is from telling the categories, (M, B, L) or nothing. Eqs. 4-11."""
        self._check(batch, table)
        c, e = self.embedded(batch, table)
        answer = self.experts(c, self.router(e, batch.lengths))  # (M, B, L, H)
        if self.guidance is None:
            return e + answer / len(e), None
        weights, terms = self.guidance(e, batch.items)
        if not self.settings.guidance:
            return e + answer / len(e), terms
        return e + weights[..., None] * answer, terms

    def _check(self, batch: Batch, table: Tensor) -> None:
        if self.guidance is not None and len(table) < len(self.guidance.labels):
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
        labelled = self.guidance.of(batch.items)[1].any(-1)  # (B, L)
        return (terms * labelled).sum() / (len(terms) * labelled.sum().clamp(min=1))


def _router(settings: CAMMSRSettings) -> AttentiveRouter | LinearRouter:
    parts, width = len(settings.items), settings.width
    if settings.router == "linear":
        return LinearRouter(parts, width, experts=settings.experts)
    causal, softmax = settings.router_attention == "causal", settings.gates == "softmax"
    return AttentiveRouter(parts, width, experts=settings.experts, causal=causal, softmax=softmax)


def _guided(settings: CAMMSRSettings, facts: Facts) -> bool:
    """Whether labels are used at all: one part alone weighs 1 whatever it tells."""
    weighs = settings.guidance and len(settings.items) > 1
    return facts.num_categories > 0 and (weighs or settings.category_loss_weight > 0)


def _guidance(settings: CAMMSRSettings, facts: Facts, categories: Categories | None) -> CategoryGuidance | None:
    if not _guided(settings, facts):
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


def _notes(settings: CAMMSRSettings, facts: Facts) -> tuple[str, ...]:
    """What these data do not allow, and what was spoilt on purpose; what the settings turn off needs no telling."""
    notes = []
    if settings.guidance and len(settings.items) > 1 and not facts.num_categories:
        notes.append("CAMMSR without categories: category guidance is off, the parts of an item weigh the same.")
    if settings.category_loss_weight and not facts.num_categories:
        notes.append("CAMMSR without categories: the category loss is off.")
    if settings.mscl and settings.pairs and not present(settings.pairs, settings.items):
        there = " and ".join(settings.items)
        notes.append(f"CAMMSR with {there} alone: there is no pair to swap, the modality swap (MSCL) is off.")
    for share, what in ((settings.labels_missing, "without labels"), (settings.labels_wrong, "with wrong labels")):
        if share and _guided(settings, facts):
            notes.append(f"CAMMSR takes about {share:.0%} of the items to be {what}, on purpose.")
    return tuple(notes)
