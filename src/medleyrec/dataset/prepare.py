"""Canonical tables -> a dataset folder: cleaned, filtered to its k-core, densely numbered, ordered.

Guaranteed: equal input and options give equal bytes; item rows and user rows follow the sorted external ids, so they do
not depend on the order of the input; events of a user are sorted by (time, order); a killed run leaves nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
from pydantic import Field

from medleyrec import storage
from medleyrec.config import Config
from medleyrec.dataset.categories import save_categories
from medleyrec.dataset.dataset import FORMAT_VERSION, Dataset
from medleyrec.dataset.pictures import save_pictures
from medleyrec.dataset.sql import first_row, literal, scalar, to_array, to_arrays
from medleyrec.schema import BRAND, CATEGORIES, DESCRIPTION, IMAGE, PRICE, TITLE, CanonicalTables, InputError


class PrepareConfig(Config):
    """How a log is cleaned. Everything here is part of the dataset's identity."""

    min_user_events: int = Field(default=5, ge=1, description="k of the k-core for users")
    min_item_events: int = Field(default=5, ge=1, description="k of the k-core for items")
    duplicates: Literal["all", "first", "last"] = Field(
        default="all", description="which events of the same user and item stay"
    )
    min_rating: float | None = Field(default=None, description="drop events rated below")
    events: tuple[str, ...] = Field(default=(), description="keep these event types only, such as purchase")
    whole_catalogue: bool = Field(default=False, description="also number catalogue items that the filtered log lacks")


def prepare(tables: CanonicalTables, folder: Path, config: PrepareConfig) -> tuple[Dataset, bool]:
    """Build `folder`, or find it finished from the same input and options. Returns (dataset, was anything done).

    Raises InputError where nothing is left after the filters or a value cannot be used.
    """
    if is_prepared(folder, tables.fingerprint, config):
        _remember_image_folder(folder, tables)
        return Dataset.open(folder), False
    identity = _identity(tables.fingerprint, config)
    with storage.atomic_folder(folder) as partial:
        manifest = _build(tables, partial, config)
        _remember_image_folder(partial, tables)
        storage.write_json(partial / "manifest.json", {**manifest, "identity": identity})
    return Dataset.open(folder), True


def is_prepared(folder: Path, fingerprint: str, config: PrepareConfig) -> bool:
    """Whether `folder` holds what input of this fingerprint gives under these options."""
    if not fingerprint or not (folder / "manifest.json").exists():
        return False
    return bool(storage.read_json(folder / "manifest.json").get("identity") == _identity(fingerprint, config))


def _identity(fingerprint: str, config: PrepareConfig) -> str:
    return storage.hash_json([FORMAT_VERSION, fingerprint, config.model_dump(mode="json")])


def _remember_image_folder(folder: Path, tables: CanonicalTables) -> None:
    """Where pictures lie is a fact of this machine: kept beside the manifest, outside of the dataset's identity."""
    if tables.image_folder is not None:
        storage.write_json(folder / "local.json", {"image_folder": str(tables.image_folder.resolve())})


def _build(tables: CanonicalTables, folder: Path, config: PrepareConfig) -> dict[str, Any]:
    connection = tables.connection
    tables.interactions.create_view("medley_interactions", replace=True)
    tables.items.create_view("medley_items", replace=True)
    columns = set(tables.interactions.columns)
    raw = _counts(connection, "medley_interactions")
    _clean(connection, config, columns)
    rounds = _k_core(connection, config)
    left = _counts(connection, "medley_log")
    if not left["events"]:
        raise InputError(_nothing_left(raw, rounds, config))
    _number(connection, config)
    _write_log(connection, folder, left)
    num_items = _write_catalogue(connection, folder)
    with_picture = save_pictures(connection, folder, tables, num_items=num_items)
    num_labels = save_categories(folder)
    return {
        "format_version": FORMAT_VERSION,
        "counts": {**left, "items_in_log": left["items"], "items": num_items - 1, "category_labels": num_labels},
        "raw_counts": raw,
        "rounds": rounds,
        "options": config.model_dump(mode="json"),
        "source": tables.fingerprint,
        "notes": list(tables.notes),
        "coverage": {**_coverage(connection), IMAGE: with_picture / (num_items - 1)},
        "facts": _order_facts(folder),
        "content": {p.name: storage.hash_file(p) for p in sorted(folder.glob("*.npy"))},
    }


