"""Feature tables: one vector per item of a dataset, gathered from the store, memory-mapped.

Letters:  V items, row 0 being padding   D width

    <table>/vectors.npy    float16 (V, D), rows of norm 1; zero at row 0 and where the content is missing
            present.npy    bool (V,)
            manifest.json  encoder, revision, content hash, what is missing and why; where the encoder is from, if it is
                           not fitted here; no clock, no absolute path
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medleyrec.features.base import Encoded, Encoder, Progress
from medleyrec.features.index import KEY_BYTES, Keys
from medleyrec.features.store import Space, VectorStore
from medleyrec.schema import DESCRIPTIONS, PICTURE, TEXT, Features, InputError, Int64s, Mask
from medleyrec.storage import atomic_folder, digest_bytes, hash_bytes, open_array, read_json, save_array, write_json

FORMAT_VERSION = 1
ABSENT = {TEXT: "no text", PICTURE: "no picture"}
FIRST_BATCH, LAST_BATCH, GATHER = 64, 1024, 8192
COMMIT_SECONDS, COMMIT_ITEMS = 2.0, 8192
"""A kill costs a slow model seconds of work, and a fast one does not wait for the disk after every batch."""
EXAMPLES = 5
VECTORS_FILE, PRESENT_FILE, MANIFEST_FILE = "vectors.npy", "present.npy", "manifest.json"

Contents = Sequence[bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReport:
    """What `encode_items` did. Items are counted without padding; equal contents are encoded once."""

    encoder: str
    revision: str
    width: int
    total: int
    reused: int
    """Items whose content was in the store already."""
    encoded: int
    """Items whose content is new in the store, what the encoder could not read included."""
    missing: dict[str, int] = field(default_factory=dict)
    """Reason -> number of items."""
    examples: dict[str, list[int]] = field(default_factory=dict)
    """Reason -> the first few rows, 1..V-1."""
    unchanged: bool = False
    """The table was there already, made from the same contents by the same encoder; nothing was done."""

    def __str__(self) -> str:
        return self.told()

    def told(self, ids: Sequence[str] | None = None) -> str:
        """One line; items of which something is missing are named by `ids`, else by their rows."""
        if self.unchanged:
            done = f"{self.total} items unchanged, nothing to do"
        else:
            done = f"{self.total} items: {self.encoded} encoded, {self.reused} reused"
        lacking = []
        for reason, count in self.missing.items():
            rows = self.examples.get(reason, [])
            shown = f"rows {', '.join(map(str, rows))}" if ids is None else ", ".join(ids[row] for row in rows)
            lacking.append(f"{count} missing: {reason} ({shown}{_dots(count)})")
        return "; ".join([f"{self.encoder}, width {self.width}: {done}", *lacking])


def _dots(count: int) -> str:
    return ", ..." if count > EXAMPLES else ""


def encode_items(
    contents: Contents,
    encoder: Encoder,
    store: VectorStore,
    out: Path,
    *,
    batch: int | None = None,
    absent: str | None = None,
    origin: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> FeatureReport:
    """Write the feature table `out` of the items 1..V-1; `contents[i]` belongs to row i + 1, None where there is none.

    Contents are read one batch at a time. Vectors are committed to the store as they come, so that a killed run goes
    on where it was; the table itself appears whole. Without `batch` the encoder's speed decides how many items make
    one. `absent` is the reason told for items without content, `origin` where the encoder is from: it goes into the
    manifest and decides nothing. `progress(done, total)` counts items.
    """
    keys, given = hash_contents(contents)
    identity = {
        "encoder": encoder.name,
        "revision": encoder.revision,
        "width": encoder.width,
        "count": len(contents),
        "content": content_hash(keys, given),
        "format_version": FORMAT_VERSION,
    }
    told: dict[str, Any] = {
        "encoder": encoder.name,
        "revision": encoder.revision,
        "width": encoder.width,
        "total": len(contents),
    }
    finished = _finished(out, identity)
    if finished:
        missing, examples = finished["missing"], finished["examples"]
        return FeatureReport(
            **told, reused=int(given.sum()), encoded=0, missing=missing, examples=examples, unchanged=True
        )
    space = store.space(encoder)
    encoded = _fill(space, contents, keys, given, encoder, batch, progress)
    manifest = {**identity, "origin": dict(origin)} if origin else identity
    missing, examples = _write_table(out, space, keys, given, manifest, absent or ABSENT[encoder.modality])
    reused = int(given.sum()) - encoded
    return FeatureReport(**told, reused=reused, encoded=encoded, missing=missing, examples=examples)


def hash_contents(contents: Contents) -> tuple[Keys, Mask]:
    """(V - 1, 16) content hashes, zero where there is no content, and (V - 1,) where there is one."""
    keys = bytearray(len(contents) * KEY_BYTES)
    given = np.zeros(len(contents), np.bool_)
    for i in range(len(contents)):
        content = contents[i]
        if content is not None:
            keys[i * KEY_BYTES : (i + 1) * KEY_BYTES] = digest_bytes(content)
            given[i] = True
    return np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES), given


def content_hash(keys: Keys, given: Mask) -> str:
    """One name for all contents of a table."""
    return hash_bytes(keys.tobytes(), given.tobytes())


def open_table(folder: Path) -> tuple[NDArray[np.float16], Mask]:
    """The vectors (V, D), memory-mapped, and which of them are present (V,)."""
    manifest = read_json(folder / MANIFEST_FILE)
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{folder} was written by another version; delete it and run `medley encode` again")
    vectors, present = open_array(folder / VECTORS_FILE), np.array(open_array(folder / PRESENT_FILE))
    shape = (manifest["count"] + 1, manifest["width"])
    if vectors.shape != shape or vectors.dtype != np.float16 or present.shape != shape[:1]:
        raise InputError(f"{folder} is damaged: {vectors.shape} vectors instead of {shape}; run `medley encode` again")
    return vectors, present


def open_features(folder: Path, names: Sequence[str]) -> Features:
    """The named tables under one folder; raises InputError where one is not encoded or they disagree in height."""
    lacking = [n for n in names if not (folder / n / MANIFEST_FILE).exists()]
    if lacking:
        told = [n for n in lacking if n in DESCRIPTIONS]
        first = "run `medley describe` (items have no such descriptions yet), then `medley encode`" if told else ""
        raise InputError(f"features {lacking} are not encoded in {folder}; {first or 'run `medley encode` first'}")
    tables = {name: open_table(folder / name) for name in names}
    heights = {name: len(present) for name, (_, present) in tables.items()}
    if len(set(heights.values())) > 1:
        raise InputError(f"the tables in {folder} differ in height ({heights}); run `medley encode` again")
    return Features(vectors={n: t[0] for n, t in tables.items()}, present={n: t[1] for n, t in tables.items()})


def _finished(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a table that is there already and whole."""
    try:
        manifest = read_json(out / MANIFEST_FILE)
        open_table(out)
    except (InputError, KeyError):
        return None
    return manifest if {k: manifest.get(k) for k in identity} == identity else None


