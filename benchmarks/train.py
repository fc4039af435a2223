"""How fast SASRec trains and is evaluated, beside the bare matrix products of the same shapes timed in the same run.

    python -m benchmarks.train PROJECT [--epochs 8]      (default: a generated log of the size of Amazon Beauty)

Reported: seconds per epoch of one-pass training and of prefix mode, the ratio to the three products of the catalogue
softmax (logits, gradient of the states, gradient of the items), evaluation of all users as a share of an epoch, and the
validation curve of both modes epoch by epoch. Products and steps are timed alternately, medians are quoted.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from medleyrec import storage
from medleyrec.dataset import Dataset, PrepareConfig, Split, leave_one_out, prepare
from medleyrec.dataset.batches import DeviceLog, Windows, one_pass_windows, plan_steps, prefix_windows
from medleyrec.dataset.sql import connect
from medleyrec.models import build
from medleyrec.models.base import Frozen
from medleyrec.recipes.ranking import metric_means, ranks_of
from medleyrec.schema import VALIDATION, CanonicalTables
from medleyrec.training.config import TrainConfig
from medleyrec.training.loop import Trainer
from medleyrec.training.module import TrainingModule
from medleyrec.training.objectives import CHUNKS, calibrate_chunk

LENGTH, WIDTH, TARGETS = 50, 64, 1024
BEAUTY = {"users": 22_363, "items": 12_101, "events": 198_502}


def generated(folder: Path) -> Dataset:
    """A log of Beauty's size: power-law popularity, at least five events per user."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    extra = rng.geometric(1 / (1 + BEAUTY["events"] / BEAUTY["users"] - 5), BEAUTY["users"]) - 1
    users = np.repeat(np.arange(BEAUTY["users"]), 5 + extra)
    weights = (1 + np.arange(BEAUTY["items"])) ** -0.6
    items = rng.choice(BEAUTY["items"], len(users), p=weights / weights.sum())
    times = rng.integers(1_200_000_000, 1_400_000_000, len(users))
    log = pa.table({"user_id": users.astype(str), "item_id": items.astype(str), "timestamp": times})
    connection = connect()
    connection.register("log", log)
    goods = connection.sql(
        "SELECT DISTINCT item_id, NULL::VARCHAR AS title, NULL::VARCHAR AS description, NULL::VARCHAR AS brand, "
        "NULL::VARCHAR[][] AS categories, NULL::DOUBLE AS price, NULL::VARCHAR AS image FROM log"
    )
    tables = CanonicalTables(connection, connection.sql("FROM log"), goods)
    return prepare(tables, folder, PrepareConfig(min_user_events=1, min_item_events=1))[0]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def products(classes: int, targets: int, chunk: int) -> Callable[[], None]:
    """The three matrix products of one step's softmax, chunk by chunk as the softmax does them."""
    states, rows = torch.randn(targets, WIDTH), torch.randn(classes, WIDTH)
    gradient, logits = torch.zeros(classes, WIDTH), torch.empty(chunk, classes)

    def work() -> None:
        for at in range(0, targets, chunk):
            part = states[at : at + chunk]
            out = logits[: len(part)]
            torch.mm(part, rows.T, out=out)
            torch.mm(out, rows)
            gradient.addmm_(out.T, part)

    return work


def model_of(split: Split, seed: int) -> Any:
    torch.manual_seed(seed)
    return build("sasrec", split.facts, width=WIDTH, max_length=LENGTH, depth=2, heads=2, dropout=0.5)


def evaluation(split: Split, model: Any, part: str = VALIDATION) -> dict[str, float]:
    model.eval()
    return metric_means(ranks_of(Frozen(model), split, split.eval_events(part), max_length=LENGTH), [10])


def speed(split: Split, windows: Windows, chunk: int, runs: int) -> dict[str, float]:
    """One epoch's steps, the products of as many targets, and an evaluation, alternately."""
    classes = split.dataset.num_log_items
    module = TrainingModule(model_of(split, 0), classes=classes, chunk=chunk).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    log = DeviceLog(split.training_log(), windows)
    bare = products(classes - 1, TARGETS, chunk)

    def epoch() -> None:
        module.train()
        for rows in plan_steps(windows, seed=0, epoch=0, targets_per_step=TARGETS):
            module(log.batch(rows))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def bare_epoch() -> None:
        for _ in range(round(windows.targets / TARGETS)):
            bare()

    bare_epoch()
    rows = []
    for _ in range(runs):
        own, other = seconds(epoch), seconds(bare_epoch)
        judged = seconds(lambda: evaluation(split, module.model))
        rows.append((own, other, own / other, judged / own, judged))
        print(
            "  epoch {:.2f} s, products {:.2f} s, ratio {:.2f}, evaluation {:.3f} of an epoch ({:.2f} s)".format(
                *rows[-1]
            )
        )
    middle = [statistics.median(column) for column in zip(*rows, strict=True)]
    ratios = [row[2] for row in rows]
    return {
        "epoch_seconds": middle[0],
        "products_seconds": middle[1],
        "ratio": middle[2],
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "evaluation_share": middle[3],
        "evaluation_seconds": middle[4],
        "targets_per_second": windows.targets / middle[0],
        "gflops_of_products": 6e-9 * windows.targets * WIDTH * (classes - 1) / middle[1],
    }


def curve(split: Split, windows: Windows, chunk: int, epochs: int) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []

    def note(entry: dict[str, Any]) -> None:
        found.append({"loss": entry["loss"], "ndcg@10": entry["validation"]["ndcg@10"], "seconds": entry["seconds"]})
        print(f"  epoch {len(found)}: {found[-1]}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        model = model_of(split, 0)
        Trainer(
            TrainingModule(model, classes=split.dataset.num_log_items, chunk=chunk),
            DeviceLog(split.training_log(), windows),
            windows,
            TrainConfig(epochs=epochs, patience=epochs, targets_per_step=TARGETS, softmax_chunk=chunk, device="cpu"),
            Path(folder) / "run",
            accelerator=Accelerator(cpu=True),
            validate=lambda: evaluation(split, model),
            on_epoch=note,
        ).run()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", nargs="?", type=Path, help="a prepared project; by default a generated log")
    parser.add_argument("--epochs", type=int, default=0, help="epochs of the validation curves of both modes")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Dataset.open(options.project / "dataset") if options.project else generated(Path(folder) / "dataset")
        split = leave_one_out(data)
        log = split.training_log()
        passes = {
            "one-pass": one_pass_windows(log, max_length=LENGTH, stride=LENGTH // 2),
            "prefix": prefix_windows(log, max_length=LENGTH),
        }
        chunk = calibrate_chunk(targets=TARGETS, width=WIDTH, classes=data.num_log_items - 1, device="cpu")
        print(f"{data!r}; {torch.get_num_threads()} threads, torch {torch.__version__}, chunk {chunk} of {CHUNKS}")
        result: dict[str, Any] = {
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
            "users": len(data),
            "items": data.num_log_items - 1,
            "targets": passes["one-pass"].targets,
            "one-pass": speed(split, passes["one-pass"], chunk, options.runs),
        }
        if options.epochs:
            result["curves"] = {name: curve(split, w, chunk, options.epochs) for name, w in passes.items()}
        print(json.dumps(result, indent=1))
        if options.out:
            storage.write_json(options.out, result)


if __name__ == "__main__":
    main()
