"""What a trained HM4SR does with its experts, with time and with its towers, on test events: tables one can read.

Letters:  E test events   N history events   M parts of an item   K experts   C candidates
Score parts are arithmetic, not causation: the score is a sum over towers, and each part is told as its distance from
that tower's mean over the candidates.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medleyrec import storage
from medleyrec.evaluation.ranking import rank_events
from medleyrec.models.hm4sr import HM4SR
from medleyrec.recipes.ranking import batches_of, candidates_of
from medleyrec.recipes.run import Run
from medleyrec.schema import PAD, TEST, Batch, EvalEvents, Floats, InputError

HOUR, DAY = 3_600, 86_400  # seconds
GAPS = {"same second": 0, "hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY, "year": 365 * DAY}
"""Upper ends of the classes of gaps; the last class is what is longer."""
LONGER = "longer"
HIT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Named rows of numbers under named columns. `count` says how many events stand behind each row."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    count: dict[str, int]

    def __str__(self) -> str:
        head = f"{'':<16}" + "".join(f"{name:>12}" for name in self.columns)
        lines = [f"{n:<16}" + "".join(f"{v:>12.3f}" for v in row) for n, row in self.rows.items()]
        return "\n".join([self.title, head, *lines])


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    run: str
    tables: tuple[Table, ...]
    short_long: float | None
    """Total variation between the mean time routes of short and of long gaps, from 0 to 1."""

    def __str__(self) -> str:
        told = "" if self.short_long is None else f"routes of short and long gaps differ by {self.short_long:.3f}"
        return "\n\n".join([*map(str, self.tables), told]).rstrip()


def run_inspect(run: Run, *, sample: int = 2_000, threshold: int = DAY, out: Path | None = None) -> Inspection:
    """Writes inspect.json and inspect.html into `out`, by default the run folder.

    sample: test events to look at, evenly spaced. threshold: seconds up to which a gap is short.
    """
    model = run.model
    if not isinstance(model, HM4SR):
        raise InputError(f"{run.folder} is a {model.name}; inspect looks into hm4sr")
    events = _sampled(run.split.eval_events(TEST), sample)
    if not len(events):
        raise InputError(f"{run.folder}: no test event has a history to look at")
    with torch.inference_mode():
        table = model.rows.all()
        batches = [b for _, b in batches_of(run.split, events, max_length=model.max_length)]
        tables = [*_shares(model, batches, table), *_routes(model, batches), *_intervals(model)]
        tables.append(_score_parts(run, model, events, table))
        distance = _distance(model, batches, threshold)
    found = Inspection(run=run.record["name"], tables=tuple(tables), short_long=distance)
    folder = out or run.folder
    storage.write_json(folder / "inspect.json", asdict(found))
    storage.write_text(folder / "inspect.html", _page(found))
    return found


def _sampled(events: EvalEvents, sample: int) -> EvalEvents:
    able = np.flatnonzero(events.history_ends > events.history_starts)
    return events.take(able[:: max(1, len(able) // sample)])


def _shares(model: HM4SR, batches: list[Batch], table: Tensor) -> list[Table]:
    """Expert use per part, and how even it is: 1 all experts alike, 0 a single one."""
    if model.interactive is None:
        return []
    found = torch.cat(
        [model.interactive.shares(model.embedded(b, table))[b.items != PAD] for b in batches]
    )  # (N, M, K)
    mean = found.mean(0)
    evenness = -(found * found.clamp(min=1e-12).log()).sum(-1).mean(0) / math.log(max(found.shape[-1], 2))
    rows = {n: (*mean[m].tolist(), evenness[m].item()) for m, n in enumerate(model.settings.items)}
    return [
        Table(
            title="Interactive MoE: share of each expert",
            note="evenness 1: every event uses all experts alike; 0: the mixture has collapsed to one expert an event",
            columns=(*_experts(found.shape[-1]), "evenness"),
            rows=rows,
            count=dict.fromkeys(rows, len(found)),
        )
    ]


def _routes(model: HM4SR, batches: list[Batch]) -> list[Table]:
    """Mean route by the gap before an event, and by the hour of the day (UTC)."""
    if model.temporal is None:
        return []
    routes, gaps, hours = _timed(model, batches)
    names = [*GAPS, LONGER]
    by_gap = np.searchsorted(list(GAPS.values()), gaps[gaps >= 0])
    by_hour = (hours // 3).astype(np.int64)
    return [
        _grouped("Temporal MoE: mean route by the gap before the event", routes[gaps >= 0], by_gap, names),
        _grouped(
            "Temporal MoE: mean route by hour (UTC)",
            routes,
            by_hour,
            [f"{h:02d}-{h + 3:02d} h" for h in range(0, 24, 3)],
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
        gaps.append(torch.nn.functional.pad(b.times.diff(dim=1), (1, 0), value=-1)[real].double().numpy())
        hours.append((b.times[real] % DAY / HOUR).double().numpy())
    return np.concatenate(routes), np.concatenate(gaps), np.concatenate(hours)


def _distance(model: HM4SR, batches: list[Batch], threshold: int) -> float | None:
    if model.temporal is None:
        return None
    routes, gaps, _ = _timed(model, batches)
    short, long = routes[(gaps >= 0) & (gaps <= threshold)], routes[gaps > threshold]
    if not len(short) or not len(long):
        return None
    return float(np.abs(short.mean(0) - long.mean(0)).sum() / 2)


def _intervals(model: HM4SR) -> list[Table]:
    """Cosines between the embeddings of gaps: smooth where the model has learnt that near gaps are alike."""
    if model.time is None:
        return []
    seconds = {
        "second": 1,
        "minute": 60,
        "hour": HOUR,
        "day": DAY,
        "week": 7 * DAY,
        "month": 30 * DAY,
        "year": 365 * DAY,
    }
    clock = torch.tensor([[0, s] for s in seconds.values()])
    ones = torch.ones_like(clock)
    pairs = Batch(ones, clock, torch.full((len(clock),), 2), torch.zeros_like(clock), torch.arange(len(clock)))
    vectors = torch.nn.functional.normalize(model.time.intervals(model.time.interval(pairs)[:, 1]), dim=-1)
    cosines = vectors @ vectors.T
    rows = {name: tuple(cosines[i].tolist()) for i, name in enumerate(seconds)}
    note = "gaps beyond the largest one of training share its row"
    return [Table(title="Interval embedding: cosines", note=note, columns=tuple(rows), rows=rows, count={})]


def _score_parts(run: Run, model: HM4SR, events: EvalEvents, table: Tensor) -> Table:
    """Each tower's part of the target's score above its mean over the candidates, for hits and misses."""
    candidates = candidates_of(run.split)
    ranks = rank_events(run.ranker, batches_of(run.split, events, max_length=model.max_length), events, candidates)
    parts = np.zeros((len(events), len(model.settings.items)))
    centre = table[candidates].mean(0)
    for rows, batch in batches_of(run.split, events, max_length=model.max_length):
        target = table[torch.from_numpy(events.targets[rows].astype(np.int64))]
        product = model.last_state(batch, table) * (target - centre)
        parts[rows] = product.view(len(rows), parts.shape[1], -1).sum(-1).numpy()
    hit = ranks.rank <= HIT
    return _grouped(
        "Score of the target by tower, above the mean candidate",
        parts,
        np.where(hit, 0, 1),
        [f"hit@{HIT}", "miss"],
        columns=model.settings.items,
    )


def _grouped(
    title: str, values: Floats, group: np.typing.NDArray[np.int64], names: list[str], columns: tuple[str, ...] = ()
) -> Table:
    """Mean of values (N, K) in each group that has any."""
    there = [i for i in range(len(names)) if (group == i).any()]
    return Table(
        title=title,
        note="",
        columns=columns or _experts(values.shape[1]),
        rows={names[i]: tuple(values[group == i].mean(0).tolist()) for i in there},
        count={names[i]: int((group == i).sum()) for i in there},
    )


def _experts(count: int) -> tuple[str, ...]:
    return tuple(f"expert {k + 1}" for k in range(count))


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ run }}</title>
<style>
:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
padding: 0 1rem } table { border-collapse: collapse } td, th { padding: .3rem .7rem; text-align: right }
th:first-child, td:first-child { text-align: left } td.n { background: rgb(30 110 200 / var(--s)) }
</style>
<h1>{{ run }}</h1>
{% if short_long is not none %}<p>Total variation between the mean routes of short and of long gaps:
{{ "%.3f" | format(short_long) }} (0: time does not matter to the mixture, 1: nothing in common).</p>{% endif %}
{% for t in tables %}<h2>{{ t.title }}</h2>{% if t.note %}<p>{{ t.note }}</p>{% endif %}
<table><tr><th></th>{% for c in t.columns %}<th>{{ c }}</th>{% endfor %}<th>{{ "events" if t.count }}</th></tr>
{% for name, row in t.rows.items() %}<tr><td>{{ name }}</td>{% for v in row %}<td class="n"
style="--s: {{ "%.2f" | format(0.7 * shade(t, v)) }}">{{ "%.3f" | format(v) }}</td>{% endfor %}
<td>{{ t.count.get(name, "") }}</td></tr>{% endfor %}</table>{% endfor %}
<p>Score parts are arithmetic, not causation: a tower with a large part need not be the reason for a hit.</p>
</html>
"""


def _page(found: Inspection) -> str:
    from jinja2 import Environment

    page = Environment(autoescape=True).from_string(PAGE)
    return page.render(run=found.run, tables=found.tables, short_long=found.short_long, shade=_shade) + "\n"


def _shade(table: Table, value: float) -> float:
    """Where `value` lies between the table's smallest and largest number, 0 to 1."""
    values = [v for row in table.rows.values() for v in row]
    low, high = min(values), max(values)
    return 0.0 if high == low else (value - low) / (high - low)
