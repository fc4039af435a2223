"""From 128-bit content hashes to row numbers, for millions of rows in 24 bytes each.

Letters:  n keys asked for   N keys known

Keys live in sorted runs. A new run swallows its predecessors until each run is at least twice as long as the next, so
that adding costs little at any size and there are only log N runs to search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medleyrec.schema import Int64s

KEY_BYTES = 16
Keys = NDArray[np.uint8]  # (n, 16)
Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Sorted by the first half of the key; equal first halves, rare but possible, are told apart by the second."""

    first: Words  # (N,)
    second: Words  # (N,)
    rows: Int64s  # (N,)

    @classmethod
    def of(cls, first: Words, second: Words, rows: Int64s) -> _Run:
        order = np.argsort(first, kind="stable")  # quick where most is sorted already
        return cls(first[order], second[order], rows[order])

    def __len__(self) -> int:
        return len(self.rows)

    def merged(self, other: _Run) -> _Run:
        return _Run.of(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in self.__slots__))

    def find(self, first: Words, second: Words) -> Int64s:
        """(n,) the row of each key, -1 where it is not in this run."""
        found = np.full(len(first), -1, np.int64)
        place = np.searchsorted(self.first, first)
        left = np.arange(len(first))
        while len(left):
            left = left[place[left] < len(self)]
            left = left[self.first[place[left]] == first[left]]
            same = self.second[place[left]] == second[left]
            found[left[same]] = self.rows[place[left[same]]]
            left = left[~same]
            place[left] += 1
        return found


class KeyIndex:
    """Row numbers count up in the order in which keys are added."""

    def __init__(self, keys: Keys) -> None:
        self._runs: list[_Run] = []
        self._count = 0
        self.add(keys)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"KeyIndex({len(self)} keys)"

    def add(self, keys: Keys) -> None:
        """The caller has made sure that the keys are new."""
        run = _Run.of(*_halves(keys), np.arange(self._count, self._count + len(keys)))
        self._count += len(keys)
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = self._runs.pop().merged(run)
        self._runs.append(run)

    def rows(self, keys: Keys) -> Int64s:
        """(n,) the row of each key, -1 where it is unknown."""
        first, second = _halves(keys)
        found = np.full(len(keys), -1, np.int64)
        for run in self._runs:
            found = np.maximum(found, run.find(first, second))
        return found


def _halves(keys: Keys) -> tuple[Words, Words]:
    words = np.ascontiguousarray(keys, dtype=np.uint8).view("<u8").reshape(-1, 2)
    return words[:, 0], words[:, 1]
