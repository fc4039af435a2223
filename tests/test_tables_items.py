"""The catalogue of a user's own files: text, categories in every notation, prices, duplicates, gaps."""

import json

import pytest

from medleyrec.schema import ITEM_COLUMNS, InputError
from tests.test_tables import HEADER, parquet, read, write


def catalogue(tmp_path, content, name="items.csv", **settings):
    """The canonical tables for a log of the one item i1 and the given items file."""
    log = write(tmp_path / "log.csv", HEADER + "u,i1,1\n")
    return read(log, items=write(tmp_path / name, content) if content is not None else tmp_path / name, **settings)


def values(found, column):
    return dict(found.items.project(f"item_id, {column}").fetchall())


def one_category(tmp_path, text, **settings):
    quoted = text.replace('"', '""')
    return values(catalogue(tmp_path, f'item_id,genres\ni1,"{quoted}"\n', **settings), "categories")["i1"]


def test_columns_and_types(tmp_path):
    found = catalogue(
        tmp_path, "ASIN,Name,Plot,Genres,Manufacturer,Price\ni1,Tea,Hot,a|b,Acme,$1.50\ni2,,,,,\n", item_columns={}
    )
    assert found.items.columns == list(ITEM_COLUMNS)
    kinds = ["VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR[][]", "VARCHAR", "DOUBLE", "VARCHAR"]
    assert [str(t) for t in found.items.types] == kinds
    assert found.items.order("item_id").fetchall() == [
        ("i1", "Tea", "Hot", [["a", "b"]], "Acme", 1.5, None),
        ("i2", None, None, None, None, None, None),
    ]


def test_without_a_file_the_items_are_those_of_the_log(tmp_path):
    found = read(write(tmp_path / "log.csv", HEADER + "u,b,1\nv,a,1\nv,b,2\n"))
    assert found.items.order("item_id").fetchall() == [("a", *[None] * 6), ("b", *[None] * 6)]
    assert [str(t) for t in found.items.types][3:6] == ["VARCHAR[][]", "VARCHAR", "DOUBLE"]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a|b|c", [["a", "b", "c"]]),
        ("a; b ;c", [["a", "b", "c"]]),
        ("a > b > c", [["a", "b", "c"]]),
        ("a, b", [["a", "b"]]),
        ("a > b|a > c", [["a", "b"], ["a", "c"]]),
        ("Movies, TV > Drama", [["Movies, TV", "Drama"]]),
        ("a||b|", [["a", "b"]]),
        ("one label", [["one label"]]),
        ("|", None),
        ("  ", None),
        ('["a", "b, c"]', [["a", "b, c"]]),
        ('["\\u00e9"]', [["é"]]),
        ('[["a", "b"], ["c"]]', [["a", "b"], ["c"]]),
        ("['a', \"b's\"]", [["a", "b's"]]),
        ("['a, b', 'c']", [["a, b", "c"]]),
        ("[['Beauty', 'Hair'], ['X']]", [["Beauty", "Hair"], ["X"]]),
        ("[u'a', u'b']", [["a", "b"]]),
        ("[]", None),
        ("[[]]", None),
        ('["a", null, ""]', [["a"]]),
    ],
)
def test_category_text(tmp_path, text, paths):
    assert one_category(tmp_path, text) == paths


def test_separators_can_be_set(tmp_path):
    assert one_category(tmp_path, "a|b, c", category_separator=",") == [["a|b", "c"]]
    assert one_category(tmp_path, "a|b, c", category_separator="") == [["a|b, c"]]
    assert one_category(tmp_path, "a/b|c", category_path_separator="/") == [["a", "b|c"]]
    both = {"category_separator": "|", "category_path_separator": " / "}
    assert one_category(tmp_path, "a / b|c", **both) == [["a", "b"], ["c"]]


def test_a_rare_character_is_no_separator(tmp_path):
    lines = "".join(f"i{n},label {n}\n" for n in range(1, 40))
    found = values(catalogue(tmp_path, "item_id,category\n" + lines + "i99,rock|pop\n"), "categories")
    assert found["i99"] == [["rock|pop"]]


