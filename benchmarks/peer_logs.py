"""The logs on which libraries are compared: training events cut to each user's last ones, and a target after them.

Letters:  E events   U users   V items, row 0 being padding
Generated logs have ML-20M's shape and something to learn: an event is a popular item, an item of one of the user's
groups, or what follows the event before it, for everybody the same.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peer.task import Log

LAST = 51  # training events of a user that count: 50 positions, each with a target but the user's first
JUDGED = 20_000  # users
GROUPS, GROUPS_OF_USER = 200, 2
FOLLOWS, OF_GROUP = 0.3, 0.35  # shares of events
SPREAD = 1.38  # of the logarithm of activity: ML-20M's mean is 144 events, its median 68, its least 20


@dataclass(frozen=True, kw_only=True)
class Shape:
    """events: in all, each user having at least `least`; `kept` events instead: users are added until the cut log has
    so many training events, of histories whose mean is `events` / `users`."""

    users: int
    items: int
    events: int
    least: int
    kept: int = 0


SHAPES = {
    "ml20m": Shape(users=138_493, items=26_744, events=2_000_000, least=4),
    "ml20m-long": Shape(users=138_493, items=26_744, events=20_000_263, least=20, kept=2_000_000),
    "small": Shape(users=4_000, items=2_000, events=60_000, least=4),
    "tiny": Shape(users=600, items=300, events=9_000, least=4),
}


def cut(items: np.ndarray, starts: np.ndarray, ends: np.ndarray, targets: np.ndarray, num_items: int) -> Log:
    """Of each user's training events [start, end) the last ones; judged are users whose target the rest trains on."""
    lengths = np.minimum(ends - starts, LAST)
    offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
    events = np.repeat(ends - offsets[1:], lengths) + np.arange(offsets[-1])
    kept = np.asarray(items[events], np.int32)
    trained = np.bincount(kept, minlength=num_items) > 0
    able = np.flatnonzero(trained[targets] & (lengths > 0))
    judged = np.sort(np.random.default_rng(0).choice(able, min(JUDGED, len(able)), replace=False))
    return Log(kept, offsets, np.asarray(targets, np.int32), judged, num_items)


def generated(shape: Shape, seed: int = 0) -> Log:
    rng = np.random.default_rng(seed)
    lengths = activity(rng, shape)
    if shape.kept:
        enough = np.searchsorted(np.minimum(lengths - 1, LAST).cumsum(), shape.kept) + 1
        lengths = lengths[:enough]
    lengths = np.minimum(lengths, LAST + 1)  # earlier events would be cut off
    ends = lengths.cumsum()
    items = behaviour(rng, lengths, shape.items)
    return cut(items, ends - lengths, ends - 1, items[ends - 1], shape.items + 1)


def activity(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Events of each user, `shape.events` together up to rounding."""
    above = rng.lognormal(0, SPREAD, shape.users)
    return shape.least + np.floor(above * (shape.events - shape.least * shape.users) / above.sum()).astype(np.int64)


def behaviour(rng: np.random.Generator, lengths: np.ndarray, items: int) -> np.ndarray:
    """(E,) items 1..V-1, user by user."""
    weights = (10 + rng.permutation(items)) ** -0.9
    group = np.sort(rng.integers(GROUPS, size=items))
    mass = np.concatenate([[0], weights.cumsum()])
    edges = np.searchsorted(group, np.arange(GROUPS + 1))
    follower = rng.permutation(items)
    liked = rng.integers(GROUPS, size=(len(lengths), GROUPS_OF_USER))
    out, begun = np.empty(lengths.sum(), np.int32), lengths.cumsum() - lengths
    before = np.zeros(len(lengths), np.int64)
    for position in range(int(lengths.max())):
        who = np.flatnonzero(lengths > position)
        kind, among = rng.random(len(who)), liked[who, rng.integers(GROUPS_OF_USER, size=len(who))]
        of_group = kind < FOLLOWS + OF_GROUP
        low, high = (np.where(of_group, mass[edges[among + side]], mass[-side]) for side in (0, 1))
        drawn = np.searchsorted(mass, low + rng.random(len(who)) * (high - low), side="right") - 1
        follows = (kind < FOLLOWS) & (position > 0)
        before[who] = np.where(follows, follower[before[who]], np.minimum(drawn, items - 1))
        out[begun[who] + position] = before[who] + 1
    return out


def beauty(raw: Path, project: Path) -> Log:
    """Of the raw files, prepared as `medley prepare` does by default; leave-one-out."""
    from medleyrec.dataset import Dataset, leave_one_out

    if not (project / "dataset" / "manifest.json").exists():
        command = [sys.executable, "-m", "medleyrec.cli", "prepare", str(project), "--interactions", str(raw)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    split = leave_one_out(Dataset.open(project / "dataset"))
    training = split.training_log()
    targets = np.asarray(split.dataset.items[training.ends])
    return cut(np.asarray(training.items), training.starts, training.ends, targets, split.dataset.num_log_items)


def log_of(name: str, folder: Path, raw: Path | None) -> Path:
    """The NPZ of a named log; made where it is not there yet."""
    path = folder / "logs" / f"{name}.npz"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "beauty" and raw is None:
        sys.exit("the table of Beauty needs its raw files once: --beauty FOLDER")
    make: Callable[[], Log] = (
        (lambda: beauty(raw, folder / "beauty")) if raw and name == "beauty" else (lambda: generated(SHAPES[name]))
    )
    log = make()
    print(f"{name}: {log!r}, {log.taught:,} targets, {len(log.judged):,} users judged", flush=True)
    log.write(path)
    return path
