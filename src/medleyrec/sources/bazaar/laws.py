"""The planted truth as probabilities: what follows what inside a session, and what opens a session.

Letters:  C categories   n items of one category   m values per attribute   K kinds of users
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medleyrec.schema import Floats, Int64s
from medleyrec.sources.bazaar.catalogue import Catalogue
from medleyrec.sources.bazaar.grammar import CATEGORIES, PLAIN, SIZE, Category
from medleyrec.sources.bazaar.settings import BazaarConfig, Stream, numbers

KINDS = 24  # tastes are one of so many vectors, so that the oracle can weigh them exactly
MONTHS = 12
LIKED = ("colour", "material")
"""Attributes of which a user prefers one value."""

_CONCENTRATION = 0.5  # of the Dirichlet distribution of tastes over categories
_AMPLITUDE = 0.8  # of the seasons
_FONDNESS = 5.0  # how much more often a session opens with a liked value
_SUCCESSORS = (0.4, 0.3, 0.2, 0.1)  # of an item whose category follows no content


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Laws:
    """One entry per category; items of a category are numbered by their place in `members`."""

    members: tuple[Int64s, ...]  # each (n,), rows of the catalogue
    place: Int64s  # (N,), place of an item inside its category
    steps: tuple[Floats, ...]  # each (n, n): P(next | previous, which opened a session); rows sum to 1
    later: tuple[Floats, ...]  # each (n, n): P(next | previous, which continued a session); rows sum to 1
    first: tuple[Floats, ...]  # each (m, n) or, where no taste matters, (1, n): P(item | liked value); rows sum to 1
    opening: Floats  # (12, K, C): P(category | month, kind of user)


def laws(config: BazaarConfig, goods: Catalogue) -> Laws:
    rng = numbers(config, Stream.LAWS)
    members = tuple(np.flatnonzero(goods.category == c) for c in range(len(CATEGORIES)))
    place = np.zeros(len(goods), dtype=np.int64)
    for rows in members:
        place[rows] = np.arange(len(rows))
    pairs = list(zip(CATEGORIES, members, strict=True))
    steps = tuple(_steps(config, rng, goods, category, rows) for category, rows in pairs)
    return Laws(
        members=members,
        place=place,
        steps=steps,
        later=_later(config, goods, steps, pairs),
        first=tuple(_first(goods, category, rows) for category, rows in pairs),
        opening=_opening(rng),
    )


def group(goods: Catalogue, category: Category, rows: Int64s) -> Int64s:
    """The sums of the category's gears modulo m, each of which a session advances. (n, gears)"""
    sums = [np.asarray(sum(goods.attributes[name][rows] for name in gear)) % SIZE for gear in category.gears]
    return np.stack(sums, axis=1)


def liked(category: Category) -> str | None:
    """The attribute by which taste opens a session; a synergy and plain co-consumption have none."""
    return category.gears[0][0] if category.gears and len(category.gears[0]) == 1 else None


def _steps(
    config: BazaarConfig, rng: np.random.Generator, goods: Catalogue, category: Category, rows: Int64s
) -> Floats:
    ring = category.driver == PLAIN
    obeyed = _ring(rng, len(rows)) if ring else _moved(config.advance, goods, category, rows)
    return np.asarray(config.follow * obeyed + (1 - config.follow) * _appeal(goods, rows))


def _later(
    config: BazaarConfig, goods: Catalogue, steps: tuple[Floats, ...], pairs: list[tuple[Category, Int64s]]
) -> tuple[Floats, ...]:
    """The same as `steps` but for the categories that turn: those that follow content."""
    if not config.turn:
        return steps
    advance = config.advance + config.turn
    return tuple(
        step
        if category.driver == PLAIN
        else config.follow * _moved(advance, goods, category, rows) + (1 - config.follow) * _appeal(goods, rows)
        for step, (category, rows) in zip(steps, pairs, strict=True)
    )


def _appeal(goods: Catalogue, rows: Int64s) -> Floats:
    return np.asarray(goods.appeal[rows] / goods.appeal[rows].sum())  # (n,)


def _moved(advance: int, goods: Catalogue, category: Category, rows: Int64s) -> Floats:
    """P(next | previous) (n, n) where every sum of the category moves by `advance`."""
    groups = group(goods, category, rows)
    obeyed = _appeal(goods, rows) * (groups[None, :] == (groups[:, None] + advance) % SIZE).all(axis=2)
    np.fill_diagonal(obeyed, 0)  # where sums stay equal, an item is not its own successor
    return np.asarray(obeyed / obeyed.sum(axis=1, keepdims=True))


def _ring(rng: np.random.Generator, count: int) -> Floats:
    """Fixed random successors: every item has as many predecessors as successors, and is never its own."""
    order = rng.permutation(count)
    leaps = rng.choice(np.arange(1, count), len(_SUCCESSORS), replace=False)
    matrix = np.zeros((count, count))
    for leap, probability in zip(leaps.tolist(), _SUCCESSORS, strict=True):
        matrix[order, np.roll(order, -leap)] = probability
    return matrix


def _first(goods: Catalogue, category: Category, rows: Int64s) -> Floats:
    weights = goods.appeal[rows][None, :]  # (1, n)
    name = liked(category)
    if name is not None:
        matches = goods.attributes[name][rows] == np.arange(SIZE)[:, None]  # (m, n)
        weights = weights * np.where(matches, _FONDNESS, 1.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _opening(rng: np.random.Generator) -> Floats:
    tastes = rng.dirichlet(np.full(len(CATEGORIES), _CONCENTRATION), KINDS)  # (K, C)
    peaks = rng.permutation(len(CATEGORIES))
    seasons = 1 + _AMPLITUDE * np.cos(2 * np.pi * (np.arange(MONTHS)[:, None] - peaks) / MONTHS)  # (12, C)
    weights = tastes[None] * seasons[:, None]  # (12, K, C)
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))
