"""Memory of this process: how much it may take, how much it takes, and the most that some work took.

On the CPU that is the resident memory of the whole process, imports and mapped files included; on CUDA what torch has
allocated on the device. Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from medleyrec.training.sizes import AUTO, parse_bytes, told_bytes

LIMIT = "train.memory_limit"
"""The source of a room that the user named."""
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # what version 1 of control groups says for "no limit" is about that
LOOK_EVERY = 0.002  # seconds
PILE = 1 / 6
"""Freed memory may pile up to this share of what is in use."""
PRIMITIVES = 8
"""Of the math library, kept for shapes that come again."""


@dataclass(frozen=True, slots=True)
class Room:
    """How far the memory of this process may grow, and who says so."""

    size: int
    source: str

    def __repr__(self) -> str:
        return f"Room({told_bytes(self.size)}, {self.source})"


def room_of(limit: str, device: torch.device | str = "cpu") -> Room:
    """Of the setting `train.memory_limit`: a size, or what the device, the container or the machine has left, if that
    is less: a limit above it would protect from nothing."""
    there = _there(device)
    named = there if limit == AUTO else Room(parse_bytes(limit), LIMIT)
    return min(named, there, key=lambda room: room.size)


def _there(device: torch.device | str) -> Room:
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return Room(free + torch.cuda.memory_reserved(device), "free on the GPU")
    machine, group = _machine_left(), _group_left()
    left, source = (machine, "available on this machine")
    if group is not None and group < machine:
        left, source = group, "left to this container"
    return Room(resident() + left, source)


def _machine_left() -> int:
    """What the kernel says can be taken without swapping; all memory where it says nothing."""
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _group_left() -> int | None:
    """The least that any control group above this process leaves it; None without a limit. Pages of files that can be
    dropped are not counted as taken."""
    left = []
    for folder, limit, usage in _groups():
        try:
            most, taken = int((folder / limit).read_text()), int((folder / usage).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # version 2 says "max" where there is no limit
            continue
        if most < UNLIMITED:
            droppable = int(stat.get("inactive_file", stat.get("total_inactive_file", 0)))
            left.append(max(0, most - max(0, taken - droppable)))
    return min(left, default=None)


def _groups() -> list[tuple[Path, str, str]]:
    """Folders of this process's control groups, innermost first, with the names of limit and usage."""
    found = []
    with contextlib.suppress(OSError):
        for line in (PROC / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory") and "memory" not in controllers.split(","):
                continue
            root = CGROUPS / "memory" if controllers else CGROUPS
            names = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
            )
            here = root / path.strip("/")
            # inside a container the path may be one that only the host sees: then the root is the container's own
            found += [(folder, *names) for folder in (here, *here.parents) if folder.is_relative_to(root)]
    return found


def resident() -> int:
    """Bytes of this process in memory; where the system does not tell, the most there have been."""
    try:
        return int((PROC / "self" / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return highest()


def highest() -> int:
    """The most bytes of this process in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Meter:
    """`meter.peak(work)` does the work and returns the most memory that there was meanwhile.

    A peak above all earlier ones of the process is read from the system, so it is exact; a lower one is the largest of
    many looks at what is resident. Nothing is reset that others might read.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def now(self) -> int:
        return int(torch.cuda.memory_allocated(self.device)) if self.on_gpu else resident()

    def so_far(self) -> int:
        """The most that the process has taken; 0 on a GPU, where nothing was before."""
        return 0 if self.on_gpu else highest()

    def peak(self, work: Callable[[], object]) -> int:
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
            work()
            torch.cuda.synchronize(self.device)
            return int(torch.cuda.max_memory_allocated(self.device))
        before = highest()
        seen = _watched(work)
        after = highest()
        return after if after > before else seen


def _watched(work: Callable[[], object]) -> int:
    """Does the work while a thread looks at the memory."""
    done, seen = threading.Event(), [resident()]

    def look() -> None:
        while not done.wait(LOOK_EVERY):
            seen[0] = max(seen[0], resident())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return max(seen[0], resident())


class Heap:
    """Returns freed memory to the system when too much of it has piled up: `look()` now and then.

    Batches are of all shapes, and what the C allocator keeps of freed tensors comes in pieces that fit the next ones
    less and less: without this, the process grows by a megabyte a step and more. Returning the pieces costs a little,
    so it is done each time they have come to a `share` of what the process was before.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.level = 0  # of the first look after memory was returned

    def look(self) -> None:
        now = resident()
        self.level = self.level or now
        if now > self.level * (1 + self.share):
            returned()
            self.level = 0


def pile_of(limit: str) -> float:
    """The share that may pile up: little where the user named a limit (`train.memory_limit`)."""
    return PILE if limit == AUTO else PILE / 4


def few_primitives() -> None:
    """Let the math library keep few of its primitives: it makes one for each shape that is new to it, and batches are
    of all shapes. Its own ceiling, 1,024, is hundreds of megabytes. Heeded until its first work in this process."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES))


def returned() -> None:
    """Return freed memory to the system, where the C library can."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
