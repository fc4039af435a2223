"""The log: files of events -> the canonical interactions, checked once from end to end, then read lazily.

`order` = nanoseconds within the second * 2**33 + row, the row counting on over all files in name order. So events of
the same second sort by their sub-second part, and those of the same instant by their place in the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import duckdb

from medleyrec.schema import EVENT, ITEM, ORDER, RATING, TIME, USER, InputError
from medleyrec.sources import sql, times
from medleyrec.sources.columns import INTERACTION_SPELLINGS, find_columns
from medleyrec.sources.faults import damaged, quoted
from medleyrec.sources.files import File, open_file
from medleyrec.sources.times import TimeColumn, TimeUnit
from medleyrec.sources.values import id_text, is_blank

ROW_BITS = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """One file of the log: which of its columns is what, how its times are read, and what the check found."""

    file: File
    columns: Mapping[str, str]
    time: TimeColumn
    rows: int
    low: int
    """Smallest time, in the file's own unit for numbers, in seconds otherwise (rounded down)."""
    high: int
    fractional: bool
    empty: tuple[str, ...] = ()
    """Columns of ratings or events without a single value; they are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    query: str
    rows: int
    notes: tuple[str, ...]


def read_log(
    connection: duckdb.DuckDBPyConnection, paths: tuple[Path, ...], *, mapping: Mapping[str, str], unit: TimeUnit
) -> Log:
    """Raises InputError with file, row, column and value for the first event that cannot be used."""
    files = [_checked(connection, open_file(connection, path), mapping, unit) for path in paths]
    files = [f for f in files if f.rows]
    if not files:
        raise InputError(f"{', '.join(p.name for p in paths)}: a header but no rows; the log needs events")
    files, chosen = _with_unit(connection, files, unit)
    total = sum(f.rows for f in files)
    if total >= 2**ROW_BITS:
        raise InputError(f"the log has {total:,} events, the limit is {2**ROW_BITS - 1:,}; split it")
    optional = [name for name in (RATING, EVENT) if any(name in f.columns for f in files)]
    query = " UNION ALL ".join(
        _select(f, chosen, optional, offset=sum(g.rows for g in files[:n])) for n, f in enumerate(files)
    )
    return Log(query=query, rows=total, notes=(*_column_notes(files), _time_note(files, chosen)))


def _checked(connection: duckdb.DuckDBPyConnection, file: File, mapping: Mapping[str, str], unit: TimeUnit) -> LogFile:
    columns = find_columns(
        file.columns, mapping=mapping, spellings=INTERACTION_SPELLINGS, where=file.path.name, table="columns"
    )
    time = _time_column(connection, file, columns[TIME], unit)
    bad = _faults(file, columns, time)
    optional = [name for name in (RATING, EVENT) if name in columns]
    counts = ", ".join(
        [f"count({file.reference(columns[name])})" for name in optional]
        + [sql.count_if(condition) for condition in bad.values()]
    )
    query = f"""SELECT count(*), CAST(floor(min({time.value})) AS HUGEINT), CAST(floor(max({time.value})) AS HUGEINT),
        coalesce(bool_or({time.fractional}), false), {counts} FROM {file.scan}"""
    rows, low, high, fractional, *counted = sql.fetch_one(connection, query, where=file.path.name)
    given, found = counted[: len(optional)], counted[len(optional) :]
    for (name, condition), count in zip(bad.items(), found, strict=True):
        if count:
            _refuse(connection, file, name, columns[name], condition, count, unit)
    empty = tuple(columns[name] for name, count in zip(optional, given, strict=True) if not count)
    return LogFile(
        file=file,
        columns={name: column for name, column in columns.items() if column not in empty},
        time=time,
        rows=rows,
        low=low or 0,
        high=high or 0,
        fractional=fractional,
        empty=empty,
    )


def _time_column(connection: duckdb.DuckDBPyConnection, file: File, column: str, unit: TimeUnit) -> TimeColumn:
    reference, kind = file.reference(column), file.type_of(column)
    query = f"SELECT CAST({reference} AS VARCHAR) FROM {file.scan} WHERE {reference} IS NOT NULL LIMIT 1"
    sample = sql.fetch(connection, query, where=file.path.name) if kind == "VARCHAR" else []
    form = times.form_of(kind, sample[0][0] if sample else None, unit)
    if form is None:
        raise InputError(
            f"{file.told(column)} cannot hold times; "
            "write whole seconds, milliseconds, or ISO text such as 2024-05-01T12:00:00Z"
        )
    if unit == "iso" and form == times.NUMBER:
        raise InputError(f'{file.told(column)} holds numbers, not ISO text; set time_unit = "auto"')
    return TimeColumn(reference=reference, type=kind, form=form)


def _faults(file: File, columns: Mapping[str, str], time: TimeColumn) -> dict[str, str]:
    """Canonical name -> SQL condition that is true where the value cannot be used."""
    user, item = (id_text(file, columns[name]) for name in (USER, ITEM))
    limit = 2**63 if time.form == times.NUMBER else times.LAST_SECOND + 1
    bad = {
        USER: is_blank(user),
        ITEM: is_blank(item),
        TIME: f"({time.value} IS NULL OR {time.value} < 0 OR {time.value} >= {limit})",
    }
    if RATING in columns:
        number = _rating(file, columns[RATING])
        empty = is_blank(f"CAST({file.reference(columns[RATING])} AS VARCHAR)")
        bad[RATING] = f"(NOT {empty} AND ({number} IS NULL OR isinf({number})))"
    return bad


def _refuse(
    connection: duckdb.DuckDBPyConnection,
    file: File,
    name: str,
    column: str,
    condition: str,
    count: int,
    unit: TimeUnit,
) -> NoReturn:
    inner = file.select({"row": file.row, "bad": condition, "value": f"CAST({file.reference(column)} AS VARCHAR)"})
    query = f"SELECT row, value FROM ({inner}) WHERE bad ORDER BY row LIMIT 1"
    rows = sql.fetch(connection, query, where=file.path.name)
    if not rows:  # counted, but not found: the statistics of a Parquet file say that it cannot be there
        raise InputError(damaged(file.path.name))
    row, value = rows[0]
    more = f" (and {count - 1:,} more such rows)" if count > 1 else ""
    told = "empty" if value is None or not value.strip() else quoted(value)
    raise InputError(f"{file.place(row)}: column {quoted(column)} is {told}, {_fix(name, told, unit)}{more}")


def _fix(name: str, told: str, unit: TimeUnit) -> str:
    if name == RATING:
        return 'not a number; mend it, or leave the ratings out with [source.columns]: rating = ""'
    needed = {USER: "a user", ITEM: "an item", TIME: "a time"}[name]
    if told == "empty":
        return f"but every event needs {needed}; fill it in or delete the row"
    if name != TIME:
        return "which is no id (text or a whole number); mend it or delete the row"
    numbers, iso = "a number from 0 on (since 1970, UTC) such as 1714564800", "ISO text such as 2024-05-01T12:00:00Z"
    expected = {"iso": iso, "auto": f"{numbers}, or {iso}, in all rows alike"}.get(unit, numbers)
    return f"which is no usable time: {expected} is needed; mend or delete the row"


def _with_unit(
    connection: duckdb.DuckDBPyConnection, files: list[LogFile], unit: TimeUnit
) -> tuple[list[LogFile], str]:
    """Recognise the unit of plain numbers from all files together; refuse what would silently be wrong."""
    numbers = [f for f in files if f.time.form == times.NUMBER]
    if not numbers:
        return files, "s"
    low, high = min(f.low for f in numbers), max(f.high for f in numbers)
    where = numbers[0].file.path.name
    for f in numbers:
        if times.too_coarse(f.time.type, f.high):
            raise InputError(
                f"{f.file.path.name}: column {quoted(f.columns[TIME])} is a 32-bit float, which rounds times to "
                "minutes; write the times as 64-bit integers"
            )
    if unit == "auto" and times.looks_like_days(low, high) and _all_days(connection, numbers):
        return [_as_days(f) for f in files], "s"
    if unit == "auto" and times.mixed(low, high):
        raise InputError(
            f"{where}: column {quoted(numbers[0].columns[TIME])} mixes times of different units ({low} looks like "
            f"{times.UNIT_NAMES[times.band(low)]}, {high} like {times.UNIT_NAMES[times.band(high)]}); "
            'make them one unit, or say which it is with time_unit = "s", "ms", "us" or "ns"'
        )
    chosen = times.band(high) if unit in ("auto", "iso") else unit
    if high // times.PER_SECOND[chosen] > times.LAST_SECOND:
        raise InputError(
            f"{where}: {high} in column {quoted(numbers[0].columns[TIME])} lies after the year 9999 when read as "
            f'{times.UNIT_NAMES[chosen]}; set time_unit = "auto"'
        )
    return files, chosen


def _all_days(connection: duckdb.DuckDBPyConnection, files: list[LogFile]) -> bool:
    days = [(f, _as_days(f)) for f in files]
    return not any(
        f.fractional
        or sql.fetch_one(
            connection, f"SELECT {sql.count_if(f'{d.time.value} IS NULL')} FROM {f.file.scan}", where=f.file.path.name
        )[0]
        for f, d in days
    )


def _as_days(f: LogFile) -> LogFile:
    if f.time.form != times.NUMBER:
        return f
    return replace(f, time=replace(f.time, form=times.DAY))


def _select(f: LogFile, unit: str, optional: list[str], *, offset: int) -> str:
    nanos = f.time.nanos(unit, fractional=f.fractional) if _has_nanos(f, unit) else "0"
    expressions = {
        USER: id_text(f.file, f.columns[USER]),
        ITEM: id_text(f.file, f.columns[ITEM]),
        TIME: f"CAST({f.time.seconds(unit, fractional=f.fractional)} AS BIGINT)",
        ORDER: f"CAST({nanos} AS BIGINT) * {2**ROW_BITS} + {f.file.row} + {offset - 1}",
    }
    for name in optional:
        expressions[name] = _optional(f, name)
    return f.file.select(expressions)


def _optional(f: LogFile, name: str) -> str:
    if name not in f.columns:
        return f"CAST(NULL AS {'DOUBLE' if name == RATING else 'VARCHAR'})"
    if name == EVENT:
        return f"CAST({f.file.reference(f.columns[EVENT])} AS VARCHAR)"
    number = _rating(f.file, f.columns[RATING])
    return f"CASE WHEN NOT isnan({number}) THEN {number} END"


def _rating(file: File, column: str) -> str:
    return f"TRY_CAST({times.uncast(file.reference(column), file.type_of(column))} AS DOUBLE)"


def _has_nanos(f: LogFile, unit: str) -> bool:
    return f.fractional or (f.time.form == times.NUMBER and unit != "s")


def _column_notes(files: list[LogFile]) -> list[str]:
    """How columns were taken, once where all files agree."""
    notes = dict.fromkeys(", ".join(f"{name} = {quoted(column)}" for name, column in f.columns.items()) for f in files)
    empty = [
        f"interactions: column {quoted(c)} of {f.file.path.name} has no value and is left out"
        for f in files
        for c in f.empty
    ]
    return [f"interactions: columns taken as {told}" for told in notes] + empty


def _time_note(files: list[LogFile], unit: str) -> str:
    names = ", ".join(dict.fromkeys(quoted(f.columns[TIME], 40) for f in files))
    low, high = min(_bound(f, unit, f.low) for f in files), max(_bound(f, unit, f.high) for f in files)
    forms = dict.fromkeys(_form_told(f, unit) for f in files)
    return f"timestamp: {names} read as {', '.join(forms)} ({times.shown(low)} to {times.shown(high)}, UTC)"


def _bound(f: LogFile, unit: str, value: int) -> int:
    if f.time.form == times.NUMBER:
        return value // times.PER_SECOND[unit]
    if f.time.form == times.DAY:
        return times.day_seconds(value)
    return value


def _form_told(f: LogFile, unit: str) -> str:
    if f.time.form == times.NUMBER:
        return ("decimal " if f.fractional else "") + times.UNIT_NAMES[unit]
    return {times.ISO: "ISO text", times.DAY: "days written YYYYMMDD"}.get(f.time.form, f.time.type)
