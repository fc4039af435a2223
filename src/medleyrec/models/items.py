"""Item rows: what an item is to a model, from any subset of its id, its text and its picture.

Letters:  n items asked for   V items, row 0 being padding   F width of a feature   H width of a part   D of a row
A row is the parts side by side (`join = "concat"`, D = parts x H) or their sum (`join = "sum"`, D = H).
Features are scaled to a length of about 1, then projected; what an item lacks is a learnt vector. The length matters:
at unit deviation of F columns, one optimiser step moves the projected vectors F times as far as an id's, and content
drowns the ids. `content_scale` is that length. Ways of scaling, means and deviations being of the training items:
    standardised   mean 0 and equal deviations: what varies little is as loud as what varies much
    centred        mean 0 and one scale for all columns: what varies much stays loud
    unit           every vector exactly that long
`raw` takes features as they are and a missing one as zeros, and leaves row 0 as it is drawn: for models published so.
A large feature table stays on disk (on_disk.py): what is asked for is read, scaled and projected block by block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.models.on_disk import TableOnDisk, blockwise, is_large
from medleyrec.schema import FEATURES, ID, PAD, Features, InputError, Int64s, Mask

Scaling = Literal["standardised", "centred", "unit"]

ID_SCALE = 0.02  # standard deviation of a fresh id vector, the habit of the field
CONTENT_SCALE = 0.1  # of a freshly projected content vector: similar contents start out similar


class ContentPart(nn.Module):
    """One kind of content, projected to the model's width: (n, F) -> (n, H)."""

    vectors: Tensor | None
    present: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        name: str,
        features: Features,
        width: int,
        *,
        train_items: Mask | None,
        raw: bool = False,
        scaling: Scaling = "standardised",
        length: float = 1.0,
    ) -> None:
        super().__init__()
        self.raw, self.unit, self.length = raw, scaling == "unit", length
        given = features.vectors[name]
        self.disk = TableOnDisk(given) if is_large(given) else None
        vectors = torch.from_numpy(np.asarray(given, np.float32)) if self.disk is None else None
        present = torch.from_numpy(np.asarray(features.present[name], bool))
        known = present if train_items is None else present & torch.from_numpy(np.asarray(train_items))
        fitted = bool(known.any()) and not raw and not self.unit
        nothing = torch.zeros(given.shape[1])
        mean, deviation = self._moments(vectors, known) if fitted else (nothing, nothing)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", _scale(deviation, scaling, length))
        scaled = None if vectors is None else self._standardised(vectors, present)
        self.register_buffer("vectors", scaled, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.project = nn.Linear(given.shape[1], width)
        self.missing = None if raw else nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.project.weight, std=ID_SCALE if raw else CONTENT_SCALE)
        nn.init.zeros_(self.project.bias)

    def _moments(self, vectors: Tensor | None, known: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (F,) of the `known` (V,) rows."""
        if vectors is None:
            assert self.disk is not None
            return self.disk.moments(known.numpy())
        some = vectors[known]
        return some.mean(0), some.std(0, correction=0)

    def _standardised(self, vectors: Tensor, present: Tensor) -> Tensor:
        if self.unit:
            vectors = self.length * F.normalize(vectors, dim=-1)
        elif not self.raw:
            vectors = (vectors - self.mean).mul_(self.scale)
        return vectors.masked_fill(~present[:, None], 0.0)

    def forward(self, ids: Tensor | None) -> Tensor:
        """Of the items `ids` (n,), or of all."""
        return self.over(ids, self.placed)

    def over(self, ids: Tensor | None, work: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`work(scaled vectors (n, F), whether each is there (n,))` of the items `ids` (n,), or of all."""
        if self.vectors is not None:
            some = (self.vectors, self.present) if ids is None else (self.vectors[ids], self.present[ids])
            return work(*some)
        assert self.disk is not None
        disk, device = self.disk, self.present.device

        def read(which: slice | Int64s) -> Tensor:
            present = self.present[which if isinstance(which, slice) else torch.from_numpy(which).to(device)]
            return work(self._standardised(disk.rows(which).to(device), present), present)

        return blockwise(disk, ids, read)

    def of(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Of items that came later: raw vectors (n, F) and whether each is there (n,)."""
        return self.placed(self._standardised(vectors.float(), present), present)

    def placed(self, vectors: Tensor, present: Tensor) -> Tensor:
        projected: Tensor = self.project(vectors)  # (n, H)
        return projected if self.missing is None else torch.where(present[:, None], projected, self.missing)


def _scale(deviation: Tensor, scaling: Scaling, length: float) -> Tensor:
    """What the columns (F,) of given deviations are multiplied by."""
    # A column that never varies says nothing; dividing by its rounding noise would make it loud.
    varying = deviation > 1e-3 * deviation.max().clamp(min=1e-6)
    columns = varying.sum().clamp(min=1)
    if scaling == "centred":
        deviation = (deviation * varying).square().sum().div(columns).sqrt().expand_as(deviation)
    return torch.where(varying, length / (columns.sqrt() * deviation.clamp(min=1e-12)), 0.0)


class ItemRows(nn.Module):
    """`rows(ids)` -> (n, D) raw item vectors; row 0 is zero (unless `raw`) and never a candidate."""

    def __init__(
        self,
        num_items: int,
        width: int,
        *,
        parts: tuple[str, ...] = (ID,),
        features: Features | None = None,
        train_items: Mask | None = None,
        join: Literal["sum", "concat"] = "sum",
        raw: bool = False,
        scaling: Scaling = "standardised",
        content_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_parts(parts, features)
        self.raw = raw
        self.num_items, self.width, self.parts, self.join = num_items, width, parts, join
        self.ids = nn.Embedding(num_items, width, padding_idx=PAD) if ID in parts else None
        if self.ids is not None:
            nn.init.normal_(self.ids.weight, std=ID_SCALE)
            if not raw:
                with torch.no_grad():
                    self.ids.weight[PAD] = 0
        content = {
            name: ContentPart(
                name, features, width, train_items=train_items, raw=raw, scaling=scaling, length=content_scale
            )
            for name in parts
            if name != ID and features is not None
        }
        for name in content:
            if features is not None and (height := len(features.vectors[name])) != num_items:
                raise InputError(f"the {name} features have {height} rows, the item table has {num_items}")
        self.content = nn.ModuleDict(content)

    def silence(self, items: Mask) -> None:
        """Zero the ids of `items` (V,), which training will never touch: a random vector would only be noise."""
        if self.ids is not None:
            with torch.no_grad():
                self.ids.weight[torch.from_numpy(items).to(self.ids.weight.device)] = 0

    @property
    def out_width(self) -> int:
        """D"""
        return self.width * (len(self.parts) if self.join == "concat" else 1)

    def forward(self, ids: Tensor | None = None) -> Tensor:
        """Rows of `ids` (n,), or of the whole table."""
        pieces = []
        for name in self.parts:
            if name == ID:
                assert self.ids is not None
                pieces.append(self.ids.weight if ids is None else self.ids(ids))
            else:
                pieces.append(self.content[name](ids))
        rows = self._joined(pieces)
        if self.raw or self.parts == (ID,):
            return rows
        real = (torch.arange(self.num_items, device=rows.device) if ids is None else ids) != PAD
        return rows * real[:, None]  # (n, D)

    def all(self) -> Tensor:
        """(V, D)"""
        rows: Tensor = self()
        return rows

    def exchanged(self, name: str, order: Tensor) -> Tensor:
        """The table (V, D) where item v has the content `name` of item order[v]; order (V,) leaves row 0 in place."""
        part = self.content[name]
        assert isinstance(part, ContentPart)
        table, change = self.all(), part(order) - part(None)  # (V, D), (V, H)
        if self.join == "sum":
            summed: Tensor = table + change
            return summed
        start = self.parts.index(name) * self.width
        placed: Tensor = F.pad(change, (start, table.shape[1] - start - self.width))
        return table + placed

    def new(self, features: Features) -> Tensor:
        """Rows (n, D) of items the model has never seen, from their raw features; their id part is the mean item's."""
        some = next(iter(features.vectors.values()), None)
        count = 0 if some is None else len(some)
        device = next(self.parameters()).device
        pieces = []
        for name in self.parts:
            if name == ID:
                assert self.ids is not None
                pieces.append(self.ids.weight[1:].mean(0).expand(count, -1))
            else:
                part = self.content[name]
                assert isinstance(part, ContentPart)
                vectors = torch.from_numpy(np.asarray(features.vectors[name], np.float32)).to(device)
                present = torch.from_numpy(np.asarray(features.present[name], bool)).to(device)
                pieces.append(part.of(vectors, present))
        return self._joined(pieces)

    def _joined(self, pieces: list[Tensor]) -> Tensor:
        return torch.cat(pieces, -1) if self.join == "concat" else torch.stack(pieces).sum(0)


def check_parts(parts: tuple[str, ...], features: Features | None) -> None:
    """Raises InputError where `parts` is empty, names something unknown, or lacks its features."""
    known = (ID, *FEATURES)
    if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(known):
        raise InputError(f"items = {list(parts)} does not fit: name each of {list(known)} at most once, at least one")
    if needed := tuple(p for p in parts if p != ID):
        (features or Features()).only(needed)
