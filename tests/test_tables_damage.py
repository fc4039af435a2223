"""What broke the readers once: damaged, foreign and malicious files, and places that are no files."""

import gzip
import os
import zlib
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medleyrec.config import parse
from medleyrec.schema import InputError
from medleyrec.sources import files, packed
from medleyrec.sources.faults import complaint, printable, quoted
from medleyrec.sources.tables import TablesConfig
from tests.test_tables import HEADER, read, rows, write
from tests.test_tables_errors import refused

T = 1_400_000_000


def table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_gzip_with_a_broken_middle(tmp_path, kind):
    content = bytearray(gzip.compress(b"user,item,ts\n" + os.urandom(3000).hex().encode()))
    content[20:40] = bytes(20)
    with pytest.raises(zlib.error):
        gzip.decompress(bytes(content))
    refused(write(tmp_path / f"log.{kind}.gz", bytes(content)), r"^log\..*\.gz is damaged or incomplete; copy or down")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_zstd_that_is_none(tmp_path, kind):
    refused(write(tmp_path / f"log.{kind}.zst", HEADER), r"^log\..*\.zst is damaged or incomplete; copy or download")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER.encode("utf-16-le"), "begins like UTF-16 or no text at all; write it as UTF-8 text"),
        (bytes(100), "begins like UTF-16 or no text at all"),
        ("usér,item,ts\na,b,1\n".encode("latin-1"), "line 1 is not UTF-8 text; convert"),
        (b"x" * 20_000 + b"\n", "first line that names no columns: it has 1 fields, the longest of 20,000 characters"),
        (b"," * 20_000 + b"\n", "first line that names no columns: it has 20,001 fields"),
        (b'"' + b"x" * 200_000, "first line that names no columns"),
        (HEADER.encode() + b"a,b,1\r\na,b,2\n", "mixes kinds of line ends, .*dos2unix"),
        (HEADER.encode() + b"a,b,1\n" + b"x" * 3_000_000 + b",b,1\n", "is longer than 2 MiB"),
    ],
)
def test_text_that_is_no_table(tmp_path, content, message):
    refused(write(tmp_path / "log.csv", content), "^log.csv.*" + message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "is not valid JSON|nested more than 100 levels"),
        ('{"user":"a","item":' + "[" * 500 + "]" * 500 + ',"ts":1}\n', "nested more than 100 levels deep; write one"),
        ('{"user":"a","user":"b","item":"i","ts":1}\n', "names a field twice; rename one"),
        ('{"user":"\xff","item":"i","ts":1}\n'.encode("latin-1"), "line 1 is not UTF-8 text; convert"),
        ('{"user":"a","item":"i","ts":1}\n{"user":"\xff"}\n'.encode("latin-1"), "line 2 .* is not UTF-8 text; convert"),
    ],
)
def test_json_that_is_no_table(tmp_path, content, message):
    refused(write(tmp_path / "log.jsonl", content), r"^log\.jsonl.*" + message)


@pytest.mark.parametrize("blank", ["\t", "\u00a0", "\u3000 ", " \x0b"])
def test_white_space_of_any_kind_is_no_id(tmp_path, blank):
    refused(write(tmp_path / "log.csv", f'{HEADER}a,b,1\n"{blank}",b,1\n'), "data row 2 .* column 'user' is empty")


def test_visible_ids_of_any_kind_are_ids(tmp_path):
    given = ["\u200b", "\x00x", "\u00a0x", "~", "!", "é", "😀", "\t.", "\x7f"]
    path = table(tmp_path / "log.parquet", user=given, item=["i"] * 9, ts=list(range(9)))
    assert [r[0] for r in rows(read(path).interactions)] == given


@pytest.mark.parametrize("zone", ["+99", "+16:00", "+05:70", "-99:00"])
def test_a_zone_that_no_clock_has(tmp_path, zone):
    refused(write(tmp_path / "log.csv", f"{HEADER}a,b,2024-05-01T12:00:00{zone}\n"), "'ts' is '2024.*no usable time")


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_time_type_of_parquet(tmp_path, unit, zone):
    moments = pa.array([datetime.fromtimestamp(T + n, UTC) for n in range(2)], pa.timestamp("us", "UTC"))
    stamps = moments.cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone))
    path = table(tmp_path / "log.parquet", user=["a", "b"], item=["i", "j"], ts=stamps)
    assert [r[2] for r in rows(read(path).interactions)] == [T, T + 1]


