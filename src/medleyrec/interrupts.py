"""Ctrl-C as a wish: work that must end whole hears of it and stops where it can."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_ctrl_c(heard: Callable[[], object]) -> Iterator[None]:
    """Call `heard` at every Ctrl-C instead of raising KeyboardInterrupt, until the block ends.

    Outside the main thread nothing changes: whoever owns that one decides.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        heard()

    try:
        before = signal.signal(signal.SIGINT, handle)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
