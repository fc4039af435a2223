"""Appending files to a project: the same bytes as preparing all of them at once, and sentences where it cannot be."""

import csv

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medleyrec.recipes.append import run_append
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import run_prepare
from medleyrec.schema import InputError

HEAD = ["customer no", "article", "bought at"]
COLUMNS = {"user_id": "customer no", "item_id": "article", "timestamp": "bought at"}
LOOSE = {"min_user_events": 2, "min_item_events": 1}


class Ears(Listener):
    def __init__(self):
        self.told, self.steps = [], []

    def say(self, sentence):
        self.told.append(sentence)

    def step(self, name, done, total):
        self.steps.append((name, done, total))


def write(path, head, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def month(number, users, items):
    """Everyone buys two things that month, at the same hour of the same day."""
    return [
        [u, items[(n + k) % len(items)], f"2024-{number:02d}-10 12:00:00"] for n, u in enumerate(users) for k in (0, 1)
    ]


@pytest.fixture
def files(tmp_path):
    jan = write(tmp_path / "jan.csv", HEAD, month(1, ["K1", "K2", "K3"], ["007", "008", "009"]))
    feb = write(tmp_path / "feb.csv", HEAD, month(2, ["K2", "K4"], ["009", "010"]))
    mar = write(tmp_path / "mar.csv", HEAD, month(3, ["K1", "K5", "K0"], ["011", "007"]))
    goods = write(tmp_path / "goods.csv", ["item_id", "title", "genres"], [["007", "bell", "a|b"], ["009", "cup", "a"]])
    extra = write(
        tmp_path / "extra.csv", ["item_id", "title", "genres"], [["010", "jar", "b|c"], ["007", "second", "c"]]
    )
    return {"jan": jan, "feb": feb, "mar": mar, "goods": goods, "extra": extra}


def made(folder, log, items=None, **more):
    source = {"interactions": [str(p) for p in log], "columns": COLUMNS, **more}
    if items:
        source["items"] = [str(p) for p in items]
    flags = {"source": source, "prepare": LOOSE}
    return run_prepare(load_experiment(folder, flags=flags), Listener(), memory_limit="1GB", threads=1)


def grow(folder, listener=None, flags=None, **files):
    return run_append(
        load_experiment(folder, flags=flags), listener or Listener(), memory_limit="1GB", threads=1, **files
    )


def bytes_of(folder):
    found = (p for p in (folder / "dataset").rglob("*") if p.is_file() and p.name != "origin.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_files_appended_one_by_one_are_all_files_at_once(tmp_path, files):
    made(tmp_path / "whole", [files["jan"], files["feb"], files["mar"]], [files["goods"], files["extra"]])
    made(tmp_path / "grown", [files["jan"]], [files["goods"]])
    grow(tmp_path / "grown", interactions=[files["mar"]])
    grow(tmp_path / "grown", interactions=[files["feb"]], items=[files["extra"]])
    assert bytes_of(tmp_path / "grown") == bytes_of(tmp_path / "whole")
    assert any("splits" in name for name in bytes_of(tmp_path / "grown"))


def test_several_files_of_one_part_are_put_between_others(tmp_path):
    tied = {"feb": ["01", "02"], "jan": ["03", "04"], "mar": ["05", "06"]}  # all at the same hour: file order decides
    files = {name: write(tmp_path / f"{name}.csv", HEAD, month(1, ["K1", "K2"], items)) for name, items in tied.items()}
    made(tmp_path / "whole", files.values())
    made(tmp_path / "grown", [files["feb"], files["mar"]])
    data = grow(tmp_path / "grown", interactions=[files["jan"]])
    assert bytes_of(tmp_path / "grown") == bytes_of(tmp_path / "whole")
    assert [data.item_ids[row] for row in data.history(0)] == ["01", "02", "03", "04", "05", "06"]
    assert data.origin["files"][-1] == {"name": "jan.csv", "events": 4}


def test_items_alone_can_be_appended(tmp_path, files):
    made(tmp_path / "whole", [files["jan"], files["feb"]], [files["goods"], files["extra"]])
    made(tmp_path / "grown", [files["jan"], files["feb"]], [files["goods"]])
    data = grow(tmp_path / "grown", items=[files["extra"]])
    assert bytes_of(tmp_path / "grown") == bytes_of(tmp_path / "whole")
    titles = dict(zip(data.item_ids[1:], data.catalogue.column("title").to_pylist(), strict=True))
    assert titles == {"007": "second", "008": None, "009": "cup", "010": "jar"}, "extra.csv comes before goods.csv"


def test_csv_and_parquet_are_equal_bytes(tmp_path, files):
    as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(HEAD, pa.string()))
    pq.write_table(pyarrow.csv.read_csv(files["jan"], convert_options=as_text), tmp_path / "jan.parquet")
    one = made(tmp_path / "csv", [files["jan"]])
    two = made(tmp_path / "parquet", [tmp_path / "jan.parquet"])
    assert one.origin["source"] != two.origin["source"]
    assert bytes_of(tmp_path / "csv") == bytes_of(tmp_path / "parquet")
    with pytest.raises(InputError, match=r"6 events of jan.parquet are in .* already, as jan.csv"):
        grow(tmp_path / "csv", interactions=[tmp_path / "jan.parquet"])


def test_pictures_of_the_same_folder_come_along(tmp_path, files):
    folder = tmp_path / "pics"
    folder.mkdir()
    for item in ("007", "009", "010"):
        Image.new("RGB", (8, 8), "red").save(folder / f"{item}.png")
    for name, goods in (("no-goods", None), ("goods", [files["goods"]])):
        made(tmp_path / name / "whole", [files["jan"], files["feb"]], goods, images=str(folder))
        made(tmp_path / name / "grown", [files["jan"]], goods, images=str(folder))
        data = grow(tmp_path / name / "grown", interactions=[files["feb"]])
        assert bytes_of(tmp_path / name / "grown") == bytes_of(tmp_path / name / "whole")
        assert data.picture(data.item_rows["007"]).startswith(b"\x89PNG")
    made(tmp_path / "whole", [files["jan"], files["feb"]], [files["goods"], files["extra"]], images=str(folder))
    data = grow(tmp_path / "goods" / "grown", items=[files["extra"]])
    assert bytes_of(tmp_path / "goods" / "grown") == bytes_of(tmp_path / "whole")
    assert data.picture(data.item_rows["010"]) is not None
    data = grow(tmp_path / "no-goods" / "grown", items=[files["goods"], files["extra"]])
    assert bytes_of(tmp_path / "no-goods" / "grown") == bytes_of(tmp_path / "whole"), "a catalogue that came later"
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match="put them into one folder"):
        grow(tmp_path / "whole", items=[files["extra"]], images=tmp_path / "elsewhere")


