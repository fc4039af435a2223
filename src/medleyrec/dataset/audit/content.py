"""Which items come without a title, a description, categories or a picture, and how many events they have.

Letters:  V items, row 0 being padding
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medleyrec.dataset.audit.activity import item_counts
from medleyrec.dataset.audit.findings import Finding, level, percent, ratio
from medleyrec.dataset.dataset import Dataset
from medleyrec.schema import DESCRIPTION, IMAGE, TITLE, Int64s, Mask

MANY_MISSING = 0.2
"""From here on a model of content works without it on a part of the items that a mean hides."""
SLICE = 65_536  # items looked at together


def content_findings(dataset: Dataset) -> tuple[Finding, ...]:
    counts = item_counts(dataset)[1:]
    having = {
        "title": _filled(dataset, TITLE),
        "description": _filled(dataset, DESCRIPTION),
        "category": _labelled(dataset),
    }
    return (*(_missing(name, mask, counts) for name, mask in having.items()), _pictures(dataset))


def _filled(dataset: Dataset, column: str) -> Mask:
    """(V - 1,) whether the text is there."""
    import pyarrow.compute as pc

    parts: Iterator[Mask] = (
        np.asarray(pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(chunk)), 0), False), dtype=np.bool_)
        for start in range(0, dataset.num_items - 1, SLICE)
        for chunk in dataset.catalogue.column(column).slice(start, SLICE).chunks
    )
    return np.concatenate([np.zeros(0, np.bool_), *parts])


def _labelled(dataset: Dataset) -> Mask:
    offsets, _ = dataset.categories
    mask: Mask = np.diff(offsets)[1:] > 0
    return mask


def _missing(name: str, there: Mask, counts: Int64s) -> Finding:
    share, events = ratio((~there).sum(), len(there)), ratio(counts[~there].sum(), counts.sum())
    told = (
        f"{percent(share)} of items, with {percent(events)} of events, have no {name}."
        if share
        else f"Every item has a {name}."
    )
    nothing = share == 1
    return Finding(
        name=f"without_{name}",
        sentence=f"No item has a {name}." if nothing else told,
        values={"items": int((~there).sum()), "share": share, "event_share": events},
        level=level(events >= MANY_MISSING and not nothing),  # what no item has misleads no one
    )


def _pictures(dataset: Dataset) -> Finding:
    share = 1 - float(dataset.manifest["coverage"][IMAGE])
    told = "No item has a picture." if share == 1 else f"{percent(share)} of items have no picture."
    return Finding(
        name="without_picture",
        sentence=told if share else "Every item has a picture.",
        values={"items": round(share * (dataset.num_items - 1)), "share": share},
        level=level(MANY_MISSING <= share < 1),
    )
