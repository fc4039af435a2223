"""Canonical tables -> a dataset folder: cleaned, filtered to its k-core, densely numbered, ordered; and more of them
appended to it.

Guaranteed: equal events, items and options give equal bytes of every file but origin.json, in however many files and
appends they came; item rows and user rows follow the sorted external ids, so they do not depend on the order of the
input; events of a user are sorted by (time, order); a killed run leaves what was there before.

    coding       the tables become a part of the journal: integers and dictionaries
    journal      all parts as one log
    order        cleaned and sorted, flat on disk
    core, facts  the k-core; what is left is written
    catalogue, pictures, categories   what is known of the items
    build        all of these in turn
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medleyrec import storage
from medleyrec.dataset.build import WORK, PrepareConfig, build
from medleyrec.dataset.coding import write_part
from medleyrec.dataset.dataset import FORMAT_VERSION, ORIGIN, Dataset
from medleyrec.dataset.journal import Inputs, Part, free_name, open_parts, sweep
from medleyrec.dataset.sql import Step, silent
from medleyrec.schema import CanonicalTables, InputError

__all__ = ["PrepareConfig", "append", "is_prepared", "prepare"]


def prepare(
    tables: CanonicalTables,
    folder: Path,
    config: PrepareConfig,
    *,
    log: Path | None = None,
    inputs: Inputs | None = None,
    reading: dict[str, Any] | None = None,
    step: Step = silent,
) -> tuple[Dataset, bool]:
    """Build `folder`, or find it finished from the same input and options. Returns (dataset, was anything done).

    log: folder of the journal, which later appends need; None (or `keep_log` off): it is not kept. inputs: the files
    that the tables came from. reading: what the source should be told again when more is appended.
    Raises InputError where nothing is left after the filters or a value cannot be used.
    """
    if is_prepared(folder, tables.fingerprint, config, log=log):
        return _moved(folder, tables), False
    kept = log if config.keep_log else None
    with _swept(log, folder), storage.atomic_folder(folder) as partial:
        home = kept or partial / WORK / "log"
        parts = _same_parts(folder, home, tables) or [_part(tables, inputs or Inputs(), home, [], step)]
        build(tables.connection, parts, partial, config, pictured=tables.image_folder is not None, step=step)
        _write_origin(partial, tables, parts, kept=kept is not None, reading=reading or {})
    return Dataset.open(folder), True


def append(
    tables: CanonicalTables, folder: Path, *, log: Path, inputs: Inputs | None = None, step: Step = silent
) -> Dataset:
    """Build `folder` anew from all that it came from and from `tables`, under the same options.

    Raises InputError where its journal was not kept, or where a file of the log is in it already.
    """
    before = Dataset.open(folder)
    origin = before.origin
    if not origin["parts"]:
        raise InputError(
            f"{folder} was prepared with keep_log = false, so nothing can be appended to it; run `medley prepare` once "
            "with all input files and --set prepare.keep_log=true"
        )
    image_folder = _one_image_folder(origin, tables)
    config = PrepareConfig(**before.manifest["options"])
    with _swept(log, folder), storage.atomic_folder(folder) as partial:
        parts = open_parts(log, origin["parts"])
        parts.append(_part(tables, inputs or Inputs(), log, parts, step))
        _refuse_repeats(parts, folder)
        build(tables.connection, parts, partial, config, pictured=image_folder is not None, step=step)
        grown = {
            "parts": [part.folder.name for part in parts],
            "image_folder": image_folder,
            "notes": [*origin["notes"], *tables.notes],
            "catalogue": any(part.item_files for part in parts),
            "files": _told(parts),
        }
        storage.write_json(partial / ORIGIN, {**origin, **grown})
    return Dataset.open(folder)


def is_prepared(folder: Path, fingerprint: str, config: PrepareConfig, *, log: Path | None = None) -> bool:
    """Whether `folder` holds what input of this fingerprint, and what was appended to it, gives under these options.

    log: then its journal must be there too, or not be there, as the options say.
    """
    if not fingerprint or not (folder / ORIGIN).exists() or not (folder / "manifest.json").exists():
        return False
    origin, manifest = storage.read_json(folder / ORIGIN), storage.read_json(folder / "manifest.json")
    if manifest.get("format_version") != FORMAT_VERSION or origin["source"] != fingerprint:
        return False
    if manifest["options"] != config.model_dump(mode="json"):
        return False
    kept = [] if log is None else [(log / name).is_dir() for name in origin["parts"]]
    return log is None or (bool(kept) == config.keep_log and all(kept))


@contextmanager
def _swept(log: Path | None, folder: Path) -> Iterator[None]:
    """However this ends, the journal keeps the parts that the dataset in `folder` then comes from, and no others."""
    try:
        yield
    finally:
        if log is not None:
            path = folder / ORIGIN
            sweep(log, storage.read_json(path)["parts"] if path.exists() else [])


def _moved(folder: Path, tables: CanonicalTables) -> Dataset:
    """The dataset that is there already; its pictures may lie elsewhere by now."""
    origin = storage.read_json(folder / ORIGIN)
    if (place := _place(tables)) is not None and place != origin["image_folder"]:
        storage.write_json(folder / ORIGIN, {**origin, "image_folder": place})
    return Dataset.open(folder)


def _place(tables: CanonicalTables) -> str | None:
    return str(tables.image_folder.resolve()) if tables.image_folder is not None else None


def _write_origin(
    folder: Path,
    tables: CanonicalTables,
    parts: Sequence[Part],
    *,
    kept: bool,
    reading: dict[str, Any],
) -> None:
    """Where and how the input lay: all that may differ between equal datasets."""
    origin = {
        "source": tables.fingerprint,
        "notes": list(tables.notes),
        "image_folder": _place(tables),
        "reading": reading,
        "catalogue": any(part.item_files for part in parts),
        "parts": [part.folder.name for part in parts] if kept else [],
        "files": _told(parts),
    }
    storage.write_json(folder / ORIGIN, origin)


def _told(parts: Sequence[Part]) -> list[dict[str, Any]]:
    return [{"name": f.name, "events": f.rows} for part in parts for f in part.files]


def _same_parts(folder: Path, home: Path, tables: CanonicalTables) -> list[Part]:
    """The journal that is there already of the same input, and of what was appended to it."""
    if not tables.fingerprint or not (folder / ORIGIN).exists():
        return []
    origin = storage.read_json(folder / ORIGIN)
    if origin["source"] != tables.fingerprint:
        return []
    try:
        return open_parts(home, origin["parts"])
    except InputError:
        return []


def _part(tables: CanonicalTables, inputs: Inputs, home: Path, earlier: Sequence[Part], step: Step) -> Part:
    place = home / free_name(home)
    with storage.atomic_folder(place) as partial:
        part = write_part(tables, inputs, partial, earlier, step)
    return part.model_copy(update={"folder": place})


def _one_image_folder(origin: dict[str, Any], tables: CanonicalTables) -> str | None:
    old, new = origin["image_folder"], _place(tables)
    if old is not None and new is not None and old != new:
        raise InputError(
            f"the pictures of this dataset lie in {old}, those of the new items in {new}; put them into one folder"
        )
    return old or new


def _refuse_repeats(parts: Sequence[Part], folder: Path) -> None:
    known = {file.content: file for part in parts[:-1] for file in part.files if file.rows}
    for file in parts[-1].files:
        if (twin := known.get(file.content)) is not None:
            same = "" if twin.name == file.name else f", as {twin.name}"
            raise InputError(
                f"the {file.rows:,} events of {file.name} are in {folder} already{same}; leave this file out"
            )
