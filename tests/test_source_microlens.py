"""MicroLens folders: pairs in milliseconds, titles with unprotected commas, covers."""

import duckdb
import pytest

from medleyrec.schema import InputError
from medleyrec.sources import SOURCES
from medleyrec.sources.microlens import MicrolensConfig, microlens
from tests.test_source_assembly import events, fill, items, prepared

PAIRS = {"MicroLens-50k_pairs.csv": "user,item,timestamp\n1,11,1583378629552\n1,12,1583378629001\n2,11,1580000000000\n"}
LISTS = {"MicroLens-50k_pairs.tsv": "2\t11\n1\t12 11 12\n"}
TITLES = 'item,title\n11,Beaten, by a child, "really"?\n12,"A quoted, ""one"""\n13,\n'
COVERS = {"MicroLens-50k_covers/11.jpg": "x", "MicroLens-50k_covers/13.jpg": "x"}


def read(folder, **settings):
    return microlens(duckdb.connect(), MicrolensConfig(folder=folder, **settings))


def test_the_registry_names_this_reader():
    assert SOURCES["microlens"] == f"{microlens.__module__}:{microlens.__name__}"


def test_pairs_titles_and_covers(tmp_path):
    other = {"MicroLens-50k_likes_and_views.txt": "11\t5\t9\n"}
    found = read(fill(tmp_path, PAIRS | {"MicroLens-50k_titles.csv": TITLES} | COVERS | other))
    assert events(found) == [("2", "11", 1580000000), ("1", "12", 1583378629), ("1", "11", 1583378629)]
    assert items(found, "item_id, title, image") == [
        ("11", 'Beaten, by a child, "really"?', "11.jpg"),
        ("12", 'A quoted, "one"', None),
        ("13", None, "13.jpg"),
    ]
    assert found.image_folder == tmp_path / "MicroLens-50k_covers"


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_titles_without_a_header(tmp_path, ends):
    text = "\ufeff" + "".join(TITLES.splitlines(keepends=True)[1:]).replace("\n", ends)
    found = read(fill(tmp_path, PAIRS | {"MicroLens-100k_title_en.csv": text}))
    assert [title for _, title in items(found)] == ['Beaten, by a child, "really"?', 'A quoted, "one"', None]
    assert not any("lines hold no" in note for note in found.notes)


def test_odd_lines_of_titles_are_counted(tmp_path):
    found = read(fill(tmp_path, PAIRS | {"MicroLens-50k_titles.csv": TITLES + "no number, here\n\n11,twice\n"}))
    assert items(found)[0] == ("11", 'Beaten, by a child, "really"?')
    assert "MicroLens-50k_titles.csv: 1 of 6 lines hold no item and title and are left out" in found.notes
    with pytest.raises(InputError, match="2 of 6 lines hold no item and title"):
        read(fill(tmp_path / "b", PAIRS | {"MicroLens-50k_titles.csv": TITLES + "a,b\nc,d\n"}))


def test_titles_of_two_files(tmp_path):
    two = PAIRS | {"a_titles.csv": TITLES, "b_titles.csv": "item,title\n11,Other\n"}
    with pytest.raises(InputError, match="holds a_titles.csv and b_titles.csv; name one with source.items"):
        read(fill(tmp_path, two))
    assert items(read(tmp_path, items=tmp_path / "b_titles.csv")) == [("11", "Other")]
    with pytest.raises(InputError, match=r"items: .*c\.csv does not exist"):
        read(tmp_path, items=tmp_path / "c.csv")


def test_lists_have_no_times_and_are_read_only_when_asked(tmp_path):
    with pytest.raises(InputError, match="holds the order of items but no times; .* set order_as_time = true"):
        read(fill(tmp_path, LISTS))
    found = read(tmp_path, order_as_time=True)
    by_user = found.interactions.query("t", 'SELECT user_id, item_id, timestamp FROM t ORDER BY user_id, "order"')
    assert by_user.fetchall() == [("1", "12", 1), ("1", "11", 2), ("1", "12", 3), ("2", "11", 1)]
    assert any("has no times" in note for note in found.notes)


def test_pairs_go_before_lists(tmp_path):
    found = read(fill(tmp_path, PAIRS | LISTS))
    assert len(events(found)) == 3
    assert found.notes[0].endswith("read MicroLens-50k_pairs.csv")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, r"holds no file \*_pairs.csv"),
        (PAIRS | {"MicroLens-100k_pairs.csv": "x"}, "MicroLens-100k_pairs.csv and MicroLens-50k_pairs.csv; keep one"),
        ({"a_pairs.csv": "user,item,timestamp\n1,2,x\n"}, "^a_pairs.csv, data row 1 .*column 'timestamp' is 'x'"),
        ({"a_pairs.csv": "1,2,5\n"}, "a_pairs.csv has no column"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, files, told):
    with pytest.raises(InputError, match=told):
        read(fill(tmp_path, files))


def test_through_prepare(tmp_path):
    folder = fill(tmp_path / "ml", PAIRS | {"MicroLens-50k_titles.csv": TITLES} | COVERS)
    counts, catalogue = prepared(tmp_path / "shop", kind="microlens", folder=folder)
    assert (counts["users"], counts["events"]) == (2, 3)
    assert (catalogue["11"]["title"], catalogue["11"]["image"]) == ('Beaten, by a child, "really"?', "11.jpg")