@pytest.mark.parametrize("bad", [b"\xff\xfe", b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_no_id(tmp_path, bad):
    path = table(tmp_path / "log.parquet", user=[b"a", bad], item=["i", "j"], ts=[1, 2])
    refused(path, r"^log\.parquet, row 2: column 'user' is .* which is no id")


def test_times_outside_of_the_calendar(tmp_path):
    stamps = pa.array([0, 2**62], pa.timestamp("ms"))
    path = table(tmp_path / "log.parquet", user=["a", "b"], item=["i", "j"], ts=stamps)
    refused(path, r"^log\.parquet has a time that lies outside of the calendar; mend it or delete its row")


@pytest.mark.parametrize("column", ["user", "item", "ts", "stamp", "event", "rating"])
def test_a_damaged_page_is_found_though_the_statistics_answer_every_question(tmp_path, column):
    values = {
        "user": ["user-a", "user-b"],
        "item": ["item-i", "item-j"],
        "event": ["buy", "view"],
        "rating": [1.0, 2.0],
    }
    times = pa.array([T, T + 1], pa.timestamp("s")) if column == "stamp" else [T, T + 1]
    path = table(tmp_path / "log.parquet", **values, **{"stamp" if column == "stamp" else "ts": times})
    query = (
        "SELECT coalesce(dictionary_page_offset, data_page_offset) FROM parquet_metadata(?) WHERE path_in_schema = ?"
    )
    content, (page,) = bytearray(path.read_bytes()), duckdb.execute(query, [str(path), column]).fetchall()[0]
    content[page : page + 12] = b"\xff" * 12
    mapping = {"timestamp": "stamp"} if column == "stamp" else {}
    message = r"^log\.parquet is damaged or incomplete; copy or download it again"
    refused(write(path, bytes(content)), message, columns=mapping)


def test_statistics_that_lie(tmp_path):
    """The pages of one file with the statistics of another: nothing in these says that a time is negative."""

    def pages_and_foot(times):
        columns = {"user": ["a", "b", "c"], "item": ["x", "y", "z"], "ts": times}
        path = tmp_path / "log.parquet"
        pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False)
        content = path.read_bytes()
        start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        return content[:start], content[start:]

    (pages, _), (others, foot) = pages_and_foot([T, -5, T]), pages_and_foot([T, T + 1, T + 2])
    assert len(pages) == len(others)
    refused(write(tmp_path / "log.parquet", pages + foot), r"^log\.parquet is damaged or incomplete; copy")


def test_a_column_named_like_our_row_numbers(tmp_path):
    path = table(tmp_path / "log.parquet", user=["a"], item=["i"], ts=[1], file_row_number=[5])
    refused(path, "has a column named 'file_row_number', as our own row numbers are; rename it")


def test_parquet_items_without_rows(tmp_path):
    log = write(tmp_path / "log.csv", f"{HEADER}a,b,1\n")
    empty = {"item_id": pa.array([], pa.string()), "categories": pa.array([], pa.string())}
    items = table(tmp_path / "items.parquet", **empty, image=pa.array([], pa.binary()))
    refused(log, r"^items\.parquet: a header but no rows", items=items)


def test_a_picture_table_without_pictures(tmp_path):
    log = write(tmp_path / "log.csv", f"{HEADER}a,b,1\n")
    images = table(tmp_path / "images.parquet", item_id=pa.array([], pa.string()), image=pa.array([], pa.binary()))
    assert read(log, images=images).images.fetchall() == []


def test_a_small_file_that_unpacks_to_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "HARMLESS", 1 << 20)
    bomb = gzip.compress(HEADER.encode() + b"a,b,1\n" * 500_000)
    for name in ("log.csv.gz", "log.jsonl.gz"):
        refused(write(tmp_path / name, bomb), rf"^{name} unpacks to more than 2 MiB, over 200 times its size")
    good = gzip.compress(HEADER.encode() + b"".join(b"u%d,i%d,%d\n" % (n % 77, n % 9, T + n) for n in range(70_000)))
    assert len(gzip.decompress(good)) > 1 << 20
    assert len(rows(read(write(tmp_path / "log.csv.gz", good)).interactions)) == 70_000


def test_a_small_table_that_holds_many_million_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MANY_ROWS", 99_999)
    path = table(tmp_path / "log.parquet", user=["a"] * 100_000, item=["i"] * 100_000, ts=[T] * 100_000)
    refused(path, r"^log\.parquet holds 100,000 rows in [\d,]+ bytes, as no log or catalogue does; write it anew")


