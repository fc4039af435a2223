"""A format's files, staged and with their columns named -> canonical tables, through the reader of plain tables.

So every format meets the same checks and sentences, and differs only in how it is translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medleyrec.config import Config
from medleyrec.schema import CanonicalTables, InputError
from medleyrec.sources import pictures
from medleyrec.sources.files import is_folder, refuse_remote
from medleyrec.sources.staging import Staging
from medleyrec.sources.tables import TablesConfig, tables
from medleyrec.storage import hash_file, hash_json

_READER = 1
"""Raised whenever equal files and settings would give other tables."""
_PICTURE_FOLDERS = ("images", "posters", "covers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a format was translated into: plain tables, their columns, and the files that they came from."""

    log: tuple[Path, ...]
    columns: Mapping[str, str]
    originals: tuple[Path, ...]
    items: tuple[Path, ...] = ()
    item_columns: Mapping[str, str] = field(default_factory=dict)
    images: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the reader of plain tables."""
    notes: tuple[str, ...] = ()


def assembled(staging: Staging, parts: Parts, *, kind: str, settings: Config) -> CanonicalTables:
    """Raises InputError where the tables do not fit, in the names of the original files."""
    config = TablesConfig(
        interactions=parts.log,
        items=parts.items or None,
        images=parts.images,
        columns=dict(parts.columns),
        item_columns=dict(parts.item_columns),
        **parts.options,
    )
    try:
        made = tables(staging.connection, config)
    except InputError as error:
        raise InputError(staging.told(str(error))) from None
    notes = tuple(staging.told(note) for note in (*parts.notes, *made.notes))
    return replace(made, fingerprint=_fingerprint(made, parts, kind, settings), notes=notes)


def _fingerprint(made: CanonicalTables, parts: Parts, kind: str, settings: Config) -> str:
    """Of the original files: how DuckDB lays out a staged file may differ from one time to the next."""
    told = settings.model_dump(mode="json", exclude={"folder", "interactions", "items", "images"})
    shown = ""
    if made.image_folder is not None:
        shown = pictures.inspect(made.connection, made.items.sql_query(), made.image_folder).digest
    elif parts.images is not None:
        files = [parts.images] if parts.images.is_file() else sorted(p for p in parts.images.iterdir() if p.is_file())
        shown = hash_json([hash_file(p) for p in files])
    hashes = [[p.name, hash_file(p)] for p in parts.originals]
    return hash_json({"reader": [kind, _READER], "settings": told, "files": hashes, "pictures": shown})


def existing_folder(folder: Path) -> Path:
    refuse_remote(folder)
    if not is_folder(folder):
        raise InputError(f"folder = {str(folder)!r} is not there or is no folder; name the unpacked data set's folder")
    return folder


def pictures_of(folder: Path, chosen: Path | None) -> Path | None:
    """The setting, else a subfolder with one of the usual names that holds pictures."""
    if chosen is not None:
        refuse_remote(chosen)
        if not chosen.exists():
            raise InputError(f"images = {str(chosen)!r} does not exist; name a folder of pictures or a Parquet table")
        return chosen
    places = sorted(p for p in folder.iterdir() if p.is_dir() and _is_picture_folder(p))
    return next((p for p in places if pictures.has_pictures(p)), None)


def _is_picture_folder(path: Path) -> bool:
    return path.name.lower() in _PICTURE_FOLDERS or path.name.lower().endswith("covers")
