"""The views of an item in DMESR: coarse and fine descriptions, through linear adapters, as raw item vectors.

Letters:  n items asked for   V items, row 0 being padding   F width of a feature   H width of a side
          S sides of a row: coarse, fine, id, as far as they are there   D = S H   K views of a side
A view m passes an adapter without activation, h_m = W2 (W1 z_m + b1) + b2, F -> F / 2 -> H; its table is frozen. Two
linear layers in a row are one linear map: they are multiplied first, and the whole catalogue passes the product.
    coarse   the mean of the views a language model wrote of the item, or a linear map of them side by side
    fine     the mean of the views of its original text
    id       a trained vector
A view that an item lacks does not count in the mean. An item that lacks all views of a side gets their learnt
`missing` vectors instead, and so does the linear map: with zeros it would score 0 for everyone, whatever they like.
"""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medleyrec.models.cross import ItemAttention
from medleyrec.models.items import ID_SCALE, ContentPart, ItemRows, Scaling, check_parts
from medleyrec.schema import ATTRIBUTES, DESCRIPTIONS, FIELDS, ID, PAD, PICTURE, TEXT, Features, InputError, Mask

COARSE, FINE = (*DESCRIPTIONS, PICTURE), (ATTRIBUTES, TEXT, *FIELDS)
"""Which side a feature belongs to. A picture's own vectors may stand in for what is written of it."""
Order = dict[str, Tensor]
"""Name of a view -> order (V,): item v gets the view of item order[v]."""


