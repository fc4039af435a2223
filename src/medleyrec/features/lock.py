"""One writer at a time, across processes. The system drops the lock when its holder dies, however it dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medleyrec.schema import InputError


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file. Raises InputError naming the process that holds it."""
    with path.open("a+", encoding="ascii") as file:
        try:
            _take(file.fileno())
        except OSError:
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            raise InputError(
                f"{path.parent} is being written by another process (id {holder}); wait until it ends, then run again"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        with suppress(OSError):
            file.truncate(0)


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a byte far behind the text, so that others can read who holds the lock

    def _take(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
