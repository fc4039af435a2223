"""The log of a user's own files: columns, ids, formats, several files, fingerprint, notes."""

import gzip
import os
import shutil
from pathlib import Path

import duckdb
import pytest

from medleyrec.config import parse
from medleyrec.schema import InputError
from medleyrec.sources import SOURCES
from medleyrec.sources.tables import TablesConfig, tables

HEADER = "user,item,ts\n"
DATA = Path(os.environ.get("MEDLEY_DATA", Path(__file__).parents[1] / "../shared/data"))


def read(path, **settings):
    return tables(duckdb.connect(), TablesConfig(interactions=path, **settings))


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(path, query):
    duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path


def rows(relation, columns='user_id, item_id, timestamp, "order"'):
    return relation.query("t", f'SELECT {columns} FROM t ORDER BY "order"').fetchall()


@pytest.fixture
def log(tmp_path):
    return lambda content, name="log.csv": write(tmp_path / name, content)


def data_set(name):
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; MEDLEY_DATA names the folder of the real data")
    return folder


def test_the_registry_names_this_reader():
    assert SOURCES["tables"] == f"{tables.__module__}:{tables.__name__}"


def test_ids_stay_exactly_as_written(log):
    found = read(log(HEADER + "007,1.0,1405296000\n 7 ,é|x,1405296001\n1e3,true,1405296002\n"))
    assert rows(found.interactions, "user_id, item_id") == [("007", "1.0"), (" 7 ", "é|x"), ("1e3", "true")]
    assert [str(t) for t in found.interactions.types] == ["VARCHAR", "VARCHAR", "BIGINT", "BIGINT"]


@pytest.mark.parametrize(
    "header",
    ["userId,movieId,timestamp", "Customer No,SKU,Created At", "reviewerID,asin,unixReviewTime", "visitorid,itemid,ts"],
)
def test_common_spellings_are_recognised(log, header):
    assert rows(read(log(header + "\na,b,5\n")).interactions) == [("a", "b", 5, 0)]


def test_mapped_columns_are_used_and_not_guessed_again(log):
    path = log("item,rating,stamp,score\nu1,i1,7,buy\n")
    mapping = {"user_id": "item", "item_id": "rating", "timestamp": "stamp", "event": "score"}
    found = read(path, columns=mapping).interactions
    assert found.columns == ["user_id", "item_id", "timestamp", "order", "event"]
    assert rows(found, "user_id, item_id, timestamp, event") == [("u1", "i1", 7, "buy")]


def test_the_canonical_spelling_wins_over_others(log):
    found = read(log("session_id,User_ID,item,date,timestamp\ns,u,i,2014-07-14,9\n"))
    assert rows(found.interactions) == [("u", "i", 9, 0)]


def test_rating_and_event_are_kept_and_may_be_empty(log):
    found = read(log("user,item,ts,stars,event\na,b,1,4.5,buy\na,c,2,,\na,d,3,nan,view\na,e,4, ,x\n")).interactions
    assert rows(found, "rating, event") == [(4.5, "buy"), (None, None), (None, "view"), (None, "x")]


def test_a_column_mapped_to_nothing_is_left_out(log):
    assert "rating" not in read(log(HEADER[:-1] + ",rating\na,b,1,good\n"), columns={"rating": ""}).interactions.columns


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", '\ufeffuser,item,ts\r\n"a ""q"", x","b\nb",5\r\n'),
        ("log.tsv", 'user\titem\tts\n"a ""q"", x"\t"b\nb"\t5\n'),
        ("semicolon.csv", 'user;item;ts\n"a ""q"", x";"b\nb";5\n'),
        ("log.csv.gz", gzip.compress(b'user,item,ts\n"a ""q"", x","b\nb",5\n', mtime=0)),
        ("log.jsonl", r'{"user": "a \"q\", x", "item": "b\nb", "ts": 5}'),
        ("log.ndjson.gz", gzip.compress(rb'{"user": "a \"q\", x", "item": "b\nb", "ts": "5"}', mtime=0)),
        ("log.json", r'[{"user": "a \"q\", x", "item": "b\nb", "ts": 5}]'),
    ],
)
def test_text_formats_give_the_same_table(log, name, content):
    assert rows(read(log(content, name)).interactions) == [('a "q", x', "b\nb", 5, 0)]


