"""The k-core: users and items below their thresholds fall until none does, judged by all events or by the past alone.

Letters:  E events   U users   V items
With a moment, only events before it count. Who and what occurs before it and is not in the core of the past falls
with all of its events, later ones too; who or what first occurs at the moment or later stays. So what is left of the
past does not depend on what came after.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from medleyrec.dataset.moments import seconds_of
from medleyrec.dataset.order import Block, OrderedLog
from medleyrec.dataset.sql import Step
from medleyrec.schema import InputError, Int64s, Mask

_BINS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """What is left of the log: an event stays where both its user and its item do."""

    users: Mask  # (U,)
    items: Mask  # (V,)

    def events(self, block: Block) -> Mask:
        return np.asarray(self.items[block.items] & block.spread(self.users))


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Events of each user and of each item."""

    users: Int64s  # (U,)
    items: Int64s  # (V,)

    def told(self) -> dict[str, int]:
        users, items = (int((n > 0).sum()) for n in (self.users, self.items))
        return {"events": int(self.users.sum()), "users": users, "items": items}


def k_core(
    log: OrderedLog, *, min_user_events: int, min_item_events: int, until: int | None, step: Step
) -> tuple[Left, list[dict[str, int]]]:
    """Returns what is left, and the counts of all events before the first round and after each."""
    left = Left(np.ones(len(log.sizes), bool), np.ones(log.num_items, bool))
    counts, past = _count(log, left, until, step, 0)
    known = Left(past.users > 0, past.items > 0)  # to the past
    rounds = [counts.told()]
    while rounds[-1]["events"]:
        users = left.users & ~(known.users & (past.users < min_user_events))
        items = left.items & ~(known.items & (past.items < min_item_events))
        left = Left(users, items)
        counts, past = _count(log, left, until, step, len(rounds))
        if counts.told() == rounds[-1]:
            break
        rounds.append(counts.told())
    return Left(counts.users > 0, counts.items > 0), rounds


def _count(log: OrderedLog, left: Left, until: int | None, step: Step, number: int) -> tuple[Counts, Counts]:
    """Of all events that are left, and of those before the moment."""
    every = Counts(np.zeros(len(log.sizes), np.int64), np.zeros(log.num_items, np.int64))
    past = every if until is None else Counts(np.zeros_like(every.users), np.zeros_like(every.items))
    done, total = 0, max(len(log), 1)
    for block in log.blocks():
        kept = left.events(block)
        _add(every, block, kept)
        if until is not None:
            _add(past, block, kept & (block.times < until))
        done += len(block.items)
        step(f"filtering, round {number}" if number else "counting", done, total)
    return every, past


def _add(counts: Counts, block: Block, kept: Mask) -> None:
    counts.users[block.first : block.last] += block.per_user(kept)
    counts.items[:] += np.bincount(block.items[kept], minlength=len(counts.items))


def share_of(text: str) -> Fraction | None:
    """ "80%" -> 4/5; None for what does not end in a percent sign. Raises InputError for a share outside (0, 100)."""
    if not text.strip().endswith("%"):
        return None
    try:
        share = Fraction(text.strip()[:-1].strip()) / 100
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share < 1:
        raise InputError(
            f"{text!r} is no share between 0% and 100%; write it as 80%, or give a date such as 2014-01-01"
        )
    return share


def resolve(log: OrderedLog, until: str) -> int:
    """Seconds: the moment that `until` names, or the time of the event with number floor(share * E) in time order."""
    share = share_of(until)
    if share is None:
        return seconds_of(until)
    number = int(share * len(log))
    low = min((int(times.min()) for times in log.times()), default=0)
    high = max((int(times.max()) for times in log.times()), default=0)
    while low < high:  # the event sought is among those of the seconds low, .. high
        width = -(-(high + 1 - low) // _BINS)
        bins = np.zeros(_BINS, np.int64)
        for times in log.times():
            inside = times[(times >= low) & (times <= high)]
            bins += np.bincount((inside - low) // width, minlength=_BINS)
        chosen = int(np.searchsorted(bins.cumsum(), number, side="right"))
        number -= int(bins[:chosen].sum())
        low, high = low + chosen * width, min(low + (chosen + 1) * width - 1, high)
    return low
