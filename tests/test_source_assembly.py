"""What all formats share: staged files, where they lie and what they are called, fingerprints, pictures."""

import gc
import gzip
import shutil
from pathlib import Path

import duckdb
import pytest

import medleyrec
from medleyrec.dataset.sql import connect
from medleyrec.schema import InputError
from medleyrec.sources.movielens import MovielensConfig, movielens
from medleyrec.sources.staging import Staging, check_broken, is_utf8, text_scan

DAT = {"ratings.dat": "1::10::5::978300760\n2::10::4::978300761\n", "movies.dat": "10::Toy Story (1995)::Comedy\n"}


def fill(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Files by name; .gz ones are compressed here, the same way every time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return folder


def events(found, columns="user_id, item_id, timestamp"):
    return found.interactions.query("t", f'SELECT {columns} FROM t ORDER BY timestamp, "order"').fetchall()


def items(found, columns="item_id, title"):
    return found.items.query("t", f"SELECT {columns} FROM t ORDER BY item_id").fetchall()


def prepared(project: Path, **source):
    """Through the registry to a dataset that keeps everything; (counts, catalogue rows by item id)."""
    options = {"min_user_events": 1, "min_item_events": 1}
    dataset = medleyrec.Project(project).prepare(**source, prepare=options)
    rows = duckdb.sql(f"SELECT * FROM '{project / 'dataset' / 'catalogue.parquet'}' ORDER BY item_id")
    catalogue = [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]
    return dataset.manifest["counts"], {row["item_id"]: row for row in catalogue}


def ml(folder, **settings):
    return movielens(duckdb.connect(), MovielensConfig(folder=folder, **settings))


def test_staged_files_lie_in_the_spill_folder(tmp_path):
    connection = connect(spill=tmp_path / "spill")
    staging = Staging(connection)
    staged = staging.write(tmp_path / "x.dat", "SELECT 'a' AS a")
    assert staged.is_relative_to(tmp_path / "spill")
    assert connection.sql(f"SELECT * FROM {staging.scan(staged)}").fetchall() == [("a",)]


def test_staged_files_vanish_with_the_connection(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = ml(fill(tmp_path / "ml", DAT))
    assert len(events(found)) == 2
    assert len(list(tmp_path.iterdir())) == 2
    del found
    gc.collect()
    assert [p.name for p in tmp_path.iterdir()] == ["ml"]


def test_prepare_leaves_nothing_but_the_project(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    prepared(tmp_path / "shop", kind="movielens", folder=fill(tmp_path / "ml", DAT))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "shop" / ".spill").exists()
    assert sorted(p.name for p in (tmp_path / "ml").iterdir()) == sorted(DAT)


def test_sentences_name_the_original_file(tmp_path):
    broken = DAT | {"ratings.dat": "1::10::5::978300760\n2::10::4::soon\n"}
    with pytest.raises(InputError, match=r"^ratings\.dat, row 2: column 'timestamp' is 'soon'"):
        ml(fill(tmp_path / "ml", broken))


def test_two_staged_files_of_one_name_do_not_meet(tmp_path):
    staging = Staging(connect(spill=tmp_path))
    first, second = (staging.write(Path("x.dat"), f"SELECT {n} AS n") for n in (1, 2))
    found = [staging.connection.sql(f"SELECT n FROM {staging.scan(p)}").fetchall() for p in (first, second)]
    assert found == [[(1,)], [(2,)]]


def test_the_fingerprint_follows_content_and_settings_but_no_place(tmp_path):
    first = ml(fill(tmp_path / "a", DAT)).fingerprint
    assert ml(fill(tmp_path / "elsewhere" / "b", DAT)).fingerprint == first
    other = [
        ml(fill(tmp_path / "c", DAT | {"ratings.dat": "1::10::5::978300760\n2::10::4::978300762\n"})).fingerprint,
        ml(fill(tmp_path / "d", DAT | {"movies.dat": "10::Toy Story::Comedy\n"})).fingerprint,
        ml(fill(tmp_path / "e", DAT | {"tags.dat": "1::10::fun::5\n"}), tags=True).fingerprint,
        ml(fill(tmp_path / "f", DAT | {"posters/10.jpg": "x"})).fingerprint,
        ml(fill(tmp_path / "g", DAT | {"posters/10.jpg": "xy"})).fingerprint,
    ]
    assert len({first, *other}) == 6


def test_the_fingerprint_follows_a_table_of_pictures(tmp_path):
    folder, table = fill(tmp_path / "a", DAT), tmp_path / "posters.parquet"
    seen = []
    for picture in ("x", "y", "x"):
        duckdb.execute(f"COPY (SELECT 10 AS movieId, encode('{picture}') AS jpeg) TO '{table}' (FORMAT parquet)")
        seen.append(ml(folder, images=table).fingerprint)
    assert seen[0] == seen[2] != seen[1]


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "gone", tmp_path / "file"):
        with pytest.raises(InputError, match="is not there or is no folder"):
            ml(folder)
    with pytest.raises(InputError, match="remote address; download it first"):
        ml(Path("s3://bucket/ml-1m"))


def test_pictures_that_are_named_must_be_there(tmp_path):
    with pytest.raises(InputError, match=r"images = .*gone' does not exist"):
        ml(fill(tmp_path / "ml", DAT), images=tmp_path / "gone")


def test_an_empty_picture_folder_of_a_usual_name_is_no_picture_folder(tmp_path):
    folder = fill(tmp_path / "ml", DAT | {"images/readme.txt": "none yet", "posters/10.png": "x"})
    assert ml(folder).image_folder == folder / "posters"
    shutil.rmtree(folder / "posters")
    assert ml(folder).image_folder is None


@pytest.mark.parametrize(
    ("broken", "total", "told"),
    [(0, 5, 0), (1, 5, 1), (2, 5, None), (1, 1, None), (2, 200, 1), (3, 200, None)],
)
def test_broken_lines_are_told_or_refused(broken, total, told):
    """One is always forgiven, as long as there are others; then up to one in a hundred."""
    if told is None:
        with pytest.raises(InputError, match=f"x.json: {broken} of {total} lines hold no item; the file is damaged"):
            check_broken(Path("x.json"), broken=broken, total=total, what="item")
    else:
        notes = check_broken(Path("x.json"), broken=broken, total=total, what="item")
        assert notes == (f"x.json: {broken} of {total} lines hold no item and are left out",) * told


def test_text_is_read_as_it_stands(tmp_path):
    """Quotes, separators of other formats and Windows line ends; no byte order mark."""
    path = tmp_path / "it's [1].dat"
    path.write_bytes('\ufeffa::say "hi", x|y\r\nb::"\r\n'.encode())
    rows = duckdb.sql(f"SELECT * FROM {text_scan(path, ('id', 'text'), delimiter='::')}").fetchall()
    assert rows == [("a", 'say "hi", x|y'), ("b", '"')]


def test_the_encoding_of_a_catalogue_is_seen(tmp_path):
    path = tmp_path / "x"
    for content, utf8 in ((b"plain", True), ("é".encode(), True), ("é".encode("latin-1"), False)):
        path.write_bytes(content)
        assert is_utf8(path) is utf8
