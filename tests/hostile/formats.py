"""Kinds of folders in the formats of known data sets, whole or with one file damaged, lost, emptied or replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.hostile.case import Case, Event
from tests.hostile.damage import damaged
from tests.hostile.values import plain_events
from tests.hostile.writing import packed, put

Rows = list[tuple[str, str, int]]
Files = dict[str, str]
_ITEMS = tuple(f"i{n}" for n in range(8))


def _movielens_1m(rows: Rows) -> Files:
    return {
        "ratings.dat": "".join(f"{u[1:]}::{i[1:]}::5::{t}\n" for u, i, t in rows),
        "movies.dat": "".join(f"{i[1:]}::Film {i} (1995)::Action|Drama\n" for i in _ITEMS),
        "users.dat": "1::F::1::10::48067\n",
    }


def _movielens_100k(rows: Rows) -> Files:
    flags = "|".join("01" * 9 + "0")
    return {
        "u.data": "".join(f"{u[1:]}\t{i[1:]}\t3\t{t}\n" for u, i, t in rows),
        "u.item": "".join(f"{i[1:]}|Film {i} (1995)|01-Jan-1995||http://x/{i}|{flags}\n" for i in _ITEMS),
    }


def _movielens_latest(rows: Rows) -> Files:
    return {
        "ratings.csv": "userId,movieId,rating,timestamp\n" + "".join(f"{u[1:]},{i[1:]},3.5,{t}\n" for u, i, t in rows),
        "movies.csv": "movieId,title,genres\n" + "".join(f'{i[1:]},"Film, {i}",Action|Drama\n' for i in _ITEMS),
    }


def _amazon_2014(rows: Rows) -> Files:
    keys = ("reviewerID", "asin", "unixReviewTime")
    return {
        "reviews_X_5.json.gz": "".join(
            json.dumps(dict(zip(keys, r, strict=True)) | {"overall": 5.0}) + "\n" for r in rows
        ),
        "meta_X.json.gz": "".join(
            f"{{'asin': '{i}', 'title': \"It's {i}\", 'categories': [['A', 'B']]}}\n" for i in _ITEMS
        ),
    }


def _amazon_2023(rows: Rows) -> Files:
    reviews = ({"user_id": u, "parent_asin": i, "asin": i, "rating": 4.0, "timestamp": t * 1000} for u, i, t in rows)
    items = ({"parent_asin": i, "title": f"Thing {i}", "categories": ["A"], "images": []} for i in _ITEMS)
    return {
        "X.jsonl.gz": "".join(json.dumps(r) + "\n" for r in reviews),
        "meta_X.jsonl.gz": "".join(json.dumps(i) + "\n" for i in items),
    }


def _recbole(rows: Rows) -> Files:
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    return {
        "x.inter": head + "".join(f"{u}\t{i}\t{t}\n" for u, i, t in rows),
        "x.item": "item_id:token\ttitle:token_seq\tclass:token_seq\n" + "".join(f"{i}\ta b\tc d\n" for i in _ITEMS),
    }


def _microlens(rows: Rows) -> Files:
    return {
        "x_pairs.csv": "user,item,timestamp\n" + "".join(f"{u[1:]},{i[1:]},{t}\n" for u, i, t in rows),
        "x_titles.csv": "item,title\n" + "".join(f"{i[1:]},Clip, {i}\n" for i in _ITEMS),
    }


_FORMATS: dict[str, tuple[str, Callable[[Rows], Files]]] = {
    "ml-1m": ("movielens", _movielens_1m),
    "ml-100k": ("movielens", _movielens_100k),
    "ml-latest-small": ("movielens", _movielens_latest),
    "amazon-2014": ("amazon", _amazon_2014),
    "amazon-2023": ("amazon", _amazon_2023),
    "recbole": ("recbole", _recbole),
    "microlens": ("microlens", _microlens),
}


def whole_folder(random: Random, folder: Path) -> Case:
    """A good folder: every event must come out."""
    name, (kind, write) = random.choice(list(_FORMATS.items()))
    rows = plain_events(random, random.choice([3, 20]))
    for file, text in write(rows).items():
        put(folder / name, file, packed(file, text.encode()))
    bare = kind in ("movielens", "microlens")  # whose ids are numbers
    events = tuple(Event(u[1:], i[1:], t) if bare else Event(u, i, t) for u, i, t in rows)
    return Case(source={"kind": kind, "folder": str(folder / name)}, events=events, named=(name,))


def damaged_folder(random: Random, folder: Path) -> Case:
    """A good folder of which one file is damaged, before packing or after it, lost, empty, or no file at all."""
    name, (kind, write) = random.choice(list(_FORMATS.items()))
    contents = {file: text.encode() for file, text in write(plain_events(random, random.choice([1, 20]))).items()}
    victim = random.choice(list(contents))
    for file, content in contents.items():
        if file != victim:
            put(folder / name, file, packed(file, content))
    _put_victim(random, folder / name, victim, contents[victim])
    return Case(source={"kind": kind, "folder": str(folder / name)}, named=(name, *contents))


def _put_victim(random: Random, folder: Path, name: str, content: bytes) -> None:
    """Mostly damaged; at times lost, or a folder or a link to itself in its place."""
    how = random.random()
    folder.mkdir(parents=True, exist_ok=True)
    if how < 0.4:
        put(folder, name, packed(name, damaged(random, content)))
    elif how < 0.8:
        put(folder, name, damaged(random, packed(name, content)))
    elif how < 0.9:
        put(folder, name, random.choice([b"", b"\0" * 99, b"\n", content.replace(b"i", b"\xe9"), content[:1] * 5000]))
    elif how < 0.94:
        (folder / name).mkdir()
    elif how < 0.97:
        (folder / name).symlink_to(name)
