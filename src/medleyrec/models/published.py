"""Names of the published HM4SR weights and the places of ours that hold the same numbers.

Letters:  M parts of an item (id, text, image)   H width of a part   K experts
Several of their tensors are slices of one of ours, so weights, gradients and optimiser steps translate alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medleyrec.config import parse
from medleyrec.models.categories import Categories
from medleyrec.models.hm4sr import HM4SR
from medleyrec.models.hm4sr_settings import HM4SRSettings
from medleyrec.schema import ID, PAD, PICTURE, TEXT, Facts, Features, InputError, Int64s

PARTS = (ID, TEXT, PICTURE)
TOWERS, GATES = ("item", "txt", "img"), ("id", "txt", "img")
CONTENT = {TEXT: "txt_embedding.weight", PICTURE: "img_embedding.weight"}
CATEGORIES = "cat_embedding.weight"
UNUSED = ("time_moe.absolute_m.weight", "time_moe.absolute_m.bias")
"""A layer that the published code makes and never calls."""
EXPERTS = "time_moe_expert"
"""Temporal experts, which the published code keeps outside its state dict; exported beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one of their tensors lies: ``ours[name][index]``."""

    theirs: str
    ours: str
    index: tuple[int | slice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Read off the shapes of a state dict."""

    items: int  # rows of the item table, padding included
    width: int
    max_length: int
    depth: int
    inner: int
    experts: int
    interval_rows: int
    categories: int
    features: dict[str, int]


def sizes(state: Mapping[str, Tensor], *, where: str) -> Sizes:
    """Raises InputError naming the first tensor that a published state dict should hold and this one does not."""
    layers = {int(found[1]) for name in state if (found := re.match(r"item_seq\.layer\.(\d+)\.", name))}

    def shape(name: str, dimensions: int = 2) -> tuple[int, ...]:
        if not isinstance(state.get(name), Tensor) or state[name].dim() != dimensions:
            raise InputError(f"{where} holds no matrix {name!r}; export the whole state dict of a published HM4SR")
        return tuple(state[name].shape)

    experts = len([n for n in state if re.fullmatch(r"start_moe\.expert\.\d+\.weight", n)])
    items = shape("item_embedding.weight")[0]
    for name in (*CONTENT.values(), CATEGORIES):
        if shape(name)[0] != items:
            raise InputError(f"{where}: {name} has {shape(name)[0]} rows, the item table has {items}; export both anew")
    if shape(CATEGORIES)[1] != shape("cat_linear.weight")[0]:
        raise InputError(f"{where}: {CATEGORIES} and cat_linear.weight differ in their categories; export both anew")
    return Sizes(
        items=items,
        width=shape("item_embedding.weight")[1],
        max_length=shape("position_embedding.weight")[0],
        depth=len(layers),
        inner=shape("item_seq.layer.0.feed_forward.dense_1.weight")[0],
        experts=experts,
        interval_rows=shape("time_moe.time_embedding.weight")[0],
        categories=shape("cat_linear.weight")[0],
        features={name: shape(theirs)[1] for name, theirs in CONTENT.items()},
    )


def places(size: Sizes) -> list[Place]:
    """Every trained tensor of theirs, and the temporal experts."""
    return [*_items(), *_time(), *_interactive(size), *_heads(size), *_towers(size)]


def _pairs(theirs: str, ours: str) -> Iterator[Place]:
    """A layer of theirs that is a layer of ours."""
    for kind in ("weight", "bias"):
        yield Place(theirs=f"{theirs}.{kind}", ours=f"{ours}.{kind}")


def _items() -> Iterator[Place]:
    yield Place(theirs="item_embedding.weight", ours="rows.ids.weight")
    yield Place(theirs="position_embedding.weight", ours="positions.weight")
    yield from _pairs("txt_projection", f"rows.content.{TEXT}.project")
    yield from _pairs("img_projection", f"rows.content.{PICTURE}.project")


def _time() -> Iterator[Place]:
    yield Place(theirs="time_moe.time_embedding.weight", ours="time.intervals.weight")
    yield from _pairs("time_moe.absolute_w", "time.absolute")
    yield from _pairs("time_moe.gate", "temporal.gate")
    yield Place(theirs=EXPERTS, ours="temporal.experts")


def _interactive(size: Sizes) -> Iterator[Place]:
    yield Place(theirs="start_moe.weight", ours="interactive.weight")
    for m, name in enumerate(GATES):
        yield Place(theirs=f"start_moe.gate_{name}.weight", ours="interactive.gates", index=(m,))
        yield Place(theirs=f"start_moe.gate_{name}.bias", ours="interactive.gate_bias", index=(m,))
    for k in range(size.experts):
        yield Place(theirs=f"start_moe.expert.{k}.weight", ours="interactive.experts", index=(k,))
        yield Place(theirs=f"start_moe.expert.{k}.bias", ours="interactive.expert_bias", index=(k,))


