"""The main job on the planted bazaar: prepare, encode, two trainings, evaluation, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medleyrec.evaluation.report import Report
from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.evaluate import run_evaluate
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import BAZAAR_OPTIONS as PREPARE
from medleyrec.recipes.prepare import run_prepare
from medleyrec.recipes.train import run_train
from medleyrec.schema import ID, PICTURE, TEXT

TRAIN: dict[str, Any] = {"targets_per_step": 512, "patience": 3, "epochs": 30, "learning_rate": 0.003}
MODEL: dict[str, Any] = {"name": "sasrec", "settings": {"dropout": 0.2}}


def run_demo(project: Path, listener: Listener, *, noise: bool = False, seed: int = 0) -> Report | None:
    """None where Ctrl-C ended it; the same call goes on."""
    base = {"source": {"kind": "bazaar", "noise": noise, "seed": seed}, "prepare": PREPARE, "train": TRAIN}
    run_prepare(load_experiment(project, flags=base), listener)
    run_encode(load_experiment(project, flags=base), listener)
    runs = []
    for items in ((ID,), (ID, TEXT, PICTURE)):
        flags = {**base, "model": {**MODEL, "settings": {**MODEL["settings"], "items": items}}}
        run, interrupted = run_train(load_experiment(project, flags=flags), listener)
        if interrupted:
            return None
        runs.append(run)
    command = f"medley demo --project {project}" + (" --noise" if noise else "")
    return run_evaluate(load_experiment(project, flags=base), listener, runs=runs, command=command)
