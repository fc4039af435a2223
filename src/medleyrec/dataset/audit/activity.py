"""How much there is of whom: length of the log, events per user, repeats, concentration on few items.

Letters:  E events   U users   V items, row 0 being padding
"""

from __future__ import annotations

import math

import numpy as np

from medleyrec.dataset.audit.blocks import Block, blocks, distinct
from medleyrec.dataset.audit.findings import Finding, date, level, percent, ratio
from medleyrec.dataset.dataset import Dataset
from medleyrec.schema import Int64s

DAY = 86_400  # seconds
QUANTILES = (0.1, 0.5, 0.9, 0.99)
FEW_ITEMS = 0.01  # the share of items whose share of events is told
REPEATS = 0.05
"""From here on leaving seen items out of recommendations takes true next items away; under it, keeping them costs
places in the list."""


def activity_findings(dataset: Dataset) -> tuple[Finding, ...]:
    return (_span(dataset), _users(dataset), _repeats(dataset), _concentration(dataset))


def _span(dataset: Dataset) -> Finding:
    edges = [(int(b.times.min()), int(b.times.max())) for b in blocks(dataset) if len(b)]
    first, last = min(e[0] for e in edges), max(e[1] for e in edges)
    days = (last - first) / DAY
    return Finding(
        name="span",
        sentence=f"The log spans {days:,.0f} days, from {date(first)} to {date(last)}.",
        values={"days": days, "first_time": first, "last_time": last},
    )


def _users(dataset: Dataset) -> Finding:
    counts = np.diff(dataset.offsets)
    low, middle, high, top = (int(q) for q in np.quantile(counts, QUANTILES, method="lower"))
    most, mean = int(counts.max()), float(counts.mean())
    return Finding(
        name="events_per_user",
        sentence=f"The middle user has {middle:,} events, one in ten has at most {low:,}, one in ten at least "
        f"{high:,}, one in a hundred at least {top:,}; the most is {most:,}, the mean {mean:,.1f}.",
        values={"mean": mean, "p10": low, "median": middle, "p90": high, "p99": top, "max": most},
    )


def _repeats(dataset: Dataset) -> Finding:
    repeated = consecutive = pairs = 0
    for block in blocks(dataset):
        same = block.consecutive
        repeated += _repeated(block, dataset.num_items)
        consecutive += int((np.diff(block.items)[same] == 0).sum())
        pairs += int(same.sum())
    share, again = ratio(repeated, len(dataset.items)), ratio(consecutive, pairs)
    told = (
        f"{percent(share)} of events repeat an item that the user had before; {percent(again)} of consecutive events "
        "are of the same item"
    )
    usual = share < REPEATS
    return Finding(
        name="repeats",
        sentence=told + ("." if usual else ": a model that repeats the history scores by that alone."),
        values={"repeat_rate": share, "consecutive_repeats": again},
        level=level(not usual),
    )


def _repeated(block: Block, num_items: int) -> int:
    """Events of the block whose user had the item before."""
    return len(block) - distinct(block.users * num_items + block.items)


def item_counts(dataset: Dataset) -> Int64s:
    """(V,) events of each item in the whole log."""
    counts = np.zeros(dataset.num_items, np.int64)
    for block in blocks(dataset):
        counts += np.bincount(block.items, minlength=dataset.num_items)
    return counts


def _concentration(dataset: Dataset) -> Finding:
    counts = np.sort(item_counts(dataset)[1 : dataset.num_log_items])
    few = max(1, math.ceil(FEW_ITEMS * len(counts)))
    share, gini = ratio(counts[-few:].sum(), counts.sum()), _gini(counts)
    return Finding(
        name="concentration",
        sentence=f"The {few:,} most taken items ({percent(few / max(len(counts), 1))} of all) have {percent(share)} of "
        f"the events; the Gini coefficient of item popularity is {gini:.2f} (0: all alike, 1: one item has all).",
        values={"top_items": few, "top_share": share, "gini": gini},
    )


def _gini(rising: Int64s) -> float:
    """Of counts in rising order: mean absolute difference over twice the mean (Gini 1912)."""
    n, total = len(rising), int(rising.sum())
    if not total:
        return 0.0
    return float(2 * (np.arange(1, n + 1) @ rising.astype(np.float64)) / (n * total) - (n + 1) / n)
