"""Near-duplicate items: how many there are, and how often the target of a test event has one in the user's history.

Letters:  E events   V items, row 0 being padding   n items or pictures looked at
A group is (V,) numbers, equal for items that are near-duplicates of each other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medleyrec.dataset.audit.blocks import distinct, spans
from medleyrec.dataset.audit.findings import Finding, level, percent, ratio
from medleyrec.dataset.audit.neighbours import equal_groups, grouped, pairs_of
from medleyrec.dataset.audit.pictures import FAR, SHADE, Looks, near_pictures
from medleyrec.dataset.audit.texts import NEAR, Progress, Shingles, near_texts, normal
from medleyrec.dataset.dataset import Dataset
from medleyrec.dataset.split import Split
from medleyrec.schema import BRAND, DESCRIPTION, TEST, TITLE, EvalEvents, Int64s, Mask

MOST_TEXTS = 1_000_000  # items whose texts are compared; above it a sample of so many
MOST_EVENTS = 200_000  # test events whose histories are searched; above it a sample of so many
MANY = 0.05
"""Share of items with a near-duplicate from which ranks suffer: a recommended copy of the target counts as a miss."""
GIVEN_AWAY = 0.05  # share of test targets that a near-duplicate in the history announces: content alone finds these
EXAMPLES = 3
BLOCK = 1 << 22  # events of histories looked at together

Groups = dict[str, Int64s]


def text_findings(dataset: Dataset, progress: Progress | None = None) -> tuple[tuple[Finding, ...], Groups]:
    """Equal titles, equal titles and brands, near-equal texts; and the groups of the first and the last."""
    rows = _sample(dataset.num_items - 1, MOST_TEXTS)
    columns = {name: dataset.catalogue.column(name).take(rows - 1).to_pylist() for name in (TITLE, BRAND, DESCRIPTION)}
    titles = [normal(title) for title in columns[TITLE]]
    branded = [(t, normal(b)) if t and b else None for t, b in zip(titles, columns[BRAND], strict=True)]
    texts = [f"{t or ''} {d or ''}" for t, d in zip(titles, columns[DESCRIPTION], strict=True)]
    equal, both, near = equal_groups(titles), equal_groups(branded), near_texts(Shingles.of(texts, progress))
    told = f" of {len(rows):,} items drawn at random" if len(rows) < dataset.num_items - 1 else ""
    findings = (
        _equal_titles(dataset, rows, equal, both, told),
        _near(dataset, rows, near, told),
    )
    return findings, {"title": _on_table(rows, equal, dataset), "text": _on_table(rows, near, dataset)}


def picture_findings(dataset: Dataset, looks: Looks) -> tuple[tuple[Finding, ...], Groups]:
    """Equal bytes and near-equal pictures; and the groups of both together."""
    equal, near = equal_groups(looks.contents), near_pictures(looks)
    near = np.minimum(near, near[equal])  # equal bytes look the same, readable or not
    copies, alike = grouped(equal), grouped(near)
    unread = int((~looks.readable).sum())
    sampled = f" drawn at random of {looks.of:,} items" if looks.of else ""
    values = {
        "pictures": len(looks), "unreadable": unread, "equal_bytes": int(copies.sum()), "near": int(alike.sum()),
        "share": ratio(alike.sum(), len(looks)), "groups": distinct(near[alike]),
    }  # fmt: skip
    examples = _named(dataset, looks.rows, near)
    finding = Finding(
        name="near_duplicate_pictures",
        sentence=f"Of {len(looks):,} pictures{sampled}, {int(alike.sum()):,} ({percent(values['share'])}) look like "
        f"another item's{_shown(examples)}; {int(copies.sum()):,} are equal to the byte, {unread:,} cannot be read "
        f"(alike: at most {FAR} of 64 bits of the difference hashes and {SHADE:g} of 255 in mean colour apart).",
        values=values,
        examples=examples,
        level=level(values["share"] >= MANY),
    )
    return (finding,), {"picture": _on_table(looks.rows, near, dataset)}


def given_away(split: Split, groups: Mapping[str, Int64s]) -> Finding:
    """Test events whose history holds another item of the target's group, by any of `groups`."""
    events, sample = split.eval_events(TEST), ""
    if len(events) > MOST_EVENTS:
        chosen = np.random.default_rng(0).choice(len(events), MOST_EVENTS, replace=False)
        events, sample = events.take(np.sort(chosen)), " drawn at random"
    found = {kind: duplicate_in_history(split.dataset, events, group) for kind, group in groups.items()}
    any_kind = np.logical_or.reduce([np.zeros(len(events), np.bool_), *found.values()])
    share = ratio(any_kind.sum(), len(events))
    by_kind = ", ".join(f"{int(mask.sum()):,} by {kind}" for kind, mask in found.items())
    return Finding(
        name="near_duplicate_in_history",
        sentence=f"For {int(any_kind.sum()):,} of {len(events):,} test events{sample} ({percent(share)}) the user's "
        f"history holds a near-duplicate of the target under another item id ({by_kind}).",
        values={
            "asked": len(events),
            "events": int(any_kind.sum()),
            "share": share,
            **{k: int(m.sum()) for k, m in found.items()},
        },
        level=level(share >= GIVEN_AWAY),
    )


