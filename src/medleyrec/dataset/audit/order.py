"""How well the log's times order it: ties, days, resolution.

Letters:  E events   U users
"""

from __future__ import annotations

import numpy as np

from medleyrec.dataset.audit.blocks import blocks
from medleyrec.dataset.audit.findings import Finding, level, percent, ratio
from medleyrec.dataset.dataset import Dataset

DAY, HOUR, MINUTE = 86_400, 3_600, 60  # seconds
MANY_TIES = 0.05
"""Share of tied last events from which the choice of the test event is no longer a side matter: it then moves hit rates
by as much as the interval of a few thousand users."""


def order_findings(dataset: Dataset) -> tuple[Finding, ...]:
    return (_resolution(dataset), _ties(dataset), _last_two(dataset))


def resolution(dataset: Dataset) -> int:
    """The largest step of which all times are whole multiples, counted from the first; 0 where all are equal."""
    if not len(dataset.times):
        return 0
    origin, step = int(dataset.times[0]), 0
    for block in blocks(dataset):
        apart = block.times - origin
        if step == 0 or (apart % step).any():
            step = int(np.gcd.reduce(apart, initial=step))
        if step == 1:
            break
    return step


def _resolution(dataset: Dataset) -> Finding:
    step = resolution(dataset)
    whole_days = step % DAY == 0  # 0 too: all times equal
    if step == 0:
        told = "All events have the same time: their order is that of the input."
    elif whole_days:
        told = "Times are whole days: the order of events within a day is that of the input, not of the user."
    else:
        unit = "hours" if step % HOUR == 0 else "minutes" if step % MINUTE == 0 else "seconds"
        told = f"Times are known to whole {unit}."
    values = {"step_seconds": step, "whole_days": int(whole_days)}
    return Finding(name="time_resolution", sentence=told, values=values, level=level(whole_days))


def _ties(dataset: Dataset) -> Finding:
    pairs = tied = same_day = 0
    for block in blocks(dataset):
        same = block.consecutive
        pairs += int(same.sum())
        tied += int((np.diff(block.times)[same] == 0).sum())
        same_day += int((np.diff(block.times // DAY)[same] == 0).sum())
    values = {"consecutive_pairs": pairs, "tied": ratio(tied, pairs), "same_day": ratio(same_day, pairs)}
    return Finding(
        name="ties",
        sentence=f"{percent(values['tied'])} of consecutive events of a user have equal times and "
        f"{percent(values['same_day'])} fall on the same calendar day (UTC); among equal times the order is that of "
        "the input.",
        values=values,
        level=level(values["tied"] >= MANY_TIES),
    )


def _last_two(dataset: Dataset) -> Finding:
    offsets = np.asarray(dataset.offsets)
    last = offsets[1:][np.diff(offsets) >= 2] - 1
    late, early = np.asarray(dataset.times[last]), np.asarray(dataset.times[last - 1])
    tied, same_day = ratio((late == early).sum(), len(last)), ratio((late // DAY == early // DAY).sum(), len(last))
    consequence = (
        "which of them is the last event, and so the test event of a leave-one-out split, is decided by the order of "
        "the input."
        if tied
        else "the last event of every user is well defined."
    )
    return Finding(
        name="last_two",
        sentence=f"For {percent(tied)} of users the last two events have equal times ({percent(same_day)}: the same "
        f"calendar day); {consequence}",
        values={"users": len(last), "tied": tied, "same_day": same_day},
        level=level(tied >= MANY_TIES),
    )
