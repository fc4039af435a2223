"""Frames from Python: pandas, Arrow, Polars; the same checks as files."""

import datetime
import gc
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import medleyrec
from medleyrec.config import parse
from medleyrec.schema import InputError
from medleyrec.sources import SOURCES
from medleyrec.sources.frames import FramesConfig, frames, is_frame
from medleyrec.sources.tables import TablesConfig, tables
from tests.test_source_assembly import events, items

LOG = {"user": ["b", "a", "b"], "item": [12, 13, 12], "ts": [1400000002, 1400000001, 1400000001]}


def read(interactions, **settings):
    return frames(duckdb.connect(), FramesConfig(interactions=interactions, **settings))


class Stream:
    """Anything that speaks the Arrow protocol, and nothing else."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def made(kind):
    table = pa.table(LOG)
    return {
        "pandas": lambda: pd.DataFrame(LOG),
        "arrow": lambda: table,
        "batch": lambda: table.to_batches()[0],
        "reader": lambda: table.to_reader(),
        "protocol": lambda: Stream(table),
        "chunks": lambda: pa.concat_tables([table.slice(0, 1), table.slice(1, 1), table.slice(2)]),
    }[kind]()


KINDS = ["pandas", "arrow", "batch", "reader", "protocol", "chunks"]


def test_the_registry_names_this_reader():
    assert SOURCES["frames"] == f"{frames.__module__}:{frames.__name__}"


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_all_kinds_are_one_table(kind):
    assert is_frame(made(kind))
    found = read(made(kind))
    assert events(found, 'user_id, item_id, timestamp, "order"') == [
        ("a", "13", 1400000001, 1),
        ("b", "12", 1400000001, 2),
        ("b", "12", 1400000002, 0),
    ]
    assert found.fingerprint == read(pa.table(LOG)).fingerprint
    assert found.notes[0] == "interactions: columns taken as user_id = 'user', item_id = 'item', timestamp = 'ts'"


def test_categories_are_their_values():
    log = pd.DataFrame(LOG | {"user": pd.Categorical(LOG["user"])})
    assert read(log).fingerprint == read(pa.table(LOG)).fingerprint


def test_polars():
    pl = pytest.importorskip("polars")
    log = pl.DataFrame(LOG).with_columns(pl.col("user").cast(pl.Categorical))
    assert events(read(log)) == events(read(pa.table(LOG)))


def test_the_fingerprint_follows_content_and_settings():
    other = LOG | {"ts": [1400000002, 1400000001, 1400000003]}
    seen = [
        read(pa.table(LOG)).fingerprint,
        read(pa.table(other)).fingerprint,
        read(pa.table(LOG), time_unit="ms").fingerprint,
        read(pa.table(LOG), items=pa.table({"item": [12]})).fingerprint,
    ]
    assert len(set(seen)) == 4


def test_rows_beyond_one_row_group_keep_their_order(monkeypatch):
    monkeypatch.setattr("medleyrec.sources.frames._ROWS", 1000)
    log = pa.table({"user": np.zeros(4500, int), "item": np.arange(4500)[::-1], "ts": np.full(4500, 7)})
    whole, cut = read(log), read(pa.Table.from_batches(log.to_batches(max_chunksize=7)))
    assert [int(item) for (item,) in events(whole, "item_id")] == list(range(4500))[::-1]
    assert whole.fingerprint == cut.fingerprint


def test_a_pandas_index_is_not_read():
    log = pd.DataFrame(LOG, index=pd.Index([7, 8, 9], name="user_id"))
    assert [user for (user,) in events(read(log), "user_id")] == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pd.Categorical([12, 13, 12]), ["13", "12", "12"]),
        (pd.Categorical(["x", "y", "x"]), ["y", "x", "x"]),
        (pd.array([12, 13, 12], dtype="Int64"), ["13", "12", "12"]),
        (np.array([12.0, 13.0, 12.0]), ["13", "12", "12"]),
        (pd.array(["007", "7", "007"], dtype="string"), ["7", "007", "007"]),
        ([Decimal(12), Decimal(13), Decimal(12)], ["13", "12", "12"]),
        (np.array([12, 13, 2**64 - 1], dtype=np.uint64), ["13", str(2**64 - 1), "12"]),
        ([b"x", b"y", b"x"], ["y", "x", "x"]),
    ],
)
def test_ids_of_many_types(column, told):
    assert [item for (item,) in events(read(pd.DataFrame(LOG | {"item": column})), "item_id")] == told


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_datetimes_with_and_without_zones(unit, zone):
    """Half an hour past midnight in Kolkata is the day before in UTC; without a zone a time is UTC."""
    local = datetime.datetime(2020, 3, 1, 0, 30)
    times = pd.Series([local] * 3).astype(f"datetime64[{unit}]").dt.tz_localize(zone)
    expected = datetime.datetime(2020, 3, 1, 0, 30, tzinfo=datetime.UTC).timestamp()
    shift = 5.5 * 3600 if zone == "Asia/Kolkata" else 0
    assert {time for (time,) in events(read(pd.DataFrame(LOG | {"ts": times})), "timestamp")} == {expected - shift}


def test_the_sub_second_part_of_datetimes_orders_events():
    times = pd.to_datetime([1400000000_000000002, 1400000000_000000003, 1400000000_000000001], utc=True)
    found = read(pd.DataFrame(LOG | {"ts": times, "item": [2, 3, 1]}))
    assert events(found, "item_id, timestamp") == [(n, 1400000000) for n in "123"]


def test_an_items_frame():
    goods = pd.DataFrame(
        {
            "item": pd.array([12, 13], dtype="Int64"),
            "title": ["Tea", None],
            "genres": [["hot", "green"], []],
            "price": [np.nan, 2.5],
            "junk": [object(), {}],
        }
    )
    found = read(pd.DataFrame(LOG), items=goods)
    assert items(found, "item_id, title, categories, price") == [
        ("12", "Tea", [["hot", "green"]], None),
        ("13", None, None, 2.5),
    ]


def test_items_from_a_file(tmp_path):
    (tmp_path / "goods.csv").write_text("item,title\n12,Tea\n")
    for given in (tmp_path / "goods.csv", str(tmp_path / "goods.csv"), [tmp_path / "goods.csv"]):
        assert items(read(pa.table(LOG), items=given)) == [("12", "Tea")]


def test_pictures_as_bytes_in_the_frame():
    goods = pd.DataFrame({"item": [12, 13], "image": [b"jpeg", None]})
    assert read(pd.DataFrame(LOG), items=goods).images.fetchall() == [("12", b"jpeg")]


def test_picture_paths_are_relative_to_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "12.jpg").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    goods = pa.table({"item": [12, 13], "image": ["a.jpg", "https://example.org/b.jpg"]})
    found = read(pa.table(LOG), items=goods)
    assert (found.image_folder, items(found, "image")) == (tmp_path, [("a.jpg",), (None,)])
    addresses = pa.table({"item": [12], "image": ["https://example.org/b.jpg"]})
    assert read(pa.table(LOG), items=addresses).image_folder is None, "files of the folder were taken for pictures"


def test_a_picture_folder(tmp_path):
    (tmp_path / "12.jpg").write_bytes(b"x")
    found = read(pa.table(LOG), images=tmp_path)
    assert items(found, "item_id, image") == [("12", "12.jpg"), ("13", None)]


def test_columns_are_mapped():
    odd = pa.table({"a": ["u"], "b": ["i"], "c": [5], "rating": ["junk"], "d": ["kept out"]})
    found = read(odd, columns={"user_id": "a", "item_id": "b", "timestamp": "c", "rating": ""})
    assert found.interactions.columns == ["user_id", "item_id", "timestamp", "order"]


def test_columns_that_are_not_used_need_not_be_readable():
    found = read(pd.DataFrame(LOG | {"junk": [1, "x", object()], 5: [1, 2, 3]}))
    assert len(events(found)) == 3


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"item": [1, "x", None]},
            "the frame 'interactions': column 'item' holds values of different or unknown types",
        ),
        ({"item": [1.5, 1, 1]}, r"^the frame 'interactions', row 1: column 'item' is '1.5', which is no id"),
        ({"item": ["a", "", "b"]}, r"row 2: column 'item' is empty"),
        ({"ts": [1, 2, -3]}, r"row 3: column 'ts' is '-3', which is no usable time"),
        ({"ts": pd.to_timedelta([1, 2, 3], unit="s")}, "the frame 'interactions' cannot be read .* is a span of time"),
        ({"ts": [True, False, True]}, "column 'ts' .BOOLEAN. cannot hold times"),
        ({"user_name": 1, "ts": None, "when": 5}, "column 'ts'"),
    ],
)
def test_what_cannot_be_used_is_said(changed, told):
    with pytest.raises(InputError, match=told):
        read(pd.DataFrame(LOG | changed))


def test_hints_are_written_for_python():
    with pytest.raises(InputError, match=r'say which it is, such as columns={"timestamp": "user"}$'):
        read(pa.table({"user": ["a"], "item": ["b"], "x": [1]}))
    with pytest.raises(InputError, match=r'such as item_columns={"item_id": "name"}$'):
        read(pa.table(LOG), items=pa.table({"name": ["b"]}))


def test_columns_of_one_name_are_refused():
    log = pd.DataFrame([["a", "b", "c", 5]], columns=["user_id", "user_id", "item", "ts"])
    with pytest.raises(InputError, match="the frame 'interactions' has two columns named 'user_id'"):
        read(log)


def test_frames_without_rows():
    for log in (pd.DataFrame(LOG).iloc[:0], pa.table(LOG).slice(0, 0), pa.table(LOG).schema.empty_table()):
        with pytest.raises(InputError, match="no rows|empty"):
            read(log)


@pytest.mark.parametrize("value", ["log.csv", {"user": ["a"]}, [1, 2], None, 5])
def test_what_is_no_frame_is_refused(value):
    assert not is_frame(value)
    with pytest.raises(InputError, match="source: interactions = .* a pandas, Polars or Arrow frame is needed"):
        parse(FramesConfig, {"interactions": value}, where="source")


def test_the_same_rows_as_a_file_gives(tmp_path):
    log = pa.table(LOG | {"rating": [1.0, None, 3.0], "event": ["buy", "view", None]})
    pq.write_table(log, tmp_path / "log.parquet")
    from_file = tables(duckdb.connect(), TablesConfig(interactions=tmp_path / "log.parquet"))
    columns = 'user_id, item_id, timestamp, "order", rating, event'
    assert events(read(log), columns) == events(from_file, columns)
    assert read(log).interactions.types == from_file.interactions.types


def test_a_real_log_is_the_same_from_a_frame(real_data):
    folder = real_data("amazon-beauty-2014-5core")
    connection = duckdb.connect()
    from_files = tables(connection, TablesConfig(interactions=folder))
    log, goods = (pd.read_parquet(folder / f"{name}.parquet") for name in ("interactions", "items"))
    from_frames = frames(connection, FramesConfig(interactions=log, items=goods))
    for name in ("interactions", "items"):
        getattr(from_files, name).create_view("a", replace=True)
        getattr(from_frames, name).create_view("b", replace=True)
        different = connection.sql("SELECT 1 FROM ((FROM a EXCEPT FROM b) UNION ALL (FROM b EXCEPT FROM a))")
        assert different.fetchall() == []
        assert connection.sql("SELECT count(*) > 10_000 FROM b").fetchall() == [(True,)]


def test_through_prepare(tmp_path):
    goods = pd.DataFrame({"item": [12, 13], "title": ["Tea", "Cup"]})
    options = {"min_user_events": 1, "min_item_events": 1}
    project = medleyrec.Project(tmp_path / "shop")
    dataset = project.prepare(pd.DataFrame(LOG), kind="frames", items=goods, prepare=options)
    gc.collect()
    assert dataset.manifest["counts"]["events"] == 3
    titles = duckdb.sql(f"SELECT title FROM '{tmp_path / 'shop' / 'dataset' / 'catalogue.parquet'}'").fetchall()
    assert titles == [("Tea",), ("Cup",)]
