"""Instructions that a process carries out: a figure that other work on the machine does not touch.

Two ways, tried in this order: the processor's own counter through Linux's perf_event_open, read around a piece of work;
Valgrind's callgrind, told by the process itself what to count, at about fifty times the cost of that piece. Virtual
machines often lack the first.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

NUMBERS = {"x86_64": 298, "aarch64": 241}  # of the system call perf_event_open
SIZE = 128  # bytes of perf_event_attr that are passed; what is not set is zero
HARDWARE, INSTRUCTIONS = 0, 1
TOOL = ord("C") << 24 | ord("T") << 16  # callgrind, in requests to Valgrind
START, STOP = TOOL + 4, TOOL + 5
INHERIT, NO_KERNEL, NO_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6


class Instructions:
    """Counts those of this process's user code, threads made later included; 0 where the machine does not let it."""

    def __init__(self) -> None:
        self._file = _opened()

    def __enter__(self) -> Instructions:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file >= 0:
            os.close(self._file)

    @property
    def counts(self) -> bool:
        return self._file >= 0

    def read(self) -> int:
        return int(struct.unpack("q", os.read(self._file, 8))[0]) if self.counts else 0


def _opened() -> int:
    """A file that holds the count, -1 where there is none."""
    number = NUMBERS.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return -1
    flags = INHERIT | NO_KERNEL | NO_HYPERVISOR
    attributes = struct.pack("IIQQQQQ", HARDWARE, SIZE, INSTRUCTIONS, 0, 0, 0, flags).ljust(SIZE, b"\0")
    buffer = ctypes.create_string_buffer(attributes, SIZE)
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, buffer, 0, -1, -1, 0))


def valgrind() -> str | None:
    """Where it is installed, on a processor whose requests to it are known here."""
    return shutil.which("valgrind") if platform.machine() == "x86_64" else None


def of_process(command: Sequence[str], environment: Mapping[str, str], patience: float) -> int:
    """Instructions that a process under Valgrind carries out while `counted`.

    SubprocessError where it fails or takes more than `patience` seconds, ValueError where nothing was counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        tool = [valgrind() or "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--log-file={log}"]
        command = [*tool, f"--callgrind-out-file={folder}/out", *command]
        subprocess.run(command, check=True, timeout=patience, env=dict(environment), stdout=subprocess.DEVNULL)
        return parsed(log.read_text())


def parsed(log: str) -> int:
    """The total in callgrind's closing lines."""
    found = re.search(r"Collected\s*:\s*(\d+)", log)
    if found is None or not int(found[1]):
        raise ValueError(f"valgrind told no count of instructions: {log[-200:]!r}")
    return int(found[1])


@contextmanager
def counted() -> Iterator[None]:
    """What Valgrind is to count; without Valgrind around the process this does nothing."""
    _request(START)
    try:
        yield
    finally:
        _request(STOP)


def _request(number: int) -> None:
    """Speak to Valgrind: it knows this run of rotations, which changes nothing, and reads the request it points to."""
    code = bytes.fromhex(
        "4889f8"  # mov rax, rdi     the request and its five arguments
        "31d2"  # xor edx, edx       the answer without Valgrind
        "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi, 3; 13; 61; 51
        "4887db"  # xchg rbx, rbx
        "4889d0 c3"  # mov rax, rdx; ret
    )
    room = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    room.write(code)
    place = ctypes.addressof(ctypes.c_char.from_buffer(room))
    arguments = (ctypes.c_uint64 * 6)(number)
    ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(place)(ctypes.addressof(arguments))
