"""What the tests of descriptions share: a small shop, a listener that remembers, a hostile endpoint in its process."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from medleyrec.features.describe.asking import Asking
from medleyrec.recipes.describe import Described, described_views, run_describe
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset, run_prepare

HOSTILE = Path(__file__).with_name("hostile_endpoint.py")
FAST = {"model": "tiny-vlm", "timeout": 5.0, "tries": 3, "first_wait": 0.01, "longest_wait": 0.01}


class Told(Listener):
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def make_shop(folder: Path, titles: Sequence[str], *, pictures: Sequence[int] = (), events: Sequence[int] = ()) -> Path:
    """A project of items 000, 001, ...; `events`: how often each is bought (and twice more, by all users' last)."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = list(events) or [1] * len(titles)
    with (folder / "log.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["user_id", "item_id", "timestamp"])
        for item, count in enumerate(counts):
            for user in range(count):
                for step in range(3):  # leave-one-out: the first of three trains
                    out.writerow([f"u{item}-{user}", f"{item if step == 0 else 0:03d}", 1_600_000_000 + step])
    with (folder / "items.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["item_id", "title", "categories", "brand", "price"])
        for item, title in enumerate(titles):
            out.writerow([f"{item:03d}", title, "shop|chairs", "Acme", 9.5])
    source = {"interactions": str(folder / "log.csv"), "items": str(folder / "items.csv")}
    if pictures:
        (folder / "pics").mkdir(exist_ok=True)
        for item in pictures:
            Image.new("RGB", (40, 30), (item * 5 % 255, 90, item)).save(folder / "pics" / f"{item:03d}.png")
        source["images"] = str(folder / "pics")
    options = {"min_user_events": 1, "min_item_events": 1}
    project = folder / "shop"
    run_prepare(load_experiment(project, flags={"source": source, "prepare": options}), Told())
    return project


def described_texts(project: Path, **more: str) -> dict[str, list[str | None]]:
    return described_views(project, open_dataset(project), **more)[1]


def described_origins(project: Path) -> dict[str, str]:
    origin, texts = described_views(project, open_dataset(project))
    return dict.fromkeys(texts, origin)


def ask(
    project: Path, url: str, told: Told | None = None, *, dry_run: bool = False, **more: object
) -> Described | None:
    """One run against `url`; names of Asking's fields go there, others to the settings."""
    asking = {name: more.pop(name) for name in list(more) if name in Asking.__dataclass_fields__}
    experiment = load_experiment(project, flags={"describe": {**FAST, **more}})
    return run_describe(experiment, Asking(url=url, **asking), told or Told(), dry_run=dry_run)


class Hostile:
    def __init__(self, port: int, log: Path) -> None:
        self.port, self.log = port, log
        self.url = f"http://127.0.0.1:{port}/v1"

    def calls(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@contextmanager
def hostile(log: Path, seed: int | None = None) -> Iterator[Hostile]:
    command = [sys.executable, str(HOSTILE), str(log), *([] if seed is None else [str(seed)])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Hostile(int(process.stdout.readline()), log)
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
