"""Moments that a user writes (dates, times, seconds since the epoch) and days that a reader sees; all in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from medleyrec.schema import InputError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seconds_of(text: str) -> int:
    """Seconds since the epoch of "2014-01-01", "2014-01-01T12:00:00Z" or "1388534400"; without a zone it is UTC.

    Raises InputError for anything else.
    """
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no date; write it as 2014-01-01 or 2014-01-01T12:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() // 1)


def day(seconds: int) -> str:
    """2014-01-01"""
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d")