def test_zstd_is_read(tmp_path):
    path = tmp_path / "log.csv.zst"
    duckdb.execute(f"COPY (SELECT 'a' AS user, 'b' AS item, 5 AS ts) TO '{path}' (FORMAT csv, COMPRESSION zstd)")
    assert rows(read(path).interactions) == [("a", "b", 5, 0)]


def test_json_numbers_keep_their_digits(log):
    found = read(
        log('{"user": 12345678901234567890123, "item": 7, "ts": 5}\n{"user": "007", "item": 8, "ts": 6}\n', "l.jsonl")
    )
    assert rows(found.interactions, "user_id, item_id") == [("12345678901234567890123", "7"), ("007", "8")]


def test_integers_that_became_floats_lose_their_point_again(tmp_path):
    path = parquet(
        tmp_path / "log.parquet", "SELECT 7::DOUBLE AS user_id, 8::DECIMAL(9, 2) AS item_id, 5::UTINYINT AS ts"
    )
    assert rows(read(path).interactions) == [("7", "8", 5, 0)]


def test_binary_ids_of_parquet_are_text(tmp_path):
    path = parquet(tmp_path / "log.parquet", "SELECT encode('ü') AS user_id, 1 AS item_id, 5 AS ts")
    assert rows(read(path).interactions) == [("ü", "1", 5, 0)]


@pytest.mark.parametrize("name", ["lo[g]*?.csv", "it's.csv", 'quo"te.csv'])
def test_odd_file_names_are_taken_literally(log, name):
    log(HEADER + "x,y,1\n", "log.csv")
    assert rows(read(log(HEADER + "a,b,5\n", name)).interactions) == [("a", "b", 5, 0)]


def test_odd_column_names_stay_out_of_the_sql(tmp_path, log):
    nasty = 'x"); DROP TABLE t; --'
    assert rows(read(log(f'user,item,ts,"{nasty.replace(chr(34), chr(34) * 2)}"\na,b,5,1\n')).interactions)
    quoted = nasty.replace('"', '""')
    path = parquet(tmp_path / "log.parquet", f"SELECT 'a' AS \"{quoted}\", 'b' AS item, 5 AS ts")
    assert rows(read(path, columns={"user_id": nasty}).interactions) == [("a", "b", 5, 0)]


def test_a_column_without_any_value_is_left_out_and_told(log):
    found = read(log("user,item,ts,rating,event\na,b,5,,x\na,c,6,,\n"))
    assert found.interactions.columns == ["user_id", "item_id", "timestamp", "order", "event"]
    assert "interactions: column 'rating' of log.csv has no value and is left out" in found.notes


def test_a_column_that_only_some_files_have_is_empty_for_the_others(tmp_path, log):
    log("user,item,ts,rating\na,b,5,3\n", "a.csv")
    log(HEADER + "c,d,6\n", "b.csv")
    assert read(tmp_path).interactions.project("user_id, rating").fetchall() == [("a", 3.0), ("c", None)]


def test_several_files_are_read_in_name_order_by_column_name(tmp_path, log):
    second = log("ts,user,item\n5,c,d\n", "b.csv")
    first = parquet(tmp_path / "a.parquet", "SELECT 'a' AS user, 1 AS item, 5 AS ts UNION ALL SELECT 'b', 2, 5")
    expected = [("a", "1", 5, 0), ("b", "2", 5, 1), ("c", "d", 5, 2)]
    assert rows(read((second, first)).interactions) == expected
    assert rows(read(tmp_path).interactions) == expected