def duplicate_in_history(dataset: Dataset, events: EvalEvents, groups: Int64s) -> Mask:
    """(E,) whether the history has an item other than the target in the target's group."""
    found = np.zeros(len(events), np.bool_)
    several = grouped(groups)
    asked = np.flatnonzero(several[events.targets])
    done = (events.history_ends - events.history_starts)[asked].cumsum()
    parts = np.split(asked, np.flatnonzero(np.diff(done // BLOCK)) + 1) if len(asked) else []
    for rows in parts:
        index, owner = spans(events.history_starts[rows], events.history_ends[rows])
        had, target = np.asarray(dataset.items[index]), events.targets[rows][owner]
        found[rows[owner[(groups[had] == groups[target]) & (had != target)]]] = True
    return found


def _sample(count: int, most: int) -> Int64s:
    """Item rows: all, or `most` of them from a fixed seed."""
    rows = np.arange(1, count + 1)
    return rows if count <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _on_table(rows: Int64s, groups: Int64s, dataset: Dataset) -> Int64s:
    """(V,) groups of positions as groups of item rows; an item that was not looked at is alone."""
    table = np.arange(dataset.num_items)
    table[rows] = rows[groups]
    return table


def _equal_titles(dataset: Dataset, rows: Int64s, equal: Int64s, both: Int64s, told: str) -> Finding:
    titled, branded = grouped(equal), grouped(both)
    share = ratio(titled.sum(), len(rows))
    examples = _named(dataset, rows, equal)
    return Finding(
        name="equal_titles",
        sentence=f"{int(titled.sum()):,} items ({percent(share)}{told}) have the title of another item, case and "
        f"punctuation aside{_shown(examples)}; {int(branded.sum()):,} of these have its brand too.",
        values={"items": int(titled.sum()), "share": share, "with_brand": int(branded.sum())},
        examples=examples,
        level=level(share >= MANY),
    )


def _near(dataset: Dataset, rows: Int64s, near: Int64s, told: str) -> Finding:
    alike = grouped(near)
    share, groups = ratio(alike.sum(), len(rows)), distinct(near[alike])
    largest = int(np.bincount(near[alike]).max()) if groups else 0
    examples = _named(dataset, rows, near)
    parts = f": {groups:,} groups, the largest of {largest:,}" if groups else ""
    return Finding(
        name="near_duplicate_texts",
        sentence=f"{int(alike.sum()):,} items ({percent(share)}{told}) have a text that shares at least {NEAR:.0%} of "
        f"its words and word pairs with another item's{parts}{_shown(examples)}.",
        values={"items": int(alike.sum()), "share": share, "groups": groups, "largest": largest},
        examples=examples,
        level=level(share >= MANY),
    )


def _named(dataset: Dataset, rows: Int64s, groups: Int64s) -> tuple[tuple[str, str], ...]:
    ids = dataset.item_ids
    return tuple((ids[int(rows[a])], ids[int(rows[b])]) for a, b in pairs_of(groups, EXAMPLES))


def _shown(examples: tuple[tuple[str, str], ...]) -> str:
    return f", for example {'; '.join(' and '.join(pair) for pair in examples)}" if examples else ""
