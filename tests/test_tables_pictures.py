"""Pictures of a user's own items: a folder, paths, bytes, a table; nothing leads out of the folder."""

import os

import pytest

from medleyrec.schema import InputError
from medleyrec.sources.pictures import safe_path
from tests.test_tables import HEADER, parquet, read, write


@pytest.fixture
def log(tmp_path):
    return write(tmp_path / "log.csv", HEADER + "u,007,1\nu,a.b,2\nu,x,3\n")


@pytest.fixture
def folder(tmp_path):
    """A folder whose name DuckDB would take for a pattern."""
    inside = tmp_path / "pics[1]"
    inside.mkdir()
    return inside


def images(found):
    return dict(found.items.project("item_id, image").fetchall())


def test_a_folder_of_files_named_by_item(log, folder):
    for name in ("007.png", "007.JPG", "a.b.webp", "x.gif", "7.jpg"):
        write(folder / name, "x")
    found = read(log, images=folder)
    assert images(found) == {"007": "007.JPG", "a.b": "a.b.webp", "x": None}
    assert found.image_folder == folder
    assert found.images is None
    assert "images: 2 picture files in pics[1]/" in found.notes


def test_a_folder_with_an_items_file(tmp_path, log, folder):
    write(folder / "x.jpeg", "x")
    items = write(tmp_path / "items.csv", "item,title\nx,Tea\n007,Cup\n")
    found = read(log, items=items, images=folder)
    assert images(found) == {"x": "x.jpeg", "007": None}
    assert dict(found.items.project("item_id, title").fetchall()) == {"x": "Tea", "007": "Cup"}


def test_a_subfolder_images_of_a_data_folder(tmp_path):
    write(tmp_path / "interactions.csv", HEADER + "u,x,1\n")
    (tmp_path / "images").mkdir()
    write(tmp_path / "images" / "x.png", "x")
    found = read(tmp_path)
    assert images(found) == {"x": "x.png"}
    assert found.notes[0].endswith("read interactions.csv, images/")


def test_paths_are_relative_to_the_named_folder_or_to_the_items(tmp_path, log, folder):
    write(folder / "cup.png", "x")
    outside = "/etc/passwd"
    text = f"item,poster\n007,cup.png\na.b,../log.csv\nx,{outside}\ny,gone.png\nz,https://example.org/z.jpg\nq,\n"
    items = write(tmp_path / "items.csv", text)
    found = read(log, items=items, images=folder)
    assert found.image_folder == folder
    assert images(found)["007"] == "cup.png"
    assert images(found)["z"] is None
    assert images(found)["q"] is None
    for note in (
        "images: 1 items name a web address; nothing is downloaded",
        "images: 1 picture files in pics[1]/",
        "images: 2 paths are absolute or lead out of pics[1]/ and will not be read",
        "images: 1 picture files are named in the items but not in pics[1]/",
    ):
        assert note in found.notes
    assert read(log, items=items).image_folder == tmp_path


def test_web_addresses_alone_leave_the_folder_to_the_item_names(tmp_path, log, folder):
    write(folder / "x.jpg", "x")
    items = write(tmp_path / "items.csv", "asin,imUrl\nx,http://example.org/1.jpg\n007,//example.org/2.jpg\n")
    assert images(read(log, items=items, images=folder)) == {"x": "x.jpg", "007": None}
    assert read(log, items=items).image_folder is None


@pytest.mark.parametrize("value", ["{}", "{{'bytes': {}, 'path': 'x.jpg'}}"])
def test_bytes_in_the_items_file(tmp_path, log, value):
    shown, empty = value.format("'abc'::BLOB"), value.format("NULL::BLOB")
    items = parquet(
        tmp_path / "items.parquet",
        f"SELECT 'x' AS item_id, {shown} AS image UNION ALL SELECT '007', {empty} UNION ALL SELECT 'x', {shown}",
    )
    found = read(log, items=items)
    assert found.images.fetchall() == [("x", b"abc")]
    assert [str(t) for t in found.images.types] == ["VARCHAR", "BLOB"]
    assert images(found) == {"x": None, "007": None}


def test_a_separate_table(tmp_path, log):
    table = parquet(
        tmp_path / "posters.parquet",
        "SELECT * FROM (VALUES (7, 1, 'a'::BLOB, 'z'::BLOB), (7, 2, 'b', 'z'), (8, 3, NULL, 'z'), (NULL, 4, 'c', 'z')) "
        "t(movieId, width, jpeg, other)",
    )
    found = read(log, images=table)
    assert found.images.fetchall() == [("7", b"a")]
    assert found.images.columns == ["item_id", "bytes"]
    assert "images: 1 items have a picture as bytes in posters.parquet" in found.notes
    assert "images: 1 further pictures of the same items are left out" in found.notes
    assert "images: 1 pictures in posters.parquet have no item id and are left out" in found.notes


def test_a_table_without_bytes_is_refused(tmp_path, log):
    table = parquet(tmp_path / "posters.parquet", "SELECT 'x' AS item_id, 'y' AS path")
    with pytest.raises(InputError, match=r"posters\.parquet has no column with picture bytes; it must be Parquet"):
        read(log, images=table)


def test_the_fingerprint_follows_the_pictures(log, folder):
    path = write(folder / "x.jpg", "x")
    before = read(log, images=folder).fingerprint
    write(folder / "unused.jpg", "x")
    assert read(log, images=folder).fingerprint == before
    os.utime(path, ns=(1, 1))
    touched = read(log, images=folder).fingerprint
    write(folder / "007.jpg", "x")
    assert len({before, touched, read(log, images=folder).fingerprint}) == 3


def test_safe_path_stays_inside(tmp_path, folder):
    inside = write(folder / "x.jpg", "x")
    secret = write(tmp_path / "secret.jpg", "x")
    (folder / "link.jpg").symlink_to(secret)
    (folder / "fine.jpg").symlink_to(inside)
    assert safe_path(folder, "x.jpg") == inside.resolve()
    assert safe_path(folder, "sub/../x.jpg") == inside.resolve()
    assert safe_path(folder, "fine.jpg") == inside.resolve()
    for bad in ("../secret.jpg", "link.jpg", str(inside), "/etc/passwd", "C:\\x.jpg", "\\\\host\\x", "", "a\0b"):
        with pytest.raises(InputError, match="does not stay inside"):
            safe_path(folder, bad)
