"""What every runner is given and what it answers; needs numpy and torch alone, so that every environment can read it.

Letters:  E events   U users   V items, row 0 being padding   J judged users   B rows   C columns of scores

In: a JSON (`Task`) that names an NPZ (`Log`): training events by user in their order, already cut, ids 1..V-1, and each
user's validation target. Out: a JSON with the seconds of each epoch (steps alone: no imports, no preparation, no
judging), memory, versions and sentences about what the library does otherwise; and an NPZ with the ranks of the judged
targets after each whole epoch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

JUDGED_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Task:
    """The same for all contestants of a table, but for `inner` and `options`.

    limit: seconds of training after which an epoch is left where it is, once it has made `least_steps`; 0 is none.
    targets_per_step: on average; a library that counts rows gets as many rows as hold so many targets.
    inner: width of the feed-forward layers; options: what is the library's own.
    begun: when the process was started, seconds since 1970.
    """

    log: str
    answer: str
    scratch: str
    begun: float
    epochs: int
    limit: float
    threads: int
    seed: int
    targets_per_step: int
    inner: int
    least_steps: int = 10
    width: int = 64
    depth: int = 2
    heads: int = 2
    length: int = 50
    dropout: float = 0.5
    learning_rate: float = 1e-3
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Task:
        """From the file named on the command line; sets threads and seed."""
        task = cls(**json.loads(Path(sys.argv[1]).read_text()))
        torch.set_num_threads(task.threads)
        torch.manual_seed(task.seed)
        np.random.seed(task.seed)  # libraries draw from it
        return task


@dataclass(frozen=True, eq=False)
class Log:
    items: np.ndarray  # (E,) int32, 1..V-1
    offsets: np.ndarray  # (U + 1,) int64
    targets: np.ndarray  # (U,) int32, one event of each user after the training events
    judged: np.ndarray  # (J,) int64, users; the training events hold the target of each
    num_items: int  # V

    @classmethod
    def read(cls, path: str | Path) -> Log:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("items", "offsets", "targets", "judged")}
            return cls(**arrays, num_items=int(file["num_items"]))

    def write(self, path: Path) -> None:
        partial = path.with_name(f".{path.name}")
        with partial.open("wb") as file:
            np.savez(file, **{n: getattr(self, n) for n in ("items", "offsets", "targets", "judged", "num_items")})
        partial.replace(path)

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"Log({len(self):,} users, {self.num_items - 1:,} items, {len(self.items):,} training events)"

    @cached_property
    def users(self) -> np.ndarray:
        """User of each training event."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def taught(self) -> int:
        """Targets of an epoch: every training event but a user's first."""
        return int(np.maximum(np.diff(self.offsets) - 1, 0).sum())

    @property
    def rows(self) -> int:
        """Users who have a target."""
        return int((np.diff(self.offsets) > 1).sum())

    def rows_per_step(self, targets: int) -> int:
        """As many users as hold so many targets on average."""
        return max(1, round(targets * self.rows / self.taught))

    def histories(self, length: int) -> list[np.ndarray]:
        """The last `length` training events of each judged user."""
        return [
            self.items[max(self.offsets[u], self.offsets[u + 1] - length) : self.offsets[u + 1]] for u in self.judged
        ]


def left_padded(histories: list[np.ndarray], length: int, *, padding: int = 0) -> torch.Tensor:
    """(B, length) int64, each history at the right end of its row."""
    block = np.full((len(histories), length), padding, np.int64)
    for row, history in zip(block, histories, strict=True):
        row[length - len(history) :] = history
    return torch.from_numpy(block)


