"""From a CSV with unusual column names and a folder of pictures to recommendations, command by command, timed.

    python -m benchmarks.own_data FOLDER

The files are those of the planted bazaar written as a shop would export them: `sales.csv`, `goods.csv`, `pictures/`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb

from medleyrec.sources.bazaar import BazaarConfig, bazaar

COLUMNS = ["user_id=customer no", "item_id=article", "timestamp=bought at"]


def export(folder: Path, *, users: int = 2_000, items: int = 1_728) -> None:
    """sales.csv (customer no, article, bought at), goods.csv (article, name, ...) and pictures/<article>.jpg."""
    tables = bazaar(duckdb.connect(), BazaarConfig(users=users, items=items))
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    assert tables.images is not None
    for item, data in tables.images.fetchall():
        (pictures / f"{item}.jpg").write_bytes(data)
    log = tables.interactions.project(
        'user_id AS "customer no", item_id AS article, strftime(make_timestamp(timestamp * 1000000), '
        "'%Y-%m-%d %H:%M:%S') AS \"bought at\""
    )
    log.write_csv(str(folder / "sales.csv"))
    goods = tables.items.project("item_id AS article, title AS name, description, categories[1][-1] AS categories")
    goods.write_csv(str(folder / "goods.csv"))


def main() -> None:
    folder = Path(sys.argv[1])
    export(folder)
    flags = [word for column in COLUMNS for word in ("--column", column)]
    files = ["--interactions", "sales.csv", "--items", "goods.csv", "--images", "pictures"]
    steps = [
        ["prepare", "shop", *files, *flags, "--item-column", "item_id=article"],
        ["encode", "shop"],
        ["train", "shop", "--items", "id,text,image"],
        ["evaluate", "shop"],
    ]
    begun = time.perf_counter()
    for step in steps:
        run(folder, step)
    made = next((folder / "shop" / "runs").iterdir())
    sold = Counter(line.split(",")[1] for line in (folder / "sales.csv").read_text().splitlines()[1:])
    history = ",".join(article for article, _ in sold.most_common(2))
    run(folder, ["recommend", str(made.relative_to(folder)), "--history", history, "-k", "5"])
    print(f"in all {time.perf_counter() - begun:.0f} s")


def run(folder: Path, step: list[str]) -> None:
    print("$ medley", " ".join(step), flush=True)
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "medleyrec.cli", *step], cwd=folder, check=True)
    print(f"  {time.perf_counter() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
