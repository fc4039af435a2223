"""What a trained HM4SR does with its experts, with time and with its towers, on test events.

Letters:  N history events   M parts of an item   K experts
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from medleyrec.evaluation.insight import Table
from medleyrec.models.hm4sr import HM4SR
from medleyrec.recipes.inspect_tables import collapse, experts, grouped, score_parts
from medleyrec.recipes.ranking import batches_of
from medleyrec.recipes.run import Run
from medleyrec.schema import PAD, Batch, EvalEvents, Floats, Int64s

HOUR, DAY = 3_600, 86_400  # seconds
GAPS = {
    "same second": 0,
    "10 minutes": 600,
    "hour": HOUR,
    "12 hours": 12 * HOUR,
    "day": DAY,
    "week": 7 * DAY,
    "month": 30 * DAY,
    "year": 365 * DAY,
}
"""Upper ends of the classes of gaps; the last class is what is longer."""
LONGER = "longer"
THRESHOLD = 12 * HOUR
"""Gaps up to it are short."""
SHORT_LONG = "total variation of the time routes, gaps up to 12 hours against longer ones (0 alike, 1 disjoint)"


def hm4sr_tables(run: Run, model: HM4SR, events: EvalEvents) -> tuple[dict[str, float], list[Table]]:
    """Figures and tables; what is off in the model is left out."""
    batches = [b for _, b in batches_of(run.split, events, max_length=model.max_length)]
    figures: dict[str, float] = {}
    tables: list[Table] = []
    with torch.inference_mode():
        table = model.rows.all()
        if model.interactive is not None:
            shares = torch.cat([model.interactive.shares(model.embedded(b, table))[b.items != PAD] for b in batches])
            figures |= _evenness(shares.double().numpy(), model.settings.items)
            tables += _expert_use(shares.double().numpy(), model.settings.items)
        if model.temporal is not None and model.time is not None:
            timed = _timed(model, batches)
            figures |= _distance(*timed[:2])
            tables += [*_routes(*timed), _intervals(model, batches)]
        tables.append(score_parts(run, model, events, table))
    return figures, tables


def _evenness(shares: Floats, parts: tuple[str, ...]) -> dict[str, float]:
    """Entropy of the shares (N, M, K) over that of an even mixture: 1 all experts alike, 0 a single one."""
    entropy = -(shares * np.log(np.clip(shares, 1e-12, None))).sum(-1).mean(0) / math.log(max(shares.shape[-1], 2))
    return {
        f"evenness of the experts for {name} (0 one, 1 all alike)": float(e)
        for name, e in zip(parts, entropy, strict=True)
    }


def _expert_use(shares: Floats, parts: tuple[str, ...]) -> list[Table]:
    """shares (N, M, K)"""
    return [
        Table(
            title="Interactive MoE: share of each expert",
            note="Mean over the events of the histories. An expert without a share is never listened to.",
            plot="shares",
            columns=experts(shares.shape[-1]),
            rows={name: tuple(shares[:, m].mean(0).tolist()) for m, name in enumerate(parts)},
            count=dict.fromkeys(parts, len(shares)),
        ),
        collapse(
            shares,
            parts,
            title="Interactive MoE: collapse",
            note="Events by the largest share in their mixture. Where most lie beyond .95, a single expert answers.",
        ),
    ]


def _timed(model: HM4SR, batches: list[Batch]) -> tuple[Floats, Floats, Floats]:
    """Of all history events: routes (N, K), the gap before in seconds (-1 for a row's first event), hour of the day."""
    assert model.time is not None
    assert model.temporal is not None
    routes, gaps, hours = [], [], []
    for b in batches:
        real = b.items != PAD
        routes.append(model.temporal.routes(model.time(b))[real].double().numpy())
        gaps.append(_gaps(b)[real].double().numpy())
        hours.append((b.times[real] % DAY / HOUR).double().numpy())
    return np.concatenate(routes), np.concatenate(gaps), np.concatenate(hours)


def _gaps(batch: Batch) -> Tensor:
    """(B, L) seconds since the event before; -1 at the first."""
    return torch.nn.functional.pad(batch.times.diff(dim=1), (1, 0), value=-1)


def _distance(routes: Floats, gaps: Floats) -> dict[str, float]:
    """Total variation between the mean routes after short and after long gaps; none where either is missing."""
    short, long = routes[(gaps >= 0) & (gaps <= THRESHOLD)], routes[gaps > THRESHOLD]
    if not len(short) or not len(long):
        return {}
    return {SHORT_LONG: float(np.abs(short.mean(0) - long.mean(0)).sum() / 2)}


def _routes(routes: Floats, gaps: Floats, hours: Floats) -> list[Table]:
    """Mean route by the gap before an event, and by the hour of the day (UTC)."""
    later = gaps >= 0
    return [
        grouped(
            "Temporal MoE: mean route by the gap before the event",
            "How time alone mixes the experts. A class ends at the time it is named for; a first event has no gap.",
            routes[later],
            _classes(gaps[later]),
            [*GAPS, LONGER],
            plot="shares",
        ),
        grouped(
            "Temporal MoE: mean route by hour (UTC)",
            "",
            routes,
            (hours // 3).astype(np.int64),
            [f"{h:02d}-{h + 3:02d} h" for h in range(0, 24, 3)],
            plot="shares",
        ),
    ]


def _classes(gaps: Floats) -> Int64s:
    return np.searchsorted(list(GAPS.values()), gaps)


def _intervals(model: HM4SR, batches: list[Batch]) -> Table:
    """Cosines between the mean interval vectors of the classes of gaps that occur, their common mean taken out."""
    assert model.time is not None
    real = [(b.items != PAD) & (_gaps(b) >= 0) for b in batches]
    rows = torch.cat([model.time.interval(b)[r] for b, r in zip(batches, real, strict=True)])
    group = _classes(torch.cat([_gaps(b)[r] for b, r in zip(batches, real, strict=True)]).double().numpy())
    names = [*GAPS, LONGER]
    there = [i for i in range(len(names)) if (group == i).any()]
    vectors = model.time.intervals(rows).double()
    means = torch.stack([vectors[torch.from_numpy(group == i)].mean(0) for i in there]) if there else vectors[:0]
    unit = torch.nn.functional.normalize(means - means.mean(0), dim=-1)
    cosines = unit @ unit.T
    return Table(
        title="Interval embedding: cosines between classes of gaps",
        note="Mean vector of each class, as often as it occurs, less the mean of all. Where near gaps are alike, the "
        "model has learnt that time is continuous.",
        plot="heat",
        columns=tuple(names[i] for i in there),
        rows={names[i]: tuple(cosines[place].tolist()) for place, i in enumerate(there)},
        count={names[i]: int((group == i).sum()) for i in there},
    )
