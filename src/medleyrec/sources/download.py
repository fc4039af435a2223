"""Public data sets by name, fetched only when the user asks: resumed after a break, checked, unpacked safely.

`fetch("ml-1m", Path("data"))` gives the folder `data/ml-1m`, which the source of its kind reads. The publisher's MD5 is
verified where there is one; else the SHA-256 that was seen is recorded and said. Licences are the publishers'.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medleyrec import storage
from medleyrec.schema import InputError
from medleyrec.sources.archive import unpack
from medleyrec.sources.transfer import Progress, download, read_small

RECORD = "download.json"
"""In the finished folder: address, size and SHA-256 of each file that was fetched."""
_GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
_AMAZON = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is published under one name."""

    kind: str
    """Of the source that reads the folder."""
    addresses: tuple[str, ...]
    checksum: bool = False
    """Whether `<address>.md5` is published too."""
    terms: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    folder: Path
    kind: str
    notes: tuple[str, ...]


def _movielens(name: str) -> Published:
    terms = "for research; no redistribution; cite Harper & Konstan 2015, https://doi.org/10.1145/2827872"
    return Published(kind="movielens", addresses=(f"{_GROUPLENS}{name}.zip",), checksum=True, terms=terms)


def _amazon(category: str) -> Published:
    addresses = (
        f"{_AMAZON}review_categories/{category}.jsonl.gz",
        f"{_AMAZON}meta_categories/meta_{category}.jsonl.gz",
    )
    return Published(kind="amazon", addresses=addresses, terms="cite Hou et al. 2024, https://arxiv.org/abs/2403.03952")


PUBLISHED: Mapping[str, Published] = {
    name: _movielens(name) for name in ("ml-100k", "ml-1m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small")
}
AMAZON_PREFIX = "amazon-2023/"
"""Before the name of a category, such as amazon-2023/All_Beauty."""


def published(name: str) -> Published:
    """Raises InputError for a name that is not known."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    category = name.removeprefix(AMAZON_PREFIX)
    if category != name and re.fullmatch(r"[A-Z][A-Za-z]*(_[A-Za-z]+)*", category):
        return _amazon(category)
    raise InputError(
        f"no data set is known by the name {name!r}; there are: {', '.join(PUBLISHED)}, and {AMAZON_PREFIX}<Category> "
        f"such as {AMAZON_PREFIX}All_Beauty"
    )


def fetch(
    name: str,
    folder: Path,
    progress: Progress | None = None,
    *,
    lookup: Callable[[str], Published] = published,
) -> Fetched:
    """Fetch `name` into `folder/<name>`, or find it there. `progress(name, done, total)` counts bytes.

    Raises InputError where the address, the network, the checksum or the archive is at fault; a transfer that broke
    off goes on from there at the next call.
    """
    what = lookup(name)
    target = folder / name.replace("/", "-")
    if (target / RECORD).exists():
        return Fetched(folder=target, kind=what.kind, notes=(f"{target} is there already",))
    if target.exists():
        raise InputError(f"{target} exists but was not finished by a download; move it away or choose another folder")
    arriving = folder / f".{target.name}.fetching"
    arriving.mkdir(parents=True, exist_ok=True)
    files = [download(address, arriving, progress) for address in what.addresses]
    checks = [_checked(address, path, what) for address, path in zip(what.addresses, files, strict=True)]
    with storage.atomic_folder(target) as partial:
        for path in files:
            _place(path, partial)
        storage.write_json(partial / RECORD, [record for record, _ in checks])
    shutil.rmtree(arriving)
    notes = (*(note for _, note in checks), *((f"{name}: {what.terms}",) if what.terms else ()))
    return Fetched(folder=target, kind=what.kind, notes=notes)


def _place(path: Path, partial: Path) -> None:
    if path.suffix == ".zip":
        unpack(path, partial)
    else:
        path.replace(partial / path.name)


def _checked(address: str, path: Path, what: Published) -> tuple[dict[str, str | int], str]:
    """(record, sentence). A file with the wrong checksum is deleted, so that the next call fetches it anew."""
    sha256, md5 = _digests(path)
    record: dict[str, str | int] = {"address": address, "bytes": path.stat().st_size, "sha256": sha256}
    expected = _published_md5(address) if what.checksum else None
    if expected is None:
        return record, f"{path.name}: no checksum is published; the SHA-256 {sha256} was recorded, not verified"
    if expected != md5:
        path.unlink()
        raise InputError(
            f"{path.name}: the checksum is {md5}, but {address}.md5 says {expected}; it was deleted, fetch it again"
        )
    return record | {"md5": md5}, f"{path.name}: the published MD5 was verified"


def _published_md5(address: str) -> str | None:
    text = read_small(f"{address}.md5")
    found = re.search(r"\b[0-9a-f]{32}\b", text.lower()) if text is not None else None
    return found[0] if found else None


def _digests(path: Path) -> tuple[str, str]:
    """(SHA-256, MD5) in one pass."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()
