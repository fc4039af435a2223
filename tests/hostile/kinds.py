"""All kinds of cases by name, and how many of each a campaign has."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

from tests.hostile import bombs, catalogues, formats, json_logs, logs, pictures, places, settings, typed
from tests.hostile.case import Case, Kind

KINDS: dict[str, Kind] = {
    "values": logs.nasty_values,
    "iso": logs.iso_times,
    "fault": logs.planted_fault,
    "damage": logs.damaged_file,
    "encoding": logs.encodings,
    "line-ends": logs.line_ends,
    "shape": logs.shapes,
    "noise": logs.noise,
    "json": json_logs.json_shapes,
    "id-types": typed.id_types,
    "time-types": typed.time_types,
    "wrong-types": typed.wrong_types,
    "odd-builds": typed.odd_builds,
    "liars": typed.lying_statistics,
    "titles": catalogues.nasty_titles,
    "nameless": catalogues.nameless_items,
    "item-damage": catalogues.damaged_items,
    "odd-items": catalogues.odd_items,
    "pictures": pictures.in_folder,
    "broken": pictures.broken,
    "huge": pictures.huge,
    "large": pictures.large_ones,
    "picture-bytes": pictures.as_bytes,
    "paths": pictures.named_paths,
    "trapped": pictures.trapped_folder,
    "names": places.hostile_names,
    "bytes-names": places.bytes_names,
    "special": places.special_files,
    "odd-paths": places.odd_paths,
    "folders": places.folders,
    "formats": formats.whole_folder,
    "format-damage": formats.damaged_folder,
    "toml": settings.wrong_values,
    "toml-project": settings.wrong_project,
    "toml-damage": settings.damaged_toml,
    "same-columns": settings.same_columns,
    "bomb": bombs.packed_bomb,
    "row-bomb": bombs.parquet_bomb,
    "claims": bombs.claims,
}
WEIGHTS = {
    **{"values": 3, "fault": 3, "damage": 6, "shape": 2, "json": 2, "wrong-types": 3, "item-damage": 2, "odd-items": 2},
    **{
        "toml": 2,
        "format-damage": 4,
        "paths": 2,
        "broken": 2,
        "huge": 0.3,
        "bomb": 0.15,
        "claims": 0.15,
        "row-bomb": 0.05,
        "large": 0.05,
    },
}
"""Relative to the others' 1. The last ones take seconds each."""


def shares(count: int) -> dict[str, int]:
    """About `count` cases, split by weight, at least one of each kind."""
    total = sum(WEIGHTS.get(kind, 1) for kind in KINDS)
    return {kind: max(1, round(count * WEIGHTS.get(kind, 1) / total)) for kind in KINDS}


def _hang(random: Random, folder: Path) -> Case:
    time.sleep(600)
    return Case()


def _crash(random: Random, folder: Path) -> Case:
    os._exit(7)


SABOTEURS: dict[str, Kind] = {"hang": _hang, "crash": _crash}
"""No input at all: they show that the campaign notices what no `except` can."""
