"""Kinds of places: names, links, pipes and devices where a file or a folder is expected."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.hostile.case import Case, Event
from tests.hostile.values import plain_events
from tests.hostile.writing import HEADER, NAMES, put, written

_STEMS = (
    *(
        "log",
        "a b",
        "-rf",
        "--help",
        "it's",
        'say "x"',
        "*",
        "?",
        "[a]",
        "{a,b}",
        "%20",
        "$HOME",
        "`id`",
        ";",
        "a\nb",
        "\t",
    ),
    *(
        "é",
        "日本",
        "😀",
        "\u202egol",
        "x" * 200,
        "c0",
        "NUL",
        ".hidden",
        "a.csv",
        "a.parquet",
        "s3:",
        "#",
        "a=b",
        "~",
        "\x1b[2J",
    ),
)


def hostile_names(random: Random, folder: Path) -> Case:
    """A good log under a strange name, in a folder of a strange name: it must come out."""
    kind = random.choice(NAMES).removeprefix("log")
    rows = plain_events(random, 6)
    place = folder / random.choice(_STEMS)
    path = put(place, random.choice(_STEMS) + kind, written(f"log{kind}", HEADER, rows))
    whole = random.random() < 0.2 and not path.name.startswith((".", "_"))
    return Case(source={"interactions": str(place if whole else path)}, events=tuple(Event(*r) for r in rows))


def bytes_names(random: Random, folder: Path) -> Case:
    """A file name that is not UTF-8."""
    name = os.fsdecode(random.choice([b"\xff.csv", b"log\xe9.csv", b"\xed\xa0\x80.parquet"]))
    path = put(folder, name, written("log.csv", HEADER, plain_events(random, 4)))
    return Case(source={"interactions": str(path)})


def special_files(random: Random, folder: Path) -> Case:
    """What is no ordinary file must be refused by name, and must not be waited for."""
    path = folder / random.choice(["log.csv", "log.parquet", "log.jsonl", "log.csv.gz"])
    good = put(folder, "good.csv", written("good.csv", HEADER, plain_events(random, 4)))
    random.choice(_SPECIAL)(path)
    part = random.choice(["interactions", "items", "images"])
    source = {"interactions": str(good), part: str(path)}
    return Case(source=source, refused=r"log\.|no ordinary|no table|picture", named=(path.name,))


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


_SPECIAL: tuple[Callable[[Path], None], ...] = (
    lambda path: os.mkfifo(path),
    lambda path: None,
    _link("/dev/zero"),
    _link("/dev/null"),
    _link("nowhere"),
    lambda path: path.symlink_to(path),
    _link("pipe"),
    lambda path: path.write_bytes(b""),
)


def odd_paths(random: Random, folder: Path) -> Case:
    """Settings that name what cannot be a file."""
    good = put(folder, "good.csv", written("good.csv", HEADER, plain_events(random, 4)))
    path = random.choice(
        [
            *(
                "",
                " ",
                ".",
                "..",
                "/",
                "//",
                "/dev/zero",
                "/dev/stdin",
                "/proc/self/mem",
                "/etc/passwd",
                "\0",
                "a\0b.csv",
            ),
            *(
                "x" * 300 + ".csv",
                "y/" * 3000 + "x.csv",
                "http://x/y.csv",
                "s3://b/k.parquet",
                "file:///x.csv",
                "hf://x",
            ),
            *(
                "*.csv",
                "~/log.csv",
                "log.xlsx",
                "log",
                ".csv",
                "log.csv.bz2",
                "log.parquet.gz",
                "\n.csv",
                "\u202e.csv",
                "-",
            ),
            *(str(good) + "/", str(good) + "/x.csv", "nope.csv", "C:\\x.csv", "\\\\host\\x.csv", "\ud800.csv"),
        ]
    )
    part = random.choice(["interactions", "items", "images"])
    return Case(source={"interactions": str(good), part: path}, prepare={})


def folders(random: Random, folder: Path) -> Case:
    """Folders of several things, of which not all are tables."""
    place = folder / "logs"
    rows = plain_events(random, 4)
    for name in random.sample(_IN_FOLDERS, random.choice([1, 2, 4])):
        if name.endswith("/"):
            (place / name).mkdir(parents=True)
        else:
            put(place, name, written(name, HEADER, rows) if name.count("log") else b"x")
    place.mkdir(exist_ok=True)
    if random.random() < 0.3:
        os.mkfifo(place / random.choice(["pipe.csv", "interactions.csv.gz", "items.tsv"]))
    if random.random() < 0.2:
        (place / "again.csv").symlink_to("log1.csv")
    return Case(source={"interactions": str(place)}, named=("logs", *(p.name for p in place.iterdir())))


_IN_FOLDERS = (
    *(
        "log1.csv",
        "log2.csv",
        "log3.parquet",
        "log4.jsonl.gz",
        "interactions.csv",
        "interactions.tsv",
        "items.csv",
        "x.txt",
    ),
    *(
        "images.parquet",
        "images/",
        "interactions/",
        ".log5.csv",
        "_log6.csv",
        "log7.CSV",
        "log8.csv.GZ",
        "readme.md",
        "log9/",
    ),
)
