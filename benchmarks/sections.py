"""What `benchmarks/RESULTS.md` is made of: one entry per claim.

A benchmark that writes its figures with `--out FILE` gets a section by one entry in SECTIONS. `rows` makes Markdown of
what the file holds; `plain` does for any JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.peer_table import peer_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """claim: what it should show. command: what follows `python -m`, without `--out`.

    file: in results/benchmarks; a folder stands for the list of the JSON files in it.
    short: it takes minutes and needs nothing, so that `make bench` runs it.
    """

    title: str
    claim: str
    command: str
    file: str
    rows: Callable[[Any], str]
    short: bool = False


ABOUT = ("machine", "versions", "load")
"""Figures about where a file was made, which stand above the table."""


def plain(found: Any) -> str:
    """A list of objects as a table, one object as names and values; lists of objects in it as tables of their own."""
    if not isinstance(found, Mapping):
        names = list(dict.fromkeys(name for row in found for name in row))
        return grid(names, [[row.get(name, "") for name in names] for row in found])
    pairs = [(name, value) for name, value in _flat(found) if name not in ABOUT]
    tables = {name: value for name, value in pairs if _objects(value)}
    alone = [(name, value) for name, value in pairs if name not in tables and value != []]
    parts = [grid(("figure", "value"), alone)] if alone else []
    return "\n\n".join([*parts, *(f"{name}:\n\n{plain(rows)}" for name, rows in tables.items())])


def _objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)


def grid(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(c) for c in row)} |" for row in rows)])


def _flat(found: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in found.items():
        whole = f"{before}{name}"
        pairs += _flat(value, f"{whole}.") if isinstance(value, Mapping) else [(whole, value)]
    return pairs


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(_cell(v) for v in value)
    return str(value).replace("|", "\\|")


def train_rows(found: Mapping[str, Any]) -> str:
    one = found["one-pass"]
    head = (
        "targets",
        "seconds per epoch",
        "targets/s",
        "times its bare products",
        "GFLOP/s of the products",
        "evaluation, s",
    )
    ratio = f"{one['ratio']:.2f} ({one['ratio_min']:.2f} to {one['ratio_max']:.2f})"
    values = (
        one["epoch_seconds"],
        one["targets_per_second"],
        ratio,
        one["gflops_of_products"],
        one["evaluation_seconds"],
    )
    return grid(head, [(found["targets"], *values)])


def games_rows(found: Mapping[str, Any]) -> str:
    head = (
        "mode",
        "targets/s",
        "product, GFLOP/s",
        "targets/s at 200 GFLOP/s",
        "seconds per epoch",
        "peak memory, GiB",
    )
    keys = (
        "targets_per_second",
        "gflops",
        "targets_per_second_at_200_gflops",
        "epoch_seconds",
        "peak_memory_gib",
    )
    modes = [mode for mode in ("one-pass", "prefix") if mode in found]
    return grid(head, [(mode, *(found[mode][key] for key in keys)) for mode in modes])


def plan_rows(found: Mapping[str, Any]) -> str:
    head = ("case", "MB predicted", "measured", "error", "s an epoch predicted", "measured", "error", "cores it had")
    cases = {name: case for name, case in found.items() if isinstance(case, Mapping)}
    return grid(
        head,
        [
            (
                name,
                *(round(c[key] / 1e6) for key in ("memory_predicted", "memory_measured")),
                f"{c['memory_error']:+.0%}",
                c["seconds_predicted"],
                c["seconds_measured"],
                f"{c['time_error']:+.0%}",
                c["cores"],
            )
            for name, c in cases.items()
        ],
    )


def scoring_rows(found: Mapping[str, Any]) -> str:
    ranking = grid(
        ("ranked by", "users/s", "share of it that the bare product would take"),
        [(name, r["users_per_second"], r["product_share"]) for name, r in found["ranking"].items()],
    )
    told = found["recommending"]
    keys = ("users", "users_per_second", "ratio_to_tiled_product", "ratio_to_whole_product", "base_mib", "peak_mib")
    written = grid(
        ("users", "users/s", "times the product in blocks", "times the product at once", "MiB before", "MiB at most"),
        [[row[key] for key in keys] for row in told["rows"]],
    )
    about = (
        f"The first ten among {told['items']:,} items x {told['width']}, written to Parquet; memory grows by "
        f"{told['growth_bytes_per_user']:.0f} bytes a user, of which the log is {told['log_bytes_per_user']}:"
    )
    return f"{ranking}\n\n{about}\n\n{written}"


def catalogue_rows(found: Mapping[str, Any]) -> str:
    exact = grid(
        ("items", "targets", "seconds", "times its bare products", "GiB above the table"),
        [
            (
                e["classes"],
                e["targets"],
                e["seconds"],
                "" if e["ratio"] is None else f"{e['ratio']:.2f} ({e['ratio_min']:.2f} to {e['ratio_max']:.2f})",
                e["gib_above_table"],
            )
            for e in found["exact"]
        ],
    )
    others = [f"{name}:\n\n{plain(found[name]) if found[name] else 'Pending.'}" for name in ("sampled", "content")]
    return "\n\n".join([f"exact, {found['threads']} threads:", exact, *others])


def described_rows(found: Mapping[str, Any]) -> str:
    fine = grid(
        ("events", "number", "NDCG@10 with the fine view minus without", "p"),
        [
            (name, d["events"], f"{d['difference']:+.4f} ({d['low']:+.4f} to {d['high']:+.4f})", f"{d['p']:.4f}")
            for name, d in found["fine"]["difference"].items()
        ],
    )
    recall = grid(
        ("retrieval", "with the alignment loss", "without"),
        [
            (name, ", ".join(f"{r:.3f}" for r in d["with"]), ", ".join(f"{r:.3f}" for r in d["without"]))
            for name, d in found["alignment"].items()
        ],
    )
    return f"{fine}\n\n{recall}"


SECTIONS: dict[str, Section] = {
    "peers": Section(
        title="SASRec beside RecTools, RePlay and RecBole",
        claim="Beauty at least 4 times the epoch speed of the fastest peer; 2 million events of ML-20M's shape at "
        "least 1.5 times and at most a quarter of the memory; equal or better validation NDCG@10 "
        "for the same number of epochs.",
        command="benchmarks.peers WORK --install, then benchmarks.peers WORK --beauty RAW",
        file="peers",
        rows=peer_tables,
    ),
    "train": Section(
        title="An epoch of SASRec beside its bare matrix products",
        claim="A log of Beauty's size; products and steps timed alternately.",
        command="benchmarks.train",
        file="train.json",
        rows=train_rows,
        short=True,
    ),
    "hm4sr": Section(
        title="HM4SR at the size of Amazon Video Games",
        claim="All four losses on: 5,300 targets/s where the product (1024 x 192)(192 x 10,672) reaches 200 GFLOP/s.",
        command="benchmarks.hm4sr --modes one-pass",
        file="hm4sr.json",
        rows=games_rows,
        short=True,
    ),
    "cammsr": Section(
        title="CAMMSR at the size of Amazon Video Games",
        claim="All losses on: 3,600 targets/s where the product (1024 x 192)(192 x 10,672) reaches 200 GFLOP/s.",
        command="benchmarks.cammsr --modes one-pass",
        file="cammsr.json",
        rows=games_rows,
        short=True,
    ),
    "catalogue": Section(
        title="A million items",
        claim="1M items x 128, 8,192 targets a step: the exact softmax with less than 3 GiB above the tables, within "
        "1.6 times of its three matrix products.",
        command="benchmarks.catalogue",
        file="catalogue.json",
        rows=catalogue_rows,
    ),
    "flat": Section(
        title="Cost per event from 1 to 20 million events",
        claim="Flat within 15 %; memory grows with the log (12 bytes an event) and the item table alone.",
        command="benchmarks.flat",
        file="flat.json",
        rows=plain,
    ),
    "plan": Section(
        title="What a plan predicts",
        claim="Memory within 20 %, time within 35 %.",
        command="benchmarks.plan FOLDER --beauty PROJECT --pictures PROJECT",
        file="plan.json",
        rows=plan_rows,
    ),
    "scoring": Section(
        title="Evaluation and scoring",
        claim="HM4SR at the size of Games: 6,600 users/s ranked among all items.",
        command="benchmarks.scoring",
        file="scoring.json",
        rows=scoring_rows,
    ),
    "guard": Section(
        title="This tree beside a git revision",
        claim="No step more than 5 % slower.",
        command="benchmarks.guard REVISION",
        file="guard.json",
        rows=plain,
    ),
    "described": Section(
        title="DMESR on a bazaar: what the fine view and the alignment add",
        claim="The fine view adds where titles carry detail that descriptions lose; the alignment loss raises the "
        "recall of one description of an item from another.",
        command="benchmarks.described PROJECT --full RUN --coarse RUN --unaligned RUN",
        file="described.json",
        rows=described_rows,
    ),
    "prepare": Section(
        title="Preparation beside a bare sort by DuckDB",
        claim="10 million events, whole processes.",
        command="benchmarks.prepare FOLDER",
        file="prepare.json",
        rows=plain,
    ),
    "encode": Section(
        title="Encoders",
        claim="Items/s and peak memory at growing sizes.",
        command="benchmarks.encode",
        file="encode.json",
        rows=lambda found: plain(found["rows"]),
    ),
}
