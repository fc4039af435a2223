"""Keep the numbers of a report, one JSON per row, and print the table of all rows kept so far.

    python -m benchmarks.results PROJECT NAME     (after `medley evaluate PROJECT`: keep its rows)
    python -m benchmarks.results                  (print the tables of everything kept)

A row that was kept with more seeds stays: tables grow run by run, on one machine or another. Only numbers are kept: no
title, no picture, no user of the data.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from medleyrec import storage
from medleyrec.evaluation.report import ModelRow, Report

RESULTS = Path(__file__).parents[1] / "results"
SHOWN = ("hit_rate@10", "ndcg@10", "mrr@10")
EXPECTED = {
    "beauty": {"sasrec (id)": 3, "sasrec (id + text)": 1},
    "beauty-time": {"sasrec (id)": 3, "sasrec (id + text)": 1},
    "beauty-models": {"cammsr (id + text)": 3, "hm4sr (id + text)": 3, "sasrec (id)": 3, "sasrec (id + text)": 1},
    "beauty-dmesr": {
        "sasrec (id)": 3,
        "gru4rec (id)": 1,
        "bert4rec (id)": 1,
        "dmesr on sasrec (attributes)": 1,
        "dmesr on sasrec (attributes + id)": 3,
        "dmesr on gru4rec (attributes + id)": 1,
        "dmesr on bert4rec (attributes + id)": 1,
        "dmesr on sasrec (descriptions + attributes + id), stand-in descriptions": 1,
        "dmesr on gru4rec (descriptions + attributes + id), stand-in descriptions": 1,
        "dmesr on bert4rec (descriptions + attributes + id), stand-in descriptions": 1,
    },
    "bazaar-dmesr": {"sasrec (id)": 3, "dmesr on sasrec (descriptions + attributes + id)": 3},
    "ml-latest-small-posters": {
        "sasrec (id)": 1,
        "sasrec (id + text + image)": 1,
        "hm4sr (id + text + image)": 1,
    },
}
"""Model rows that belong to a table, and how many seeds each; what is not there yet is printed as pending."""
SLICED = ("beauty-time",)
"""Tables that are printed by slice as well."""
PAIRED = ("beauty-models", "beauty-dmesr", "bazaar-dmesr")
"""Tables whose paired differences are printed as well."""
SAME = ("split", "candidates", "events")
"""What two rows have in common where they are about the same question."""


def keep(project: Path, name: str) -> None:
    report = Report.read(project / "report.json")
    for row in report.models:
        path = RESULTS / name / f"{re.sub(r'[^a-z0-9]+', '-', row.name.lower()).strip('-')}.json"
        new, earlier = kept(row, report), storage.read_json(path) if path.exists() else None
        if earlier and len(earlier["seeds"]) > len(row.seeds) and all(earlier[key] == new[key] for key in SAME):
            print(f"{row.name}: kept as it was, with {len(earlier['seeds'])} seeds; this report has {len(row.seeds)}")
            continue
        storage.write_json(path, new)


def kept(row: ModelRow, report: Report) -> dict[str, Any]:
    metrics = {n: {"value": e.value, "low": e.low, "high": e.high} for n, e in row.metrics.items()}
    return {
        "name": row.name,
        "kind": row.kind,
        "split": report.split,
        "candidates": report.candidates,
        "events": report.events,
        "seeds": list(row.seeds),
        "metrics": metrics,
        "oracle_share": row.oracle_share,
        "coverage": row.coverage,
        "parameters": row.parameters,
        "slices": _slices(row.name, report),
        "against": {
            c.reference: {
                "difference": c.difference.value,
                "low": c.difference.low,
                "high": c.difference.high,
                "p": c.p_holm,
            }
            for c in report.comparisons
            if c.model == row.name and c.metric == report.headline
        },
    }


def _slices(model: str, report: Report) -> list[dict[str, Any]]:
    """The headline metric of each part of the events, in the report's order."""
    found = []
    for part in report.slices:
        e = part.models[model][report.headline]
        values = {report.headline: {"value": e.value, "low": e.low, "high": e.high}}
        found.append({"name": part.name, "events": part.events, **values})
    return found


def _rows(name: str) -> list[dict[str, Any]]:
    """Baselines first, the weakest first."""
    rows = [storage.read_json(path) for path in sorted((RESULTS / name).glob("*.json"))]
    return sorted(rows, key=lambda r: (r["kind"] != "baseline", r["metrics"]["ndcg@10"]["value"]))


def table(name: str) -> str:
    rows = _rows(name)
    lines = ["| model | seeds | " + " | ".join(SHOWN) + " |", "|---|---|" + "---|" * len(SHOWN)]
    for row in rows:
        cells = [_cell(row["metrics"][metric]) for metric in SHOWN]
        lines.append(f"| {row['name']} | {len(row['seeds']) or '-'} | " + " | ".join(cells) + " |")
    done = {row["name"]: len(row["seeds"]) for row in rows}
    for model, seeds in EXPECTED.get(name, {}).items():
        if done.get(model, 0) < seeds:
            lines.append(
                f"| {model} | {done.get(model, 0)} of {seeds} | " + " | ".join(["pending"] * len(SHOWN)) + " |"
            )
    return "\n".join(lines)


def slice_table(name: str) -> str:
    """NDCG@10 of each row by part of the events."""
    rows = [row for row in _rows(name) if row.get("slices")]
    if not rows:
        return ""
    lines = ["| part | events | " + " | ".join(r["name"] for r in rows) + " |", "|---|---|" + "---|" * len(rows)]
    for n, part in enumerate(rows[0]["slices"]):
        cells = [_cell(row["slices"][n]["ndcg@10"]) for row in rows]
        lines.append(f"| {part['name']} | {part['events']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pair_table(name: str) -> str:
    """NDCG@10 of a row minus that of another one on the same events."""
    lines = ["| model | against | difference of ndcg@10 | p after Holm |", "|---|---|---|---|"]
    for row in _rows(name):
        for reference, found in row["against"].items():
            told = f"{found['difference']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"
            lines.append(f"| {row['name']} | {reference} | {told} | {found['p']:.3f} |")
    return "\n".join(lines)


def _cell(value: dict[str, float]) -> str:
    return f"{value['value']:.4f} ({value['low']:.4f} to {value['high']:.4f})"


def main() -> None:
    if len(sys.argv) == 3:
        keep(Path(sys.argv[1]), sys.argv[2])
    names = sorted({p.parent.name for p in RESULTS.glob("*/*.json")} - {"benchmarks"} | set(EXPECTED))
    for name in names:
        print(f"\n{name}\n\n{table(name)}")
        if name in SLICED:
            print(f"\nNDCG@10 by part\n\n{slice_table(name)}")
        if name in PAIRED:
            print(f"\nPaired differences\n\n{pair_table(name)}")


if __name__ == "__main__":
    main()
