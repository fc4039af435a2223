"""How sure a number is: intervals over users, paired tests, and a correction for asking many questions.

Letters:  E events   U users   M metric columns   R resamples or draws   K summed columns

The unit is the user: a user's events are drawn, or change sign, together, since they are not independent.
Intervals: percentile bootstrap (Efron & Tibshirani 1993, ch. 13). Paired test: random sign flips of the users'
differences, two-sided, p = (1 + draws at least as extreme) / (1 + draws) (Phipson & Smyth 2010), so p is never 0.
Everything is a function of its arguments and a seed; the same seed gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

import numpy as np

from medleyrec.evaluation.metrics import Values
from medleyrec.schema import Floats, InputError, Int64s, Mask

RESAMPLES = 1_000
DRAWS = 10_000
LEVEL = 0.95

_BLOCK = 1 << 19  # numbers per block: 4 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and the interval it lies in."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.value, self.low, self.high)) or self.low > self.high:
            raise ValueError(f"no interval: {self.value=}, {self.low=}, {self.high=}")

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One model minus another on the same events."""

    difference: Estimate
    p: float


def intervals(
    values: Values, users: Int64s, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, Estimate]:
    """Mean of each metric over events, with its bootstrap interval over users; users (E,) names each event's user."""
    everything = {"": np.ones(len(values), np.bool_)}
    return slice_intervals(values, users, everything, resamples=resamples, seed=seed, level=level)[""]


def slice_intervals(
    values: Values,
    users: Int64s,
    masks: Mapping[str, Mask],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, dict[str, Estimate]]:
    """The same for each slice of the events, all from one set of resamples. A slice without events is left out."""
    if not len(values):
        raise InputError("there is no event to evaluate; the split has no test events")
    found = {name: mask for name, mask in masks.items() if mask.any()}
    columns = [np.column_stack([values.matrix * mask[:, None], mask]) for mask in found.values()]
    drawn = _resampled(_by_user(np.hstack(columns), users), resamples, seed)  # (R, slices * (M + 1))
    width = len(values.names) + 1
    out = {}
    for place, (name, mask) in enumerate(found.items()):
        sums = drawn[:, place * width : (place + 1) * width]
        sums = sums[sums[:, -1] > 0]  # a small slice may be absent from a resample
        bounds = _percentiles(sums[:, :-1] / sums[:, -1:], level)
        means = values.matrix[mask].mean(0)
        out[name] = {n: _estimate(m, *b) for n, m, b in zip(values.names, means, bounds.T, strict=True)}
    return out


def compare(
    model: Values,
    reference: Values,
    users: Int64s,
    *,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Paired]:
    """`model` minus `reference` per metric: mean difference, its interval, and the p of no difference."""
    if model.names != reference.names or len(model) != len(reference):
        raise ValueError(f"only equal metrics of equal events can be compared: {model} and {reference}")
    difference = Values(model.names, model.matrix - reference.matrix)
    estimates = intervals(difference, users, resamples=resamples, seed=seed, level=level)
    p = sign_flip_p(_by_user(difference.matrix, users), draws=draws, seed=seed)
    return {n: Paired(difference=estimates[n], p=float(x)) for n, x in zip(model.names, p, strict=True)}


def sign_flip_p(differences: Floats, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """(M,) two-sided p that the users' summed differences (U, M) are symmetric around 0."""
    moved = differences[(differences != 0).any(1)]  # a zero stays zero whatever its sign
    total = moved.sum(0)
    least = np.abs(total) - 1e-12 * np.abs(moved).sum(0)  # rounding must not part what is equal
    extreme = np.zeros(differences.shape[1], np.int64)
    rng = np.random.default_rng(seed)
    with _one_thread():
        for height in _heights(draws, len(moved)):
            octets = rng.integers(256, size=(height, -(-len(moved) // 8)), dtype=np.uint8)
            flips = np.unpackbits(octets, axis=1, count=len(moved)).astype(np.float64)  # (r, U) of 0 and 1
            extreme += (np.abs(2.0 * (flips @ moved) - total) >= least).sum(0)
    return np.asarray((1.0 + extreme) / (1.0 + draws), np.float64)


def holm(p: Sequence[float] | Floats) -> Floats:
    """Adjusted p in the given order: all of them may be read at one level (Holm 1979)."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return adjusted


def _by_user(columns: Floats, users: Int64s) -> Floats:
    """(U, K) sums over each user's events."""
    if len(users) != len(columns):
        raise ValueError(f"{len(users)} users for {len(columns)} events")
    names, row = np.unique(users, return_inverse=True)
    if len(names) == len(users):
        return columns
    return np.stack([np.bincount(row, weights=c, minlength=len(names)) for c in columns.T], axis=1)


def _resampled(columns: Floats, resamples: int, seed: int) -> Floats:
    """(R, K) sums over U users drawn with replacement, R times."""
    users = len(columns)
    rng = np.random.default_rng(seed)
    sums = []
    with _one_thread():
        for height in _heights(resamples, users):
            times = np.empty((height, users))
            for row in times:
                row[:] = np.bincount(rng.integers(users, size=users), minlength=users)
            sums.append(times @ columns)
    return np.concatenate(sums)


def _one_thread() -> AbstractContextManager[object]:
    """The products here are small: on a busy machine a second BLAS thread costs up to a thousand times what it saves,
    and one thread rounds alike on every machine."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return cast(AbstractContextManager[object], threadpool_limits(limits=1, user_api="blas"))


def _heights(rows: int, width: int) -> Iterator[int]:
    """Heights of blocks of `width` columns that together have `rows` rows."""
    height = max(1, _BLOCK // max(1, width))
    for start in range(0, rows, height):
        yield min(height, rows - start)


def _percentiles(samples: Floats, level: float) -> Floats:
    """(2, M) bounds of the middle `level` of each column of (R, M)."""
    tail = (1.0 - level) / 2.0
    return np.quantile(samples, [tail, 1.0 - tail], axis=0)


def _estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=float(value), low=float(low), high=float(high))
