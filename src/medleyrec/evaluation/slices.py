"""Parts of the events that deserve a number of their own: short histories, rare targets, unseen targets, fallbacks.

Head and tail are those of the field: about a fifth of the users, or of the items, has the most events, and is the head.

Letters:  E events   V items, row 0 being padding
Each function `by_...` takes arrays and gives name -> mask (E,); its masks part the events.
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


def least_of_head(values: Int64s, *, head: float = HEAD) -> int:
    """The smallest value of the head: of all cuts between values the one that leaves about `head` of them above it.

    Equal values stay together; where all are equal they are the head, and without values there is none (1).
    """
    found, times = np.unique(values, return_counts=True)
    if len(found) < 2:
        return int(found[0]) if len(found) else 1
    above = 1.0 - times.cumsum()[:-1] / len(values)  # share of the head if it begins at the next value
    return int(found[1 + np.argmin(np.abs(above - head))])


def by_popularity(targets: Int32s, training_counts: Int64s, *, head: float = HEAD) -> Masks:
    """targets (E,) item rows, training_counts (V,) training events per item row.

    The head is about the `head` share of the trained items with the most events, see `least_of_head`.
    """
    least = least_of_head(_trained(training_counts), head=head)
    counts = training_counts[targets]
    return {
        f"head target ({least} or more training events)": counts >= least,
        f"tail target (under {least})": (counts > 0) & (counts < least),
        "target never in training": counts == 0,
    }


def by_user(lengths: Int64s, users: Int64s, *, head: float = HEAD) -> Masks:
    """lengths (E,) events that each event's user had before the test part, users (E,); a user counts once."""
    own = lengths[np.unique(users, return_index=True)[1]]  # (U,)
    least = least_of_head(own, head=head)
    tail = float((own < least).mean()) if len(own) else 0.0
    return {
        f"head user ({least} or more events before the test part; {_percent(1 - tail)} of users)": lengths >= least,
        f"tail user (under {least}; {_percent(tail)} of users)": lengths < least,
    }


def by_item(targets: Int32s, training_counts: Int64s, *, head: float = HEAD) -> Masks:
    """The same two groups of items as in `by_popularity`; what training never saw is in the tail."""
    trained = _trained(training_counts)
    least = least_of_head(trained, head=head)
    tail = float((trained < least).mean()) if len(trained) else 0.0
    counts = training_counts[targets]
    return {
        f"head item ({least} or more training events; {_percent(1 - tail)} of trained items)": counts >= least,
        f"tail item (under {least}; {_percent(tail)} of trained items)": counts < least,
    }


def by_training(trained: Int64s) -> Masks:
    """trained (E,) training events of each event's user: who came after a time cut is new to every model."""
    return {"user known at the cut": trained > 0, "user new since the cut": trained == 0}


def of_events(
    events: EvalEvents, training_counts: Int64s, trained: Int64s | None = None, before: Int64s | None = None
) -> Masks:
    """All of the above for the events of a split; slices without events are left out.

    before (E,): events that each event's user had before the test part.
    """
    masks = by_history(events.history_ends - events.history_starts)
    if before is not None:
        masks |= by_user(before, events.users)
    masks |= by_popularity(events.targets, training_counts)
    if trained is not None:
        masks |= by_training(trained)
    return _filled(masks)


def head_and_tail(events: EvalEvents, training_counts: Int64s, before: Int64s) -> Masks:
    """Users and items, each parted in two; groups without events are left out."""
    return _filled(by_user(before, events.users) | by_item(events.targets, training_counts))


def _filled(masks: Masks) -> Masks:
    return {name: mask for name, mask in masks.items() if mask.any()}


def _trained(training_counts: Int64s) -> Int64s:
    """Training events of the items that have any."""
    counts = training_counts[PAD + 1 :]
    found: Int64s = counts[counts > 0]
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
