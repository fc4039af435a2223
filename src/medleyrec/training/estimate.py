"""What steps cost, from a few that were tried: pure functions of their shapes and of what was measured.

Letters:  B rows   L positions   T targets
    seconds  a parts + b T + c B L + d B L^2                  no term below 0
    peak     fixed + e (B L of the largest part) + 4 bytes x classes x min(chunk, T of that part)
The logits of a chunk are known to the byte; all other memory that grows with a step grows with its positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medleyrec.dataset.batches import Windows
from medleyrec.schema import Floats, Int64s
from medleyrec.training.parts import parts_of

MOST_PARTS = 16
"""A step is not cut finer: each part computes the item table and its gradient anew."""
LEAST_CHUNK = 16
"""Targets of a chunk of the softmax below which memory is saved no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Of a step: sums over its parts, padding included, and the part with the most positions."""

    parts: int
    targets: int
    positions: int
    squares: int  # positions times the width of their row
    largest: int  # positions of the largest part
    taught: int  # targets of the part that has most

    @classmethod
    def of(cls, rows: Int64s, windows: Windows, budget: int) -> Shape:
        parts = parts_of(rows, windows.lengths, budget)
        widths = [int(windows.lengths[part].max()) for part in parts]
        positions = [len(part) * width for part, width in zip(parts, widths, strict=True)]
        targets = [int(windows.fresh[part].sum()) for part in parts]
        return cls(
            parts=len(parts),
            targets=sum(targets),
            positions=sum(positions),
            squares=sum(p * w for p, w in zip(positions, widths, strict=True)),
            largest=max(positions),
            taught=max(targets),
        )


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of a step, by its shape."""

    weights: tuple[float, ...]

    def __call__(self, shape: Shape) -> float:
        return float(np.dot(self.weights, _terms(shape)))

    @classmethod
    def fit(cls, tried: Sequence[tuple[Shape, float]]) -> Seconds:
        """From (shape, seconds): least squares of the relative error."""
        matrix = np.array([_terms(shape) for shape, _ in tried], np.float64)
        seconds = np.array([s for _, s in tried])
        return cls(tuple(_non_negative(matrix / seconds[:, None], np.ones(len(tried))).tolist()))


def _terms(shape: Shape) -> tuple[int, ...]:
    return shape.parts, shape.targets, shape.positions, shape.squares


def _non_negative(matrix: Floats, wanted: Floats) -> Floats:
    """Least squares with no weight below 0, over few columns: the best of all choices of columns."""
    scale = np.where(matrix.any(0), np.abs(matrix).max(0), 1.0)
    best, found = np.inf, np.zeros(matrix.shape[1])
    for size in range(1, matrix.shape[1] + 1):
        for columns in map(list, combinations(range(matrix.shape[1]), size)):
            weights = np.linalg.lstsq(matrix[:, columns] / scale[columns], wanted, rcond=None)[0]
            error = float(np.square(matrix[:, columns] / scale[columns] @ weights - wanted).sum())
            if (weights >= 0).all() and error < best * (1 - 1e-9):
                best, found = error, np.zeros(matrix.shape[1])
                found[columns] = weights / scale[columns]
    return found


@dataclass(frozen=True, slots=True)
class Peak:
    """Memory at the highest point of a step, by its shape and the softmax chunk, in bytes."""

    fixed: float
    per_position: float
    logits: int  # bytes for one target

    def __call__(self, shape: Shape, chunk: int) -> int:
        return round(self.fixed + self.per_position * shape.largest + self.logits * min(chunk, shape.taught))

    @classmethod
    def fit(cls, tried: Sequence[tuple[Shape, int]], *, chunk: int, logits: int) -> Peak:
        """From the peaks of two steps, the smaller first."""
        (small, low), (large, high) = (
            (shape.largest, peak - logits * min(chunk, shape.taught)) for shape, peak in tried
        )
        slope = max(0.0, (high - low) / (large - small)) if large > small else 0.0
        return cls(max(low, high) - slope * large, slope, logits)


def choices(
    step: Int64s, windows: Windows, *, budget: int, chunk: int, splits: bool, chunks: bool
) -> Iterator[tuple[int, int]]:
    """(positions at a time, softmax chunk), in the order in which they are tried: cheap savings first.

    A step is taken whole, or by the `budget` that is set, then in more and more parts, where it `splits`; then all
    that again with half the chunk, where the softmax comes in `chunks`.
    """
    positions = Shape.of(step, windows, budget).largest
    least = max(int(windows.lengths[step].max()), -(-positions // MOST_PARTS))
    halves = [positions // 2**n for n in range(1, MOST_PARTS.bit_length())] if splits else []
    while chunk >= 1:
        yield budget, chunk
        yield from ((half, chunk) for half in halves if half >= least)
        chunk = chunk // 2 if chunks and chunk // 2 >= LEAST_CHUNK else 0