def test_the_first_input_again_finds_what_was_appended(tmp_path, files):
    made(tmp_path / "shop", [files["jan"]])
    listener = Ears()
    data = grow(tmp_path / "shop", listener, interactions=[files["feb"]])
    assert ("coding events", 4, 4) in listener.steps
    again = made(tmp_path / "shop", [files["jan"]])
    assert again.manifest == data.manifest
    assert {p.name for p in (tmp_path / "shop").iterdir()} == {"dataset", "log"}, "nothing of the spill is left"


def test_what_cannot_be_appended_is_one_sentence(tmp_path, files):
    shop = tmp_path / "shop"
    with pytest.raises(InputError, match="is not a folder"):
        grow(shop, interactions=[files["feb"]])
    made(shop, [files["jan"]])
    before = bytes_of(shop)
    with pytest.raises(InputError, match="nothing to append was named"):
        grow(shop)
    with pytest.raises(InputError, match=r"6 events of jan.csv are in .* already; leave this file out"):
        grow(shop, interactions=[files["jan"]])
    with pytest.raises(InputError, match=r"prepare.min_user_events = 3, but the dataset was prepared with 2"):
        grow(shop, flags={"prepare": {"min_user_events": 3}}, interactions=[files["feb"]])
    with pytest.raises(InputError, match=r"nowhere.csv"):
        grow(shop, interactions=[tmp_path / "nowhere.csv"])
    (tmp_path / "pics").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "pics" / "007.png")
    made(shop, [files["jan"]], [files["goods"]])
    with pytest.raises(InputError, match="give --items too"):
        grow(shop, interactions=[files["feb"]], images=tmp_path / "pics")
    made(shop, [files["jan"]])
    assert bytes_of(shop) == before


def test_the_default_memory_limit_is_said(tmp_path, files):
    listener = Ears()
    flags = {"source": {"interactions": str(files["jan"]), "columns": COLUMNS}, "prepare": LOOSE}
    run_prepare(load_experiment(tmp_path / "shop", flags=flags), listener, threads=1)
    assert any("half of the memory here (--memory-limit changes it)" in sentence for sentence in listener.told)
