"""On what a figure was taken: one line for a results file."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine() -> str:
    return ", ".join(part for part in (_processor(), f"{os.cpu_count()} cores", _memory(), _system()) if part)


def about() -> dict[str, str]:
    """What goes into every file of figures."""
    return {"machine": machine(), "versions": versions()}


def versions(*packages: str) -> str:
    told = [f"{name} {_version(name)}" for name in packages or ("medleyrec", "torch", "numpy")]
    return ", ".join([f"Python {platform.python_version()}", *told])


def load() -> float:
    """Processes that ran or waited during the last minute, this one among them; above 1 something else is running."""
    return round(os.getloadavg()[0], 2)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()}, {names[0]}" if names else platform.machine()


def _memory() -> str:
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return ""
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def _system() -> str:
    return platform.system()
