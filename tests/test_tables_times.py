"""Times of a user's own files: every unit and type, exact to the nanosecond, and refusals."""

import duckdb
import pytest

from medleyrec.schema import InputError
from medleyrec.sources.interactions import ROW_BITS
from tests.test_tables import HEADER, parquet, read, rows, write

T = 1_405_296_000  # 2014-07-14T00:00:00Z


def log(tmp_path, *values):
    lines = "".join(f"u,i{n},{value}\n" for n, value in enumerate(values))
    return write(tmp_path / "log.csv", HEADER + lines)


def split(relation):
    """(seconds, nanoseconds, row) of every event, in input order."""
    found = [
        (t, order >> ROW_BITS, order % 2**ROW_BITS) for t, order in relation.project('timestamp, "order"').fetchall()
    ]
    return sorted(found, key=lambda event: event[2])


@pytest.mark.parametrize(
    ("value", "nanos", "told"),
    [
        (f"{T}", 0, "seconds"),
        (f"{T}.0", 0, "seconds"),
        (f"{T}.000000001", 1, "decimal seconds"),
        (f"{T}.999999999", 999_999_999, "decimal seconds"),
        (f"{T}123", 123_000_000, "milliseconds"),
        (f"{T}123.5", 123_500_000, "decimal milliseconds"),
        (f"{T}123456", 123_456_000, "microseconds"),
        (f"{T}123456789", 123_456_789, "nanoseconds"),
        ("2014-07-14", 0, "ISO text"),
        ("2014-07-14T00:00:00Z", 0, "ISO text"),
        ("2014-07-14 00:00:00 UTC", 0, "ISO text"),
        ("2014-07-14T02:30:00+02:30", 0, "ISO text"),
        ("2014-07-13 22:00:00.5-0200", 500_000_000, "ISO text"),
        ("2014-07-13T23:00-01", 0, "ISO text"),
        ("2014/7/14 00:00:00.000001", 1_000, "ISO text"),
        ("2014-07-14T00:00:00.123456789Z", 123_456_789, "ISO text"),
        ("20140714", 0, "days written YYYYMMDD"),
    ],
)
def test_text_times(tmp_path, value, nanos, told):
    found = read(log(tmp_path, value))
    assert split(found.interactions) == [(T, nanos, 0)]
    assert f"'ts' read as {told} (2014-07-14 to 2014-07-14, UTC)" in found.notes[-1]


@pytest.mark.parametrize(
    ("value", "nanos"),
    [
        (f"{T}::BIGINT", 0),
        (f"{T}::UINTEGER", 0),
        (f"{T}123::DOUBLE", 123_000_000),
        (f"{T}123::DECIMAL(20, 0)", 123_000_000),
        (f"{T}.25::DOUBLE", 250_000_000),
        (f"{T}.125::DECIMAL(14, 3)", 125_000_000),
        (f"'{T}.125'", 125_000_000),
        ("TIMESTAMP '2014-07-14 00:00:00.5'", 500_000_000),
        ("TIMESTAMPTZ '2014-07-14 02:00:00.5+02'", 500_000_000),
        ("TIMESTAMP_NS '2014-07-14 00:00:00.123456789'", 123_456_789),
        ("TIMESTAMP_S '2014-07-14 00:00:00'", 0),
        ("TIMESTAMP_MS '2014-07-14 00:00:00.25'", 250_000_000),
        ("DATE '2014-07-14'", 0),
        ("20140714", 0),
    ],
)
def test_parquet_times(tmp_path, value, nanos):
    path = parquet(tmp_path / "log.parquet", f"SELECT 'u' AS user, 'i' AS item, {value} AS ts")
    assert split(read(path).interactions) == [(T, nanos, 0)]


def test_large_integers_are_exact(tmp_path):
    """A float64 would round these to the same microsecond."""
    values = [T * 10**9 + 7, T * 10**9 + 8]
    assert split(read(log(tmp_path, *values)).interactions) == [(T, 7, 0), (T, 8, 1)]


def test_the_session_time_zone_does_not_matter(tmp_path):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    from medleyrec.sources.tables import TablesConfig, tables

    path = parquet(
        tmp_path / "log.parquet", "SELECT 'u' AS user, 'i' AS item, TIMESTAMPTZ '2014-07-14 00:00:00+00' AS ts"
    )
    assert split(tables(connection, TablesConfig(interactions=path)).interactions) == [(T, 0, 0)]
    assert split(tables(connection, TablesConfig(interactions=log(tmp_path, "2014-07-14"))).interactions) == [(T, 0, 0)]


