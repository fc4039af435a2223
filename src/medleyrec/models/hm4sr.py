"""HM4SR: hierarchical time-aware mixture of experts (Zhang et al., WWW 2025, arXiv 2501.14269).

Letters:  B rows   L positions   M parts of an item (id, text, image)   H width of a part   D = M H   K experts
          T taught positions   C categories

An event passes, in the paper's order and names:
    item embedding    e_m = V[s], W_m f_m + b_m;   x_m = e_m + P, one position table for all parts  (items.py)
    Interactive MoE   z_m: what of the whole item matters, part by part                             (experts.py)
    time embedding    tau = [interval; absolute]                                                    (time.py)
    Temporal MoE      u_m: z weighted by a mixture that time alone chooses                          (experts.py)
    encoders          s_m = Transformer_m(u_m), one per part                                        (towers.py)
    score of item v   sum_m s_m . e_m[v]: one product of the states side by side and the raw item row
and learns from the softmax over the catalogue plus three losses of its own:
    IDCL   the id state against the id vectors of the targets of other positions                    (contrast.py)
    PCL    the text and image states against those of the same row with some events replaced by
           placeholders made of their time alone                                                    (contrast.py)
    CP     the categories of every event's item from its raw row                                    (categories.py)
Each step depends on the past alone, so one pass over a row has the states and the softmax loss of all its prefixes. The
losses of its own see a pool of positions in place of a batch of prefixes: see `HM4SRSettings.pool` and `placeholders`.

Where the published code departs from the paper or loses numbers, we do what the paper says; `reference` names what is
to be done as in that code instead.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.config import Config
from medleyrec.models.base import Encoding, SequenceModel
from medleyrec.models.categories import Categories, category_loss
from medleyrec.models.contrast import false_negatives, info_nce, random_pool
from medleyrec.models.experts import InteractiveExperts, TemporalExperts
from medleyrec.models.hm4sr_settings import CP, IDCL, PCL, HM4SRSettings, active_losses, notes_of
from medleyrec.models.items import ItemRows
from medleyrec.models.time import TimeEmbedding
from medleyrec.models.towers import Towers
from medleyrec.models.transformer import ends_of
from medleyrec.schema import ID, PAD, Batch, Facts, Features, Mask


class HM4SR(SequenceModel):
    Settings: ClassVar[type[Config]] = HM4SRSettings
    uses_categories = True
    name = "hm4sr"
    labels: Tensor | None
    quota: Tensor
    once: Tensor
    twice: Tensor

    def __init__(
        self,
        settings: HM4SRSettings,
        facts: Facts,
        features: Features | None = None,
        *,
        train_items: Mask | None = None,
        categories: Categories | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.max_length, self.uses_times = settings, settings.max_length, settings.temporal
        self.padding_class = settings.as_published("padding-class")
        parts, width = settings.items, settings.width
        self.rows = ItemRows(
            facts.num_items,
            width,
            parts=parts,
            features=features,
            train_items=train_items,
            join="concat",
            raw=settings.as_published("raw-features"),
            scaling=settings.content_vectors,
            content_scale=settings.content_scale,
        )
        self.content = [m for m, name in enumerate(parts) if name != ID]
        self.weights = active_losses(settings, facts)
        self.notes = notes_of(settings, facts)
        self.positions = nn.Embedding(settings.max_length, width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.interactive = self.temporal = self.time = None
        if settings.interactive:
            start = tuple(0.0 if name == ID else 1.0 for name in parts)
            self.interactive = InteractiveExperts(len(parts), width, experts=settings.experts, start=start)
        if settings.temporal or PCL in self.weights:
            self.time = TimeEmbedding(
                width,
                start_time=facts.start_time,
                max_gap=facts.max_gap,
                interval_scale=settings.interval_scale,
                raw_seconds=settings.as_published("raw-seconds"),
            )
        if settings.temporal:
            trained = not settings.as_published("fixed-experts")
            self.temporal = TemporalExperts(len(parts), width, experts=settings.experts, trained=trained)
        self.towers = Towers(
            len(parts),
            width=width,
            depth=settings.depth,
            heads=settings.heads,
            inner=settings.inner or 4 * width,
            dropout=settings.dropout,
            std=settings.init,
        )
        self.placeholder = nn.Linear(2 * width, len(self.content) * width) if PCL in self.weights else None
        self.head = nn.Linear(self.rows.out_width, facts.num_categories) if CP in self.weights else None
        self._hold("labels", categories.multi_hot() if categories is not None and CP in self.weights else None)
        quota = [int(settings.placeholder_share * n) for n in range(settings.max_length + 1)]
        self._hold("quota", torch.tensor(quota))  # placeholders in a row of n events
        self._hold("once", torch.arange(len(parts)))
        self._hold("twice", torch.tensor([*range(len(parts)), *self.content]))

    @classmethod
    def unsampled(cls, settings: HM4SRSettings) -> str:
        return "with the reference padding-class the padding row is a class" * settings.as_published("padding-class")

    def _hold(self, name: str, tensor: Tensor | None) -> None:
        """A tensor that moves with the model and is not saved with it."""
        self.register_buffer(name, tensor, persistent=False)

    def encode(self, batch: Batch, table: Tensor) -> Encoding:
        """State t has seen the events up to and including t, and their times.

        parts: "placed" (B, L, M', H), states of the content with placeholders, while training with PCL.
        """
        x, tau = self.mixed(batch, table)
        if not self.training or self.placeholder is None:
            return Encoding(self._encoded(x, self.once).flatten(-2))
        states = self._encoded(torch.cat([x, self._replaced(x, tau, batch)], 2), self.twice)
        return Encoding(states[:, :, : x.shape[2]].flatten(-2), {"placed": states[:, :, x.shape[2] :]})

    def last_state(self, batch: Batch, table: Tensor) -> Tensor:
        x, _ = self.mixed(batch, table)
        state: Tensor = self.towers.last(x.permute(2, 0, 1, 3).contiguous(), self.once, ends_of(batch.lengths))
        return state.permute(1, 0, 2).flatten(-2)

    def mixed(self, batch: Batch, table: Tensor) -> tuple[Tensor, Tensor | None]:
        """What both mixtures make of the events, (B, L, M, H), and the time embedding, (B, L, 2H) where it is used."""
        x = self.embedded(batch, table)
        if self.interactive is not None:
            x = self.interactive(x)
        tau = self.time(batch) if self.time is not None else None
        return (x if self.temporal is None else self.temporal(x, tau)), tau

    def embedded(self, batch: Batch, table: Tensor) -> Tensor:
        """Item rows by part plus positions, (B, L, M, H)."""
        return self._by_part(F.embedding(batch.items, table)) + self.positions.weight[: batch.items.shape[1], None]

    def _by_part(self, rows: Tensor) -> Tensor:
        """(..., M H) -> (..., M, H)"""
        return rows.view(*rows.shape[:-1], -1, self.settings.width)

    def _encoded(self, x: Tensor, which: Tensor) -> Tensor:
        """(B, L, G, H) -> (B, L, G, H)"""
        states: Tensor = self.towers(x.permute(2, 0, 1, 3).contiguous(), which)
        return states.permute(1, 2, 0, 3)

    def _replaced(self, x: Tensor, tau: Tensor | None, batch: Batch) -> Tensor:
        """The content (B, L, M', H) with placeholders, made of time alone, at some positions."""
        assert self.placeholder is not None
        made = self._by_part(self.placeholder(tau))
        return torch.where(self.replaced(batch)[..., None, None], made, x[:, :, self.content])

    def replaced(self, batch: Batch) -> Tensor:
        """bool (B, L): the positions drawn for placeholders."""
        share, drawn = self.settings.placeholder_share, torch.rand(batch.items.shape, device=batch.items.device)
        if self.settings.placeholders == "row":
            return drawn < share
        real = torch.arange(drawn.shape[1], device=drawn.device) < batch.lengths[:, None]
        rank = drawn.masked_fill(~real, 2.0).argsort(1).argsort(1)  # of n real positions, 0..n-1 at random
        return rank < self.quota[batch.lengths][:, None]

    def extra_losses(self, batch: Batch, encoding: Encoding, table: Tensor) -> dict[str, Tensor]:
        """IDCL, PCL and CP, as far as they are on, each times its weight."""
        losses: dict[str, Tensor] = {}
        if CP in self.weights:
            losses[CP] = self._cp(batch, table)
        if not self.weights.keys() <= {CP}:
            taught = torch.nonzero_static((batch.targets != PAD).flatten(), size=batch.num_targets)[:, 0]
            losses |= self._contrast(batch, encoding, table, random_pool(taught, self.settings.pool))
        return {name: self.weights[name] * loss for name, loss in losses.items()}

    def _contrast(self, batch: Batch, encoding: Encoding, table: Tensor, pool: Tensor) -> dict[str, Tensor]:
        targets = batch.targets.flatten()[pool]  # (N,)
        users = batch.users[pool // batch.items.shape[1]]
        false = false_negatives(targets, None if self.settings.same_user_negatives else users)
        states = self._by_part(encoding.states.flatten(0, 1)[pool])  # (N, M, H)
        losses = {}
        if IDCL in self.weights:
            m, width = self.settings.items.index(ID), self.settings.width
            wanted = F.embedding(targets, table)[:, m * width : (m + 1) * width]
            losses[IDCL] = self._nce(states[:, m], wanted, false, self.settings.idcl_temperature)
        if PCL in self.weights and "placed" in encoding.parts:
            placed = encoding.parts["placed"].flatten(0, 1)[pool]  # (N, M', H)
            terms = [
                self._nce(states[:, m], placed[:, i], false, self.settings.pcl_temperature)
                for i, m in enumerate(self.content)
            ]
            losses[PCL] = torch.stack(terms).mean()
        return losses

    def _nce(self, anchors: Tensor, others: Tensor, false: Tensor, temperature: float) -> Tensor:
        counted = self.settings.as_published("counted-negatives")
        return info_nce(anchors, others, false, temperature=temperature, counted=counted)

    def _cp(self, batch: Batch, table: Tensor) -> Tensor:
        if self.labels is None or (batch.touched is None and len(self.labels) != len(table)):
            raise ValueError(
                "category prediction needs the categories of every row of the item table: pass `categories` to build, "
                "or set cp = 0"
            )
        assert self.head is not None
        if self.settings.as_published("category-mask"):
            return self._published_cp(batch, table)
        items = batch.items.flatten()
        return category_loss(self.head(F.embedding(items, table)), self.labels[batch.catalogue(items)], items != PAD)

    def _published_cp(self, batch: Batch, table: Tensor) -> Tensor:
        """Row b is judged by token b of the whole batch, padding included, on as many classes as the row has events."""
        assert self.head is not None
        assert self.labels is not None
        count, length = batch.items.shape
        items = F.pad(batch.items, (0, self.max_length - length)).flatten()[:count]  # (B,)
        rows = F.embedding(items, table)
        rows = torch.where(self._padded_ids(items), rows.detach(), rows)
        logits, wanted = self.head(rows), self.labels[batch.catalogue(items)].to(rows.dtype)  # (B, C)
        terms = F.binary_cross_entropy_with_logits(logits[:, :length], wanted[:, :length], reduction="none")
        real = (batch.items != PAD).to(terms.dtype)
        return (terms * real).sum() / real.sum()

    def _padded_ids(self, items: Tensor) -> Tensor:
        """bool (B, D): id vectors of padding, which a lookup does not teach."""
        of_id = torch.tensor([name == ID for name in self.settings.items], device=items.device)
        return (items == PAD)[:, None] & of_id.repeat_interleave(self.settings.width)