def test_the_row_number_survives_a_filter_and_many_threads(tmp_path):
    path = tmp_path / "log.csv"
    duckdb.execute(f"COPY (SELECT i AS user, 1 AS item, 5 AS ts FROM range(300000) t(i)) TO '{path}' (FORMAT csv)")
    found = read(path).interactions
    assert found.filter('"order" <> CAST(user_id AS BIGINT)').aggregate("count(*)").fetchall() == [(0,)]
    assert found.filter("user_id = '200001'").fetchall() == [("200001", "1", 5, 200001)]


def test_a_folder_of_canonical_names_gives_all_three(tmp_path):
    parquet(tmp_path / "interactions.parquet", "SELECT 'u' AS user_id, 'i' AS item_id, 5 AS timestamp")
    parquet(tmp_path / "items.parquet", "SELECT 'i' AS item_id, 'Tea' AS title")
    parquet(tmp_path / "images.parquet", "SELECT 'i' AS item_id, 'abc'::BLOB AS jpeg")
    parquet(tmp_path / "words.parquet", "SELECT 1 AS nothing")
    found = read(tmp_path)
    assert rows(found.interactions) == [("u", "i", 5, 0)]
    assert found.items.fetchall() == [("i", "Tea", None, None, None, None, None)]
    assert found.images.fetchall() == [("i", b"abc")]
    assert found.notes[0].endswith(": read interactions.parquet, items.parquet, images.parquet")


def test_the_fingerprint_follows_content_and_settings_but_not_place(tmp_path, log):
    here = log(HEADER + "a,b,5\n")
    there = tmp_path / "elsewhere" / "log.csv"
    there.parent.mkdir()
    shutil.copy(here, there)
    print_here = read(here).fingerprint
    assert len(print_here) == 32
    assert read(there).fingerprint == print_here
    assert read(here, time_unit="ms").fingerprint != print_here
    assert read(write(there, HEADER + "a,b,6\n")).fingerprint != print_here


def test_the_notes_say_what_was_taken_for_what(log):
    notes = read(log("customer no,sku,when,stars\na,b,1405296000123,5\n"), columns={"timestamp": "when"}).notes
    assert notes == (
        "interactions: columns taken as user_id = 'customer no', item_id = 'sku', timestamp = 'when', rating = 'stars'",
        "timestamp: 'when' read as milliseconds (2014-07-14 to 2014-07-14, UTC)",
    )


def test_nothing_is_installed_from_the_network(log):
    connection = duckdb.connect()
    tables(connection, TablesConfig(interactions=log(HEADER + "a,b,5\n")))
    for setting in ("autoinstall_known_extensions", "autoload_known_extensions"):
        assert connection.execute(f"SELECT current_setting('{setting}')").fetchall() == [(False,)]


def test_settings_refuse_unknown_canonical_names():
    with pytest.raises(
        InputError, match=r"'usr_id' is not a column that interactions can have; did you mean 'user_id'\?"
    ):
        parse(TablesConfig, {"interactions": "x.csv", "columns": {"usr_id": "x"}}, where="[source]")
    with pytest.raises(InputError, match='timestamp = "" would leave out a column that is needed'):
        parse(TablesConfig, {"interactions": "x.csv", "columns": {"timestamp": ""}}, where="[source]")


def test_amazon_beauty_from_its_folder():
    found = read(data_set("amazon-beauty-2014-5core"))
    facts = 'count(*), count(DISTINCT user_id), count(DISTINCT item_id), max("order")'
    assert found.interactions.aggregate(facts).fetchall() == [(198_502, 22_363, 12_101, 198_501)]
    assert found.items.aggregate("count(*), count(title), count(description)").fetchall() == [(12_101, 12_094, 0)]
    assert found.images is None


def test_movielens_from_its_folder():
    found = read(data_set("ml-latest-small-posters"))
    assert found.interactions.aggregate("count(*), min(timestamp)").fetchall() == [(100_836, 828_124_615)]
    assert found.images.aggregate("count(*), count(DISTINCT item_id)").fetchall() == [(8_607, 8_607)]
    genres = found.items.query("t", "SELECT count(DISTINCT g) FROM t, unnest(categories[1]) AS u(g)").fetchall()
    assert genres == [(25,)]