class View(ContentPart):
    """One view and its adapter: (n, F) -> (n, H). `project` is the adapter's first layer, `out` its second."""

    def __init__(
        self,
        name: str,
        features: Features,
        width: int,
        *,
        train_items: Mask | None,
        scaling: Scaling,
        length: float,
    ) -> None:
        inner = max(1, features.widths[name] // 2)
        super().__init__(name, features, inner, train_items=train_items, scaling=scaling, length=length)
        self.out = nn.Linear(inner, width)
        self.missing = nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.out.weight, std=inner**-0.5)
        nn.init.zeros_(self.out.bias)

    def adapted(self, vectors: Tensor) -> Tensor:
        """Of scaled vectors (n, F); the same as out(project(vectors))."""
        weight = self.out.weight @ self.project.weight  # (H, F)
        return F.linear(vectors, weight, self.out(self.project.bias))  # (n, H)

    def placed(self, vectors: Tensor, present: Tensor) -> Tensor:
        assert self.missing is not None
        return torch.where(present[:, None], self.adapted(vectors), self.missing)

    def aligned(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Of items `ids` (n,): adapted vectors (n, H), and which of them are there (n,)."""
        return self.over(ids, lambda vectors, _: self.adapted(vectors)), self.present[ids]


class ViewRows(ItemRows):
    """`rows(ids)` -> (n, D) raw item vectors [coarse; fine; id], as far as these sides are there; row 0 is zero.

    fused: heads by which the coarse vector asks the fine views, item by item (cross.py); 0 takes their mean.
    """

    def __init__(
        self,
        num_items: int,
        width: int,
        *,
        parts: tuple[str, ...],
        features: Features | None = None,
        train_items: Mask | None = None,
        coarse: Literal["mean", "linear"] = "mean",
        fused: int = 0,
        scaling: Scaling = "standardised",
        content_scale: float = 1.0,
    ) -> None:
        nn.Module.__init__(self)  # the promises of ItemRows, made of other parts
        check_parts(parts, features)
        self.raw, self.num_items, self.width, self.parts = False, num_items, width, parts
        self.ids = nn.Embedding(num_items, width, padding_idx=PAD) if ID in parts else None
        if self.ids is not None:
            nn.init.normal_(self.ids.weight, std=ID_SCALE)
            with torch.no_grad():
                self.ids.weight[PAD] = 0
        views = {}
        for name in parts:
            if name != ID and features is not None:
                _check_height(name, features, num_items)
                views[name] = View(
                    name, features, width, train_items=train_items, scaling=scaling, length=content_scale
                )
        self.content = nn.ModuleDict(views)
        self.coarse, self.fine = _among(parts, COARSE), _among(parts, FINE)
        joined = coarse == "linear" and len(self.coarse) > 1
        self.linear = nn.Linear(len(self.coarse) * width, width) if joined else None
        self.asked = ItemAttention(width, heads=fused) if fused else None

    @property
    def sides(self) -> int:
        """S"""
        return bool(self.coarse) + bool(self.fine) + (self.ids is not None)

    @property
    def out_width(self) -> int:
        """D"""
        return self.width * self.sides

    def view(self, name: str) -> View:
        return cast(View, self.content[name])

    def forward(self, ids: Tensor | None = None) -> Tensor:
        """Rows of `ids` (n,), or of the whole table."""
        return self._rows(ids, {})

    def exchanged(self, name: str, order: Tensor) -> Tensor:
        """The table (V, D) where item v has the view `name` of item order[v]; order (V,) leaves row 0 in place."""
        return self._rows(None, {name: order})

    def _rows(self, ids: Tensor | None, orders: Order) -> Tensor:
        given, present = {}, {}
        for name in self.content:
            where = orders.get(name, ids)
            view = self.view(name)
            given[name] = view(where)
            present[name] = view.present if where is None else view.present[where]
        pieces = self._sides(given, present)
        if self.ids is not None:
            pieces.append(self.ids.weight if ids is None else self.ids(ids))
        rows = torch.cat(pieces, -1)
        real = (torch.arange(self.num_items, device=rows.device) if ids is None else ids) != PAD
        return rows * real[:, None]  # (n, D)

    def new(self, features: Features) -> Tensor:
        """Rows (n, D) of items the model has never seen, from their raw features; their id side is the mean item's."""
        device, given, present = next(self.parameters()).device, {}, {}
        for name in self.content:
            present[name] = torch.from_numpy(np.asarray(features.present[name], bool)).to(device)
            vectors = torch.from_numpy(np.asarray(features.vectors[name], np.float32)).to(device)
            given[name] = self.view(name).of(vectors, present[name])
        pieces = self._sides(given, present)
        if self.ids is not None:
            count = len(pieces[0]) if pieces else 0
            pieces.append(self.ids.weight[1:].mean(0).expand(count, -1))
        return torch.cat(pieces, -1)

    def _sides(self, given: dict[str, Tensor], present: dict[str, Tensor]) -> list[Tensor]:
        """The coarse and the fine side, (n, H) each; given[name] (n, H) is `missing` where not present[name] (n,)."""
        sides = []
        if self.coarse:
            linear = self.linear is not None
            joined = torch.cat([given[m] for m in self.coarse], -1) if linear else None
            sides.append(self.linear(joined) if self.linear is not None else _mean(self.coarse, given, present))
        if self.fine and self.asked is not None:
            stacked, counts = _stacked(self.fine, given, present)
            sides.append(self.asked(sides[0], stacked, counts))
        elif self.fine:
            sides.append(_mean(self.fine, given, present))
        return sides


def _among(parts: tuple[str, ...], side: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in parts if name in side)


def _check_height(name: str, features: Features, num_items: int) -> None:
    if (height := len(features.vectors[name])) != num_items:
        raise InputError(f"the {name} features have {height} rows, the item table has {num_items}")


def _stacked(names: tuple[str, ...], given: dict[str, Tensor], present: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Views (n, K, H) and which of them count (n, K): those that are there, all where none is."""
    there = torch.stack([present[m] for m in names], 1)
    return torch.stack([given[m] for m in names], 1), there | ~there.any(1, keepdim=True)


def _mean(names: tuple[str, ...], given: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    """(n, H)"""
    if len(names) == 1:
        return given[names[0]]
    views, counts = _stacked(names, given, present)
    return (views * counts[..., None]).sum(1) / counts.sum(1, keepdim=True)


@torch.no_grad()
def retrieval_recall(rows: ViewRows, query: str, sought: str, *, k: int = 10, block: int = 1024) -> float:
    """Share of the items whose view `sought` is among the k nearest to their view `query`, by cosine after adapters.

    Of and among the items that have both; a tie counts against. NaN where no item has both.
    """
    both = rows.view(query).present & rows.view(sought).present
    items = both.nonzero()[:, 0]
    asked = F.normalize(rows.view(query).aligned(items)[0], dim=-1)  # (n, H)
    found = F.normalize(rows.view(sought).aligned(items)[0], dim=-1)
    hits = 0
    for start in range(0, len(items), block):
        cosines = asked[start : start + block] @ found.T
        own = cosines.diagonal(start)[:, None]
        hits += int(((cosines >= own).sum(1) <= k).sum())
    return hits / len(items) if len(items) else float("nan")
