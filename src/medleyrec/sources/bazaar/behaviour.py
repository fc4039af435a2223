"""Users, times, and the log that the laws produce.

Letters:  E events   U users   K kinds of users   T the longest history
Events are sorted by user, then time; times of one user increase strictly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medleyrec.schema import Floats, Int64s, Mask
from medleyrec.sources.bazaar.catalogue import Catalogue, catalogue
from medleyrec.sources.bazaar.grammar import CATEGORIES, SIZE
from medleyrec.sources.bazaar.laws import KINDS, LIKED, MONTHS, Laws, laws, liked
from medleyrec.sources.bazaar.settings import BazaarConfig, Stream, numbers

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
SHORT = (2 * _MINUTE, 3 * _HOUR)
LONG = (2 * _DAY, 40 * _DAY)
THRESHOLD = 12 * _HOUR
"""Gaps below it continue a session, seconds; nothing is drawn between SHORT and LONG."""

_EPOCH, _SPAN = 1_640_995_200, 730 * _DAY  # 2022-01-01 and two years, in seconds
_FEWEST, _MOST = 5, 60  # events per user


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Events of user u are offsets[u]:offsets[u + 1]."""

    items: Int64s  # (E,) rows of the catalogue
    times: Int64s  # (E,) seconds since the epoch
    offsets: Int64s  # (U + 1,)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def users(self) -> Int64s:
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))  # (E,)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A generated shop without its texts and pictures."""

    goods: Catalogue
    laws: Laws
    log: Log


def world(config: BazaarConfig) -> World:
    goods = catalogue(config)
    rules = laws(config, goods)
    log = _live(config, rules, *_clock(config))
    if config.noise:
        shuffled = numbers(config, Stream.TWIN_EVENTS).permutation(len(log))
        log = Log(log.items[shuffled], log.times, log.offsets)
    return World(goods, rules, log)


def month(times: Int64s) -> Int64s:
    """0 is January (UTC)."""
    return np.asarray(times).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % MONTHS


def opens(times: Int64s) -> Mask:
    """Which events of ONE user open a session; the first does. (T,)"""
    return np.concatenate([[True], np.diff(times) >= THRESHOLD])[: len(times)]


def _clock(config: BazaarConfig) -> tuple[Int64s, Int64s, Mask]:
    """Times (E,), offsets (U + 1,) and which events open a session (E,); what is chosen never bends the clock."""
    rng = numbers(config, Stream.CLOCK)
    lengths = np.minimum(_FEWEST - 1 + rng.geometric(1 / (config.events - _FEWEST + 1), config.users), _MOST)
    offsets = np.concatenate([[0], lengths.cumsum()])
    new = rng.random(offsets[-1]) >= config.continuing
    new[offsets[:-1]] = True
    gaps = np.where(new, _log_uniform(rng, LONG, len(new)), _log_uniform(rng, SHORT, len(new)))
    gaps[offsets[:-1]] = 0
    elapsed = gaps.cumsum()
    elapsed -= np.repeat(elapsed[offsets[:-1]], lengths)  # seconds since the user's first event
    room = np.maximum(_SPAN - elapsed[offsets[1:] - 1], _DAY)
    start = _EPOCH + (rng.random(config.users) * room).astype(np.int64)
    return np.repeat(start, lengths) + elapsed, offsets, new


def _log_uniform(rng: np.random.Generator, limits: tuple[int, int], count: int) -> Int64s:
    low, high = np.log(limits)
    return np.exp(rng.uniform(low, high, count)).astype(np.int64)


def _live(config: BazaarConfig, rules: Laws, times: Int64s, offsets: Int64s, new: Mask) -> Log:
    """All users take their t-th event at once, t = 0, 1, ..."""
    users = numbers(config, Stream.USERS)
    kinds = users.integers(KINDS, size=config.users)
    tastes = dict(zip(LIKED, users.integers(SIZE, size=(len(LIKED), config.users)), strict=True))
    chances = numbers(config, Stream.CHOICES).random((2, len(times)))
    months, lengths = month(times), np.diff(offsets)
    items, categories = np.zeros(len(times), dtype=np.int64), np.zeros(len(times), dtype=np.int64)
    for t in range(int(lengths.max())):
        who = np.flatnonzero(lengths > t)
        now = offsets[who] + t
        opening = rules.opening[months[now], kinds[who]]  # (len(now), C)
        categories[now] = np.where(new[now], _draw(opening, chances[0, now]), categories[now - 1])
        for c in range(len(CATEGORIES)):
            here = categories[now] == c
            before, liking = now[here] - 1, {n: v[who[here]] for n, v in tastes.items()}
            law = _law(rules, c, items[before], opened=new[before], new=new[now[here]], tastes=liking)
            items[now[here]] = rules.members[c][_draw(law, chances[1, now[here]])]
    return Log(items, times, offsets)


def _law(rules: Laws, c: int, previous: Int64s, *, opened: Mask, new: Mask, tastes: dict[str, Int64s]) -> Floats:
    """P(item) of each of several events in category c; `opened`: did the event before open a session? (events, n)"""
    place = np.where(new, 0, rules.place[previous])
    law = rules.steps[c][place]
    law[~opened] = rules.later[c][place[~opened]]
    name = liked(CATEGORIES[c])
    value = tastes[name] if name is not None else np.zeros_like(previous)
    law[new] = rules.first[c][value[new]]
    return law


def _draw(probabilities: Floats, chances: Floats) -> Int64s:
    """One column per row: the inverse of the cumulative distribution. (rows, n), (rows,) -> (rows,)"""
    cumulative = probabilities.cumsum(axis=1)
    scaled = chances * cumulative[:, -1]
    return np.asarray((cumulative <= scaled[:, None]).sum(axis=1))