def _fill(
    space: Space,
    contents: Contents,
    keys: Keys,
    given: Mask,
    encoder: Encoder,
    batch: int | None,
    progress: Progress | None,
) -> int:
    """Encode what the store lacks; the number of items that had to wait for it."""
    lacking = np.flatnonzero(given & (space.lookup(keys) < 0))
    if not len(lacking):
        return 0
    first = np.sort(lacking[np.unique(keys[lacking], axis=0, return_index=True)[1]])
    done, total = len(contents) - len(first), len(contents)
    with space.writing(), _Waiting(space, keys, 0 if batch else COMMIT_SECONDS) as waiting:
        for rows in _batches(first, batch) if batch else _timed_batches(first):
            read = [_unchanged(contents, int(i), keys) for i in rows]
            waiting.add(rows, encoder.encode(read))
            done += len(rows)
            if progress:
                progress(done, total)
    return len(lacking)


class _Waiting:
    """Vectors on their way to the store; what waits is committed at the end too, whatever the end is."""

    def __init__(self, space: Space, keys: Keys, seconds: float) -> None:
        self.space, self.keys, self.seconds = space, keys, seconds
        self.rows: list[Int64s] = []
        self.found: list[Encoded] = []
        self.since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()

    def add(self, rows: Int64s, found: Encoded) -> None:
        self.rows.append(rows)
        self.found.append(found)
        if time.monotonic() - self.since >= self.seconds or sum(map(len, self.rows)) >= COMMIT_ITEMS:
            self.commit()

    def commit(self) -> None:
        rows, found, self.rows, self.found = self.rows, self.found, [], []
        if rows:
            reasons = [reason for some in found for reason in some.reasons]
            self.space.append(
                self.keys[np.concatenate(rows)], np.concatenate([some.vectors for some in found]), reasons
            )
        self.since = time.monotonic()


