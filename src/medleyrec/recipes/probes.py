"""What simple models find in a log: how much its order matters, and how far counting transitions beats popularity.

Letters:  n events of the probe's log   U users   V items, row 0 being padding

The models are untrained; they learn from the training part and are asked for each user's first validation event, the
history being the training events of that user. The test part is not looked at. For the order probe the training events
of every user are shuffled, and they are the histories too, so that nothing of the order is left; what is lost is what
the order carried. Where many events are tied, only those are shuffled among themselves: what is lost then was carried
by an order that no time vouches for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from medleyrec.dataset.audit.blocks import spans
from medleyrec.dataset.audit.findings import Finding, level, percent, ratio
from medleyrec.dataset.audit.order import MANY_TIES
from medleyrec.dataset.batches import history_batches
from medleyrec.dataset.split import Split
from medleyrec.evaluation.metrics import Values, event_values, mean_over_seeds
from medleyrec.evaluation.ranking import rank_events
from medleyrec.evaluation.statistics import Estimate, intervals
from medleyrec.models import baseline
from medleyrec.schema import EvalEvents, Int32s, Int64s

METRIC = "ndcg@10"
SEEDS = (0, 1, 2)
MOST_EVENTS = 1_000_000
"""Training events that the probes learn from: the item-kNN part of the heuristic grows with the square of histories."""
MOST_SCORES = 1 << 31  # scores per model; with V items so many events are asked at most
FEWEST_ASKED = 2_000
SCORES = 1 << 22  # scores of one batch: 16 MB
HISTORY = 50  # events that a model may look at
LITTLE_ORDER = 0.1
"""Share of the heuristic's NDCG that order must carry for the log to be called sequential."""

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class ProbeLog:
    """Training events of some users, copied together, and the events to be predicted."""

    items: Int32s  # (n,)
    times: Int64s  # (n,)
    users: Int64s  # (n,) 0, 1, ...: counted among the users of the probe
    events: EvalEvents  # histories are spans of this log
    candidates: Int64s  # rising item rows
    num_items: int
    sample: str = ""
    """What was drawn at random, for a reader; empty where everything is here."""

    def shuffled(self, seed: int, *, ties_only: bool = False) -> ProbeLog:
        """Every user's events in a random order, or only those of equal times; times stay where they are."""
        chance = np.random.default_rng(seed).random(len(self.items))
        order = np.lexsort((chance, self.times, self.users) if ties_only else (chance, self.users))
        return replace(self, items=self.items[order])

    @property
    def tied(self) -> float:
        """Share of consecutive events of equal times."""
        same = np.diff(self.users) == 0
        return ratio((np.diff(self.times)[same] == 0).sum(), same.sum())


