"""Times in a user's file -> whole seconds and nanoseconds within the second, as SQL, exact.

What comes in: a column of any integer type, of decimal seconds, of ISO text, or of a Parquet time type.
What goes out: BIGINT seconds since the epoch (text without a zone is UTC) and BIGINT nanoseconds 0..999,999,999.
Whole numbers stay integers all the way; decimals go through DECIMAL(38, 9); a raw time never becomes a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

TimeUnit = Literal["auto", "s", "ms", "us", "ns", "iso"]

NUMBER, ISO, TYPED, DAY = "number", "iso", "typed", "day"
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
NANOS = 10**9
LAST_SECOND = 253_402_300_799
"""End of the year 9999."""
_BANDS = (("s", 10**11), ("ms", 10**14), ("us", 10**17))
_FLOAT_EXACT = 2**24
_DECIMAL = "DECIMAL(38, 9)"
_PATTERN = (
    r"^\s*(\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[Tt ]\d{1,2}:\d{2}(?::\d{2})?)?)(?:[.,](\d{1,9})\d*)?"
    r"\s*([Zz]|UTC|GMT|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?)?\s*$"
)
_NANOSECONDS = ("TIMESTAMP_NS", "TIMESTAMPTZ_NS", "TIMESTAMP_NS WITH TIME ZONE")
_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
INTEGERS = (*_SIGNED, *(f"U{kind}" for kind in _SIGNED))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeColumn:
    """How one file's time column is to be read. `reference` is its SQL, `type` its DuckDB type."""

    reference: str
    type: str
    form: str
    """NUMBER, ISO text, TYPED (a Parquet time type) or DAY (numbers such as 20140714)."""

    @property
    def value(self) -> str:
        """SQL of a comparable value, NULL where it cannot be read: the number itself, or seconds."""
        if self.form == NUMBER:
            return _number(self.reference, self.type)
        return self.seconds("s", fractional=False)

    @property
    def fractional(self) -> str:
        """SQL: does this value have a part below its unit (for ISO text and time types: below the second)?"""
        if self.form == NUMBER:
            return "false" if self.type in INTEGERS else f"({self.value} % 1 <> 0)"
        return f"({self.nanos('s', fractional=True)} <> 0)"

    def seconds(self, unit: str, *, fractional: bool) -> str:
        if self.form == ISO:
            return _iso_seconds(self.reference)
        if self.form == TYPED:
            return _floor_divided(_ticks(self.reference, self.type), _tick_rate(self.type))
        if self.form == DAY:
            return f"(epoch_us({_day(uncast(self.reference, self.type))}) // 1000000)"
        return f"({self._whole(fractional)} // {PER_SECOND[unit]})"

    def nanos(self, unit: str, *, fractional: bool) -> str:
        if self.form == ISO:
            return f"CAST(rpad({_iso(self.reference)}['fraction'], 9, '0') AS BIGINT)"
        if self.form == TYPED:
            rate = _tick_rate(self.type)
            ticks = _ticks(self.reference, self.type)
            return f"((({ticks} % {rate}) + {rate}) % {rate} * {NANOS // rate})"
        if self.form == DAY:
            return "0"
        scale = NANOS // PER_SECOND[unit]
        whole = f"({self._whole(fractional)} % {PER_SECOND[unit]} * {scale})"
        return f"({whole} + CAST(floor(({self.value} % 1) * {scale}) AS BIGINT))" if fractional else whole

    def _whole(self, fractional: bool) -> str:
        """Times are known to be non-negative here, so that cutting off is rounding down."""
        return (
            f"CAST(floor({self.value}) AS BIGINT)"
            if fractional
            else f"CAST({uncast(self.reference, self.type)} AS BIGINT)"
        )


def form_of(kind: str, sample: str | None, unit: TimeUnit) -> str | None:
    """The form of a column of DuckDB type `kind`, `sample` being one of its values as text; None: no times at all."""
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return TYPED
    if kind in INTEGERS or kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
        return NUMBER
    if kind != "VARCHAR":
        return None
    if unit != "auto":
        return ISO if unit == "iso" else NUMBER
    return NUMBER if _is_number(sample) else ISO


