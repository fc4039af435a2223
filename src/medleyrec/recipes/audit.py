"""The audit of a project's dataset and split: facts of the arrays, probes with models, one file audit.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from medleyrec import storage
from medleyrec.dataset.audit import (
    Audit,
    Finding,
    Looks,
    activity_findings,
    content_findings,
    given_away,
    leak_findings,
    loss_findings,
    order_findings,
    picture_findings,
    session_findings,
    text_findings,
)
from medleyrec.dataset.audit.findings import FORMAT
from medleyrec.dataset.cuts import make_split
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.split import Split
from medleyrec.features.decode import read_all
from medleyrec.features.perceptual import COLUMNS, ROWS, Thumbnail, fingerprint
from medleyrec.recipes.experiment import Experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.recipes.probes import probe_findings
from medleyrec.schema import InputError, Int64s

FILE = "audit.json"
MOST_PICTURES = 20_000  # that are decoded; above it a sample of so many
BLOCK = 256  # pictures held at a time
VERSION = 1
"""Raised when a measure changes, so that an old file is not taken for a new one."""

Print = tuple[str, tuple[np.uint64, Thumbnail] | None]


def run_audit(experiment: Experiment, listener: Listener, *, split: Split | None = None, probes: bool = True) -> Audit:
    """Audit the project's dataset and `split` (by default the one of the experiment); writes ``<project>/audit.json``.

    A finished audit of the same data, split and options is found and returned. `probes=False` leaves out what asks
    models, compares texts or decodes pictures: seconds instead of minutes; a complete audit is returned where there is
    one.
    """
    dataset = split.dataset if split is not None else open_dataset(experiment.project)
    split = split if split is not None else make_split(dataset, experiment.split)
    path, key = experiment.project / FILE, audit_key(split)
    found = _finished(path, key)
    if found is not None and (found.complete or not probes):
        return found
    audit = Audit(split=split.told, findings=tuple(_findings(split, listener, probes)), key=key, complete=probes)
    storage.write_json(path, audit.to_json())
    return audit


def audit_key(split: Split) -> str:
    """What an audit is a function of."""
    data = split.dataset.manifest
    return storage.hash_json([FORMAT, VERSION, data["identity"], data["content"], split.manifest, split.targets])


def _finished(path: Path, key: str) -> Audit | None:
    if not path.exists():
        return None
    try:
        audit = Audit.from_json(storage.read_json(path), where=str(path))
    except InputError:
        return None  # of another version, or damaged: it is made again
    return audit if audit.key == key else None


def _findings(split: Split, listener: Listener, probes: bool) -> Iterator[Finding]:
    """In the order of reading."""
    data = split.dataset
    parts = (order_findings, session_findings, loss_findings, activity_findings, content_findings)
    for done, part in enumerate(parts):
        listener.step("audit the log", done, len(parts) + 1)
        yield from part(data)
    yield from leak_findings(split)
    listener.step("audit the log", len(parts) + 1, len(parts) + 1)
    if probes:
        yield from probe_findings(split, listener.step)
        yield from _duplicates(split, listener)


def _duplicates(split: Split, listener: Listener) -> Iterator[Finding]:
    data = split.dataset
    findings, groups = text_findings(data, lambda done, total: listener.step("compare texts", done, total))
    yield from findings
    if data.has_pictures:
        findings, more = picture_findings(data, looks_of(data, listener))
        yield from findings
        groups |= more
    yield given_away(split, groups)


def looks_of(dataset: Dataset, listener: Listener, *, most: int = MOST_PICTURES) -> Looks:
    """Fingerprints of all pictures, or of the first `most` that are met in a random order from a fixed seed."""
    items = dataset.num_items - 1
    order = np.random.default_rng(0).permutation(items) + 1 if items > most else np.arange(1, items + 1)
    rows: list[int] = []
    prints: list[Print] = []
    looked = 0
    while looked < items and len(rows) < most:
        some = order[looked : looked + min(BLOCK, most - len(rows))]
        looked += len(some)
        there = [(int(row), content) for row in some if (content := dataset.picture(int(row))) is not None]
        rows += [row for row, _ in there]
        prints += read_all([content for _, content in there], _print)
        listener.step("compare pictures", len(rows), min(most, items))
    listener.step("compare pictures", min(most, items), min(most, items))
    return _looks(np.array(rows, np.int64), prints, of=items if looked < items else 0)


def _print(content: bytes) -> Print:
    return storage.hash_bytes(content), fingerprint(content)


def _looks(rows: Int64s, prints: list[Print], *, of: int) -> Looks:
    nothing = np.uint64(0), np.zeros((ROWS, COLUMNS, 3), np.uint8)
    shown = [seen or nothing for _, seen in prints]
    return Looks(
        rows=rows,
        contents=tuple(name for name, _ in prints),
        readable=np.array([seen is not None for _, seen in prints], np.bool_),
        hashes=np.array([bits for bits, _ in shown], np.uint64),
        thumbnails=np.array([small for _, small in shown], np.uint8).reshape(-1, ROWS, COLUMNS, 3),
        of=of,
    )
