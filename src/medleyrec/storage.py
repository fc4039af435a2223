"""Files that are either whole or absent, and hashes of content.

A killed process leaves at most a hidden `.name.partial-*` beside the target; the next writer of that target removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medleyrec.schema import InputError

_BLOCK = 1 << 20


def _clear_leftovers(target: Path) -> None:
    for old in target.parent.glob(f".{target.name}.partial-*"):
        if not _alive(old.name.rsplit("-", 2)[-2]):
            if (old / target.name).is_dir() and not target.exists():
                (old / target.name).replace(target)  # its writer died while it put a new folder in this one's place
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on a clean exit it becomes `target`, on an error it vanishes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.partial-{os.getpid()}-", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        _sync(partial)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync(target.parent)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; on a clean exit it replaces `target`, on an error it vanishes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(target)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-{os.getpid()}-", dir=target.parent))
    old: Path | None = None
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        for path in partial.rglob("*"):
            if path.is_file():
                _sync(path)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-{os.getpid()}-", dir=target.parent))
            target.replace(old / target.name)
            partial.replace(target)
            shutil.rmtree(old)
        else:
            partial.replace(target)
    except BaseException:
        if old is not None and not target.exists():
            (old / target.name).replace(target)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(target.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(target: Path, text: str) -> None:
    with atomic_file(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Sorted keys, so that equal values are equal bytes. NaN is refused: it is not JSON."""
    write_text(target, json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises InputError where the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError, numbers of thousands of digits
        raise InputError(f"{path} is not valid JSON ({error}); delete it and run the step that made it again") from None


def save_array(target: Path, array: NDArray[Any]) -> None:
    with atomic_file(target) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def open_array(path: Path) -> NDArray[Any]:
    """Memory-mapped, read-only. Raises InputError where the file is missing or damaged."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the step that makes it again") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}); run the step that makes it again") from None
    return array


def inside(folder: Path, relative: str) -> Path:
    """The file `relative` names inside `folder`; raises InputError where it leaves the folder, links followed."""
    root = folder.resolve()
    try:
        path = (root / relative).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name too long, a NUL
        raise InputError(f"the path {relative!r} in {folder} cannot be followed; keep files inside it") from None
    if not path.is_relative_to(root):
        raise InputError(f"the path {relative!r} leaves the folder {folder}; keep files inside it")
    return path


def hash_bytes(*parts: bytes) -> str:
    """Hex of 128 bits; each part is preceded by its length, so that ("ab", "c") and ("a", "bc") differ."""
    return digest_bytes(*parts).hex()


def digest_bytes(*parts: bytes) -> bytes:
    """What `hash_bytes` gives, 16 bytes instead of their hex."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def hash_json(value: Any) -> str:
    return hash_bytes(json.dumps(value, sort_keys=True, default=str).encode())


def hash_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
