"""Whether events come in sittings: gaps between consecutive events of a user, users who came for one day alone.

Letters:  E events   U users
"""

from __future__ import annotations

import numpy as np

from medleyrec.dataset.audit.blocks import blocks
from medleyrec.dataset.audit.findings import Finding, level, percent, ratio, span
from medleyrec.dataset.audit.order import DAY, HOUR, MINUTE, resolution
from medleyrec.dataset.dataset import Dataset

LOW_BITS = 16
MOST_BINS = 1 << 17  # times 2 ** 16 seconds: 272 years; a longer gap counts as this long
RATED_IN_MINUTES, RATED_IN_HOURS = 0.5, 0.8
"""The rule for rating sessions: so many gaps are under a minute, so many under an hour. No one uses, reads or watches
most things within a minute of each other, but people do rate, tag or import lists at that pace."""
ONE_DAY_USERS = 0.5  # from here on most test events continue the sitting that the history is from


def session_findings(dataset: Dataset) -> tuple[Finding, ...]:
    if resolution(dataset) % DAY == 0:
        return (_untold(), _one_day(dataset))
    minute, hour = _shares(dataset)
    return (_gaps(minute, hour, median_gap(dataset)), _rating_sessions(minute, hour), _one_day(dataset))


def median_gap(dataset: Dataset) -> int:
    """The (lower) median gap in seconds, exactly, in two passes over the log and 128 thousand counters."""
    counts = np.zeros(MOST_BINS, np.int64)
    for block in blocks(dataset):
        counts += np.bincount(np.minimum(block.gaps >> LOW_BITS, MOST_BINS - 1), minlength=MOST_BINS)
    number = (int(counts.sum()) - 1) // 2  # of the median in rising order, from 0
    if number < 0:
        return 0
    coarse = int(np.searchsorted(counts.cumsum(), number, side="right"))
    number -= int(counts[:coarse].sum())
    fine = np.zeros(1 << LOW_BITS, np.int64)
    for block in blocks(dataset):
        gaps = block.gaps
        fine += np.bincount(gaps[gaps >> LOW_BITS == coarse] & ((1 << LOW_BITS) - 1), minlength=1 << LOW_BITS)
    return (coarse << LOW_BITS) + int(np.searchsorted(fine.cumsum(), number, side="right"))


def _shares(dataset: Dataset) -> tuple[float, float]:
    """Shares of gaps under a minute and under an hour."""
    pairs = minute = hour = 0
    for block in blocks(dataset):
        gaps = block.gaps
        pairs, minute, hour = pairs + len(gaps), minute + int((gaps < MINUTE).sum()), hour + int((gaps < HOUR).sum())
    return ratio(minute, pairs), ratio(hour, pairs)


def _untold() -> Finding:
    return Finding(name="gaps", sentence="Times are too coarse to tell sessions: gaps under a day are not known.")


def _gaps(minute: float, hour: float, median: int) -> Finding:
    return Finding(
        name="gaps",
        sentence=f"Half of the gaps between consecutive events of a user are at most {span(median)}; "
        f"{percent(minute)} are under a minute and {percent(hour)} under an hour.",
        values={"median_seconds": median, "under_a_minute": minute, "under_an_hour": hour},
    )


def _rating_sessions(minute: float, hour: float) -> Finding:
    found = minute >= RATED_IN_MINUTES and hour >= RATED_IN_HOURS
    rule = (
        f"the rule asks for {RATED_IN_MINUTES:.0%} of gaps under a minute and {RATED_IN_HOURS:.0%} under an hour; "
        f"here it is {percent(minute)} and {percent(hour)}"
    )
    told = (
        f"The log looks like rating sessions ({rule}): the times say when items were entered, not when they were used."
        if found
        else f"The log does not look like rating sessions ({rule})."
    )
    return Finding(name="rating_sessions", sentence=told, values={"found": int(found)}, level=level(found))


def _one_day(dataset: Dataset) -> Finding:
    """Leaves users with one event out: they are within a day whatever they do."""
    offsets = np.asarray(dataset.offsets)
    several = np.diff(offsets) >= 2
    first, last = offsets[:-1][several], offsets[1:][several] - 1
    within = ratio((np.asarray(dataset.times[last]) - np.asarray(dataset.times[first]) < DAY).sum(), len(first))
    return Finding(
        name="one_day_users",
        sentence=f"{percent(within)} of users with several events have all of them within one day.",
        values={"users": len(first), "share": within},
        level=level(within >= ONE_DAY_USERS),
    )
