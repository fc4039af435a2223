"""How long to wait before a call is repeated: as the endpoint asks, else exponentially longer with a random part."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """first, most: seconds of the first wait and of the longest one that we choose; longest_wait: that we obey."""

    tries: int = 5
    first: float = 1.0
    most: float = 60.0
    longest_wait: float = 300.0
    draw: Callable[[], float] = random.random

    def wait(self, failures: int, asked: float | None = None) -> float:
        """Seconds after so many failures of one question, at least 1; jitter keeps parallel calls apart.

        What is `asked` is obeyed where it is longer: some endpoints say 0, which would use up all tries at once.
        """
        own = min(self.most, self.first * 2.0 ** min(failures - 1, 30)) * (0.5 + 0.5 * self.draw())
        return own if asked is None else max(own, min(asked, self.longest_wait))


def retry_after(value: str | None, today: float) -> float | None:
    """Seconds, from a number of them or an HTTP date; None where it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - today
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