@pytest.mark.parametrize(
    "name", ["?.csv.gz", "a?b.jsonl.gz", "*.csv", "[x].parquet", "it's.csv", "new\nline.csv", "é😀.tsv"]
)
def test_any_name_of_a_file(tmp_path, name):
    if name.endswith(".parquet"):
        path = table(tmp_path / name, user=["a"], item=["b"], ts=[1])
    else:
        text = '{"user":"a","item":"b","ts":1}\n' if ".jsonl" in name else HEADER + "a,b,1\n"
        path = tmp_path / name
        write(
            path,
            gzip.compress(text.encode()) if name.endswith(".gz") else text.replace(",", "\t" * (".tsv" in name) or ","),
        )
    found = read(path)
    assert rows(found.interactions) == [("a", "b", 1, 0)]
    assert all(note.isprintable() for note in found.notes)


def test_names_and_columns_are_shown_on_one_line(tmp_path):
    refused(write(tmp_path / "a\x1b[31m\nb.csv", "who\t\x07is,item,ts\n"), r"^a\\x1b\[31m\\nb\.csv .*who\\t\\x07is")
    many = ",".join(f"a column with the number {n}" for n in range(500))
    refused(write(tmp_path / "log.csv", f"{many}\n"), r"its columns are: .* and 49\d more; say which")


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path):
    log = write(tmp_path / "log.csv", f"{HEADER}a,b,1\n")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    for name, message in [("pipe", "a device, a pipe or a socket"), ("zero", "a device"), ("loop", "does not exist")]:
        refused(tmp_path / f"{name}.csv", rf"^interactions: .*{name}\.csv.* {message}")
        refused(log, rf"^items: .*{name}\.csv.* {message}", items=tmp_path / f"{name}.csv")
    refused(log, "^images: 'yyy.* does not exist", images="y" * 9000)
    assert rows(read(tmp_path).interactions) == [("a", "b", 1, 0)]


def test_a_name_that_is_not_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"log\xe9.csv")
    refused(write(path, f"{HEADER}a,b,1\n"), r"^log\\udce9\.csv has a name that is not UTF-8; rename it")


def test_pictures_that_are_pipes_devices_or_loops_are_never_named(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    write(folder / "good.png", b"x")
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "sub").mkdir()
    named = ["good.png", "pipe.png", "loop.png", "sub", "good\0.png", None]
    items = table(tmp_path / "items.parquet", item_id=list("abcdef"), image=named)
    log = write(tmp_path / "log.csv", HEADER + "".join(f"u,{item},1\n" for item in "abcdef"))
    found = read(log, items=items, images=folder)
    assert dict(found.items.query("t", "SELECT item_id, image FROM t").fetchall()) == {
        "a": "good.png",
        **dict.fromkeys("bcdef"),
    }
    assert "images: 1 picture files in images/" in found.notes
    assert "images: 4 paths name a folder, a pipe or a device and will not be read" in found.notes


@pytest.mark.parametrize("value", [5, True, [1], {"a": "b"}, ["log.csv", 2]])
@pytest.mark.parametrize("key", ["interactions", "items", "images"])
def test_a_path_that_is_no_text(key, value):
    with pytest.raises(InputError, match=rf"^source: {key} = .* a path is needed, such as \"log.csv\"") as caught:
        parse(TablesConfig, {"interactions": "log.csv", key: value}, where="source")
    assert "pathlib" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Out of Memory Error: failed to pin block", "needs more memory than is allowed; raise the memory limit"),
        ("IO Error: No space left on device", "no space is left for temporary files; free some"),
        ("IO Error: Cannot open file: Permission denied", "may not be read; give yourself permission"),
        ("INTERNAL Error: Attempted to access index 3\nStack Trace: x", "is damaged or incomplete; copy or download"),
    ],
)
def test_no_word_of_the_database_reaches_the_user(message, told):
    said = complaint(message, where="log.csv")
    assert said.startswith("log.csv")
    assert told in said
    assert "Error" not in said


def test_a_value_cannot_pass_for_the_reason(tmp_path):
    line = "permission denied,no unicode,out of memory,unterminated quote"
    refused(write(tmp_path / "log.csv", f"{HEADER}{line}\n"), r"line 2 .*has 4 fields where the header has 3; mend")
    refused(write(tmp_path / "out of memory.jsonl", "[x"), r"^out of memory\.jsonl.* is not valid JSON")


def test_values_are_shown_cut_short_and_on_one_line():
    assert quoted("it's\n") == repr("it's\n")
    assert len(quoted("\0" * 500)) <= 82
    assert quoted("x" * 81) == "'" + "x" * 77 + "...'"
    assert printable("a\u202eb\n😀") == "a\\u202eb\\n😀"
