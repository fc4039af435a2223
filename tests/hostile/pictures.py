"""Kinds of pictures and of picture paths, beside a good log. Some must be encoded, some must never be opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from random import Random

import pyarrow as pa

from tests.hostile.case import Case
from tests.hostile.damage import damaged
from tests.hostile.images import BAD, GOOD, HUGE, png, saved, zeros
from tests.hostile.values import plain_events
from tests.hostile.writing import HEADER, parquet, put, written

ITEMS = tuple(f"i{n}" for n in range(4))


def large_ones(random: Random, folder: Path) -> Case:
    """Several pictures just under the limit at once: each is good, together they would be gigabytes."""
    size = (7000, 7000)
    depth, colour, width = random.choice([(8, 6, 4), (8, 2, 3), (16, 0, 2), (8, 0, 1)])
    content = png(*size, depth, colour, zeros((width * size[0] + 1) * size[1] + (1 << 20)))
    for item in ITEMS:
        put(folder / "images", f"{item}.png", content)
    return _case(random, folder, pictures=4)


_ENDS = ("png", "jpg", "jpeg", "webp", "PNG")


def in_folder(random: Random, folder: Path) -> Case:
    """A folder of <item>.<ending>: good ones are all encoded, broken ones cost only themselves."""
    good = 0
    for item in ITEMS:
        which = random.random()
        if which < 0.5:
            content = random.choice(GOOD)(random)
        elif which < 0.7:
            content = random.choice(BAD)(random)
        else:
            continue
        good += which < 0.5
        put(folder / "images", f"{item}.{random.choice(_ENDS)}", content)
    put(folder / "images", "stranger.png", random.choice(GOOD)(random))
    return _case(random, folder, pictures=good)


def broken(random: Random, folder: Path) -> Case:
    """Good pictures damaged as bytes, beside one that is whole."""
    put(folder / "images", "i0.png", saved(random, "RGB", "PNG"))
    for item in ITEMS[1:]:
        put(folder / "images", f"{item}.jpg", damaged(random, random.choice(GOOD)(random)))
    return _case(random, folder)


def huge(random: Random, folder: Path) -> Case:
    put(folder / "images", "i0.png", saved(random, "RGB", "PNG"))
    put(folder / "images", "i1.png", random.choice(HUGE)(random))
    return _case(random, folder)


def as_bytes(random: Random, folder: Path) -> Case:
    """A Parquet table of bytes, some of them no picture, some of items that nobody knows or twice."""
    makers = [random.choice([*GOOD, *BAD[1:]]) for _ in range(5)]
    contents = [random.choice([maker(random), maker(random), None]) for maker in makers]
    ids = [random.choice([*ITEMS, "stranger", "", None]) for _ in contents]
    column = pa.array(contents, random.choice([pa.binary(), pa.large_binary()]))
    table = pa.table({"item_id": pa.array(ids, pa.string()), random.choice(["bytes", "jpeg", "x"]): column})
    path = put(folder, "images.parquet", parquet(table, random))
    if random.random() < 0.3:
        path.write_bytes(damaged(random, path.read_bytes()))
    return _case(random, folder, images=path, named=("images.parquet", "log.csv"))


def named_paths(random: Random, folder: Path) -> Case:
    """Paths in the items file: those inside of the folder are read, no other is, and none can hang."""
    images, outside = folder / "images", folder.parent / "outside"
    picture = saved(random, "RGB", "PNG")
    put(images, "good.png", picture)
    put(images / "sub", "deep.png", picture)
    put(outside, "secret.png", picture)
    paths, good = [], 0
    for _ in ITEMS:
        path, is_good = random.choice(_PATHS)
        paths.append(path.replace("{outside}", str(outside)))
        good += is_good
    _traps(images, outside)
    rows = list(zip(ITEMS, paths, strict=True))
    name = random.choice(
        ["items.jsonl", "items.parquet"] if any("\0" in p for p in paths) else ["items.csv", "items.jsonl"]
    )
    items = put(folder, name, written(name, ("item_id", "image"), rows, random))
    return _case(random, folder, items=items, pictures=good, named=(name, "log.csv", "images"))


_PATHS: tuple[tuple[str, bool], ...] = (
    *(
        ("good.png", True),
        ("./good.png", True),
        ("sub/deep.png", True),
        ("sub/../good.png", True),
        ("sub//deep.png", True),
    ),
    *(("../outside/secret.png", False), ("{outside}/secret.png", False), ("sub/../../../outside/secret.png", False)),
    *(("..\\outside\\secret.png", False), ("link.png", False), ("linked/secret.png", False), ("loop.png", False)),
    *(("zero.png", False), ("pipe.png", False), ("socket.png", False), ("sub", False), ("gone.png", False)),
    *(
        ("/dev/zero", False),
        ("/dev/random", False),
        ("/proc/self/environ", False),
        ("~/x.png", False),
        ("C:\\x.png", False),
    ),
    *(
        ("a" * 300 + ".png", False),
        ("x/" * 2000 + "y.png", False),
        ("good.png\0.jpg", False),
        ("\0", False),
        (".", False),
    ),
    *(
        ("..", False),
        ("/", False),
        ("file:///etc/passwd", False),
        ("good.png ", False),
        ("good.png\n", False),
        ("*.png", False),
    ),
    *(
        ("\u202egnp.doog", False),
        ("[g]ood.png", False),
        ("http://x/y.png", False),
        ("$HOME/x.png", False),
        ("mirror.png", True),
    ),
)


def _traps(images: Path, outside: Path) -> None:
    for name, target in {
        "link.png": outside / "secret.png",
        "linked": outside,
        "loop.png": images / "loop.png",
        "zero.png": Path("/dev/zero"),
        "mirror.png": Path("good.png"),
    }.items():
        (images / name).symlink_to(target)
    os.mkfifo(images / "pipe.png")
    _listen(images / "socket.png")


def _listen(path: Path) -> None:
    """A socket's file; its path must be short, so it is bound from its own folder."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as open_socket:
            open_socket.bind(path.name)
    finally:
        os.chdir(here)


