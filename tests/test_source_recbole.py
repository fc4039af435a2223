"""RecBole's atomic files: typed headers, tabs, sequences, no quoting."""

import duckdb
import pytest

from medleyrec.config import parse
from medleyrec.schema import InputError
from medleyrec.sources import SOURCES
from medleyrec.sources.recbole import RecboleConfig, recbole
from tests.test_source_assembly import events, fill, items, prepared

INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "1\t1193\t5\t978300760\n2\t'\"q\t3.5\t978298413.25\n1\t661\t3\t9.78302109E8\n"
)
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq\tvector:float_seq\n"
    "1193\tThe \"Nest, or\t1975\tDrama Film-Noir\t0.1 0.2\n661\tJames  and the'\t\t\t\n"
)


def read(folder, **settings):
    return recbole(duckdb.connect(), RecboleConfig(folder=folder, **settings))


def test_the_registry_names_this_reader():
    assert SOURCES["recbole"] == f"{recbole.__module__}:{recbole.__name__}"


def test_inter_and_item(tmp_path):
    found = read(fill(tmp_path, {"ml.inter": INTER, "ml.item": ITEM, "ml.user": "user_id:token\n1\n"}))
    assert events(found, "user_id, item_id, timestamp, rating") == [
        ("2", "'\"q", 978298413, 3.5),
        ("1", "1193", 978300760, 5.0),
        ("1", "661", 978302109, 3.0),
    ]
    assert items(found, "item_id, title, categories, price") == [
        ("1193", 'The "Nest, or', [["Drama", "Film-Noir"]], None),
        ("661", "James  and the'", None, None),
    ]
    assert found.notes[0].endswith("read ml.inter, ml.item")


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    files = {"a.inter": "\ufeff" + INTER.replace("\n", "\r\n"), "a.item": "\ufeff" + ITEM.replace("\n", "\r\n")}
    found = read(fill(tmp_path, files))
    assert len(events(found)) == 3
    assert items(found)[0] == ("1193", 'The "Nest, or')
    assert any(note.startswith("interactions: columns taken as user_id = 'user_id', ") for note in found.notes)


def test_the_log_alone_is_enough(tmp_path):
    assert len(items(read(fill(tmp_path, {"a.inter": INTER})))) == 3


def test_fields_of_other_names_are_mapped(tmp_path):
    files = {
        "a.inter": "who:token\twhat:token\twhen:float\tstars:float\nu\ti\t7\t1\n",
        "a.item": "what:token\tlabel:token\tkind:token\tgenre:token_seq\ni\tTea\tpot, hot\tx y\n",
    }
    columns = {"user_id": "who", "item_id": "what", "timestamp": "when", "rating": ""}
    found = read(
        fill(tmp_path, files), columns=columns, item_columns={"item_id": "what", "title": "label", "categories": "kind"}
    )
    assert found.interactions.columns == ["user_id", "item_id", "timestamp", "order"]
    assert events(found) == [("u", "i", 7)]
    assert items(found, "item_id, title, categories") == [("i", "Tea", [["pot, hot"]])]


def test_other_separators(tmp_path):
    files = {
        "a.inter": "user_id:token,item_id:token,timestamp:float\nu,i,7\n",
        "a.item": "item_id:token,genre:token_seq\ni,Sci Fi; Drama;\n",
    }
    found = read(fill(tmp_path, files), field_separator=",", seq_separator=";")
    assert items(found, "categories") == [([["Sci Fi", "Drama"]],)]
    assert read(tmp_path, field_separator=",").fingerprint != found.fingerprint


def test_several_logs_are_read_in_name_order(tmp_path):
    header, *rows = INTER.splitlines(keepends=True)
    files = {"x.test.inter": header + rows[0], "x.train.inter": header + rows[0].replace("1193", "7")}
    assert [item for (item,) in events(read(fill(tmp_path, files)), "item_id")] == ["1193", "7"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "holds no .inter file"),
        ({"a.inter": ""}, "a.inter: the header's field '' is not of the form name:type"),
        ({"a.inter": "user_id,item_id,timestamp\n"}, "'user_id,item_id,timestamp' is not of the form name:type"),
        ({"a.inter": "user_id:token\titem_id:str\n"}, "'item_id:str' is not of the form name:type .types: token,"),
        ({"a.inter": "user_id:token\tuser_id:token\n"}, "a.inter has two fields named 'user_id'"),
        ({"a.inter": "user_id:token\titem_id:token\n1\t2\n"}, "a.inter has no column for the time of the event"),
        ({"a.inter": INTER, "b.inter": INTER.replace("rating", "label")}, "a.inter and b.inter have different fields"),
        ({"a.inter": INTER + "1\t2\t3\n"}, "^a.inter, line 5"),
        ({"a.inter": INTER + "1\t2\t3\tsoon\n"}, "^a.inter, row 4: column 'timestamp' is 'soon'"),
        ({"a.inter": INTER.encode() + b"\xe9\t2\t3\t4\n"}, "^a.inter.* is not UTF-8 text"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(tmp_path, files, told):
    with pytest.raises(InputError, match=told):
        read(fill(tmp_path, files))


def test_settings_are_checked():
    with pytest.raises(InputError, match="'user' is not a column that interactions can have; did you mean 'user_id'"):
        parse(RecboleConfig, {"folder": "x", "columns": {"user": "a"}}, where="source")


def test_through_prepare(tmp_path):
    folder = fill(tmp_path / "ml", {"ml.inter": INTER, "ml.item": ITEM})
    counts, catalogue = prepared(tmp_path / "shop", kind="recbole", folder=folder)
    assert (counts["users"], counts["events"], counts["category_labels"]) == (2, 3, 2)
    assert catalogue["661"]["title"] == "James  and the'"
