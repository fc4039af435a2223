"""The short cases of the regression guard: what each sets up, and the work that is counted.

    python -m benchmarks.guard_cases [CASE ...] [--repeats 5]        (one JSON object: case -> figures, or its error)

Which Medley is measured is up to PYTHONPATH; nothing here may need more of it than an older revision offers. All is
generated, and equal on every call, so that a count of instructions is the same on every call.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.counting import Instructions, counted

USERS, ITEMS, EVENTS, WIDTH, LABELS, LENGTH, TARGETS = 1_500, 3_000, 12, 128, 40, 20, 512
RANKED = 20_000  # items that all users are ranked among
Work = Callable[[], object]


def log(items: int) -> Any:
    from medleyrec.dataset.split import TrainingLog

    rng = np.random.default_rng(0)
    ends = EVENTS * np.arange(1, USERS + 1)
    rows = (1 + rng.random(USERS * EVENTS) ** 2 * items).astype(np.int32)
    times = 1_000_000_000 + rng.integers(0, 86_400, len(rows)).cumsum()
    return TrainingLog(rows, times, ends - EVENTS, ends, items + 1)


def model(name: str, items: int) -> Any:
    import torch

    from medleyrec.models import build
    from medleyrec.models.categories import Categories
    from medleyrec.schema import Facts, Features

    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    facts = Facts(num_items=items + 1, num_categories=LABELS, start_time=1_000_000_000, max_gap=86_400)
    if name in ("sasrec", "gru4rec"):
        return build(name, facts, width=64, max_length=LENGTH)
    vectors = {kind: rng.normal(size=(items + 1, WIDTH)).astype(np.float16) for kind in ("text", "image")}
    features = Features(vectors=vectors, present=dict.fromkeys(vectors, np.arange(items + 1) > 0))
    offsets = np.maximum(np.arange(items + 2) - 1, 0)
    categories = Categories(offsets=offsets, labels=rng.integers(LABELS, size=items).astype(np.int32), count=LABELS)
    return build(name, facts, features, categories=categories, items=("id", "text", "image"), max_length=LENGTH)


def training(name: str) -> Work:
    """Optimiser steps with all losses."""
    import torch

    from medleyrec.dataset.batches import DeviceLog, one_pass_windows, plan_steps
    from medleyrec.training.module import TrainingModule

    events = log(ITEMS)
    windows = one_pass_windows(events, max_length=LENGTH, stride=LENGTH // 2)
    module = TrainingModule(model(name, ITEMS), classes=ITEMS + 1, chunk=256).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    rows, plan = DeviceLog(events, windows), plan_steps(windows, seed=0, epoch=0, targets_per_step=TARGETS)
    steps = 2 if name in ("hm4sr", "cammsr") else 6

    def work() -> None:
        torch.manual_seed(0)
        for number in range(steps):
            module(rows.batch(plan[number]))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return work


def ranking(*, first: bool) -> Work:
    """All users among all items: their ranks, or their first ten."""
    import torch

    from medleyrec.dataset.batches import history_batches
    from medleyrec.evaluation.ranking import rank_events, top_items
    from medleyrec.models.base import Frozen
    from medleyrec.schema import EvalEvents

    data, ranker = log(RANKED), Frozen(model("sasrec", RANKED).eval())
    events = EvalEvents(np.arange(USERS), data.starts, data.ends - 1, data.items[data.ends - 1])
    candidates = torch.arange(1, RANKED + 1)

    def work() -> object:
        batches = history_batches(data.items, data.times, events, max_length=LENGTH, rows=512)
        return top_items(ranker, batches, candidates, 10) if first else rank_events(ranker, batches, events, candidates)

    return work


def preparing() -> Work:
    """A log of a few thousand events: filtered, ordered, indexed and written."""
    import pyarrow as pa

    from medleyrec.dataset import PrepareConfig, prepare
    from medleyrec.dataset.sql import connect
    from medleyrec.schema import CanonicalTables

    data = log(ITEMS)
    users = np.repeat(np.arange(USERS), EVENTS).astype(str)
    table = pa.table({"user_id": users, "item_id": data.items.astype(str), "timestamp": data.times})
    goods = (
        "SELECT DISTINCT item_id, NULL::VARCHAR AS title, NULL::VARCHAR AS description, NULL::VARCHAR AS brand, "
        "NULL::VARCHAR[][] AS categories, NULL::DOUBLE AS price, NULL::VARCHAR AS image FROM log"
    )

    def work() -> None:
        connection = connect()
        connection.sql("SET threads = 1")
        connection.register("log", table)
        tables = CanonicalTables(connection, connection.sql("FROM log"), connection.sql(goods))
        with tempfile.TemporaryDirectory() as folder:
            prepare(tables, Path(folder) / "dataset", PrepareConfig(min_user_events=1, min_item_events=1))

    return work


def encoding() -> Work:
    """The embedded text encoder: fitted on texts, then asked for all of them."""
    from medleyrec.features import encoder_class

    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in row).encode() for row in (rng.random((1_000, 12)) ** 3 * 3_000).astype(int)]
    kind = encoder_class("tfidf-svd")
    return lambda: kind.fit(texts).encode(texts)


CASES: dict[str, Callable[[], Work]] = {
    **{f"train {name}": (lambda name=name: training(name)) for name in ("sasrec", "gru4rec", "hm4sr", "cammsr")},
    "rank all users": lambda: ranking(first=False),
    "first ten of all users": lambda: ranking(first=True),
    "prepare a log": preparing,
    "encode texts": encoding,
}


def measured(name: str, repeats: int) -> dict[str, float]:
    """The least CPU seconds of `repeats` calls after one that warms up, and the least instructions where countable."""
    work = CASES[name]()
    work()
    seconds, instructions = [], []
    with Instructions() as counter:
        for _ in range(repeats):
            before, begun = counter.read(), time.process_time()
            work()
            seconds.append(time.process_time() - begun)
            instructions.append(counter.read() - before)
    return {"seconds": min(seconds), "instructions": min(instructions)}


def called(name: str) -> None:
    """Once more after a call that warms up, for Valgrind to count."""
    work = CASES[name]()
    work()
    with counted():
        work()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--valgrind", action="store_true", help="call once; Valgrind counts")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for name in options.cases:
        try:
            found[name] = called(name) if options.valgrind else measured(name, options.repeats)
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
