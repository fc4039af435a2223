"""Parts of the events that deserve a number of their own: short histories, rare targets, unseen targets, fallbacks.

Letters:  E events   V items, row 0 being padding
Each function takes arrays and gives name -> mask (E,). The masks of one function part the events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medleyrec.schema import PAD, EvalEvents, Int32s, Int64s, Mask

EDGES = (1, 3, 5, 10, 20)
HEAD = 0.2

Masks = dict[str, Mask]


def by_history(lengths: Int64s, edges: Sequence[int] = EDGES) -> Masks:
    """lengths (E,) events before the target. An empty history is ranked by the fallback and says so."""
    if list(edges) != sorted(set(edges)) or not edges or edges[0] != 1:
        raise ValueError(f"edges must rise from 1, not {edges}")
    masks = {"empty history (fallback)": lengths == 0}
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        if high is None:
            masks[f"history of {low} or more"] = lengths >= low
        else:
            name = f"history of {low}" if high == low + 1 else f"history of {low} to {high - 1}"
            masks[name] = (lengths >= low) & (lengths < high)
    return masks


def by_popularity(targets: Int32s, training_counts: Int64s, *, head: float = HEAD) -> Masks:
    """targets (E,) item rows, training_counts (V,) training events per item row.

    The head is the `head` share of the trained items with the most events; items as popular as its last belong to it.
    """
    trained = np.sort(training_counts[PAD + 1 :][training_counts[PAD + 1 :] > 0])
    least = int(trained[-max(1, round(head * len(trained)))]) if len(trained) else 1
    counts = training_counts[targets]
    return {
        f"head target ({least} or more training events)": counts >= least,
        f"tail target (under {least})": (counts > 0) & (counts < least),
        "target never in training": counts == 0,
    }


def by_training(trained: Int64s) -> Masks:
    """trained (E,) training events of each event's user: who came after a time cut is new to every model."""
    return {"user known at the cut": trained > 0, "user new since the cut": trained == 0}


def of_events(events: EvalEvents, training_counts: Int64s, trained: Int64s | None = None) -> Masks:
    """All of the above for the events of a split; slices without events are left out."""
    masks = by_history(events.history_ends - events.history_starts) | by_popularity(events.targets, training_counts)
    if trained is not None:
        masks |= by_training(trained)
    return {name: mask for name, mask in masks.items() if mask.any()}