def _batches(rows: Int64s, size: int) -> Iterator[Int64s]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _timed_batches(rows: Int64s) -> Iterator[Int64s]:
    """Growing batches: twice as many after a quick one, half as many after a slow one."""
    start, size = 0, FIRST_BATCH
    while start < len(rows):
        begun = time.monotonic()
        yield rows[start : start + size]
        start += size
        quick = time.monotonic() - begun < COMMIT_SECONDS
        size = min(2 * size, LAST_BATCH) if quick else max(size // 2, FIRST_BATCH // 4)


def _unchanged(contents: Contents, i: int, keys: Keys) -> bytes:
    content = contents[i]
    if content is None or digest_bytes(content) != keys[i].tobytes():
        raise InputError(f"the content of item row {i + 1} changed while it was being encoded; encode again")
    return content


def _write_table(
    out: Path, space: Space, keys: Keys, given: Mask, manifest: dict[str, Any], absent: str
) -> tuple[dict[str, int], dict[str, list[int]]]:
    rows = np.where(given, space.lookup(keys), -1)  # (V - 1,)
    present = np.zeros(len(rows) + 1, np.bool_)
    present[1:][given] = space.present(rows[given])
    missing, examples = _missing(space, rows, present, absent)
    with atomic_folder(out) as partial:
        with (partial / VECTORS_FILE).open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (len(rows) + 1, space.width)}
            np.lib.format.write_array_header_1_0(file, header)
            for block in _blocks(space, np.concatenate([[-1], rows])):
                file.write(block.data)
        save_array(partial / PRESENT_FILE, present)
        write_json(partial / MANIFEST_FILE, {**manifest, "missing": missing, "examples": examples})
    return missing, examples


def _blocks(space: Space, rows: Int64s) -> Iterator[NDArray[np.float16]]:
    """Vectors of store rows, zero at -1, some at a time: neither the store nor the table is held in memory."""
    for some in _batches(rows, GATHER):
        block = np.zeros((len(some), space.width), np.float16)
        there = some >= 0
        block[there] = space.gather(some[there])
        space.remap()
        yield block


def _missing(space: Space, rows: Int64s, present: Mask, absent: str) -> tuple[dict[str, int], dict[str, list[int]]]:
    counts: dict[str, int] = {}
    examples: dict[str, list[int]] = {}
    lacking = np.flatnonzero(~present[1:])
    stored = rows[lacking] >= 0
    why = np.full(len(lacking), absent, object)
    why[stored] = space.reasons(rows[lacking[stored]])
    for i, reason in zip(lacking.tolist(), why.tolist(), strict=True):
        counts[reason] = counts.get(reason, 0) + 1
        if counts[reason] <= EXAMPLES:
            examples.setdefault(reason, []).append(i + 1)
    return dict(sorted(counts.items())), dict(sorted(examples.items()))
