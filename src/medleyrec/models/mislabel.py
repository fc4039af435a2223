"""Labels spoilt on purpose: how much does a model owe to them? (CAMMSR, robustness to missing and wrong categories)

What happens to an item is drawn from its row and a fixed seed: every run spoils the same items, and those of a small
share are among those of a larger one.
"""

from __future__ import annotations

import numpy as np

from medleyrec.models.categories import Categories
from medleyrec.schema import Floats, InputError, Int32s, Int64s

SEED = 0


def spoilt(categories: Categories, *, missing: float, wrong: float) -> Categories:
    """Labels removed from about the share `missing` of the items; about the share `wrong` gets another item's.

    Those that lose theirs are not made wrong too. A wrong set of labels is never the true one.
    """
    labels = np.split(categories.labels, categories.offsets[1:-1])
    chance = np.random.default_rng(SEED).random((len(categories), 3))
    if wrong:
        labels = _exchanged(labels, np.flatnonzero(chance[:, 1] < wrong), chance[:, 2])
    kept = [some[:0] if lost else some for some, lost in zip(labels, chance[:, 0] < missing, strict=True)]
    offsets = np.cumsum([0, *map(len, kept)])
    return Categories(offsets=offsets, labels=np.concatenate(kept), count=categories.count)


def _exchanged(labels: list[Int32s], rows: Int64s, chance: Floats) -> list[Int32s]:
    """The labels of `rows` replaced by those of items drawn by `chance` (V,); items without labels keep none."""
    known = [row for row, some in enumerate(labels) if len(some)]
    sets = [frozenset(some.tolist()) for some in labels]
    if len({sets[row] for row in known}) < 2:
        raise InputError(
            "labels_wrong needs items of different categories, and all labelled items have the same; set it to 0"
        )
    changed = list(labels)
    for row in rows:
        if sets[row]:
            at = int(chance[row] * len(known))
            donor = next(d for d in (*known[at:], *known[:at]) if sets[d] != sets[row])
            changed[row] = labels[donor]
    return changed
