"""Look into a trained run: what it loses without each input, and what the parts of its model do, on test events.

<out>/inspect.json    the numbers
<out>/inspect.html    the same, drawn
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medleyrec import storage
from medleyrec.evaluation.insight import Insight, Table
from medleyrec.evaluation.pages import insight_html
from medleyrec.models.cammsr import CAMMSR
from medleyrec.models.dmesr import DMESR
from medleyrec.models.hm4sr import HM4SR
from medleyrec.recipes.inspect_cammsr import cammsr_tables
from medleyrec.recipes.inspect_dmesr import dmesr_figures
from medleyrec.recipes.inspect_hm4sr import hm4sr_tables
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.run import Run
from medleyrec.recipes.shuffles import WHOLE, WITHIN, Shuffles, shuffle_losses
from medleyrec.schema import TEST, EvalEvents, InputError


def run_inspect(run: Run, listener: Listener, *, sample: int = 2_000, out: Path | None = None) -> Insight:
    """Writes inspect.json and inspect.html into `out`, by default the run folder.

    sample: test events to look at, evenly spaced, 0 for all. Raises InputError where there is nothing to look at.
    """
    events = _sampled(run, run.split.eval_events(TEST), sample)
    if not len(events):
        raise InputError(f"{run.folder}: no test event has a history and a target that the model knows")
    figures, tables = _inside(run, events)
    for reach in (WITHIN, WHOLE):
        listener.say(f"Shuffling {reach} ...")
        if (found := shuffle_losses(run, events, reach=reach)) is not None:
            tables.append(_lost(found))
    if not tables:
        raise InputError(
            f"{run.folder} is a {run.record['label']}: it looks at ids alone, and inspect has nothing to look into"
        )
    insight = Insight(run=run.record["name"], model=run.record["label"], figures=figures, tables=tuple(tables))
    folder = out or run.folder
    storage.write_json(folder / "inspect.json", insight.to_json())
    storage.write_text(folder / "inspect.html", insight_html(insight))
    return insight


def _inside(run: Run, events: EvalEvents) -> tuple[dict[str, float], list[Table]]:
    """Of the models that have something to show."""
    if isinstance(run.model, HM4SR):
        return hm4sr_tables(run, run.model, events)
    if isinstance(run.model, DMESR):
        return dmesr_figures(run.model), []
    return cammsr_tables(run, run.model, events) if isinstance(run.model, CAMMSR) else ({}, [])


def _sampled(run: Run, events: EvalEvents, sample: int) -> EvalEvents:
    """Of the events that the model itself ranks."""
    able = np.flatnonzero((events.history_ends > events.history_starts) & run.split.known[events.targets])
    step = max(1, len(able) // sample) if sample else 1
    return events.take(able[::step])


def _lost(found: Shuffles) -> Table:
    columns = ("as it is", *(f"{kind} shuffled" for kind in found.kinds))
    told = {name: (found.kept[name], *found.lost[name].values()) for name in found.count}
    return Table(
        title=f"NDCG@10, and what is lost when an input is shuffled {found.reach}",
        note="In histories and among the candidates alike, mean of several shuffles, with 95 % intervals over users. "
        "It tells what this model leans on, not what the data could tell.",
        plot="whiskers",
        columns=columns,
        rows={name: tuple(e.value for e in row) for name, row in told.items()},
        count=found.count,
        bounds={name: tuple((e.low, e.high) for e in row) for name, row in told.items()},
    )