def test_the_separator_is_told(tmp_path):
    assert "categories: split at '|' into one path, root first" in catalogue(tmp_path, "item,tags\ni1,a|b\n").notes


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("['a', NULL, 'b']", [["a", "b"]]),
        ("[['a', 'b'], ['c']]", [["a", "b"], ["c"]]),
        ("[1, 2]", [["1", "2"]]),
        ("[]::VARCHAR[]", None),
        ("NULL::VARCHAR[]", None),
        ("'a|b'", [["a", "b"]]),
        ("5", [["5"]]),
    ],
)
def test_category_lists(tmp_path, value, paths):
    parquet(tmp_path / "items.parquet", f"SELECT 'i1' AS item_id, {value} AS categories")
    assert values(catalogue(tmp_path, None, "items.parquet"), "categories") == {"i1": paths}


def test_json_items(tmp_path):
    line = {"asin": "i1", "title": "Tea", "categories": [["a", "b"], ["c"]], "description": ["x", "y"], "price": 1.5}
    found = catalogue(tmp_path, json.dumps(line), "items.jsonl")
    assert found.items.fetchall() == [("i1", "Tea", "x y", [["a", "b"], ["c"]], None, 1.5, None)]


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("12.30", 12.3),
        ("$12.30", 12.3),
        ("€ 12,30", 12.3),
        ("12,30 EUR", 12.3),
        ("USD 1,299.00", 1299.0),
        ("1.299,00 €", 1299.0),
        ("1,299", 1299.0),
        ("1 299,5", 1299.5),
        ("£5", 5.0),
        ("$10 - $20", None),
        ("free", None),
        ("", None),
    ],
)
def test_prices(tmp_path, text, price):
    found = catalogue(tmp_path, f'item_id,price\ni1,"{text}"\n')
    assert values(found, "price") == {"i1": price}
    unread = "price: 1 values are no single price and are left empty" in found.notes
    assert unread == (price is None and text != "")


def test_the_first_of_several_rows_of_an_item_counts(tmp_path):
    found = catalogue(tmp_path, "item_id,title\ni1,first\ni2,x\ni1,second\ni1,third\n")
    assert values(found, "title") == {"i1": "first", "i2": "x"}
    assert found.items.aggregate("count(*)").fetchall() == [(2,)]
    assert "items: 2 further rows of items already seen are left out" in found.notes


def test_items_that_the_file_does_not_have_are_counted(tmp_path):
    log = write(tmp_path / "log.csv", HEADER + "u,i1,1\nu,i2,2\nu,i3,3\nu,i3,4\n")
    found = read(log, items=write(tmp_path / "items.csv", "item,title\ni1,x\n"))
    assert "items: 2 of the log's 3 items are not in the items file" in found.notes


def test_no_item_in_common_is_a_mistake(tmp_path):
    with pytest.raises(InputError, match=r"no item of the log .*such as 'i1', the items file '1'\).*item_columns"):
        catalogue(tmp_path, "item_id,title\n1,x\n")


def test_items_can_be_mapped(tmp_path):
    found = catalogue(tmp_path, "key,label,text\ni1,Tea,Hot\n", item_columns={"item_id": "key", "title": "label"})
    assert found.items.project("item_id, title, description").fetchall() == [("i1", "Tea", "Hot")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,x\nTea,1\n", r"items\.csv has no column for the item \(item_id\); .*\[source\.item_columns\]"),
        ("item_id,title\ni1,x\n,y\n", r"items\.csv, data row 2 \(line 3 with the header\): column 'item_id' is empty"),
        ("item_id,plot,overview\ni1,x,y\n", "'plot' and 'overview' could each be description"),
        ("item_id,title\n", r"items\.csv: a header but no rows; leave `items` out"),
        ("item_id,title\ni1,x,y\n", r"items\.csv, line 2 .* has 3 fields where the header has 2"),
    ],
)
def test_items_that_do_not_fit(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        catalogue(tmp_path, content)
