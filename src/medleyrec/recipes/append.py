"""New events and new items are appended to a project: the dataset becomes what all of the input at once would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from medleyrec.config import parse
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.journal import InputFile, Inputs
from medleyrec.dataset.prepare import append
from medleyrec.dataset.sql import watched
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import cut, database, dataset_folder, log_files, log_folder, named, open_dataset, told
from medleyrec.schema import CanonicalTables, InputError
from medleyrec.sources import catalogue, sql
from medleyrec.sources import tables as own
from medleyrec.sources.categories import chosen
from medleyrec.sources.files import listed
from medleyrec.sources.tables import TablesConfig, tables

_NO_LOG = (
    'SELECT NULL::VARCHAR AS user_id, NULL::VARCHAR AS item_id, NULL::BIGINT AS timestamp, NULL::BIGINT AS "order" '
    "WHERE false"
)
_FILES = ("interactions", "items", "images", "kind")


def run_append(
    experiment: Experiment,
    listener: Listener,
    *,
    interactions: Sequence[Path] = (),
    items: Sequence[Path] = (),
    images: Path | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
) -> Dataset:
    """Events of `interactions` and entries of `items` on top of what ``<project>/dataset`` was made from.

    Raises InputError where the project's log was not kept, or where a file is in it already.
    """
    project = experiment.project
    before = open_dataset(project)
    _same_options(experiment, before)
    with database(project, listener, memory_limit=memory_limit, threads=threads) as connection:
        with watched(connection, listener.step, "reading the input"):
            more, inputs = _read(connection, before, experiment, tuple(interactions), tuple(items), images)
        for note in more.notes:
            listener.say(note)
        dataset = append(more, dataset_folder(project), log=log_folder(project), inputs=inputs, step=listener.step)
    cut(dataset, experiment)
    for sentence in told(dataset):
        listener.say(sentence)
    return dataset


def _same_options(experiment: Experiment, before: Dataset) -> None:
    options = experiment.prepare.model_dump(mode="json")
    for name in experiment.prepare.model_fields_set & set(options):
        if options[name] != (old := before.manifest["options"][name]):
            raise InputError(
                f"prepare.{name} = {options[name]!r}, but the dataset was prepared with {old!r} and keeps its options "
                "in an append; append first, then run `medley prepare` with the first input and the new options"
            )


def _read(
    connection: duckdb.DuckDBPyConnection,
    before: Dataset,
    experiment: Experiment,
    log: tuple[Path, ...],
    items: tuple[Path, ...],
    images: Path | None,
) -> tuple[CanonicalTables, Inputs]:
    """What the new files hold, read as the first ones were."""
    if before.origin["reading"].get("kind") == "bazaar":
        raise InputError("the planted bazaar is generated as a whole; nothing can be appended to it")
    if not log and not items:
        raise InputError("nothing to append was named; give --append new.csv, --items more.csv or both")
    said = experiment.source if experiment.source.get("kind", "tables") == "tables" else {}
    given = {k: v for k, v in {**before.origin["reading"], **said}.items() if k not in _FILES}
    config = parse(TablesConfig, {**given, "interactions": log or items, "images": images}, where="source")
    if not items:
        return _events(connection, config, before), Inputs(log=_log_files(connection, config), items=())
    goods, found = _goods(connection, config, items, before)
    inputs = Inputs(log=(), items=named(found.items), images=named(found.image_tables))
    if not log:
        return goods, inputs
    events = tables(connection, config.model_copy(update={"images": None}))
    both = replace(goods, interactions=events.interactions, notes=(*events.notes, *goods.notes))
    return both, inputs.model_copy(update={"log": _log_files(connection, config)})


def _log_files(connection: duckdb.DuckDBPyConnection, config: TablesConfig) -> tuple[InputFile, ...]:
    return log_files(connection, listed(config.interactions, what="append"))


def _events(connection: duckdb.DuckDBPyConnection, config: TablesConfig, before: Dataset) -> CanonicalTables:
    """Where there never was a catalogue, the items are those of the log, and pictures are named by them."""
    folder = None if before.origin["catalogue"] else before.origin["image_folder"]
    made = tables(connection, config.model_copy(update={"images": config.images or (folder and Path(folder))}))
    if before.origin["catalogue"] and made.image_folder is not None:
        raise InputError("a picture folder is read with the items that it belongs to; give --items too")
    return made


def _goods(
    connection: duckdb.DuckDBPyConnection, config: TablesConfig, items: tuple[Path, ...], before: Dataset
) -> tuple[CanonicalTables, own.Inputs]:
    """Items without a log: those of an append need not be in it."""
    sql.shut_network(connection)
    found = own.find_inputs(config.model_copy(update={"interactions": items, "items": items}))
    if config.images is None and before.origin["image_folder"] is not None:
        found = found._replace(image_folder=Path(before.origin["image_folder"]))
    separators = chosen(config.category_separator, config.category_path_separator)
    read = catalogue.read_items(connection, found.items, mapping=config.item_columns, separators=separators)
    shown = own.find_pictures(connection, config, found, read)
    made = CanonicalTables(
        connection=connection,
        interactions=connection.sql(_NO_LOG),
        items=connection.sql(own.with_pictures(read, shown.folder)),
        images=connection.sql(shown.query) if shown.query else None,
        image_folder=shown.folder,
        notes=(*read.notes, *shown.notes),
    )
    return made, found
