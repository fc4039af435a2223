"""Some cases through the command line itself, in a process of its own: its exit code and what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

from tests.hostile.case import Case
from tests.hostile.kinds import KINDS
from tests.hostile.verdict import UnsoundError, check_sentence

SECONDS = 90
KIND_NAMES = (
    "values",
    "fault",
    "damage",
    "shape",
    "noise",
    "json",
    "wrong-types",
    "special",
    "names",
    "folders",
    "toml",
    "bomb",
)
"""Those whose settings a command line can carry."""


def check_command(kind: str, seed: int, folder: Path) -> int:
    """The exit code: 0, or 2 with one good sentence on the error stream. Raises UnsoundError."""
    inputs, project = folder / "input", folder / "project"
    inputs.mkdir(parents=True)
    case = KINDS[kind](Random(f"{kind} {seed}"), inputs)
    ended = subprocess.run(
        [sys.executable, "-m", "medleyrec.cli", "prepare", str(case.toml or project), *_options(case)],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=inputs,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80"},
        timeout=SECONDS,
        check=False,
    )
    if "Traceback" in ended.stdout + ended.stderr or ended.returncode not in (0, 2):
        raise UnsoundError(f"{kind} {seed}: exit code {ended.returncode}: {ended.stderr[-1000:]}")
    if ended.returncode == 2:
        _check_told(kind, seed, ended.stderr, case, folder)
    elif case.refused is not None:
        raise UnsoundError(f"{kind} {seed}: was prepared, but must be refused")
    if ended.returncode == 2 and case.events is not None:
        raise UnsoundError(f"{kind} {seed}: is good, but: {ended.stderr}")
    return ended.returncode


def _check_told(kind: str, seed: int, errors: str, case: Case, folder: Path) -> None:
    lines = errors.splitlines()
    if len(lines) != 1 or not lines[0].startswith("medley: "):
        raise UnsoundError(f"{kind} {seed}: is not one line of the program's: {errors}")
    check_sentence(lines[0].removeprefix("medley: "), case, folder)


def _options(case: Case) -> list[str]:
    files = ("interactions", "items", "images")
    options = [part for name in files if name in case.source for part in (f"--{name}", case.source[name])]
    settings = {f"source.{n}": v for n, v in case.source.items() if n not in files}
    settings |= {} if case.toml else {f"prepare.{n}": v for n, v in case.prepare.items()}
    return options + [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