def probe_log(split: Split) -> ProbeLog | None:
    """None where no user has both a training event and a validation event of a known item."""
    data = split.dataset
    starts, ends = np.asarray(data.offsets[:-1]), np.asarray(split.train_end)
    users, told = _drawn(np.flatnonzero(ends > starts), ends - starts)
    index, owner = spans(starts[users], ends[users])
    items, times = np.asarray(data.items[index]), np.asarray(data.times[index])
    asked = np.flatnonzero(np.asarray(split.validation_end)[users] > ends[users])
    targets = np.asarray(data.items[ends[users[asked]]])
    known = split.known[targets]
    asked, targets = asked[known], targets[known]
    most = max(FEWEST_ASKED, MOST_SCORES // data.num_items)
    if len(asked) > most:
        chosen = np.sort(np.random.default_rng(1).choice(len(asked), most, replace=False))
        asked, targets, told = asked[chosen], targets[chosen], (*told, f"{most:,} validation events")
    if not len(asked):
        return None
    last = np.cumsum(ends[users] - starts[users])
    first = last - (ends[users] - starts[users])
    events = EvalEvents(asked, first[asked], last[asked], targets)
    return ProbeLog(items, times, owner, events, np.flatnonzero(split.known), data.num_items, " and ".join(told))


def _drawn(users: Int64s, lengths: Int64s) -> tuple[Int64s, tuple[str, ...]]:
    """All users, or as many at random as have MOST_EVENTS events together."""
    if lengths[users].sum() <= MOST_EVENTS:
        return users, ()
    order = np.random.default_rng(0).permutation(users)
    kept = max(int(np.searchsorted(lengths[order].cumsum(), MOST_EVENTS, side="right")), 1)
    return np.sort(order[:kept]), (f"{kept:,} users",)


def probe_findings(split: Split, tell: Tell) -> tuple[Finding, ...]:
    log = probe_log(split)
    if log is None:
        told = "No user has a validation event of a known item after training events: no model could be asked."
        return (Finding(name="order_probe", sentence=told, level="caution"),)
    steps = 3 + (log.tied >= MANY_TIES)
    tell("probe", 0, steps)
    ordered = _asked("transitions", log)
    tell("probe", 1, steps)
    found = [_order(log, ordered, _mean_shuffled(log))]
    if steps > 3:
        tell("probe", 2, steps)
        found.append(_tie_order(log, ordered, _mean_shuffled(log, ties_only=True)))
    tell("probe", steps - 1, steps)
    found.append(_over_popularity(log, ordered, _asked("popularity", log)))
    tell("probe", steps, steps)
    return tuple(found)


def _mean_shuffled(log: ProbeLog, *, ties_only: bool = False) -> Values:
    return mean_over_seeds([_asked("transitions", log.shuffled(seed, ties_only=ties_only)) for seed in SEEDS])


def _asked(name: str, log: ProbeLog) -> Values:
    """NDCG@10 of each event."""
    model = baseline(name).fit(log.items, log.times, log.users, num_items=log.num_items)
    rows = max(16, min(1024, SCORES // log.num_items))
    batches = history_batches(log.items, log.times, log.events, max_length=HISTORY, rows=rows)
    return event_values(rank_events(model, batches, log.events, torch.from_numpy(log.candidates)), (METRIC,))


def _estimate(values: Values, log: ProbeLog) -> Estimate:
    return intervals(values, log.events.users)[METRIC]


def _order(log: ProbeLog, ordered: Values, shuffled: Values) -> Finding:
    lost = _estimate(Values(ordered.names, ordered.matrix - shuffled.matrix), log)
    true, mixed = _estimate(ordered, log), _estimate(shuffled, log)
    share = lost.value / true.value if true.value else 0.0
    shown = lost.low > 0
    carried = (
        f"Order carries {lost.value:.4f} of NDCG@10 ({lost.low:.4f} to {lost.high:.4f}), {100 * share:.0f} % of what "
        "the untrained transition heuristic reaches"
        if shown
        else f"Order carries nothing that could be shown (NDCG@10 {lost.value:+.4f}, {lost.low:+.4f} to "
        f"{lost.high:+.4f}) for the untrained transition heuristic"
    )
    return Finding(
        name="order_probe",
        sentence=f"{carried}: {true.value:.4f} with the order as it is and {mixed.value:.4f} with every user's events "
        f"shuffled ({len(SEEDS)} times; {_scope(log)}).",
        values={**_told("true", true), **_told("shuffled", mixed), **_told("difference", lost), "share": share},
        level=level(not shown or share < LITTLE_ORDER),
    )


def _tie_order(log: ProbeLog, ordered: Values, mixed: Values) -> Finding:
    lost, left = _estimate(Values(ordered.names, ordered.matrix - mixed.matrix), log), _estimate(mixed, log)
    shown, true = lost.low > 0, ordered.means()[METRIC]
    share = lost.value / true if shown else 0.0
    told = (
        f"{percent(share)} of what it reaches rests on the order of the input, which no time vouches for"
        if shown
        else "it is not shown to rest on the order of the input"
    )
    return Finding(
        name="tie_order_probe",
        sentence=f"When only events of equal times are shuffled among themselves, the same heuristic reaches NDCG@10 "
        f"{left.value:.4f} instead of {true:.4f} ({-lost.value:+.4f}, {-lost.high:+.4f} to {-lost.low:+.4f}): {told}.",
        values={**_told("shuffled", left), **_told("difference", lost), "share": share},
        level=level(shown),
    )


def _over_popularity(log: ProbeLog, model: Values, popular: Values) -> Finding:
    reached, base = _estimate(model, log), _estimate(popular, log)
    gain = _estimate(Values(model.names, model.matrix - popular.matrix), log)
    times = {"ratio": reached.value / base.value} if base.value else {}
    more = f"{times['ratio']:.1f} times popularity" if times else "popularity has none"
    shown = gain.low > 0
    verdict = "a trained model has to beat it" if shown else "it is not shown to be better than popularity"
    return Finding(
        name="transitions_over_popularity",
        sentence=f"The untrained transition heuristic reaches NDCG@10 {_interval(reached)}, {more} "
        f"({_interval(base)}): {verdict} ({_scope(log)}).",
        values={**_told("transitions", reached), **_told("popularity", base), **_told("difference", gain), **times},
        level=level(not shown),
    )


def _interval(e: Estimate) -> str:
    return f"{e.value:.4f} ({e.low:.4f} to {e.high:.4f})"


def _told(name: str, e: Estimate) -> dict[str, float]:
    return {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}


def _scope(log: ProbeLog) -> str:
    sample = f", a random sample: {log.sample}" if log.sample else ""
    return f"the first validation event of {len(log.events):,} users, 95 % intervals{sample}"
