"""What every model is to the layers after it.

Letters:  B rows   L positions   D width of an item vector   C candidates   T targets   V items, row 0 being padding
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from medleyrec.config import Config
from medleyrec.models.items import ItemRows
from medleyrec.models.transformer import at_ends
from medleyrec.schema import PAD, Batch


@runtime_checkable
class Ranker(Protocol):
    """All that evaluation and recommendation need. A larger score ranks first."""

    name: str

    def scores(self, batch: Batch, candidates: Tensor) -> Tensor:
        """Scores (B, C) of `candidates` (C,), rows of the item table, as the next event of each row of `batch`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """What a model makes of a batch: one state per position, and its own tensors for its own losses."""

    states: Tensor  # (B, L, D)
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What the softmax over the catalogue is taught with: a state per target, and what the states come from."""

    states: Tensor  # (T, D)
    targets: Tensor  # (T,) rows of the item table
    encoding: Encoding


class SequenceModel(nn.Module):
    """A history becomes a state; an item scores by the inner product of the state and its row of the table.

    `table` (n, D), which `batch.items` index, may hold the whole catalogue, the rows a step touches, or changed rows.
    A model that is `causal` implements `encode`, and state t depends on the events up to and including t alone; a model
    that is not implements `taught` and `last_state`.
    """

    causal: bool = True
    uses_categories: ClassVar[bool] = False
    """Whether the class takes the items' `categories` beside their features."""
    default_items: ClassVar[tuple[str, ...]] = ()
    """What of a project's vectors makes an item where nobody says so; empty: the ids alone."""
    Settings: ClassVar[type[Config]]

    name: str
    rows: ItemRows
    max_length: int
    objective: Literal["softmax", "bce"] = "softmax"
    """What each target is told from: all of the catalogue (softmax), or one random item."""
    padding_class: bool = False
    """Whether row 0 is a class of the training softmax, as in some published code; it is never a candidate."""
    uses_times: bool = False
    """Whether times matter beyond the order of the events."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: what of the model is off with these data and settings."""

    @classmethod
    def unsampled(cls, settings: Any) -> str:  # noqa: ARG003
        """Why a model of these settings cannot be taught with drawn classes and their rows alone; "" where it can."""
        return ""

    def encode(self, batch: Batch, table: Tensor) -> Encoding:
        raise NotImplementedError(f"{type(self).__name__} has no states for every position")

    def taught(self, batch: Batch, table: Tensor) -> Taught:
        """Here the batch's own targets, each from the state at its position."""
        encoding = self.encode(batch, table)
        positions = torch.nonzero_static((batch.targets != PAD).flatten(), size=batch.num_targets)[:, 0]
        return Taught(encoding.states.flatten(0, 1)[positions], batch.targets.flatten()[positions], encoding)

    def last_state(self, batch: Batch, table: Tensor) -> Tensor:
        """State (B, D) after the whole of each row. A row without events gets the state of one padding event."""
        return at_ends(self.encode(batch, table).states, batch.lengths)

    def extra_losses(self, batch: Batch, encoding: Encoding, table: Tensor) -> dict[str, Tensor]:
        """Weighted losses beside the softmax over the catalogue, by name."""
        return {}

    def scores(self, batch: Batch, candidates: Tensor) -> Tensor:
        return Frozen(self).scores(batch, candidates)


class Frozen:
    """A model whose item table is computed once: the Ranker to use for many batches.

    `table` (n, D) stands in for the model's own where rows are new, changed or shuffled.
    """

    def __init__(self, model: SequenceModel, table: Tensor | None = None) -> None:
        self.model, self.name = model, model.name
        with torch.inference_mode(not model.training):
            self.table = model.rows.all() if table is None else table
        self._picked: tuple[Tensor, Tensor] | None = None

    def scores(self, batch: Batch, candidates: Tensor) -> Tensor:
        with torch.inference_mode(not self.model.training):
            state = self.model.last_state(batch, self.table)  # (B, D)
            return state @ self._rows(candidates).T  # (B, C)

    def _rows(self, candidates: Tensor) -> Tensor:
        """Rows of the candidates; a range of rows is a view, and the last choice is kept."""
        if self._picked is None or self._picked[0] is not candidates:
            first, last = int(candidates[0]), int(candidates[-1])
            is_range = last - first + 1 == len(candidates) and bool((candidates.diff() == 1).all())
            self._picked = candidates, self.table[first : last + 1] if is_range else self.table[candidates]
        return self._picked[1]