def ranks(log: Log, length: int, scores: Callable[[list[np.ndarray]], torch.Tensor], columns: np.ndarray) -> np.ndarray:
    """(2, J): columns with a higher score than the target's, and other columns with exactly that score.

    scores(histories) -> (B, C), one column per item that the library knows and none for padding.
    columns (V,): which column is an item's; -1 where it has none.
    """
    histories, found = log.histories(length), []
    targets = torch.from_numpy(columns[log.targets[log.judged]].astype(np.int64))
    assert bool((targets >= 0).all()), "a judged target has no column"
    for at in range(0, len(histories), JUDGED_ROWS):
        part = slice(at, at + JUDGED_ROWS)
        with torch.no_grad():
            block = scores(histories[part])
        assert bool(torch.isfinite(block).all()), "a score is not finite"
        own = block.gather(1, targets[part, None])
        found.append(torch.stack([(block > own).sum(1), (block == own).sum(1) - 1]))
    return torch.cat(found, 1).numpy().astype(np.int32)


@dataclass
class Epoch:
    """seconds: of the wall; cpu_seconds: of all threads of the process. Not scaled, whole or not."""

    seconds: float
    cpu_seconds: float
    targets: int
    steps: int
    whole: bool


class Clock:
    """Times the steps of epochs; the library's loop calls `start`, `step` and `stop`."""

    def __init__(self, task: Task, log: Log, judge: Callable[[], np.ndarray], *, taught: int = 0) -> None:
        """taught: targets of an epoch where they are not those of the log."""
        self.task, self.log, self.judge = task, log, judge
        self.taught = taught or log.taught
        self.base, self.peak, self.setup = resident(), 0.0, 0.0
        self.epochs: list[Epoch] = []
        self._wall = self._cpu = 0.0
        self._steps = 0
        self.ranks: list[np.ndarray] = []

    @property
    def over(self) -> bool:
        """Whether the limit is used up."""
        spent = sum(e.seconds for e in self.epochs) + time.perf_counter() - self._wall
        enough = bool(self.epochs) or self._steps >= self.task.least_steps
        return bool(self.task.limit) and enough and spent > self.task.limit

    def start(self) -> None:
        self.setup = self.setup or time.time() - self.task.begun
        self._targets = self._steps = 0
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def step(self, targets: int) -> None:
        self._targets += targets
        self._steps += 1

    def stop(self) -> None:
        seconds, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self.peak = self.peak or peak()
        whole = self._targets >= self.taught
        self.epochs.append(Epoch(seconds, cpu, self._targets, self._steps, whole))
        told = f"{self._targets:,} targets, {seconds:.1f} s ({cpu:.1f} s of CPU)"
        print(f"  epoch {len(self.epochs)}: {told}", file=sys.stderr, flush=True)
        if whole:
            self.ranks.append(self.judge())

    def limited(self, batches: Any, targets: Callable[[Any], int]) -> Iterator[Any]:
        """The batches of an epoch until the limit is used up, counted."""
        for batch in batches:
            yield batch
            self.step(targets(batch))
            if self.over:
                return

    def answer(self, *, parameters: int, packages: tuple[str, ...], notes: tuple[str, ...] = ()) -> None:
        np.savez(Path(self.task.answer).with_suffix(".npz"), ranks=np.array(self.ranks, np.int32))
        answer = {
            "epochs": [asdict(e) for e in self.epochs],
            "targets_per_epoch": self.taught,
            "targets_per_step": sum(e.targets for e in self.epochs) / max(1, sum(e.steps for e in self.epochs)),
            "setup_seconds": self.setup,
            "base_mib": self.base,
            "peak_mib": self.peak,
            "parameters": parameters,
            "threads": torch.get_num_threads(),
            "versions": {name: version(name) for name in ("torch", "numpy", *packages)},
            "notes": list(notes),
        }
        Path(self.task.answer).write_text(json.dumps(answer, indent=1))


def resident() -> float:
    """MiB of this process now: the library imported, the log read, nothing built."""
    return _status("VmRSS")


def peak() -> float:
    """MiB, the most that this process has had. Not getrusage: that begins with the size of the parent process."""
    return _status("VmHWM")


def _status(name: str) -> float:
    path = Path("/proc/self/status")
    if not path.exists():
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used / (1024 if sys.platform == "linux" else 2**20)
    line = next(line for line in path.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024
