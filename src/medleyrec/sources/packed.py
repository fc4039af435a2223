"""Text files, packed (.gz, .zst) or not: their beginning, and a bound on what they unpack to.

A few megabytes of gzip can unpack to gigabytes, of zstd to any size. No log or catalogue is packed that tightly, so a
file that is gets refused before anything reads on; what is looked at here is at most the first PROBE packed bytes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from medleyrec.schema import InputError
from medleyrec.sources.faults import NOT_UTF8, damaged

_NAMES = {".gz": "gzip", ".zst": "zstd"}
COMPRESSED = tuple(_NAMES)
HEAD = 1 << 20
PROBE = 16 << 20
"""Packed bytes; unpacking them once more takes some tenths of a second."""
RATIO = 200
"""How much larger than packed. Logs reach 3 to 20, a log of one repeated line about 200."""
HARMLESS = 64 << 20
"""Unpacked bytes that are always allowed."""
_BLOCK = 1 << 16
_GZIP = 31
"""What tells zlib to expect a gzip header."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def text_head(path: Path) -> str:
    """The file's first HEAD bytes as text, without a byte order mark. Raises InputError where that is no UTF-8 text."""
    with reading(path) as file:
        data = _read(file, HEAD)
    if path.suffix.lower() in COMPRESSED:
        refuse_bomb(path)
    if not data:
        raise InputError(f"{path.name} is empty; it needs rows with a user, an item and a time, or items")
    if b"\0" in data[:2]:
        raise InputError(f"{path.name} begins like UTF-16 or no text at all; write it as UTF-8 text")
    if data[:2] in _UTF16:
        raise InputError(f"{path.name} is UTF-16; convert it to UTF-8, for example with `iconv -f utf16 -t utf8`")
    text = data.decode("utf-8-sig", errors="replace")
    if "\ufffd" in _first_line(text) and "\ufffd".encode() not in data:
        raise InputError(f"{path.name}, line 1 {NOT_UTF8}")
    return text


def option(path: Path) -> str:
    """SQL that says how the file is packed; DuckDB would guess it wrongly for a name with a question mark."""
    return f"compression = '{_NAMES.get(path.suffix.lower(), 'none')}'"


def refuse_bomb(path: Path) -> None:
    """Raises InputError for a file that unpacks to far more than a log or a catalogue would."""
    unpacked = 0
    with path.open("rb") as raw:
        for size in _gzip_sizes(raw) if path.suffix.lower() == ".gz" else _other_sizes(path, raw):
            unpacked += size
            if unpacked > max(HARMLESS, RATIO * raw.tell()):
                raise InputError(
                    f"{path.name} unpacks to more than {unpacked >> 20:,} MiB, over {RATIO} times its size, as no log "
                    "or catalogue does; unpack it yourself if it is genuine, and give the unpacked file"
                )
            if raw.tell() > PROBE:
                return


def _gzip_sizes(raw: IO[bytes]) -> Iterator[int]:
    """Sizes of unpacked blocks, up to the end or to damage, which is for the reader to find. Faster than gzip.open."""
    member = zlib.decompressobj(_GZIP)
    try:
        while packed := raw.read(_BLOCK):
            while packed:
                yield len(member.decompress(packed))
                packed = member.unused_data
                if member.eof:
                    member = zlib.decompressobj(_GZIP)
    except zlib.error:
        return


def _other_sizes(path: Path, raw: IO[bytes]) -> Iterator[int]:
    with _unpacking(path, raw) as file:
        while block := file.read(_BLOCK):
            yield len(block)


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked bytes. Raises InputError where they cannot be unpacked."""
    with path.open("rb") as raw, _unpacking(path, raw) as file:
        yield file


@contextmanager
def _unpacking(path: Path, raw: IO[bytes]) -> Iterator[Any]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".gz":
            with gzip.open(raw) as file:
                yield file
        elif suffix == ".zst":
            from pyarrow import CompressedInputStream, PythonFile

            with CompressedInputStream(PythonFile(raw, mode="r"), "zstd") as file:
                yield file
        else:
            yield raw
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(damaged(path.name)) from error


def _read(file: Any, size: int) -> bytes:
    """Up to `size` bytes; some streams give less than is there."""
    parts = []
    while size > 0 and (part := file.read(size)):
        parts.append(bytes(part))
        size -= len(part)
    return b"".join(parts)


def _first_line(text: str) -> str:
    return text.lstrip("\r\n").split("\n", 1)[0].split("\r", 1)[0]