def test_order_sorts_by_the_part_below_a_second_and_then_by_row(tmp_path):
    path = log(tmp_path, f"{T}.5", f"{T}.25", f"{T}.5", f"{T}")
    assert [item for (item,) in rows(read(path).interactions, "item_id")] == ["i3", "i1", "i0", "i2"]


def test_whole_seconds_sort_by_row_alone(tmp_path):
    assert [r[3] for r in rows(read(log(tmp_path, T, T, T - 1)).interactions)] == [0, 1, 2]


def test_the_unit_is_that_of_all_files_together(tmp_path):
    """Zero alone would be read as seconds, and stands for a missing time beside milliseconds."""
    write(tmp_path / "a.csv", HEADER + "u,i,0\n")
    write(tmp_path / "b.csv", HEADER + f"u,j,{T}250\n")
    assert split(read(tmp_path).interactions) == [(0, 0, 0), (T, 250_000_000, 1)]


def test_a_named_unit_is_obeyed(tmp_path):
    assert split(read(log(tmp_path, 5000), time_unit="ms").interactions) == [(5, 0, 0)]


@pytest.mark.parametrize(
    "value", ["", "-1", "nan", "inf", "yesterday", "2014-02-30", "14/07/2014", "1969-12-31", "1e30"]
)
def test_what_is_no_time_is_refused_with_its_place(tmp_path, value):
    told = "empty, but every event needs a time" if not value else f"'{value}', which is no usable time"
    message = rf"^log\.csv, data row 1 \(line 2 with the header\): column 'ts' is {told}"
    with pytest.raises(InputError, match=message):
        read(log(tmp_path, value))


@pytest.mark.parametrize("value", ["nan", "2014-07-14", "-0.5", "", "x"])
def test_one_bad_time_among_numbers_is_found(tmp_path, value):
    with pytest.raises(InputError, match=r"^log\.csv, data row 3 \(line 4 with the header\): column 'ts'"):
        read(log(tmp_path, T, T, value, T))


def test_further_bad_rows_are_counted(tmp_path):
    with pytest.raises(InputError, match=r"data row 2 .*\(and 2 more such rows\)$"):
        read(log(tmp_path, T, -1, -2, -3))


def test_bad_parquet_times(tmp_path):
    for value in (
        "'nan'::DOUBLE",
        "NULL::BIGINT",
        "-1",
        "18446744073709551615::UBIGINT",
        "'infinity'::TIMESTAMP",
        "1e35::DOUBLE",
    ):
        path = parquet(tmp_path / "log.parquet", f"SELECT 'u' AS user, 'i' AS item, {value} AS ts")
        with pytest.raises(InputError, match=r"^log\.parquet, row 1: column 'ts' is"):
            read(path)


def test_times_before_the_epoch_are_negative_even_below_a_second(tmp_path):
    path = parquet(tmp_path / "log.parquet", "SELECT 1 AS user, 2 AS item, TIMESTAMP '1969-12-31 23:59:59.5' AS ts")
    with pytest.raises(InputError, match="no usable time"):
        read(path)


def test_times_that_a_32_bit_float_has_rounded_are_refused(tmp_path):
    path = parquet(tmp_path / "log.parquet", f"SELECT 1 AS user, 2 AS item, {T}::FLOAT AS ts")
    with pytest.raises(InputError, match=r"'ts' is a 32-bit float, which rounds times .*64-bit integers"):
        read(path)


def test_mixed_units_are_refused(tmp_path):
    with pytest.raises(InputError, match=f"{T} looks like seconds, {T}000 like milliseconds.*time_unit"):
        read(log(tmp_path, T, f"{T}000"))


def test_a_wrong_unit_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=f'{T}000 in column .ts. lies after the year 9999 when read as seconds; set time_unit = "auto"'
    ):
        read(log(tmp_path, f"{T}000"), time_unit="s")
    with pytest.raises(InputError, match="ISO text such as 2024-05-01T12:00:00Z is needed"):
        read(log(tmp_path, T), time_unit="iso")


def test_a_column_that_cannot_hold_times_is_refused(tmp_path):
    path = parquet(tmp_path / "log.parquet", "SELECT 1 AS user, 2 AS item, {'a': 1} AS ts")
    with pytest.raises(InputError, match=r"column 'ts' \(STRUCT\(a INTEGER\)\) cannot hold times"):
        read(path)
