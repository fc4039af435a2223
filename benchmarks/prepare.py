"""Preparation at scale: seconds and peak memory of `medley prepare`, beside a bare sort of the same log by DuckDB.

    python -m benchmarks.prepare FOLDER                             (10 million events, 500,000 items)
    python -m benchmarks.prepare FOLDER --events 100_000_000 --users 5_000_000 --items 1_000_000 --memory-limit 3GB

The log is generated into FOLDER once. Each measurement is a whole process, imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

from benchmarks.logs import generate

BARE = """
import sys, duckdb
log, out, limit, spill = sys.argv[1:]
database = duckdb.connect()
database.execute("SET enable_progress_bar = false")
database.execute(f"SET memory_limit = '{limit}'")
database.execute(f"SET temp_directory = '{spill}'")
database.execute(f"COPY (SELECT * FROM read_parquet('{log}') ORDER BY user_id, timestamp) TO '{out}' (FORMAT parquet)")
"""


def main() -> None:
    options = parsed()
    log, goods = generate(options.folder, events=options.events, users=options.users, items=options.items)
    project = options.folder / "project"
    shutil.rmtree(project, ignore_errors=True)
    files = ["--interactions", str(log), "--items", str(goods), "--memory-limit", options.memory_limit]
    medley = measured([sys.executable, "-m", "medleyrec.cli", "prepare", str(project), *files])
    told("medley prepare", options.events, *medley)
    out, spill = options.folder / "sorted.parquet", options.folder / "spill"
    bare = measured([sys.executable, "-c", BARE, str(log), str(out), options.memory_limit, str(spill)])
    told("bare DuckDB sort", options.events, *bare)
    time_, memory, cores = (a / b for a, b in zip(medley, bare, strict=True))
    print(f"ratio: {time_:.2f} of the time, {cores:.2f} of the CPU time, {memory:.2f} of the memory")
    out.unlink()
    if options.out:
        names = ("seconds", "mib", "cpu_seconds")
        rows = {"medley prepare": medley, "bare DuckDB sort": bare}
        figures = [{"what": w, "events": options.events, **dict(zip(names, r, strict=True))} for w, r in rows.items()]
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds and peak memory of preparation.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=500_000)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--memory-limit", default="1GB", help="of DuckDB; the process needs up to about twice of it")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def measured(command: list[str]) -> tuple[float, float, float]:
    """(seconds, peak resident memory in MiB, seconds of all cores together) of a child process."""
    begun = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"{' '.join(command[:4])} ... failed")
    memory = used.ru_maxrss / (1024 if sys.platform == "linux" else 2**20)
    return time.perf_counter() - begun, memory, used.ru_utime + used.ru_stime


def told(name: str, events: int, seconds: float, memory: float, cores: float) -> None:
    rate = events / seconds
    print(f"{name}: {seconds:.1f} s ({cores:.1f} s of CPU), {memory:,.0f} MiB, {rate:,.0f} events/s", flush=True)


if __name__ == "__main__":
    main()
