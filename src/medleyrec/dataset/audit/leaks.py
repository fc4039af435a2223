"""What a split lets a model know that it could not know, and what it asks that it could not answer.

Letters:  E events   U users   V items, row 0 being padding
"""

from __future__ import annotations

import numpy as np

from medleyrec.dataset.audit.blocks import Block, blocks, distinct, spans
from medleyrec.dataset.audit.findings import Finding, level, percent, ratio
from medleyrec.dataset.split import Split
from medleyrec.schema import TEST, Mask

MANY_UNSEEN = 0.05  # of test targets: no model of item ids can rank them, so this much of the metric is out of reach
MANY_LATER = 0.05
"""Of test events with later training events. What others did afterwards tells trends and new items: a result of such a
split is not what a shop would see."""


def leak_findings(split: Split) -> tuple[Finding, ...]:
    return (_unseen(split), _without_history(split), _later(split))


def _unseen(split: Split) -> Finding:
    targets = split.eval_events(TEST).targets
    unseen = np.asarray(split.train_counts)[targets] == 0
    share, items = ratio(unseen.sum(), len(targets)), distinct(targets[unseen])
    lot = f": {items:,} different items" if items else ""
    return Finding(
        name="unseen_targets",
        sentence=f"{int(unseen.sum()):,} of {len(targets):,} test events ({percent(share)}) take an item that training "
        f"never saw{lot}.",
        values={"events": int(unseen.sum()), "share": share, "items": items},
        level=level(share >= MANY_UNSEEN),
    )


def _without_history(split: Split) -> Finding:
    events = split.eval_events(TEST)
    empty = events.history_ends == events.history_starts
    users, all_users = distinct(events.users[empty]), distinct(events.users)
    return Finding(
        name="without_history",
        sentence=f"{users:,} of {all_users:,} test users ({percent(ratio(users, all_users))}) have a test event "
        f"with no history before it ({int(empty.sum()):,} test events).",
        values={"users": users, "share": ratio(users, all_users), "events": int(empty.sum())},
        level=level(ratio(empty.sum(), len(events)) >= MANY_UNSEEN),
    )


def _later(split: Split) -> Finding:
    """A user's own training events come before its test events, so what is later is another user's."""
    index, _ = spans(split.validation_end, split.dataset.offsets[1:])
    test = np.asarray(split.dataset.times[index])
    if not len(test):
        return Finding(name="training_after_test", sentence=f"The split {split.name} has no test event.")
    middle = int(np.quantile(test, 0.5, method="lower"))
    total, after, last = 0, 0, None
    for block in blocks(split.dataset):
        taught = block.times[_taught(block, split)]
        total, after = total + len(taught), after + int((taught > middle).sum())
        if len(taught):
            last = max(int(taught.max()), last) if last is not None else int(taught.max())
    share = ratio((test < last).sum(), len(test)) if last is not None else 0.0
    values = {"test_events_with_later_training": share, "training_after_median_test": ratio(after, total)}
    return Finding(
        name="training_after_test",
        sentence=_told(split.name, share, values["training_after_median_test"]),
        values=values,
        level=level(share >= MANY_LATER),
    )


def _taught(block: Block, split: Split) -> Mask:
    """(n,) events of the block that are in the training part."""
    lengths = np.diff(block.offsets)
    ends = np.asarray(split.train_end[block.first : block.first + len(lengths)]) - block.start
    mask: Mask = np.arange(len(block)) < np.repeat(ends, lengths)
    return mask


def _told(name: str, share: float, after: float) -> str:
    if not share:
        return f"No test event of the split {name} is older than a training event: nothing is learnt from the future."
    return (
        f"For {percent(share)} of test events of the split {name} the training part holds later events of other users, "
        f"and {percent(after)} of training events are later than the middle test event: models learn from what "
        "happened after the moment they are judged at, which a global time split rules out."
    )
