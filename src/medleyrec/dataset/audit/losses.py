"""What the filters took away: users, items and events, filter by filter and round by round."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from medleyrec.dataset.audit.findings import Finding, date, level, percent, ratio
from medleyrec.dataset.dataset import Dataset

MOST_LOST = 0.5  # beyond it a result speaks of the smaller part of what happened
TOLD_ROUNDS = 4
KINDS = ("users", "items", "events")


def loss_findings(dataset: Dataset) -> tuple[Finding, ...]:
    manifest = dataset.manifest
    raw, left = manifest["raw_counts"], manifest["counts"]
    rounds = [{k: int(r[k]) for k in KINDS} for r in manifest["rounds"]] or [{k: int(left[k]) for k in KINDS}]
    return (_filtered(raw, rounds[0], manifest["options"]), _core(rounds, manifest), _kept(raw, rounds[-1]))


def _filtered(raw: dict[str, int], left: dict[str, int], options: dict[str, Any]) -> Finding:
    lost = {kind: int(raw[kind]) - left[kind] for kind in KINDS}
    chosen = [f"{name} = {value}" for name, value in _filters(options).items()]
    if not chosen and not any(lost.values()):
        told = f"The log holds {_counts(raw)}; no filter was set."
    else:
        told = f"The log holds {_counts(raw)}; filters ({', '.join(chosen) or 'none set'}) took {_counts(lost)}."
    return Finding(name="filters", sentence=told, values={f"{kind}_lost": n for kind, n in lost.items()})


def _filters(options: dict[str, Any]) -> dict[str, str]:
    """The options that drop events by themselves, where they are set."""
    chosen = {}
    if options.get("min_rating") is not None:
        chosen["min_rating"] = str(options["min_rating"])
    if options.get("events"):
        chosen["events"] = " or ".join(map(str, options["events"]))
    if options.get("duplicates", "all") != "all":
        chosen["duplicates"] = f"the {options['duplicates']} of each user and item"
    return chosen


def _core(rounds: list[dict[str, int]], manifest: dict[str, Any]) -> Finding:
    options, until = manifest["options"], manifest.get("filter_until")
    lost = [{kind: before[kind] - after[kind] for kind in KINDS} for before, after in pairwise(rounds)]
    asked = f"at least {options['min_user_events']} events per user and {options['min_item_events']} per item"
    if until is not None:
        asked += f", judged by the events before {date(until)}"
    told = "; ".join(f"round {n} took {_counts(x)}" for n, x in enumerate(lost[:TOLD_ROUNDS], start=1))
    rest = len(lost) - TOLD_ROUNDS
    if rest > 0:
        gone = {kind: sum(x[kind] for x in lost[TOLD_ROUNDS:]) for kind in KINDS}
        told += f"; {rest} more took {_counts(gone)}"
    values = {f"round_{n}_{kind}_lost": x[kind] for n, x in enumerate(lost, start=1) for kind in KINDS}
    return Finding(
        name="k_core",
        sentence=f"The k-core, {asked}: {told or 'nothing was taken'}.",
        values={"rounds": len(lost), **values},
    )


def _kept(raw: dict[str, int], left: dict[str, int]) -> Finding:
    kept = {kind: ratio(left[kind], int(raw[kind])) for kind in KINDS}
    told = ", ".join(f"{percent(share)} of {kind}" for kind, share in kept.items())
    few = kept["events"] < 1 - MOST_LOST
    return Finding(
        name="kept",
        sentence=f"After all filters there are {_counts(left)}: {told}"
        + ("; results speak of the lesser part of the log." if few else "."),
        values={**left, **{f"{kind}_share": share for kind, share in kept.items()}},
        level=level(few),
    )


def _counts(counts: dict[str, int]) -> str:
    return f"{int(counts['users']):,} users, {int(counts['items']):,} items and {int(counts['events']):,} events"