def band(value: Decimal | int) -> str:
    """The unit in which a time of this size lies between 1970 and a few thousand years later."""
    return next((unit for unit, end in _BANDS if value < end), "ns")


def mixed(low: Decimal | int, high: Decimal | int) -> bool:
    """Do the smallest and the largest value look like different units? Zero may stand for a missing time."""
    return low > 0 and band(high) != "s" and band(low) != band(high)


def looks_like_days(low: Decimal | int, high: Decimal | int) -> bool:
    """Numbers such as 20140714; as seconds they would all lie in August and September 1970."""
    return 19_000_101 <= low <= high <= 20_991_231


def too_coarse(kind: str, high: Decimal | int) -> bool:
    return kind == "FLOAT" and high >= _FLOAT_EXACT


def shown(seconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d")


def day_seconds(value: int) -> int:
    """20140714 -> that day's first second."""
    day = datetime(value // 10_000, value // 100 % 100, value % 100, tzinfo=UTC)
    return int(day.timestamp())


def _is_number(sample: str | None) -> bool:
    try:
        return sample is not None and Decimal(sample.strip()) is not None
    except ArithmeticError:
        return False


def _number(reference: str, kind: str) -> str:
    if kind in INTEGERS:
        return f"TRY_CAST({reference} AS HUGEINT)" if kind == "UHUGEINT" else reference
    if kind in ("DOUBLE", "FLOAT"):  # in two parts: the direct cast multiplies by 10**9 as a float
        whole = f"TRY_CAST(TRY_CAST(floor({reference}) AS HUGEINT) AS {_DECIMAL})"
        return f"({whole} + TRY_CAST({reference} - floor({reference}) AS DECIMAL(10, 9)))"
    return f"TRY_CAST({uncast(reference, kind)} AS {_DECIMAL})"


def uncast(reference: str, kind: str) -> str:
    """Text about to be cast. DuckDB 2.0 moves TRY_CAST of a bare CSV column into the reader, where it throws."""
    return f"trim({reference})" if kind == "VARCHAR" else reference


def _iso(reference: str) -> str:
    return f"regexp_extract({reference}, '{_PATTERN}', ['local', 'fraction', 'zone'])"


def _iso_seconds(reference: str) -> str:
    parts = _iso(reference)
    zone = f"replace({parts}['zone'], ':', '')"
    digits = [f"coalesce(TRY_CAST(substr({zone}, {start}, 2) AS BIGINT), 0)" for start in (2, 4)]
    sign = f"CASE left({zone}, 1) WHEN '+' THEN 1 WHEN '-' THEN -1 ELSE 0 END"
    offset = f"({sign}) * ({digits[0]} * 3600 + {digits[1]} * 60)"
    return f"(epoch_us(TRY_CAST({parts}['local'] AS TIMESTAMP)) // 1000000 - {offset})"


def _day(reference: str) -> str:
    return f"try_strptime(CAST(TRY_CAST({reference} AS BIGINT) AS VARCHAR), '%Y%m%d')"


def _ticks(reference: str, kind: str) -> str:
    """NULL for infinity and for what lies outside of the years that DuckDB's timestamps reach."""
    if kind in _NANOSECONDS:
        return f"epoch_ns({reference})"
    stamp = reference if kind == "TIMESTAMP WITH TIME ZONE" else f"TRY_CAST({reference} AS TIMESTAMP)"
    return f"CASE WHEN isfinite({stamp}) THEN epoch_us({stamp}) END"


def _tick_rate(kind: str) -> int:
    return NANOS if kind in _NANOSECONDS else 10**6


def _floor_divided(value: str, by: int) -> str:
    """Integer division cuts towards zero; times before the epoch must still come out negative."""
    return f"(({value} - (({value} % {by}) + {by}) % {by}) // {by})"
