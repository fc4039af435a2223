"""How fast users are ranked and recommended to, beside the bare product of their states and the item rows.

    python -m benchmarks.scoring                                       (both claims)
    python -m benchmarks.scoring --users 1000 4000 --items 200_000 --runs 1 --out scoring.json

Ranking: all users of a generated log of the size of Amazon Games (games.py) among its 10,672 items, by untrained HM4SR,
CAMMSR (id + text + image) and SASRec, the item table included; "product_share" is the time of one float32 product of as
many states and rows, timed between the runs, by the time of the ranking.

Recommending: `recommend_all`, the function behind `medley recommend RUN --all`, writes the first ten of a million items
x 128-d to Parquet for more and more users, each number of users in a process of its own; events that a user had are
left out. "ratio_*" are its seconds of CPU by those of bare products of as many users, timed before and after: in blocks
as they are formed, and 64 users by all items at a time. Memory is the largest resident size; "growth" its slope, bytes
a user, mapped pages of the log included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks import games
from benchmarks.flat import memory_mib, peak_mib
from benchmarks.machine import about, load
from medleyrec import storage
from medleyrec.dataset.batches import history_batches
from medleyrec.dataset.dataset import Dataset
from medleyrec.evaluation.ranking import rank_events
from medleyrec.models import build
from medleyrec.models.base import Frozen
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.ranking import SCORES
from medleyrec.recipes.recommend import recommend_all
from medleyrec.schema import EvalEvents, Facts

MODELS = ("hm4sr", "cammsr", "sasrec")
BAR = {"hm4sr": 6_600}  # users/s, on two cores
WIDTH, EVENTS, K = 128, 20, 10
TILE = (256, 4096)  # users x items of one bare product
WHOLE = 64  # users whose scores of all items are formed at once


def ranking(name: str, runs: int) -> dict[str, float]:
    log = games.generated()
    users = np.arange(len(log))
    events = EvalEvents(users, log.starts, log.ends, log.items[log.ends])  # the first of the two events held out
    model = games_model(name)
    candidates = torch.arange(1, games.ITEMS + 1)
    rows = SCORES // games.ITEMS

    def rank() -> None:
        batches = history_batches(log.items, log.times, events, max_length=model.max_length, rows=rows)
        rank_events(Frozen(model), batches, events, candidates)

    with torch.inference_mode():
        states, table = torch.randn(rows, model.rows.out_width), model.rows.all()[1:]
        out = torch.empty(rows, games.ITEMS)
        rank()
        found = []
        for _ in range(runs):
            spent = seconds(rank)
            one = min(seconds(lambda: torch.mm(states, table.T, out=out)) for _ in range(5))
            found.append(
                (len(users) / spent, one * len(users) / rows / spent, 2e-9 * out.numel() * table.shape[1] / one)
            )
            print(f"  {name}: {found[-1][0]:,.0f} users/s, {found[-1][1]:.0%} of it the product", flush=True)
    speed, share, gflops = (statistics.median(column) for column in zip(*found, strict=True))
    bar = {"bar": BAR[name]} if name in BAR else {}
    return {"users_per_second": speed, "product_share": share, "product_gflops": gflops, **bar}


def games_model(name: str) -> Any:
    torch.manual_seed(0)
    facts = Facts(
        num_items=games.ITEMS + 1,
        num_categories=games.CATEGORIES,
        start_time=1_000_000_000,
        max_gap=2_000 * games.DAY,
    )
    if name == "sasrec":
        return build(name, facts, width=64, max_length=games.LENGTH).eval()
    features, categories = games.content()
    return build(name, facts, features, categories=categories, items=("id", "text", "image")).eval()


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@dataclass(frozen=True, slots=True)
class Shop:
    """A generated dataset and an untrained model, as far as `recommend_all` looks at a run."""

    dataset: Dataset
    ranker: Frozen

    @property
    def model(self) -> Any:
        return self.ranker.model

    @property
    def split(self) -> Any:
        return SimpleNamespace(dataset=self.dataset)

    @property
    def known(self) -> Any:
        return np.arange(self.dataset.num_items) > 0

    def leaves_out(self, wanted: bool | None) -> bool:
        return True


def shop(folder: Path, *, users: int, items: int) -> Shop:
    rng = np.random.default_rng(0)
    total = users * EVENTS
    storage.save_array(folder / "items.npy", (1 + rng.random(total) ** 2.5 * items).astype(np.int32))
    storage.save_array(folder / "times.npy", 1_000_000_000 + np.arange(total))
    arrays = (storage.open_array(folder / f"{name}.npy") for name in ("items", "times"))
    for name, column, count in (("users", "user_id", users), ("catalogue", "item_id", items)):
        pq.write_table(pa.table({column: np.arange(count).astype(str)}), folder / f"{name}.parquet")
    manifest = {"counts": {"items": items, "items_in_log": items}}
    data = Dataset(folder, manifest, *arrays, EVENTS * np.arange(users + 1))
    torch.manual_seed(0)
    model = build("sasrec", Facts(num_items=items + 1), width=WIDTH, max_length=50, depth=2, heads=2)
    return Shop(data, Frozen(model.eval()))


def recommending(users: int, items: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = shop(folder, users=users, items=items)
        run.dataset.items.sum(), run.dataset.times.sum()  # mapped pages are in memory from here on
        base = memory_mib("VmRSS")
        before = bare(run.ranker.table, users)
        begun, cpu = time.perf_counter(), time.process_time()
        rows = recommend_all(run, folder / "out.parquet", Listener(), k=K)  # type: ignore[arg-type]
        spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
        after = bare(run.ranker.table, users)
        written = pq.ParquetFile(folder / "out.parquet").metadata.num_rows
    assert rows == written == users * K
    products = {kind: (before[kind] + after[kind]) / 2 for kind in before}
    return {
        "users": users,
        "seconds": spent,
        "users_per_second": users / spent,
        "users_per_cpu_second": users / cpu,
        **{f"ratio_to_{kind}_product": cpu / products[kind] for kind in products},
        "base_mib": base,
        "peak_mib": peak_mib(),
    }


def bare(table: torch.Tensor, users: int) -> dict[str, float]:
    """CPU seconds of the products for so many users, from a few of them: in tiles, and whole."""
    found, items = {}, len(table) - 1
    for kind, (height, width) in {"tiled": TILE, "whole": (WHOLE, items)}.items():
        states, out = torch.randn(height, WIDTH), torch.empty(height, width)
        spans = [(at, at + width) for at in range(1, items - width + 2, width)]
        with torch.inference_mode():
            torch.mm(states, table[1 : width + 1].T, out=out)
            begun = time.process_time()
            for first, last in spans:
                torch.mm(states, table[first:last].T, out=out)
            spent = time.process_time() - begun
        found[kind] = spent * users / height * items / (len(spans) * width)
    return found


def of_users(counts: list[int], items: int) -> dict[str, Any]:
    rows = []
    for users in counts:
        command = [sys.executable, "-m", "benchmarks.scoring", "--one", str(users), "--items", str(items)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"  {json.dumps(rows[-1])}", flush=True)
    if len(rows) < 2:
        return {"rows": rows}
    slope = statistics.linear_regression([r["users"] for r in rows], [r["peak_mib"] for r in rows]).slope
    return {"rows": rows, "growth_bytes_per_user": slope * 2**20, "log_bytes_per_user": 12 * EVENTS}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--users", type=int, nargs="*", default=[4_000, 16_000, 64_000], help="of the recommendations")
    parser.add_argument("--items", type=int, default=1_000_000, help="of the recommendations")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parsed()
    if options.one:
        print(json.dumps(recommending(options.one, options.items)))
        return
    result: dict[str, Any] = {
        **about(),
        "threads": torch.get_num_threads(),
        "load": load(),
        "ranking": {name: ranking(name, options.runs) for name in options.models},
        "recommending": {"items": options.items, "width": WIDTH, **of_users(options.users, options.items)},
    }
    print(json.dumps(result, indent=1))
    if options.out:
        storage.write_json(options.out, result)


if __name__ == "__main__":
    main()
