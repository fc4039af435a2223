"""Kinds of TOML that does not fit, beside a good log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

from tests.hostile.case import Case
from tests.hostile.damage import damaged
from tests.hostile.values import plain_events
from tests.hostile.writing import HEADER, put, written

GOOD = """project = "../project"
[source]
interactions = "log.csv"
items = "items.csv"
time_unit = "s"
[source.columns]
user_id = "user_id"
[prepare]
min_user_events = 1
min_item_events = 1
"""
_VALUES = (
    *(
        "0",
        "-1",
        "1",
        "1.5",
        "1e400",
        "inf",
        "nan",
        "true",
        '""',
        '" "',
        '"x"',
        "[]",
        "{}",
        "[1]",
        '["a", "b"]',
        "{a = 1}",
    ),
    *(
        "99999999999999999999",
        "9223372036854775807",
        "1979-05-27",
        "07:32:00",
        '"\\u0000"',
        '"' + "x" * 5000 + '"',
        '"é😀"',
    ),
    *(
        '"\\n"',
        "[[[[1]]]]",
        '{user_id = "item_id"}',
        '{user_id = ""}',
        '{item_id = "nope"}',
        '"s"',
        '"ms"',
        '"../../.."',
        '"log.csv"',
    ),
)
_KEYS = (
    *("source", "prepare", "source.interactions", "source.items", "source.images", "source.columns"),
    *(
        "source.item_columns",
        "source.time_unit",
        "source.kind",
        "source.category_separator",
        "source.category_path_separator",
    ),
    *(
        "source.columns.user_id",
        "source.columns.item_id",
        "source.columns.timestamp",
        "source.columns.rating",
        "source.columns.x",
    ),
    *(
        "prepare.min_user_events",
        "prepare.min_item_events",
        "prepare.duplicates",
        "prepare.min_rating",
        "prepare.events",
    ),
    *(
        "prepare.whole_catalogue",
        "train",
        "train.seed",
        "model",
        "encode.text",
        "evaluate",
        "zzz",
        "source.intractions",
        '"é"',
        '""',
    ),
)
_PROJECTS = ("0", "-1", "1.5", "nan", "true", "[]", "{}", "[1]", "1979-05-27", '["a"]', "{a = 1}")
_NAMED = (
    "shop.toml",
    "source",
    "prepare",
    "log.csv",
    "items.csv",
    "project",
    "train",
    "encode",
    "evaluate",
    "model",
    "min_rating",
    "interactions",
    "items",
    "images",
)


def wrong_values(random: Random, folder: Path) -> Case:
    """Any key with any value, once or twice."""
    lines = [f"{random.choice(_KEYS)} = {random.choice(_VALUES)}" for _ in range(random.choice([1, 1, 2]))]
    replaced = {line.split(" = ")[0] for line in lines}
    kept = [line for line in _dotted() if not any(_clash(line.split(" = ")[0], key) for key in replaced)]
    return _case(random, folder, "\n".join([*kept, *lines]).encode())


def wrong_project(random: Random, folder: Path) -> Case:
    """A project that is no path must not become one."""
    toml = GOOD.replace('"../project"', random.choice(_PROJECTS))
    return replace(_case(random, folder, toml.encode()), refused="project")


def damaged_toml(random: Random, folder: Path) -> Case:
    """All but the first line is damaged: another project would rightly be written."""
    project, _, rest = GOOD.partition("\n")
    return _case(random, folder, project.encode() + b"\n" + damaged(random, rest.encode()))


def same_columns(random: Random, folder: Path) -> Case:
    """Several canonical columns mapped to one of the file."""
    names = random.choices(["user_id", "item_id", "timestamp", "rating", "event"], k=3)
    target = random.choice(["user_id", "item_id", "timestamp"])
    mapping = "".join(f'{name} = "{target}"\n' for name in dict.fromkeys(names))
    return _case(random, folder, GOOD.replace('user_id = "user_id"\n', mapping).encode())


def _dotted() -> list[str]:
    section, lines = "", []
    for line in GOOD.splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        else:
            lines.append(section + line)
    return lines


def _clash(kept: str, new: str) -> bool:
    return kept == new or kept.startswith(f"{new}.") or new.startswith(f"{kept}.")


def _case(random: Random, folder: Path, toml: bytes) -> Case:
    rows = plain_events(random, 6)
    put(folder, "log.csv", written("log.csv", HEADER, rows))
    put(folder, "items.csv", written("items.csv", ("item_id", "title"), [(f"i{n}", f"t{n}") for n in range(8)]))
    return Case(toml=put(folder, "shop.toml", toml), named=_NAMED)
