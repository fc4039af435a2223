"""A step in parts: fewer rows at a time, whose gradients add up to the step's.

Letters:  B rows   L positions
A part is a batch like any other, and its losses are divided by the targets of the whole step. Only losses that are sums
over targets add up: a loss that compares the rows of a step with each other would be another one in parts.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from medleyrec.schema import InputError, Int32s, Int64s

COMMON = frozenset({"loss", "ce"})
"""Losses that every model has: sums over targets."""


def parts_of(rows: Int64s, lengths: Int32s | Int64s, budget: int) -> list[Int64s]:
    """Runs of `rows` (windows of the given `lengths`) of at most `budget` positions, padding included.

    A row longer than that is a part by itself; a budget of 0 sets no limit.
    """
    own = lengths[rows]
    if not budget or len(rows) * int(own.max()) <= budget:
        return [rows]
    cuts, first, width = [], 0, 0
    for at, length in enumerate(own.tolist()):
        width = max(width, length)
        if at > first and (at - first + 1) * width > budget:
            cuts.append(at)
            first, width = at, length
    return np.split(rows, cuts)


def check_sums(losses: Collection[str], name: str) -> None:
    """Raises InputError where a model has losses that do not add up over parts."""
    if own := sorted(set(losses) - COMMON):
        raise InputError(
            f"train.step_positions would take a step in parts, but {name} has losses of its own that look at all rows "
            f"of a step ({', '.join(own)}); leave it at 0, or lower train.targets_per_step"
        )
