"""Rows of benchmarks.peers as Markdown: seconds, memory and NDCG@10 of each library, and how many times Medley's.

A row's seconds are the median of its whole epochs; where the first one was left at the row's limit, they are scaled by
its targets, its first step included. Seconds are told per epoch as the library counts it; a ratio is one of seconds
per target, taken within a round and quoted as median (least to most) over the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.peers import CHECKS, CONTESTANTS, FIRST, TABLES, Table

Row = Mapping[str, Any]
HEAD = (
    "library",
    "parameters",
    "rounds",
    "seconds per epoch",
    "times Medley's, per target",
    "CPU seconds",
    "times Medley's, per target",
    "peak memory, MiB",
    "times Medley's",
    "NDCG@10",
)


def peer_tables(rows: Sequence[Row]) -> str:
    """Every table of benchmarks.peers but the checks; what has no row is pending."""
    return "\n\n".join(peer_table(name, table, rows) for name, table in TABLES.items() if name not in CHECKS)


def peer_table(name: str, table: Table, rows: Sequence[Row]) -> str:
    mine = [row for row in rows if row["table"] == name]
    by = {c: {row["round"]: row for row in mine if row["contestant"] == c} for c in CONTESTANTS}
    names = [c for c in CONTESTANTS if c in table.contestants or by[c]]
    done = {c: {n: row for n, row in by[c].items() if "failed" not in row} for c in names}
    parts = [f"### {name}", _told(table, mine), _grid(table, by, done), _verdict(table, done), _curve(done)]
    return "\n\n".join(part for part in [*parts, _notes(done)] if part)


def seconds(row: Row, kind: str = "seconds") -> float:
    """Of a whole epoch as this library counts it."""
    taken = [e for e in row["epochs"] if e["whole"]] or row["epochs"]
    return statistics.median(e[kind] * row["targets_per_epoch"] / e["targets"] for e in taken)


def cpu_seconds(row: Row) -> float:
    return seconds(row, "cpu_seconds")


def per_target(row: Row) -> float:
    """Seconds: a library that has more targets in an epoch is not slower for that."""
    return seconds(row) / float(row["targets_per_epoch"])


def cpu_per_target(row: Row) -> float:
    return cpu_seconds(row) / float(row["targets_per_epoch"])


def memory(row: Row) -> float:
    return float(row["peak_mib"])


def ratios(rows: Mapping[int, Row], first: Mapping[int, Row], value: Callable[[Row], float]) -> list[float]:
    """How many times Medley's, by the rounds that both have."""
    return [value(rows[n]) / value(first[n]) for n in sorted(rows.keys() & first.keys())]


def spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "pending"
    middle = format(statistics.median(values), form)
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} to {max(values):{form}})"


def _told(table: Table, rows: Sequence[Row]) -> str:
    """As the rows were made, or as they are to be."""
    made = [row["settings"] for row in rows] or [vars(table)]
    epochs, limit, targets, dropout = (made[0][n] for n in ("epochs", "limit", "targets_per_step", "dropout"))
    left = f", left after {limit:.0f} s and then scaled by its targets" if limit else ""
    many = "one epoch" if epochs == 1 else f"up to {epochs} epochs" if limit else f"{epochs} epochs"
    told = f"Log `{table.log}`, {many} a row{left}; about {targets:,} targets a step, dropout {dropout}."
    if not rows:
        return told
    threads = ", ".join(str(n) for n in sorted({settings["threads"] for settings in made}))
    loads = [row["load"] for row in rows]
    where = "; ".join(sorted({row["machine"] for row in rows}))
    return f"{told} {where}; threads: {threads}; load average when a row began: {min(loads)} to {max(loads)}."


def _grid(table: Table, by: Mapping[str, Mapping[int, Row]], done: Mapping[str, Mapping[int, Row]]) -> str:
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for name, rows in done.items():
        failed = [str(row["failed"]) for row in by[name].values() if "failed" in row]
        count = f"{len(rows)} of {table.rounds}" + (", the rest pending" if len(rows) < table.rounds else "")
        lines.append(f"| {name} | {' | '.join(_cells(rows, done[FIRST], count, failed))} |")
    return "\n".join(lines)


def _cells(rows: Mapping[int, Row], first: Mapping[int, Row], count: str, failed: Sequence[str]) -> list[str]:
    if not rows:
        return ["", failed[0] if failed else count, *["pending"] * (len(HEAD) - 3)]
    held = list(rows.values())
    cells = [f"{held[0]['parameters']:,}", count]
    for value, base, form in (
        (seconds, per_target, ".1f"),
        (cpu_seconds, cpu_per_target, ".1f"),
        (memory, memory, ",.0f"),
    ):
        cells += [spread([value(row) for row in held], form), spread(ratios(rows, first, base), ".2f")]
    last = [row["metrics"][-1]["ndcg@10"] for row in held if row["metrics"]]
    return [*cells, spread(last, ".4f") if last else "not judged"]


def _verdict(table: Table, done: Mapping[str, Mapping[int, Row]]) -> str:
    """The fastest peer beside what was asked for."""
    peers = {n: rows for n, rows in done.items() if n != FIRST and rows}
    if not (table.speed and peers and done[FIRST]):
        return ""
    fastest = min(peers, key=lambda n: statistics.median(per_target(row) for row in peers[n].values()))
    told = f"Fastest peer: {fastest}, {spread(ratios(peers[fastest], done[FIRST], per_target), '.2f')} times Medley's "
    told += f"seconds per target (asked for: at least {table.speed:g})"
    if table.memory:
        found = spread(ratios(peers[fastest], done[FIRST], memory), ".2f")
        told += f", {found} times its memory (asked for: at least {table.memory:g})"
    return told + "."


def _curve(done: Mapping[str, Mapping[int, Row]]) -> str:
    """NDCG@10 after each epoch, the mean over rounds."""
    found = {n: _mean_curve(list(rows.values())) for n, rows in done.items()}
    longest = max((len(curve) for curve in found.values()), default=0)
    if longest < 2:
        return ""
    lines = [
        "| NDCG@10 after epoch | " + " | ".join(str(e + 1) for e in range(longest)) + " |",
        "|---" * (longest + 1) + "|",
    ]
    for name, curve in found.items():
        cells = [f"{value:.4f}" for value in curve] + [""] * (longest - len(curve))
        lines += [f"| {name} | {' | '.join(cells)} |"] if curve else []
    return "\n".join(lines)


def _mean_curve(rows: Sequence[Row]) -> list[float]:
    curves = [[epoch["ndcg@10"] for epoch in row["metrics"]] for row in rows if row["metrics"]]
    return [statistics.mean(values) for values in zip(*curves, strict=False)]


def _part(row: Row) -> list[str]:
    """How much of an epoch was timed, where that was not all."""
    whole = any(epoch["whole"] for epoch in row["epochs"])
    timed = sum(epoch["targets"] for epoch in row["epochs"]) / row["targets_per_step"]
    return [] if whole else [f"timed on its first {timed:.0f} steps in a row"]


def _notes(done: Mapping[str, Mapping[int, Row]]) -> str:
    lines = []
    for name, rows in done.items():
        for row in list(rows.values())[:1]:
            packages = ", ".join(f"{n} {v}" for n, v in row["versions"].items())
            apart = [
                f"{row['targets_per_epoch']:,} targets an epoch",
                f"{row['targets_per_step']:,.0f} a step",
                *_part(row),
                *row["notes"],
            ]
            lines.append(f"- {name} ({packages}): {'; '.join(apart)}.")
    return "\n".join(lines)
