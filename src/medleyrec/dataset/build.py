"""The journal -> all files of a dataset but origin.json; equal rows and options give equal bytes.

Letters:  V items, row 0 being padding
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
from pydantic import Field, field_validator, model_validator

from medleyrec import storage
from medleyrec.config import Config
from medleyrec.dataset.catalogue import coverage, hash_rows, number_items, write_catalogue, write_users
from medleyrec.dataset.categories import save_categories
from medleyrec.dataset.core import Left, k_core, resolve, share_of
from medleyrec.dataset.dataset import FORMAT_VERSION, ORIGIN
from medleyrec.dataset.facts import write_log
from medleyrec.dataset.journal import Journal, Part
from medleyrec.dataset.moments import seconds_of
from medleyrec.dataset.order import Duplicates, Filters, OrderedLog, order_log
from medleyrec.dataset.pictures import save_pictures
from medleyrec.dataset.sql import Step, watched
from medleyrec.schema import EVENT, IMAGE, RATING, InputError

WORK = "work"
"""Folder inside the unfinished dataset for what is needed on the way."""


class PrepareConfig(Config):
    """How a log is cleaned. Everything here but `keep_log` is part of the dataset's identity."""

    min_user_events: int = Field(default=5, ge=1, description="k of the k-core for users")
    min_item_events: int = Field(default=5, ge=1, description="k of the k-core for items")
    filter_until: str | None = Field(
        default=None,
        description="only events before this date, or before this share of the events in time order (80%), decide the "
        "k-core; who or what first occurs later stays",
    )
    duplicates: Duplicates = Field(default="all", description="which events of the same user and item stay")
    min_rating: float | None = Field(default=None, description="drop events rated below")
    events: tuple[str, ...] = Field(default=(), description="keep these event types only, such as purchase")
    whole_catalogue: bool = Field(default=False, description="also number catalogue items that the filtered log lacks")
    keep_log: bool = Field(
        default=True, exclude=True, description="keep what was read, in the project's folder `log`, for later appends"
    )

    @field_validator("filter_until", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """TOML has dates of its own."""
        return value.isoformat() if hasattr(value, "isoformat") else value

    @field_validator("filter_until")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None and share_of(value) is None:
            seconds_of(value)
        return value

    @model_validator(mode="after")
    def _no_leak(self) -> PrepareConfig:
        if self.filter_until is not None and self.duplicates == "last":
            raise ValueError(
                'duplicates = "last" lets later events decide which past ones stay, which filter_until is there to '
                'prevent; choose "first" or "all"'
            )
        return self


def build(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    folder: Path,
    config: PrepareConfig,
    *,
    pictured: bool,
    step: Step,
) -> None:
    """pictured: whether the pictures that items name lie in a folder.

    Raises InputError where nothing is left after the filters.
    """
    journal, work = Journal(parts), folder / WORK
    work.mkdir(exist_ok=True)
    log, until = _ordered(journal, config, work, step)
    least = {"min_user_events": config.min_user_events, "min_item_events": config.min_item_events}
    left, rounds = k_core(log, **least, until=until, step=step)
    raw = {"events": len(journal), "users": len(journal.users), "items": len(journal.items)}
    if not rounds[-1]["events"]:
        raise InputError(_nothing_left(raw, rounds, config))
    with watched(connection, step, "writing the catalogue"):
        num_items = _write_rows(connection, journal, left, folder, whole=config.whole_catalogue)
    facts = write_log(log, left, num_items=num_items, folder=folder, step=step)
    share = coverage(connection, folder)
    with_bytes = save_pictures(connection, parts, folder, num_items=num_items)
    shutil.rmtree(work)
    if with_bytes is not None or not pictured:
        share[IMAGE] = (with_bytes or 0) / (num_items - 1)
    num_labels, left_over = save_categories(folder), rounds[-1]
    items = {"items_in_log": left_over["items"], "items": num_items - 1, "category_labels": num_labels}
    options, content = config.model_dump(mode="json"), _content(connection, folder)
    manifest = {
        "format_version": FORMAT_VERSION,
        "identity": storage.hash_json([FORMAT_VERSION, options, content]),
        "counts": {**left_over, **items},
        "raw_counts": raw,
        "rounds": rounds,
        "options": options,
        "filter_until": until,
        "coverage": share,
        "facts": facts.told(),
        "content": content,
    }
    storage.write_json(folder / "manifest.json", manifest)


def _ordered(journal: Journal, config: PrepareConfig, work: Path, step: Step) -> tuple[OrderedLog, int | None]:
    """The cleaned log, and the moment until which the filters look."""
    log = order_log(journal, work, filters=_filters(journal, config), duplicates=config.duplicates, step=step)
    return log, None if config.filter_until is None else resolve(log, config.filter_until)


def _write_rows(
    connection: duckdb.DuckDBPyConnection, journal: Journal, left: Left, folder: Path, *, whole: bool
) -> int:
    """users.parquet and catalogue.parquet; returns V."""
    write_users(journal.users.sorted_ids(left.users), folder)
    num_items = number_items(connection, journal.items.sorted_ids(left.items), journal.parts, whole=whole)
    write_catalogue(connection, journal.parts, folder)
    return num_items


def _filters(journal: Journal, config: PrepareConfig) -> Filters:
    _need(journal, RATING, "min_rating", config.min_rating is not None)
    _need(journal, EVENT, "events", bool(config.events))
    kinds = tuple(n for n, name in enumerate(journal.event_names) if name in config.events)
    return Filters(config.min_rating, kinds if config.events else None)


def _need(journal: Journal, column: str, option: str, wanted: bool) -> None:
    if wanted and column not in (has := journal.canonical_columns):
        raise InputError(
            f"the option {option} needs a column {column!r}, which the interactions lack (they have: {sorted(has)})"
        )


def _content(connection: duckdb.DuckDBPyConnection, folder: Path) -> dict[str, str]:
    """Hash of each file, of Parquet by its rows: another version of its writer gives other bytes."""
    paths = sorted(p for p in folder.iterdir() if p.is_file() and p.name != ORIGIN)
    return {p.name: hash_rows(connection, p) if p.suffix == ".parquet" else storage.hash_file(p) for p in paths}


def _nothing_left(raw: dict[str, int], rounds: list[dict[str, int]], config: PrepareConfig) -> str:
    if not raw["events"]:
        return "the interactions hold no event; give a log with at least one row"
    if not rounds[0]["events"]:
        return f"none of the {raw['events']} events passes min_rating and events; loosen these options"
    return (
        f"no event is left after the k-core (min_user_events = {config.min_user_events}, min_item_events = "
        f"{config.min_item_events}) of {rounds[0]['events']} events by {rounds[0]['users']} users on "
        f"{rounds[0]['items']} items; lower them, for example --set prepare.min_user_events=3 "
        "--set prepare.min_item_events=1"
    )
