"""The true probability of every next item, given what anyone could know: the history and the time.

A user's kind and preferences are hidden; the oracle weighs them by Bayes' rule over the sessions that a history opens.
Letters:  N items   C categories   K kinds of users   m values per attribute   E events
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medleyrec.schema import Floats, InputError, Int64s, Mask
from medleyrec.sources.bazaar.behaviour import THRESHOLD, World, month, opens, world
from medleyrec.sources.bazaar.grammar import CATEGORIES, SIZE
from medleyrec.sources.bazaar.laws import KINDS, LIKED, liked
from medleyrec.sources.bazaar.settings import BazaarConfig


class Oracle:
    """Knows the laws, but of a user only the history. In the noise twin all it can know is how often items occur."""

    def __init__(self, config: BazaarConfig, made: World | None = None) -> None:
        self.config, self.world = config, made or world(config)
        self.items = self.world.goods.ids
        self._rows = {item: row for row, item in enumerate(self.items)}
        counts = np.bincount(self.world.log.items, minlength=len(self.items))
        self.in_log: Mask = counts > 0  # (N,)
        self.frequency: Floats = counts / counts.sum()  # (N,)

    def __repr__(self) -> str:
        return f"Oracle({len(self.items)} items, {len(self.world.log)} events, noise={self.config.noise})"

    def probabilities(self, history: Sequence[str], times: Sequence[int], next_time: int) -> Floats:
        """(N,) in the order of `items`, summing to 1. Times are seconds, oldest first; the history may be empty."""
        if len(history) != len(times):
            raise InputError(f"a history of {len(history)} items has {len(times)} times; give one time per item")
        unknown = [item for item in history if item not in self._rows]
        if unknown:
            raise InputError(f"item {unknown[0]!r} is not in the bazaar; ids look like {self.items[0]!r}")
        clock = np.array([*times, next_time], dtype=np.int64)
        if (np.diff(clock) < 0).any():
            raise InputError(f"times {clock.tolist()} are not in order; sort the history by time, oldest first")
        return self.next_after(np.array([self._rows[item] for item in history], dtype=np.int64), clock)

    def next_after(self, rows: Int64s, clock: Int64s) -> Floats:
        """The same for item rows (L,) and times (L + 1,), the last being the time of the event asked for. (N,)"""
        if self.config.noise:
            return self.frequency
        new = opens(clock)
        return self._opened(rows, clock) if new[-1] else self._continued(int(rows[-1]), opened=bool(new[-2]))

    def _continued(self, previous: int, *, opened: bool) -> Floats:
        """opened: did the event before open a session?"""
        laws, c = self.world.laws, int(self.world.goods.category[previous])
        answer = np.zeros(len(self.items))
        answer[laws.members[c]] = (laws.steps if opened else laws.later)[c][laws.place[previous]]
        return answer

    def _opened(self, rows: Int64s, clock: Int64s) -> Floats:
        laws = self.world.laws
        kinds, tastes = self.beliefs(rows, clock[:-1])
        shares = kinds @ laws.opening[month(clock[-1:])[0]]  # (C,)
        answer = np.zeros(len(self.items))
        for c, category in enumerate(CATEGORIES):
            name = liked(category)
            within = tastes[name] @ laws.first[c] if name is not None else laws.first[c][0]  # (n,)
            answer[laws.members[c]] = shares[c] * within
        return answer

    def beliefs(self, rows: Int64s, times: Int64s) -> tuple[Floats, dict[str, Floats]]:
        """P(kind | history) (K,) and, per attribute, P(liked value | history) (m,)."""
        laws, new = self.world.laws, opens(times)
        kind, taste = np.zeros(KINDS), {name: np.zeros(SIZE) for name in LIKED}  # log-likelihoods
        for row, m in zip(rows[new].tolist(), month(times[new]).tolist(), strict=True):
            c = int(self.world.goods.category[row])
            kind += np.log(laws.opening[m, :, c] + 1e-300)  # a taste may be zero to the last bit
            name = liked(CATEGORIES[c])
            if name is not None:
                taste[name] += np.log(laws.first[c][:, laws.place[row]])
        return _normal(kind), {name: _normal(likelihood) for name, likelihood in taste.items()}

    def ranks(self, back: int) -> tuple[Floats, dict[str, Any]]:
        """Rank of the true item among all items of the log, for every user's `back`-th event from the end.

        A tie counts half of its span. Also which events continue a session, and each target's category. All (U,).
        """
        log = self.world.log
        ends = log.offsets[1:] - back
        ranks = np.zeros(len(ends))
        for user, (start, end) in enumerate(zip(log.offsets[:-1].tolist(), ends.tolist(), strict=True)):
            chances = self.next_after(log.items[start:end], log.times[start : end + 1])
            ranks[user] = rank(chances[self.in_log], chances[log.items[end]])
        continuing = log.times[ends] - log.times[ends - 1] < THRESHOLD
        return ranks, {"continuing": continuing, "category": self.world.goods.category[log.items[ends]]}


def rank(scores: Floats, target: float) -> float:
    """1 + candidates strictly better + half of the other candidates tied; `scores` include the target's own."""
    better, tied = int((scores > target).sum()), int((scores == target).sum()) - 1
    return 1 + better + tied / 2


def _normal(likelihood: Floats) -> Floats:
    weights = np.exp(likelihood - likelihood.max())
    return np.asarray(weights / weights.sum())
