"""A source becomes the dataset of a project."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from medleyrec import storage
from medleyrec.config import parse
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.journal import InputFile, Inputs
from medleyrec.dataset.prepare import PrepareConfig, is_prepared, prepare
from medleyrec.dataset.sql import connect, half_of_memory, scalar, watched
from medleyrec.models import load
from medleyrec.recipes.experiment import SPLIT_CHOICE, Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.schema import TIME_CUT, InputError
from medleyrec.sources import SOURCES
from medleyrec.sources.faults import complaint

TRUTH = "truth.json"
DESCRIBED = "described.parquet"
"""The bazaar's own descriptions, for `medley describe --answers`."""
BAZAAR_OPTIONS = {"min_user_events": 1, "min_item_events": 1}
"""The bazaar is clean as it comes, and its oracle ranks all of its items."""


def dataset_folder(project: Path) -> Path:
    return project / "dataset"


def log_folder(project: Path) -> Path:
    """The journal: all that was read."""
    return project / "log"


def open_dataset(project: Path) -> Dataset:
    """Raises InputError where the project has none yet."""
    if project.parent.name == "runs" and project.parent.is_dir() and not project.is_dir():
        there = ", ".join(sorted(path.name for path in project.parent.iterdir())) or "none yet"
        raise InputError(f"{project} is no run; there are: {there}")
    if not project.is_dir():
        raise InputError(f"{project} is not a folder; `medley prepare {project} --interactions log.csv` makes it")
    return Dataset.open(dataset_folder(project))


def run_prepare(
    experiment: Experiment, listener: Listener, *, memory_limit: str | None = None, threads: int | None = None
) -> Dataset:
    """Read the source, write ``<project>/dataset`` and cut it; finished work is found and said."""
    experiment = _without_foresight(experiment)
    kind, settings = experiment.source_config()
    project = experiment.project
    if kind == "bazaar" and _bazaar_is_there(settings, experiment):
        dataset = open_dataset(project)
        listener.say(f"{dataset!r} is there already, made from the same settings")
        return dataset
    with database(project, listener, memory_limit=memory_limit, threads=threads) as connection:
        with watched(connection, listener.step, "reading the input"):
            tables = load(SOURCES[kind])(connection, settings)
        for note in tables.notes:
            listener.say(note)
        dataset, done = prepare(
            tables,
            dataset_folder(project),
            experiment.prepare,
            log=log_folder(project),
            inputs=inputs_of(connection, kind, settings),
            reading=reading_of(kind, settings),
            step=listener.step,
        )
    cut(dataset, experiment)
    _write_truth(kind, settings, project)
    for sentence in told(dataset) if done else [_found(dataset)]:
        listener.say(sentence)
    return dataset


def _without_foresight(experiment: Experiment) -> Experiment:
    """Under a time cut, who and what is too rare is decided by what came before it, unless told otherwise."""
    split, options = experiment.split, experiment.prepare
    filters = max(options.min_user_events, options.min_item_events) > 1
    if split.kind != TIME_CUT or not filters or "filter_until" in options.model_fields_set:
        return experiment
    share = 100 * (1 - split.validation_share - split.test_share)
    until = split.validation_from or f"{share:.6g}%"
    told = parse(
        PrepareConfig, {**options.model_dump(), "keep_log": options.keep_log, "filter_until": until}, where="prepare"
    )
    return experiment.model_copy(update={"prepare": told})


@contextmanager
def database(
    project: Path, listener: Listener, *, memory_limit: str | None = None, threads: int | None = None
) -> Iterator[Any]:
    """A connection that spills into the project folder, which is removed at the end; its faults are sentences."""
    spill = project / ".spill"
    project.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(spill, ignore_errors=True)  # of a run that was killed
    if memory_limit is None and (half := half_of_memory()):
        memory_limit = f"{half >> 20}MiB"
        listener.say(f"DuckDB uses up to {half / 2**30:.1f} GiB, half of the memory here (--memory-limit changes it).")
    connection = connect(spill=spill, memory_limit=memory_limit, threads=threads)
    try:
        yield connection
    except duckdb.Error as error:
        raise InputError(complaint(str(error), where="the log")) from None
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def inputs_of(connection: duckdb.DuckDBPyConnection, kind: str, settings: Any) -> Inputs:
    """The files behind tables of a user's own, by which later ones are put in order."""
    if kind != "tables":
        return Inputs()
    from medleyrec.sources import tables as own

    found = own.find_inputs(settings)
    return Inputs(log=log_files(connection, found.log), items=named(found.items), images=named(found.image_tables))


def log_files(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> tuple[InputFile, ...]:
    """With the events in each, counted where there are several."""
    from medleyrec.sources.files import open_file

    if len(paths) == 1:
        return named(paths)
    counted = [(path, scalar(connection, f"SELECT count(*) FROM {open_file(connection, path).scan}")) for path in paths]
    return tuple(InputFile(name=path.name, place=str(path), rows=rows) for path, rows in counted)


def named(paths: Sequence[Path]) -> tuple[InputFile, ...]:
    return tuple(InputFile(name=path.name, place=str(path)) for path in paths)


def reading_of(kind: str, settings: Any) -> dict[str, Any]:
    """How a user's own tables are read, wherever they lie: what an append is told again."""
    if kind != "tables":
        return {"kind": kind}
    return {"kind": kind, **settings.model_dump(mode="json", exclude={"interactions", "items", "images"})}


def _found(dataset: Dataset) -> str:
    grown = len(dataset.origin["parts"]) - 1
    appended = f", with {grown} {'append' if grown == 1 else 'appends'} since" if grown > 0 else ""
    return f"{dataset!r} is there already, made from the same input and options{appended}"


def cut(dataset: Dataset, experiment: Experiment) -> None:
    """Make the split, and keep the choice for the later steps of this project."""
    make_split(dataset, experiment.split)
    if "split" in experiment.model_fields_set:
        storage.write_json(experiment.project / SPLIT_CHOICE, experiment.split.model_dump(mode="json"))


def _bazaar_is_there(settings: object, experiment: Experiment) -> bool:
    from medleyrec.sources.bazaar import BazaarConfig, fingerprint

    assert isinstance(settings, BazaarConfig)
    there = is_prepared(dataset_folder(experiment.project), fingerprint(settings), experiment.prepare)
    return there and all((experiment.project / name).exists() for name in (TRUTH, DESCRIBED))


def _write_truth(kind: str, settings: object, project: Path) -> None:
    """Beside a planted dataset lies what was planted, and descriptions of its items from the grammar."""
    truth_file, described = project / TRUTH, project / DESCRIBED
    if kind == "bazaar":
        from medleyrec.sources.bazaar import BazaarConfig, truth, write_descriptions

        assert isinstance(settings, BazaarConfig)
        write_descriptions(settings, described)
        storage.write_json(truth_file, truth(settings).to_json())
    elif truth_file.exists():  # of a bazaar that this dataset replaces
        described.unlink(missing_ok=True)
        truth_file.unlink()


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