def _heads(size: Sizes) -> Iterator[Place]:
    yield from _pairs("cat_linear", "head")
    for i, name in enumerate(("txt", "img")):
        rows = slice(i * size.width, (i + 1) * size.width)
        for kind in ("weight", "bias"):
            yield Place(theirs=f"placeholder_{name}.{kind}", ours=f"placeholder.{kind}", index=(rows,))


def _towers(size: Sizes) -> Iterator[Place]:
    for m, (tower, norm) in enumerate(zip(TOWERS, ("item_ln", "txt_ln", "img_ln"), strict=True)):
        yield from _at(m, norm, "towers.norm")
        for layer in range(size.depth):
            theirs, ours = f"{tower}_seq.layer.{layer}", f"towers.blocks.{layer}"
            for i, name in enumerate(("query", "key", "value")):
                rows = slice(i * size.width, (i + 1) * size.width)
                yield from _at(m, f"{theirs}.multi_head_attention.{name}", f"{ours}.qkv", rows)
            yield from _at(m, f"{theirs}.multi_head_attention.dense", f"{ours}.out")
            yield from _at(m, f"{theirs}.multi_head_attention.LayerNorm", f"{ours}.norm1")
            yield from _at(m, f"{theirs}.feed_forward.dense_1", f"{ours}.up")
            yield from _at(m, f"{theirs}.feed_forward.dense_2", f"{ours}.down")
            yield from _at(m, f"{theirs}.feed_forward.LayerNorm", f"{ours}.norm2")


def _at(m: int, theirs: str, ours: str, *rows: slice) -> Iterator[Place]:
    for kind in ("weight", "bias"):
        yield Place(theirs=f"{theirs}.{kind}", ours=f"{ours}.{kind}", index=(m, *rows))


def theirs_of(place: Place, ours: Mapping[str, Tensor]) -> Tensor:
    """The numbers of ours that `place` names: a view, not a copy."""
    return ours[place.ours][place.index]


def filled(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], where: list[Place]) -> dict[str, Tensor]:
    """A copy of `ours` that holds `theirs` at their places; raises InputError for what does not fit."""
    full = {name: tensor.detach().clone() for name, tensor in ours.items()}
    for place in where:
        if place.theirs not in theirs:
            raise InputError(f"the published weights lack {place.theirs!r}; export the whole state dict")
        given, target = theirs[place.theirs], theirs_of(place, full)
        if not isinstance(given, Tensor):
            raise InputError(f"{place.theirs} is no tensor; export the state dict itself")
        if given.shape != target.shape:
            raise InputError(f"{place.theirs} has shape {tuple(given.shape)}, here it must be {tuple(target.shape)}")
        with torch.no_grad():
            target.copy_(given)
    return full


def build_published(
    state: Mapping[str, Tensor],
    experts: Tensor,
    settings: Mapping[str, Any],
    *,
    where: str,
    rows: Int64s | None = None,
) -> HM4SR:
    """Our model with their weights (`state` and the temporal `experts`), doing in everything as the published code.

    rows: (V,) their item row for each of ours, [0, ...]; without it the rows are theirs. Contents are theirs too.
    """
    size = sizes(state, where=where)
    order = np.arange(size.items) if rows is None else rows
    features = Features(
        vectors={n: state[theirs].float().numpy()[order] for n, theirs in CONTENT.items()},
        present=dict.fromkeys(CONTENT, order != PAD),
    )
    shapes = {
        "items": PARTS,
        "width": size.width,
        "depth": size.depth,
        "inner": size.inner,
        "max_length": size.max_length,
        "experts": size.experts,
    }
    published = {"reference": ("all",), "placeholders": "prefix"}
    checked = parse(HM4SRSettings, {**shapes, **published, **settings}, where=where)
    facts = Facts(num_items=len(order), num_categories=size.categories)
    model = HM4SR(checked, facts, features, categories=_categories(state[CATEGORIES][torch.from_numpy(order)]))
    assert model.time is not None
    model.time.intervals = nn.Embedding(size.interval_rows, size.width)
    theirs = {**state, EXPERTS: experts, "item_embedding.weight": state["item_embedding.weight"][order]}
    ours = model.state_dict()
    model.load_state_dict(filled(ours, theirs, [p for p in places(size) if p.ours in ours]))
    return model


def _categories(multi_hot: Tensor) -> Categories:
    """From a table (V, C) of zeros and ones."""
    item, label = torch.nonzero(multi_hot, as_tuple=True)
    counts = torch.bincount(item, minlength=len(multi_hot)).cumsum(0)
    offsets = np.concatenate([[0], counts.numpy()])
    return Categories(offsets=offsets, labels=label.numpy().astype(np.int32), count=multi_hot.shape[1])
