"""What DMESR makes of the descriptions of a bazaar, whose truth is known, from finished runs of its project.

    python -m benchmarks.described PROJECT --full RUN ... --coarse RUN ... --unaligned RUN ... [--out FILE]

RUNs are folders, one per seed: all views, the descriptions alone, and all views without the alignment loss. The
summaries of some categories never tell the style or the material of an item, which its title does.

"fine": test NDCG@10 of `full` minus that of `coarse` on the same events, by what the choice of the next item within a
category goes by (texts or not) and by whether the summaries of the category lose an attribute.
"alignment": share of the items whose one description is among the ten nearest to another one of theirs, by cosine after
the adapters, with the alignment loss and without it. Text and picture of an item are drawn independently of each other:
what one can tell of the other comes by way of the summary of both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import about
from medleyrec import storage
from medleyrec.evaluation.metrics import Values, event_values, mean_over_seeds
from medleyrec.evaluation.statistics import Paired, compare, intervals
from medleyrec.recipes.inspect_dmesr import dmesr_figures
from medleyrec.recipes.ranking import ranks_of
from medleyrec.recipes.run import Run, open_run
from medleyrec.schema import TEST, EvalEvents, Mask
from medleyrec.sources.bazaar.descriptions import LOST

METRIC = "ndcg@10"
TEXTS = ("text", "both")
"""What the choice within a category goes by where titles matter to it."""


def main() -> None:
    options = parsed()
    full, coarse, unaligned = ([finished(path) for path in paths] for paths in options.runs)
    found = {**about(), "fine": fine(options.project, full, coarse), "alignment": alignment(full, unaligned)}
    print(json.dumps(found, indent=1))
    if options.out:
        storage.write_json(options.out, found)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a bazaar, with its truth.json")
    for name in ("full", "coarse", "unaligned"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, metavar="RUN")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    options.runs = (options.full, options.coarse, options.unaligned)
    return options


def finished(path: Path) -> Run:
    run = open_run(path)
    if not run.result:
        sys.exit(f"{path} is unfinished; finish its training before it is judged")
    return run


def fine(project: Path, full: Sequence[Run], coarse: Sequence[Run]) -> dict[str, Any]:
    split = full[0].split
    events = split.eval_events(TEST)
    with_fine, without = values(full, events), values(coarse, events)
    found = {"all": told(compare(with_fine, without, events.users)[METRIC], len(events.users))}
    for name, mask in groups(project, full[0], events).items():
        rows = np.flatnonzero(mask)
        pair = compare(with_fine.take(rows), without.take(rows), events.users[rows])[METRIC]
        found[name] = told(pair, len(rows))
    levels = {name: intervals(v, events.users)[METRIC].value for name, v in (("full", with_fine), ("coarse", without))}
    return {**levels, "difference": found}


def values(runs: Sequence[Run], events: EvalEvents) -> Values:
    """Of each event, the mean over the seeds."""
    return mean_over_seeds(
        [event_values(ranks_of(r.ranker, r.split, events, max_length=r.model.max_length), [METRIC]) for r in runs]
    )


def groups(project: Path, run: Run, events: EvalEvents) -> dict[str, Mask]:
    """Masks of the events by the category of their target."""
    truth = storage.read_json(project / "truth.json")
    ids = run.dataset.item_ids
    names = [truth["items"][ids[row]]["category"] for row in events.targets]
    titles = np.array([truth["drivers"][name] in TEXTS for name in names])
    loses = np.array([name in LOST for name in names])
    return {
        "titles matter, summaries lose an attribute": titles & loses,
        "titles matter, summaries lose nothing": titles & ~loses,
        "titles do not matter": ~titles,
    }


def told(pair: Paired, events: int) -> dict[str, float]:
    d = pair.difference
    return {"events": events, "difference": d.value, "low": d.low, "high": d.high, "p": pair.p}


def alignment(aligned: Sequence[Run], unaligned: Sequence[Run]) -> dict[str, dict[str, list[float]]]:
    """Recall of each kind of retrieval, one number per seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, runs in (("with", aligned), ("without", unaligned)):
        for run in runs:
            for sentence, recall in dmesr_figures(run.model).items():  # type: ignore[arg-type]
                found.setdefault(sentence, {"with": [], "without": []})[name].append(recall)
    return found


if __name__ == "__main__":
    main()
