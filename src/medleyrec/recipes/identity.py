"""What a run is called and what decides its result: equal settings, data and vectors make equal runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medleyrec import storage
from medleyrec.config import parse
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.split import Split
from medleyrec.models import model_class
from medleyrec.recipes.classes import softmax_choice
from medleyrec.recipes.encode import feature_identity, features_folder
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.prepare import open_dataset
from medleyrec.schema import DESCRIPTIONS


def run_name(experiment: Experiment) -> str:
    """Of the run that `run_train` makes, continues or finds: equal settings, data and vectors have equal names."""
    split = make_split(open_dataset(experiment.project), experiment.split)
    name: str = identity_of(resolved(experiment), split, refit=False)["name"]
    return name


def resolved(experiment: Experiment) -> Experiment:
    """With every setting of the model spelled out and checked; items that nobody chose are those it is made for."""
    cls, given = model_class(experiment.model.name), experiment.model.settings
    if cls.default_items and "items" not in given:
        folder = features_folder(make_split(open_dataset(experiment.project), experiment.split))
        there = [name for name in cls.default_items if (folder / name / "manifest.json").exists()]
        given = {**given, **({"items": there} if there else {})}
    settings = parse(cls.Settings, given, where=f"model {experiment.model.name}")
    return experiment.model_copy(
        update={"model": experiment.model.model_copy(update={"settings": settings.recorded()})}
    )


def identity_of(experiment: Experiment, split: Split, *, refit: bool) -> dict[str, Any]:
    """What decides the result; equal records make equal runs."""
    items = list(experiment.model.settings.get("items", ("id",)))
    features = {}
    for name in items:
        path = features_folder(split) / name / "manifest.json"
        if path.exists():
            features[name] = storage.read_json(path)
    decisive = {
        "model": experiment.model.model_dump(mode="json"),
        "train": experiment.train.model_dump(
            mode="json",
            exclude={
                "device",
                "checkpoint_minutes",
                "seed",
                "softmax_chunk",
                "memory_limit",
                "step_positions",
                "plan",
                "softmax",
                "negatives",
                "optimizer",
            },
        )
        | softmax_choice(experiment, split, refit=refit).to_json(),
        "dataset": split.dataset.manifest["identity"],
        "split": experiment.split.model_dump(mode="json"),
        "features": {n: feature_identity(m) for n, m in features.items()},
        "refit": refit,
    }
    family = storage.hash_json(decisive)
    backbone = experiment.model.settings.get("backbone")
    called = f"{experiment.model.name} on {backbone}" if backbone else experiment.model.name
    return {
        **decisive,
        "family": family,
        "items": items,
        "seed": experiment.train.seed,
        "label": f"{called} ({_shortly(items)})",
        "name": f"{experiment.model.name}-{'+'.join(items)}-{family[:6]}-seed{experiment.train.seed}"
        + ("-refit" if refit else ""),
        "encoders": {
            n: {"encoder": m["encoder"], "revision": m["revision"], **m.get("origin", {})} for n, m in features.items()
        },
    }


def _shortly(items: Sequence[str]) -> str:
    """The parts of an item, its three descriptions under one name."""
    if not set(DESCRIPTIONS) <= set(items):
        return " + ".join(items)
    first = min(items.index(name) for name in DESCRIPTIONS)
    told = [name for name in items if name not in DESCRIPTIONS]
    return " + ".join([*told[:first], "descriptions", *told[first:]])
