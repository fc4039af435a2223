"""The bazaar as canonical tables, and the true descriptions of its pictures."""

from __future__ import annotations

from dataclasses import asdict

import duckdb
import numpy as np
import pyarrow as pa

from medleyrec.schema import ITEM, ORDER, TIME, USER, CanonicalTables
from medleyrec.sources.bazaar.behaviour import THRESHOLD, Log, world
from medleyrec.sources.bazaar.catalogue import Catalogue, cards, catalogue
from medleyrec.sources.bazaar.grammar import picture_description
from medleyrec.sources.bazaar.pictures import pictures
from medleyrec.sources.bazaar.settings import BazaarConfig, Stream, numbers
from medleyrec.storage import hash_json

GENERATOR = 1
"""Raised whenever equal settings would give other tables."""


def bazaar(connection: duckdb.DuckDBPyConnection, config: BazaarConfig) -> CanonicalTables:
    """Interactions in order of time, items and their JPEG pictures in order of id. Equal settings give equal bytes."""
    made = world(config)
    images = {ITEM: made.goods.ids, "bytes": pa.array(pictures(config, made.goods), type=pa.binary())}
    kind = "the noise twin of the planted bazaar" if config.noise else "the planted bazaar"
    return CanonicalTables(
        connection=connection,
        interactions=connection.from_arrow(_interactions(made.log, made.goods)),
        items=connection.from_arrow(_items(config, made.goods)),
        images=connection.from_arrow(pa.table(images)),
        fingerprint=fingerprint(config),
        notes=(f"{kind}, seed {config.seed}; a gap under {THRESHOLD // 3600} h continues a session",),
    )


def fingerprint(config: BazaarConfig) -> str:
    """Of the tables that these settings give, without making them."""
    return hash_json({"bazaar": GENERATOR, **config.model_dump()})


def describe_pictures(config: BazaarConfig) -> dict[str, str]:
    """Item id -> a true sentence about its picture that may leave out one of colour, shape and pattern."""
    goods = catalogue(config)
    names = ("colour", "shape", "pattern")
    told = {}
    for item, row in zip(goods.ids, goods.content.tolist(), strict=True):
        seen = {name: int(goods.attributes[name][row]) for name in names}
        told[item] = picture_description(numbers(config, Stream.DESCRIBED, row), **seen)
    return told


def _interactions(log: Log, goods: Catalogue) -> pa.Table:
    by_time = np.argsort(log.times, kind="stable")
    ids = np.array(goods.ids)
    users = np.array([f"user-{u:05d}" for u in range(len(log.offsets) - 1)])
    columns = {
        USER: pa.array(users[log.users[by_time]], type=pa.string()),
        ITEM: pa.array(ids[log.items[by_time]], type=pa.string()),
        TIME: log.times[by_time],
        ORDER: np.arange(len(log)),
    }
    return pa.table(columns)


def _items(config: BazaarConfig, goods: Catalogue) -> pa.Table:
    told = [asdict(card) for card in cards(config, goods)]
    table = pa.table({ITEM: goods.ids, **{name: [card[name] for card in told] for name in told[0]}})
    return table.append_column("image", pa.nulls(len(table), pa.string()))
