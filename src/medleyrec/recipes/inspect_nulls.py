"""Whether the weights of an item's parts say something of its category, and of what was planted there.

Letters:  N events   n items   M parts   C categories   R permutations

Both measures are set beside what chance gives: the first where categories are dealt out anew among the items, the
second where what was planted is dealt out anew among the categories, in every possible way. p counts the permutations
that do at least as well, the truth among them (Phipson & Smyth, 2010, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medleyrec.schema import Floats, InputError, Int64s

ROUNDS = 999


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """A measure, its mean under permutation, and the probability of at least as much by chance."""

    value: float
    chance: float
    p: float


def by_item(weights: Floats, items: Int64s) -> tuple[Floats, Int64s]:
    """Mean weights (n, M) of each item that occurs, and its row (n,); weights (N, M), items (N,)."""
    rows, place, counts = np.unique(items, return_inverse=True, return_counts=True)
    sums = np.zeros((len(rows), weights.shape[1]))
    np.add.at(sums, place, weights)
    return sums / counts[:, None], rows


def category_null(weights: Floats, labels: Int64s, *, seed: int = 0, rounds: int = ROUNDS) -> Null | None:
    """Share of the variance of weights (n, M) that the labels (n,) explain; None where nothing varies or is to tell."""
    if len(np.unique(labels)) < 2:
        return None
    centred = weights - weights.mean(0)
    total = float(np.square(centred).sum())
    if total <= 1e-12 * len(weights):
        return None
    rng = np.random.default_rng(seed)
    value = _between(centred, labels) / total
    drawn = np.array([_between(centred, rng.permutation(labels)) / total for _ in range(rounds)])
    return Null(value=value, chance=float(drawn.mean()), p=float((1 + (drawn >= value - 1e-12).sum()) / (1 + rounds)))


def _between(centred: Floats, labels: Int64s) -> float:
    """Sum of squares between the groups."""
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(place, column) for column in centred.T], 1)  # (C, M)
    return float((np.square(sums) / counts[:, None]).sum())


def planted_null(
    weights: Mapping[str, Sequence[float]], drivers: Mapping[str, str], parts: Sequence[str]
) -> Null | None:
    """How much more a part weighs in the categories that follow it than in those that follow the other one.

    weights: category -> weight of each of `parts`. Of the categories that follow the text and those that follow the
    picture: mean of (own part - other part). None where either kind or part is absent. Two-sided.
    """
    if not {"text", "image"} <= set(parts):
        return None
    names = [name for name in weights if drivers.get(name) in ("text", "image")]
    followers = tuple(i for i, name in enumerate(names) if drivers[name] == "image")
    if not 0 < len(followers) < len(names):
        return None
    lean = np.array([weights[n][parts.index("image")] - weights[n][parts.index("text")] for n in names])
    dealt = [_contrast(lean, chosen) for chosen in combinations(range(len(names)), len(followers))]
    value = _contrast(lean, followers)
    reached = np.abs(dealt) >= abs(value) - 1e-12
    return Null(value=value, chance=float(np.mean(dealt)), p=float(np.mean(reached)))


def _contrast(lean: Floats, chosen: Sequence[int]) -> float:
    """Half the distance of the means inside and outside `chosen`."""
    inside = np.zeros(len(lean), bool)
    inside[list(chosen)] = True
    return float(lean[inside].mean() - lean[~inside].mean()) / 2


def drivers_of(truth: object) -> dict[str, str]:
    """Category -> what it follows, of a planted dataset's truth. Raises InputError where it is not such a file."""
    found = truth.get("drivers") if isinstance(truth, dict) else None
    if not isinstance(found, dict):
        raise InputError("truth.json names no drivers; run `medley prepare` again")
    return {str(name): str(driver) for name, driver in found.items()}