def trapped_folder(random: Random, folder: Path) -> Case:
    """A folder of <item>.png in which some are pipes, devices, folders, or links that lead out of it."""
    images, outside = folder / "images", folder.parent / "outside"
    put(outside, "secret.png", saved(random, "RGB", "PNG"))
    put(images, "stranger.png", saved(random, "RGB", "PNG"))
    good = 0
    for item in ITEMS:
        trap = random.choice(["picture", "pipe", "link", "zero", "folder", "loop", "nothing", "mirror"])
        good += trap in ("picture", "mirror")
        _set(trap, images / f"{item}.png", outside, random)
    return _case(random, folder, pictures=good)


def _set(trap: str, path: Path, outside: Path, random: Random) -> None:
    if trap == "picture":
        path.write_bytes(saved(random, "RGB", "PNG"))
    elif trap == "pipe":
        os.mkfifo(path)
    elif trap == "folder":
        path.mkdir()
    elif trap != "nothing":
        targets = {
            "link": outside / "secret.png",
            "zero": Path("/dev/zero"),
            "loop": path,
            "mirror": Path("stranger.png"),
        }
        path.symlink_to(targets[trap])


def _case(
    random: Random,
    folder: Path,
    *,
    images: Path | None = None,
    items: Path | None = None,
    pictures: int | None = None,
    named: tuple[str, ...] = ("images", "log.csv"),
) -> Case:
    (folder / "images").mkdir(exist_ok=True)
    seen = [
        ("all", item, 1_400_000_000 + n) for n, item in enumerate((*ITEMS, "i0", "i0"))
    ]  # all but 2 are learnt from
    rows = [*seen, *(row for row in plain_events(random, 8) if row[1] in ITEMS)]
    log = put(folder, "log.csv", written("log.csv", HEADER, rows))
    source = {"interactions": str(log), "images": str(images or folder / "images")}
    if items is not None:
        source["items"] = str(items)
    return Case(source=source, encode=True, pictures=pictures, named=named)