def _counts(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, int]:
    row = first_row(connection, f"SELECT count(*), count(DISTINCT user_id), count(DISTINCT item_id) FROM {table}")
    return {"events": row[0], "users": row[1], "items": row[2]}


def _clean(connection: duckdb.DuckDBPyConnection, config: PrepareConfig, columns: set[str]) -> None:
    """Table medley_log(user_id, item_id, timestamp, "order"): the events that pass the filters, de-duplicated."""
    conditions = []
    if config.min_rating is not None:
        _need(columns, "rating", "min_rating")
        conditions.append(f"rating >= {literal(config.min_rating)}")
    if config.events:
        _need(columns, "event", "events")
        conditions.append(f"event IN ({', '.join(literal(e) for e in config.events)})")
    where = " AND ".join(conditions) or "true"
    order = '"order"' if "order" in columns else "row_number() OVER ()"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE medley_log AS SELECT user_id, item_id, timestamp, "
        f'{order} AS "order" FROM medley_interactions WHERE {where}'
    )
    if config.duplicates != "all":
        direction = "ASC" if config.duplicates == "first" else "DESC"
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE medley_log AS SELECT * FROM medley_log QUALIFY row_number() OVER "
            f'(PARTITION BY user_id, item_id ORDER BY timestamp {direction}, "order" {direction}) = 1'
        )


def _need(columns: set[str], column: str, option: str) -> None:
    if column not in columns:
        raise InputError(
            f"the option {option} needs a column {column!r}, which the interactions lack (they have: {sorted(columns)})"
        )


def _k_core(connection: duckdb.DuckDBPyConnection, config: PrepareConfig) -> list[dict[str, int]]:
    """Drop users and items below their thresholds until none is; returns what was left after each round."""
    rounds = [_counts(connection, "medley_log")]
    while rounds[-1]["events"] and max(config.min_user_events, config.min_item_events) > 1:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE medley_log AS SELECT * FROM medley_log WHERE "
            "user_id IN (SELECT user_id FROM medley_log GROUP BY user_id "
            f"HAVING count(*) >= {config.min_user_events}) AND "
            "item_id IN (SELECT item_id FROM medley_log GROUP BY item_id "
            f"HAVING count(*) >= {config.min_item_events})"
        )
        rounds.append(_counts(connection, "medley_log"))
        if rounds[-1] == rounds[-2]:
            rounds.pop()
            break
    return rounds


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


