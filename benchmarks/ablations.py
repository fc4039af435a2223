"""Keep the numbers of an ablation, one JSON per row, and print the table of all rows kept so far.

    python -m benchmarks.ablations PROJECT NAME RECIPE...   (after `medley ablate`: keep what is finished)
    python -m benchmarks.ablations                          (print the tables of everything kept)

The first recipe is the one that the others are compared with. Only numbers are kept.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medleyrec import storage
from medleyrec.evaluation.words import p_equals
from medleyrec.recipes.ablate import COMPARED, SHOWN, Row, run_ablate
from medleyrec.recipes.listener import Listener

RESULTS = Path(__file__).parents[1] / "results" / "ablations"
EXPECTED = {
    "beauty-hm4sr": {
        "full": 3,
        "reference": 1,
        "without_cp": 1,
        "without_idcl": 1,
        "without_interactive": 1,
        "without_pcl": 1,
        "without_temporal": 1,
        "without_text": 1,
        "published": 1,
    },
    "beauty-cammsr": {
        "full": 3,
        "without_cg": 3,
        "without_mscl": 3,
        **dict.fromkeys(
            (
                "without_attention",
                "without_dyt",
                "vanilla_moe",
                "without_text",
                "temperature_1",
                "init_xavier",
                "gates_softmax",
                "category_loss",
                "sign_minus",
                "sign_minus_category_loss",
                "reduction_mean",
                "reduction_mean_category_loss",
                "sign_minus_mean",
                "sign_minus_mean_category_loss",
                "labels_max",
                *(f"labels_{kind}_{share}" for kind in ("missing", "wrong") for share in (10, 20, 30)),
                *(f"experts_{k}" for k in (1, 2, 8, 16)),
                *(f"lambda_{n}" for n in (50, 75, 100)),
                "published",
            ),
            1,
        ),
    },
}
"""Rows that belong to a table, the first one being compared with, and how many seeds each."""


def keep(project: Path, name: str, recipes: list[Path]) -> None:
    """Rows without a result are left as they were."""
    for row in run_ablate(recipes, Listener(), project=project, table_only=True).rows:
        if row.metrics:
            storage.write_json(RESULTS / name / f"{row.name.replace('/', '-')}.json", kept(row))


def kept(row: Row) -> dict[str, Any]:
    metrics = {n: {"value": e.value, "low": e.low, "high": e.high} for n, e in row.metrics.items()}
    against = asdict(row.against) if row.against else None
    return {"recipe": row.name, "seeds": list(row.seeds), "metrics": metrics, "against": against}


def table(name: str) -> str:
    rows = {row["recipe"]: row for row in map(storage.read_json, sorted((RESULTS / name).glob("*.json")))}
    wanted = EXPECTED.get(name, {n: len(row["seeds"]) for n, row in rows.items()})
    first = next(iter(wanted))
    head = f"| recipe | seeds | {' | '.join(SHOWN)} | {COMPARED} against {first} |"
    return "\n".join([head, "|---" * (3 + len(SHOWN)) + "|", *(_line(n, s, rows.get(n)) for n, s in wanted.items())])


def _line(name: str, seeds: int, row: dict[str, Any] | None) -> str:
    if row is None:
        return f"| {name} | 0 of {seeds} |" + " pending |" * (1 + len(SHOWN))
    done = len(row["seeds"])
    cells = [_cell(row["metrics"][metric]) for metric in SHOWN]
    told = f"{done}" if done >= seeds else f"{done} of {seeds}, the rest pending"
    return f"| {name} | {told} | {' | '.join(cells)} | {_difference(row['against'])} |"


def _cell(e: dict[str, float]) -> str:
    return f"{e['value']:.4f} ({e['low']:.4f} to {e['high']:.4f})"


def _difference(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    d = found["difference"]
    return f"{d['value']:+.4f} ({d['low']:+.4f} to {d['high']:+.4f}), {p_equals(found['p_holm'])}"


def main() -> None:
    if len(sys.argv) > 3:
        keep(Path(sys.argv[1]), sys.argv[2], [Path(a) for a in sys.argv[3:]])
    for name in sorted({p.parent.name for p in RESULTS.glob("*/*.json")} | set(EXPECTED)):
        print(f"\n{name}\n\n{table(name)}")


if __name__ == "__main__":
    main()
