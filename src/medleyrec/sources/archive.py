"""Zip archives from elsewhere, unpacked so that no member leaves the folder and no bomb fills the disk."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from medleyrec.schema import InputError
from medleyrec.storage import inside

LIMIT = 16 << 30
"""Bytes that an archive may unpack to; the largest data set that is fetched by name stays far below."""
_RATIO = 200
_BLOCK = 1 << 20


def unpack(archive: Path, folder: Path, *, limit: int = LIMIT) -> None:
    """Members of `archive` into `folder`, without the one folder that all of them lie in, if they do.

    Raises InputError where a member is a link, leads out of the folder, or is larger than it says.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.is_dir()]
            _check(archive, members, limit)
            top = _common_top([m.filename for m in members])
            for member in members:
                _extract(opened, member, inside(folder, member.filename[len(top) :]), archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive.name} cannot be unpacked ({error}); fetch it again") from None


def _check(archive: Path, members: list[zipfile.ZipInfo], limit: int) -> None:
    if not members:
        raise InputError(f"{archive.name} holds no file; fetch it again")
    for member in members:
        name = member.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or PureWindowsPath(name).drive or ".." in parts:
            raise InputError(f"{archive.name} holds {name!r}, which leads out of its folder; it was not unpacked")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(f"{archive.name} holds the link {name!r}; it was not unpacked")
    total = sum(m.file_size for m in members)
    if total > min(limit, max(_RATIO * archive.stat().st_size, _BLOCK)):
        raise InputError(
            f"{archive.name} would unpack to {total:,} bytes, more than it plausibly holds; it was left alone"
        )


def _common_top(names: list[str]) -> str:
    """`ml-1m/` where every name begins with it, else nothing."""
    tops = {name.partition("/")[0] for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and all("/" in name for name in names) else ""


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, archive: Path) -> None:
    """`ZipExtFile` stops at the size that the archive states, and checks the CRC at the end."""
    if target.exists():
        raise InputError(f"{archive.name} holds {member.filename!r} twice; it was not unpacked")
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file, _BLOCK)