def _number(connection: duckdb.DuckDBPyConnection, config: PrepareConfig) -> None:
    """Dense rows by sorted external id: users from 0; items of the log from 1, then the rest of the catalogue."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE medley_users AS SELECT user_id, "
        "row_number() OVER (ORDER BY user_id) - 1 AS row FROM (SELECT DISTINCT user_id FROM medley_log)"
    )
    rest = (
        "UNION ALL SELECT DISTINCT item_id, true FROM medley_items "
        "WHERE item_id NOT IN (SELECT DISTINCT item_id FROM medley_log)"
        if config.whole_catalogue
        else ""
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE medley_rows AS SELECT item_id, "
        "row_number() OVER (ORDER BY outside, item_id) AS row FROM "
        f"(SELECT DISTINCT item_id, false AS outside FROM medley_log {rest})"
    )


def _write_log(connection: duckdb.DuckDBPyConnection, folder: Path, counts: dict[str, int]) -> None:
    """items.npy, times.npy and offsets.npy, sorted by (user, time, order); users.parquet names the users."""
    to_arrays(
        connection,
        "SELECT r.row::INTEGER, l.timestamp::BIGINT FROM medley_log l JOIN medley_users u USING (user_id) "
        'JOIN medley_rows r USING (item_id) ORDER BY u.row, l.timestamp, l."order"',
        [(folder / "items.npy", np.int32), (folder / "times.npy", np.int64)],
        count=counts["events"],
    )
    to_array(
        connection,
        "SELECT count(*) FROM medley_log JOIN medley_users u USING (user_id) GROUP BY u.row ORDER BY u.row",
        folder / "counts.npy",
        dtype=np.int64,
        count=counts["users"],
    )
    per_user = np.load(folder / "counts.npy")
    (folder / "counts.npy").unlink()
    np.save(folder / "offsets.npy", np.concatenate([[0], per_user.cumsum()]).astype(np.int64))
    _copy(connection, "SELECT user_id FROM medley_users ORDER BY row", folder / "users.parquet")


def _write_catalogue(connection: duckdb.DuckDBPyConnection, folder: Path) -> int:
    """catalogue.parquet: what is known of each item row, from row 1 on; returns V. The first of two entries wins."""
    wanted = ", ".join(f"i.{c}" for c in (TITLE, DESCRIPTION, CATEGORIES, BRAND, PRICE, IMAGE))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE medley_catalogue AS SELECT r.row, r.item_id, "
        f"{wanted} FROM medley_rows r LEFT JOIN (SELECT * FROM medley_items WHERE item_id IN "
        "(SELECT item_id FROM medley_rows) QUALIFY row_number() OVER (PARTITION BY item_id) = 1) i USING (item_id)"
    )
    _copy(connection, "SELECT * EXCLUDE (row) FROM medley_catalogue ORDER BY row", folder / "catalogue.parquet")
    num_items = int(scalar(connection, "SELECT count(*) FROM medley_rows")) + 1
    items, times = np.load(folder / "items.npy", mmap_mode="r"), np.load(folder / "times.npy", mmap_mode="r")
    first_seen = np.full(num_items, np.iinfo(np.int64).max)
    np.minimum.at(first_seen, items, times)
    np.save(folder / "first_seen.npy", first_seen)
    return num_items


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    connection.execute(f"COPY ({query}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)")


def _coverage(connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Share of items that have each kind of content."""
    filled = {c: f"avg(({c} IS NOT NULL AND {c}::VARCHAR <> '')::INTEGER)" for c in (TITLE, DESCRIPTION, BRAND, PRICE)}
    filled[CATEGORIES] = "avg((categories IS NOT NULL AND len(categories) > 0)::INTEGER)"
    row = first_row(connection, f"SELECT {', '.join(filled.values())} FROM medley_catalogue")
    return {c: float(v or 0) for c, v in zip(filled, row, strict=True)}


def _order_facts(folder: Path) -> dict[str, float]:
    """What the log's order is worth: ties leave the order of events to the input, repeats are events seen before."""
    items, times = np.load(folder / "items.npy", mmap_mode="r"), np.load(folder / "times.npy", mmap_mode="r")
    offsets = np.load(folder / "offsets.npy")
    users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    same_user = users[1:] == users[:-1]
    tied = (times[1:] == times[:-1]) & same_user
    pairs = users.astype(np.int64) * (int(items.max()) + 1) + items
    ends = offsets[1:][np.diff(offsets) >= 2] - 1
    return {
        "tied_consecutive_events": float(tied.sum() / max(same_user.sum(), 1)),
        "users_with_last_two_tied": float(tied[ends - 1].mean()) if len(ends) else 0.0,
        "repeat_rate": 1.0 - len(np.unique(pairs)) / len(pairs),
        "mean_events_per_user": float(np.diff(offsets).mean()),
        "first_time": int(times.min()),
        "last_time": int(times.max()),
    }
