"""Sampled negatives: the few items that a target is ranked among where papers report a sampled protocol.

Letters:  E events   b events asked for   n negatives   C candidates   V items, row 0 being padding

Each event gets n different candidates, uniformly from those that its user never had, neither in training nor in
validation nor in the test part. They are drawn when they are asked for, from the seed and the event's number alone: the
same for every model, in batches of any size and order, and no (E, n) table lies in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from medleyrec.schema import PAD, EvalEvents, InputError, Int32s, Int64s

NEGATIVES = 100
"""What the field is used to."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Negatives:
    """``negatives[rows]`` are item rows (b, n) to rank the targets of these events among, PAD where fewer are left."""

    count: int
    """n."""
    seed: int
    candidates: Int32s  # (C,) rising item rows
    log: Int32s  # flat items of all users
    starts: Int64s  # (E,) where the whole history of the event's user starts in the log
    ends: Int64s  # (E,) and where it ends: after the last test event
    targets: Int32s  # (E,)
    numbers: Int64s  # (E,) the event's number among all events

    @classmethod
    def of(
        cls, events: EvalEvents, log: Int32s, offsets: Int64s, candidates: Int64s, *, count: int = NEGATIVES, seed: int
    ) -> Negatives:
        """log (flat items) and offsets (U + 1,) of the dataset; candidates (C,) item rows."""
        if count < 1:
            raise InputError(f"{count} negatives were asked for; ask for at least 1")
        return cls(
            count=count,
            seed=seed,
            candidates=np.unique(candidates).astype(np.int32),
            log=log,
            starts=np.asarray(offsets[events.users], np.int64),
            ends=np.asarray(offsets[events.users + 1], np.int64),
            targets=events.targets,
            numbers=np.arange(len(events)),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        return f"Negatives({self.count} of {len(self.candidates)} candidates for each of {len(self)} events)"

    def take(self, rows: Int64s) -> Negatives:
        """Those of some events, the same as before."""
        columns = {name: getattr(self, name)[rows] for name in ("starts", "ends", "targets", "numbers")}
        return replace(self, **columns)

    def __getitem__(self, rows: Int64s) -> Int32s:
        drawn = np.full((len(rows), self.count), PAD, np.int32)
        for place, row in enumerate(rows.tolist()):
            found = self._draw(row)
            drawn[place, : len(found)] = found
        return drawn

    def left(self) -> Int64s:
        """(E,) candidates that each event's user never had: no more can be drawn."""
        return np.array([len(self.candidates) - len(self._own(row)) for row in range(len(self))], np.int64)

    def _draw(self, row: int) -> Int32s:
        """Numbers among the candidates that are left become columns by stepping over the user's own, in order."""
        own = self._own(row)
        left = len(self.candidates) - len(own)
        rng = np.random.default_rng([self.seed, int(self.numbers[row])])
        numbers = rng.choice(left, min(self.count, left), replace=False, shuffle=False)
        steps = np.searchsorted(own - np.arange(len(own)), numbers, side="right")
        drawn: Int32s = self.candidates[numbers + steps]
        return drawn

    def _own(self, row: int) -> Int64s:
        """Columns, rising, of the candidates that the user had, the target among them."""
        items = np.unique(np.append(self.log[self.starts[row] : self.ends[row]], self.targets[row]))
        columns = np.minimum(np.searchsorted(self.candidates, items), len(self.candidates) - 1)
        own: Int64s = columns[self.candidates[columns] == items]
        return own
