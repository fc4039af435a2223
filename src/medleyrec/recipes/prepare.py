"""A source becomes the dataset of a project."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

from medleyrec import storage
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.prepare import is_prepared, prepare
from medleyrec.dataset.sql import connect
from medleyrec.models import load
from medleyrec.recipes.experiment import SPLIT_CHOICE, Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.schema import InputError
from medleyrec.sources import SOURCES

TRUTH = "truth.json"
BAZAAR_OPTIONS = {"min_user_events": 1, "min_item_events": 1}
"""The bazaar is clean as it comes, and its oracle ranks all of its items."""


def dataset_folder(project: Path) -> Path:
    return project / "dataset"


def open_dataset(project: Path) -> Dataset:
    """Raises InputError where the project has none yet."""
    if not project.is_dir():
        raise InputError(f"{project} is not a folder; `medley prepare {project} --interactions log.csv` makes it")
    return Dataset.open(dataset_folder(project))


def run_prepare(
    experiment: Experiment, listener: Listener, *, memory_limit: str | None = None, threads: int | None = None
) -> Dataset:
    """Read the source, write ``<project>/dataset`` with its leave-one-out split; finished work is found and said."""
    kind, settings = experiment.source_config()
    project = experiment.project
    if kind == "bazaar" and _bazaar_is_there(settings, experiment):
        dataset = open_dataset(project)
        listener.say(f"{dataset!r} is there already, made from the same settings")
        return dataset
    project.mkdir(parents=True, exist_ok=True)
    spill = project / ".spill"
    connection = connect(spill=spill, memory_limit=memory_limit, threads=threads)
    try:
        tables = load(SOURCES[kind])(connection, settings)
        for note in tables.notes:
            listener.say(note)
        dataset, done = prepare(tables, dataset_folder(project), experiment.prepare)
    except duckdb.Error as error:
        raise InputError(f"the log could not be prepared: {str(error).splitlines()[0]}") from None
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)
    _cut(dataset, experiment)
    _write_truth(kind, settings, project)
    for sentence in told(dataset) if done else [f"{dataset!r} is there already, made from the same input and options"]:
        listener.say(sentence)
    return dataset


def _cut(dataset: Dataset, experiment: Experiment) -> None:
    """Make the split, and keep the choice for the later steps of this project."""
    make_split(dataset, experiment.split)
    if "split" in experiment.model_fields_set:
        storage.write_json(experiment.project / SPLIT_CHOICE, experiment.split.model_dump(mode="json"))


def _bazaar_is_there(settings: object, experiment: Experiment) -> bool:
    from medleyrec.sources.bazaar import BazaarConfig, fingerprint

    assert isinstance(settings, BazaarConfig)
    there = is_prepared(dataset_folder(experiment.project), fingerprint(settings), experiment.prepare)
    return there and (experiment.project / TRUTH).exists()


def _write_truth(kind: str, settings: object, project: Path) -> None:
    """Beside a planted dataset lies what was planted."""
    path = project / TRUTH
    if kind == "bazaar":
        from medleyrec.sources.bazaar import BazaarConfig, truth

        assert isinstance(settings, BazaarConfig)
        storage.write_json(path, truth(settings).to_json())
    else:
        path.unlink(missing_ok=True)


def told(dataset: Dataset) -> list[str]:
    """What preparation found, in sentences."""
    m = dataset.manifest
    raw, left, facts, share = m["raw_counts"], m["counts"], m["facts"], m["coverage"]
    rounds = max(len(m["rounds"]) - 1, 0)
    options = m["options"]
    return [
        f"{left['users']:,} users, {left['items_in_log']:,} items and {left['events']:,} events are left of "
        f"{raw['users']:,}, {raw['items']:,} and {raw['events']:,} after filters and {rounds} rounds of the k-core "
        f"(users {options['min_user_events']}, items {options['min_item_events']}).",
        f"Items with a title {share['title']:.1%}, a description {share['description']:.1%}, "
        f"categories {share['categories']:.1%}, a picture {share['image']:.1%}.",
        f"{facts['tied_consecutive_events']:.1%} of consecutive events have equal times; for "
        f"{facts['users_with_last_two_tied']:.1%} of users the last two do: the order of these is the input's.",
        f"{facts['repeat_rate']:.1%} of events repeat an item of the same user.",
    ]
