"""One file over HTTP: first `<name>.partial` beside its place, going on after a break where the server allows it."""

from __future__ import annotations

import http.client
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from medleyrec import storage
from medleyrec.schema import InputError

Progress = Callable[[str, int, int], None]
"""(name of the file, bytes so far, bytes in all or 0 where the server does not say)."""

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""
_BLOCK = 1 << 18
_SMALL = 1 << 12
_SPARE = 64 << 20
"""Bytes of the disk that a transfer leaves free."""


def download(address: str, folder: Path, progress: Progress | None = None) -> Path:
    """The finished file in `folder`. As long as an attempt brings bytes, a break is followed by another attempt.

    Raises InputError with the address; what has arrived stays for the next call.
    """
    target = folder / urlsplit(address).path.rsplit("/", 1)[-1]
    partial, tag = folder / f"{target.name}.partial", folder / f"{target.name}.partial.json"
    if target.exists():
        return target
    while True:
        before = _size(partial)
        try:
            _attempt(address, partial, tag, progress or _silent)
            break
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            if _size(partial) <= before:
                raise InputError(
                    f"{address} broke off after {_size(partial):,} bytes ({error or type(error).__name__}); "
                    "fetch it again, it goes on from there"
                ) from None
        except urllib.error.HTTPError as error:
            raise InputError(f"{address} answers {error.code} {error.reason}; check the name, or try later") from None
        except urllib.error.URLError as error:
            raise InputError(f"{address} cannot be reached ({error.reason}); check the network") from None
    partial.replace(target)
    tag.unlink(missing_ok=True)
    return target


def read_small(address: str) -> str | None:
    """A short text, None where the server has none. Raises InputError where it cannot be reached."""
    try:
        with _open(address, {}) as response:
            return str(response.read(_SMALL).decode("utf-8", errors="replace"))
    except urllib.error.HTTPError as error:
        if error.code in (403, 404, 410):
            return None
        raise InputError(f"{address} answers {error.code} {error.reason}; try later") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise InputError(f"{address} cannot be reached ({error}); check the network") from None


def _attempt(address: str, partial: Path, tag: Path, progress: Progress) -> None:
    """Raises http.client.IncompleteRead where fewer bytes came than were announced."""
    start, known = _size(partial), _tag(tag)
    headers = {"Range": f"bytes={start}-", "If-Range": known} if start and known else {}
    with _answer(address, headers) as response:
        resumed = response.status == http.client.PARTIAL_CONTENT and _starts_at(response) == start
        if response.status == http.client.PARTIAL_CONTENT and not resumed:
            partial.unlink()
            raise ConnectionError("the server sent another part than was asked for")
        done = start if resumed else 0
        total = done + int(response.headers.get("Content-Length") or 0)
        _check_space(address, partial, total - done)
        storage.write_json(tag, {"tag": response.headers.get("ETag") or response.headers.get("Last-Modified") or ""})
        done = _copy(response, partial, done, total, progress)
    if done < total:
        raise http.client.IncompleteRead(b"", total - done)


def _answer(address: str, headers: dict[str, str]) -> Any:
    """416 means that the server's file is not longer than what is here: begin anew."""
    try:
        return _open(address, headers)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
    return _open(address, {})


def _open(address: str, headers: dict[str, str]) -> Any:
    if not re.match("https?://", address):
        raise InputError(f"{address} is no web address; it must begin with https://")
    request = urllib.request.Request(address, headers={"User-Agent": "medleyrec", **headers})  # noqa: S310 checked above
    return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310


def _copy(response: Any, partial: Path, done: int, total: int, progress: Progress) -> int:
    with partial.open("ab" if done else "wb") as file:
        while block := response.read(_BLOCK):
            file.write(block)
            done += len(block)
            progress(partial.name.removesuffix(".partial"), done, total)
    return done


def _starts_at(response: Any) -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    return int(found[1]) if found else -1


def _check_space(address: str, partial: Path, needed: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if needed > free - _SPARE:
        raise InputError(
            f"{address} needs {needed:,} bytes, but {partial.parent} has {free:,} free; choose another disk"
        )


def _tag(path: Path) -> str:
    """What identified the server's file when the transfer began: without it nothing is added to what is here."""
    if not path.exists():
        return ""
    known = storage.read_json(path)
    return str(known.get("tag", "")) if isinstance(known, dict) else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _silent(name: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
