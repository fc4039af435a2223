"""What was planted, and how well the oracle ranks: written beside the data, read by tables and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medleyrec.schema import TEST, VALIDATION, Floats, InputError, Mask
from medleyrec.sources.bazaar.behaviour import THRESHOLD, World, world
from medleyrec.sources.bazaar.grammar import CATEGORIES, NOISE, VALUES
from medleyrec.sources.bazaar.oracle import Oracle
from medleyrec.sources.bazaar.settings import BazaarConfig

KS = (5, 10, 20)

Figures = dict[str, float]
"""HR@k, NDCG@k and MRR@k, and the number of events they are means of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The known answer. Items are external ids; attribute values are words; times are seconds."""

    noise: bool
    drivers: dict[str, str]
    """Category -> "image", "text", "both", "none" (plain co-consumption); in the noise twin "noise" everywhere."""
    gears: dict[str, list[list[str]]]
    """Category -> its sets of attributes whose sum moves by `advance` inside a session; none in the twin."""
    items: dict[str, dict[str, str]]
    """Item -> its category, colour, shape, pattern and material, as its text and picture show them."""
    values: dict[str, list[str]]
    """Attribute -> its values in the order in which sessions advance."""
    threshold: int
    """A shorter gap continues a session, seconds."""
    advance: int
    """How far, modulo the number of values; 0: the sums stay equal."""
    turn: int
    """How much further after an event that continued a session; 0: gaps do not tell how the next item follows."""
    follow: float
    """Probability that a step inside a session obeys the law."""
    oracle: dict[str, Figures]
    """Split -> the oracle's figures over every user's event in that split (leave-one-out)."""
    slices: dict[str, dict[str, Figures]]
    """Split -> "opening" or "continuing" events, the latter also by driver -> the oracle's figures."""

    def __repr__(self) -> str:
        ndcg = self.oracle[TEST]["NDCG@10"]
        return f"Truth({len(self.items)} items, {len(self.drivers)} categories, oracle NDCG@10 {ndcg:.4f})"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Truth:
        names = set(cls.__slots__)
        if set(value) != names:
            odd = sorted(names ^ set(value))
            raise InputError(f"this is not a truth file of the bazaar (missing or unknown: {odd}); generate it again")
        return cls(**value)


def truth(config: BazaarConfig) -> Truth:
    """The same for the same settings; draws no picture."""
    made = world(config)
    oracle = Oracle(config, made)
    slices = {split: _slices(oracle, back) for split, back in ((TEST, 1), (VALIDATION, 2))}
    return Truth(
        noise=config.noise,
        drivers={c.name: NOISE if config.noise else c.driver for c in CATEGORIES},
        gears={c.name: [] if config.noise else [list(gear) for gear in c.gears] for c in CATEGORIES},
        items=_items(made),
        values={name: list(words) for name, words in VALUES.items()},
        threshold=THRESHOLD,
        advance=config.advance,
        turn=config.turn,
        follow=config.follow,
        oracle={split: parts.pop("all") for split, parts in slices.items()},
        slices=slices,
    )


def figures(ranks: Floats) -> Figures:
    """Means over events; NaN-free: no events give zeros."""
    events = len(ranks)
    told: Figures = {"events": float(events)}
    for k in KS:
        hit = ranks <= k
        for name, gain in (("HR", np.ones(events)), ("NDCG", 1 / np.log2(1 + ranks)), ("MRR", 1 / ranks)):
            told[f"{name}@{k}"] = float((gain * hit).sum() / max(events, 1))
    return told


def _slices(oracle: Oracle, back: int) -> dict[str, Figures]:
    ranks, facts = oracle.ranks(back)
    continuing: Mask = facts["continuing"]
    told = {"all": figures(ranks), "continuing": figures(ranks[continuing]), "opening": figures(ranks[~continuing])}
    if not oracle.config.noise:
        drivers = np.array([c.driver for c in CATEGORIES])[facts["category"]]
        told |= {name: figures(ranks[continuing & (drivers == name)]) for name in sorted({*drivers.tolist()})}
    return told


def _items(made: World) -> dict[str, dict[str, str]]:
    shown = made.goods.shown()
    columns = {"category": [CATEGORIES[c].name for c in shown.category]}
    for name, words in VALUES.items():
        columns[name] = [words[v] for v in shown.attributes[name]]
    rows = zip(*columns.values(), strict=True)
    return {item: dict(zip(columns, row, strict=True)) for item, row in zip(made.goods.ids, rows, strict=True)}
