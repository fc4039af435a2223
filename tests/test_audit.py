"""The audit by known answers: tiny logs whose ties, gaps, losses, repeats and leaks can be counted by hand."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from medleyrec.dataset import Dataset, PrepareConfig, prepare
from medleyrec.dataset.audit import (
    Audit,
    Finding,
    activity_findings,
    content,
    content_findings,
    leak_findings,
    loss_findings,
    order_findings,
    session_findings,
)
from medleyrec.dataset.audit import blocks as blocks_module
from medleyrec.dataset.audit.blocks import blocks, spans
from medleyrec.dataset.audit.findings import percent, span
from medleyrec.dataset.audit.order import resolution
from medleyrec.dataset.audit.sessions import median_gap
from medleyrec.dataset.cuts import leave_one_out, time_cut
from medleyrec.schema import InputError
from tests.worlds import DAY, START, noise, tables

LOOSE = PrepareConfig(min_user_events=1, min_item_events=1)
MIDNIGHT = 1_600_041_600  # 2020-09-14 00:00 UTC


def build(folder, log, config=LOOSE, **more) -> Dataset:
    return prepare(tables(log, **more), folder, config)[0]


def named(findings):
    return {f.name: f for f in findings}


def in_memory(log) -> Dataset:
    """The same for measures that read the arrays alone."""
    log = sorted(log, key=lambda e: (e[0], e[2]))
    names = sorted({e[1] for e in log})
    users = [e[0] for e in log]
    items = np.array([names.index(e[1]) + 1 for e in log], np.int32)
    counts = [users.count(u) for u in sorted(set(users))]
    manifest = {"counts": {"items": len(names), "items_in_log": len(names)}}
    return Dataset(Path(), manifest, items, np.array([e[2] for e in log]), np.cumsum([0, *counts]))


def times_of(**users) -> Dataset:
    """One user per keyword with events at these times; items are all different."""
    return in_memory([(u, f"{u}{n}", t) for u, times in users.items() for n, t in enumerate(times)])


@pytest.fixture(params=[1, 3, 1 << 22])
def any_block(request, monkeypatch):
    """What is measured does not depend on where the log is cut into blocks."""
    monkeypatch.setattr(blocks_module, "EVENTS", request.param)


# order


def test_ties_and_days_by_hand(any_block):
    late = MIDNIGHT - 10
    data = times_of(
        a=[late, late, late + 20, late + 3 * DAY],  # a tie; then across midnight; then far away
        b=[MIDNIGHT, MIDNIGHT + DAY - 1, MIDNIGHT + DAY - 1],  # one day from end to end; the last two tie
        c=[MIDNIGHT],  # has no last two
    )
    found = named(order_findings(data))
    assert found["ties"].values == {"consecutive_pairs": 5, "tied": 2 / 5, "same_day": 3 / 5}
    assert found["last_two"].values == {"users": 2, "tied": 1 / 2, "same_day": 1 / 2}
    assert found["ties"].sentence.startswith(
        "40.0 % of consecutive events of a user have equal times and 60.0 % fall on the same calendar day (UTC)"
    )
    assert "decided by the order of the input" in found["last_two"].sentence
    assert {f.level for f in (found["ties"], found["last_two"])} == {"caution"}


def test_two_events_of_one_day_are_no_tie():
    found = named(order_findings(times_of(a=[MIDNIGHT, MIDNIGHT + 7], b=[START, START + 40])))
    assert found["last_two"].values == {"users": 2, "tied": 0, "same_day": 1}
    assert found["last_two"].level == found["ties"].level == "fact"
    assert "well defined" in found["last_two"].sentence


@pytest.mark.parametrize(
    ("times", "step", "said"),
    [
        ([0, DAY, 5 * DAY], DAY, "whole days: the order of events within a day is that of the input"),
        ([8 * 3600, 8 * 3600 + DAY, 8 * 3600 + 3 * DAY], DAY, "whole days"),  # midnight of another zone
        ([START, START + 7200, START + 10_800], 3600, "whole hours"),
        ([START, START + 120, START + 180], 60, "whole minutes"),
        ([START, START + 120, START + 181], 1, "whole seconds"),
        ([START, START, START], 0, "All events have the same time"),
    ],
)
def test_resolution(any_block, times, step, said):
    data = times_of(a=times[:2], b=times, c=times[:1])
    found = named(order_findings(data))["time_resolution"]
    assert resolution(data) == step
    assert said in found.sentence
    assert (found.level == "caution") == (step % DAY == 0)


# sessions


def test_gaps_by_hand(any_block):
    data = times_of(a=[0, 59, 59 + 60, 59 + 60 + 3599], b=[0, 3600, 3600 + 2 * DAY], c=[5])
    found = named(session_findings(data))
    # gaps 59, 60, 3599 and 3600, 172800; the middle one of five is 3599
    assert found["gaps"].values == {"median_seconds": 3599, "under_a_minute": 1 / 5, "under_an_hour": 3 / 5}
    assert found["one_day_users"].values == {"users": 2, "share": 1 / 2}
    assert "at most 60.0 minutes; 20.0 % are under a minute and 60.0 % under an hour" in found["gaps"].sentence
    assert found["rating_sessions"].values == {"found": 0}


@pytest.mark.parametrize("seed", range(3))
def test_the_median_gap_is_that_of_a_sort(any_block, seed):
    rng = np.random.default_rng(seed)
    users = {
        f"u{u}": sorted(rng.integers(0, 10 ** int(rng.integers(2, 10)), size=rng.integers(1, 9)).tolist())
        for u in range(9)
    }
    gaps = sorted(b - a for times in users.values() for a, b in pairwise(times))
    assert median_gap(times_of(**users)) == gaps[(len(gaps) - 1) // 2]


def test_a_log_of_single_events_has_no_gaps():
    data = times_of(a=[5], b=[8])
    assert median_gap(data) == 0
    assert named(session_findings(data))["one_day_users"].values == {"users": 0, "share": 0}
    assert named(order_findings(data))["ties"].values["consecutive_pairs"] == 0


def test_rating_sessions_are_recognised_and_the_rule_is_told():
    rated = {f"u{u}": [START + 999 * u + 10 * n for n in range(9)] for u in range(5)}
    found = named(session_findings(times_of(**rated)))["rating_sessions"]
    assert (found.level, found.values) == ("caution", {"found": 1})
    assert "the rule asks for 50% of gaps under a minute and 80% under an hour; here it is 100.0 %" in found.sentence
    songs = {f"u{u}": [START + 999 * u + 200 * n for n in range(9)] for u in range(5)}
    assert named(session_findings(times_of(**songs)))["rating_sessions"].level == "fact"


def test_whole_days_tell_no_sessions():
    found = named(session_findings(times_of(a=[0, 0, DAY, DAY])))
    assert "too coarse to tell sessions" in found["gaps"].sentence
    assert not found["gaps"].values
    assert "rating_sessions" not in found


# losses


def test_losses_of_each_filter_and_round(tmp_path):
    log = [(u, i, t) for u in "abc" for t, i in enumerate("xyz")]
    log += [("d", "x", 1), ("d", "y", 2), ("d", "rare", 3), ("e", "rare", 1), ("e", "x", 2), ("f", "bad", 1)]
    ratings = [5.0] * (len(log) - 1) + [1.0]
    # the filter takes f and bad; then e falls (2 events), then rare (1 event left), then d (2 events left)
    config = PrepareConfig(min_user_events=3, min_item_events=2, min_rating=2.0)
    found = named(loss_findings(build(tmp_path / "d", log, config, extra={"rating": ratings})))
    assert found["filters"].values == {"users_lost": 1, "items_lost": 1, "events_lost": 1}
    assert "6 users, 5 items and 15 events; filters (min_rating = 2.0) took 1 users" in found["filters"].sentence
    values = found["k_core"].values
    assert values["rounds"] == 3
    assert [values[f"round_{n}_events_lost"] for n in (1, 2, 3)] == [2, 1, 2]
    assert [values[f"round_{n}_users_lost"] for n in (1, 2, 3)] == [1, 0, 1]
    assert [values[f"round_{n}_items_lost"] for n in (1, 2, 3)] == [0, 1, 0]
    assert "at least 3 events per user and 2 per item: round 1 took 1 users, 0 items and 2 events" in (
        found["k_core"].sentence
    )
    assert found["kept"].values["events_share"] == 9 / 15
    assert found["kept"].level == "fact"


def test_many_rounds_are_summed_up(tmp_path):
    chain = [(f"u{n}", f"i{m}", 1) for n in range(9) for m in (n, n + 1)]
    chain += [("k", f"k{m}", m) for m in range(2)] + [("l", f"k{m}", m) for m in range(2)]
    found = named(loss_findings(build(tmp_path / "d", chain, PrepareConfig(min_user_events=2, min_item_events=2))))
    assert found["k_core"].values["rounds"] > 5
    assert " more took " in found["k_core"].sentence
    assert found["kept"].level == "caution"
    assert found["kept"].values["users"] == 2


def test_filters_that_looked_at_the_past_alone_say_so(tmp_path):
    log = [("a", "x", 0), ("a", "y", DAY), ("b", "x", 9 * DAY), ("a", "x", 9 * DAY)]
    config = PrepareConfig(min_user_events=2, min_item_events=1, filter_until="1970-01-08")
    assert "at least 2 events per user and 1 per item, judged by the events before 1970-01-08" in (
        named(loss_findings(build(tmp_path / "d", log, config)))["k_core"].sentence
    )


def test_nothing_lost_is_said(tmp_path):
    found = named(loss_findings(build(tmp_path / "d", [("a", "x", 1), ("a", "y", 2)])))
    assert found["filters"].sentence == "The log holds 1 users, 2 items and 2 events; no filter was set."
    assert found["k_core"].sentence.endswith("nothing was taken.")


# activity


def test_repeats_by_hand(any_block):
    log = [("a", i, t) for t, i in enumerate("xxzx")] + [("b", "x", 9), ("b", "y", 10)]
    found = named(activity_findings(in_memory(log)))["repeats"]
    assert found.values == {"repeat_rate": 2 / 6, "consecutive_repeats": 1 / 4}
    assert found.level == "caution"
    assert named(activity_findings(times_of(a=[1, 2])))["repeats"].level == "fact"


def test_popularity_by_hand(any_block):
    log = [(f"u{n}", "hit", n) for n in range(7)] + [(f"u{n}", i, 9) for n, i in enumerate("abc")]
    found = named(activity_findings(in_memory(log)))["concentration"]
    # counts 1, 1, 1, 7: the Gini coefficient is the mean difference (36 / 16) over twice the mean (5)
    assert found.values == {"top_items": 1, "top_share": 0.7, "gini": pytest.approx(36 / 16 / 5)}


def test_equal_items_have_a_gini_of_0():
    assert named(activity_findings(times_of(a=[1, 2, 3])))["concentration"].values["gini"] == (pytest.approx(0))


def test_span_and_events_per_user(any_block):
    users = {f"u{n}": [START + t for t in range(n)] for n in range(1, 11)} | {"z": [START + 20 * DAY]}
    found = named(activity_findings(times_of(**users)))
    assert found["span"].values == {"days": 20, "first_time": START, "last_time": START + 20 * DAY}
    assert "spans 20 days, from 2020-09-13 to 2020-10-03" in found["span"].sentence
    # 1, 1, 2, 3, ... 10 events
    assert found["events_per_user"].values == {
        "mean": pytest.approx(56 / 11), "p10": 1, "median": 5, "p90": 9, "p99": 9, "max": 10,
    }  # fmt: skip


def test_dates_beyond_the_calendar_are_numbers():
    found = named(activity_findings(times_of(a=[0, 10**13])))["span"]
    assert "to second 10,000,000,000,000" in found.sentence


# content


def test_missing_content_counts_items_and_their_events(tmp_path, any_block, monkeypatch):
    monkeypatch.setattr(content, "SLICE", 2)
    goods = [
        {"item_id": "a", "title": "A", "description": "  ", "categories": [["x"]]},
        {"item_id": "b", "title": "", "description": "text"},
        {"item_id": "c", "title": "C", "description": "text", "categories": [["x"]]},
        {"item_id": "d", "title": "D", "description": "text", "categories": [["x"]]},
    ]
    log = [(u, i, 1) for u, i in zip("uvwxyz", "aaabcd", strict=True)]
    found = named(content_findings(build(tmp_path / "d", log, items=goods)))
    assert found["without_title"].values == {"items": 1, "share": 1 / 4, "event_share": 1 / 6}
    assert found["without_description"].values == {"items": 1, "share": 1 / 4, "event_share": 3 / 6}
    assert found["without_category"].values == {"items": 1, "share": 1 / 4, "event_share": 1 / 6}
    assert (found["without_title"].level, found["without_description"].level) == ("fact", "caution")
    assert found["without_picture"].values == {"items": 4, "share": 1}
    assert (found["without_picture"].sentence, found["without_picture"].level) == ("No item has a picture.", "fact")


# the split


def test_the_leak_of_leave_one_out_by_hand(tmp_path, any_block):
    log = [(u, i, t) for u in ("a", "aa") for i, t in zip("wxyz", [1, 2, 3, 4], strict=True)]  # train at 1, 2
    log += [("b", i, t) for i, t in zip("wxyv", [3, 9, 9, 9], strict=True)]  # trains at 3, 9
    log += [("c", i, t) for i, t in zip("wxz", [2, 5, 10], strict=True)]  # trains at 2
    found = named(leak_findings(leave_one_out(build(tmp_path / "d", log))))
    # Tested at 4, 4, 9 and 10: the first two are older than b's training event at 9, the third is not. The middle test
    # event is at 4, and one training event of 7 is later.
    assert found["training_after_test"].values == {
        "test_events_with_later_training": 1 / 2,
        "training_after_median_test": pytest.approx(1 / 7),
    }
    assert found["training_after_test"].level == "caution"
    assert found["unseen_targets"].values == {"events": 4, "share": 1, "items": 2}
    assert "4 of 4 test events (100.0 %) take an item that training never saw: 2 different items." in (
        found["unseen_targets"].sentence
    )
    assert found["without_history"].values == {"users": 0, "share": 0, "events": 0}


def test_a_time_cut_has_no_leak_and_tells_what_it_costs(tmp_path, any_block):
    log = [(f"u{u}", f"i{t % 4}", 100 * t + u) for u in range(4) for t in range(8)]
    log += [("new", "new item", 795), ("new", "i0", 796)]
    found = named(leak_findings(time_cut(build(tmp_path / "d", log), validation_from="500", test_from="700")))
    assert found["training_after_test"].values == {
        "test_events_with_later_training": 0,
        "training_after_median_test": 0,
    }
    assert found["training_after_test"].level == "fact"
    assert "nothing is learnt from the future" in found["training_after_test"].sentence
    assert found["unseen_targets"].values == {"events": 1, "share": 1 / 6, "items": 1}
    assert found["without_history"].values == {"users": 1, "share": 1 / 5, "events": 1}


def test_a_split_without_test_events_is_told(tmp_path):
    found = named(leak_findings(leave_one_out(build(tmp_path / "d", [("a", "x", 1), ("b", "x", 2)]))))
    assert "has no test event" in found["training_after_test"].sentence
    assert found["unseen_targets"].values["share"] == 0


# blocks, words and files


def test_blocks_are_whole_users_and_hold_everything_once():
    data = in_memory(noise(users=20, length=7))
    for size in (1, 7, 8, 20, 10_000):
        seen = list(blocks(data, size))
        assert np.concatenate([b.items for b in seen]).tolist() == data.items.tolist()
        assert [b.first for b in seen] == np.cumsum([0, *(len(b.offsets) - 1 for b in seen[:-1])]).tolist()
        assert all(len(b) <= max(size, 7) for b in seen)
        assert all((b.gaps == DAY).all() and len(b.gaps) == len(b) * 6 // 7 for b in seen)


def test_spans():
    index, owner = spans(np.array([5, 0, 9]), np.array([7, 0, 12]))
    assert index.tolist() == [5, 6, 9, 10, 11]
    assert owner.tolist() == [0, 0, 2, 2, 2]


def test_words():
    assert [percent(x) for x in (0, 1e-6, 0.439, 0.99999, 1)] == [
        "0.0 %", "under 0.1 %", "43.9 %", "over 99.9 %", "100.0 %",
    ]  # fmt: skip
    assert [span(x) for x in (0, 59, 60, 5400, 2.5 * DAY)] == ["0 s", "59 s", "1.0 minutes", "1.5 hours", "2.5 days"]


def audit(**more):
    findings = (
        Finding(name="a", sentence="A.", values={"n": 1, "share": 0.5}),
        Finding(name="b", sentence="B.", level="caution", examples=(("x", "y"),)),
    )
    return Audit(split="leave-one-out", findings=findings, key="k", **more)


def test_an_audit_survives_json():
    made = audit()
    again = Audit.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    assert isinstance(again["a"].values["n"], int)
    assert [f.name for f in made] == ["b", "a"], "cautions first"
    assert "b" in made
    assert "c" not in made
    assert repr(made) == "Audit(2 findings, 1 cautions; leave-one-out)"
    with pytest.raises(KeyError, match="no finding 'c'; there are: a, b"):
        made["c"]


@pytest.mark.parametrize("change", [{"format_version": 99}, {"findings": 3}, {"surprise": 1}, {"findings": [{}]}])
def test_another_json_is_no_audit(change):
    with pytest.raises(InputError, match=r"x\.json (has format 99|is no audit of this version)"):
        Audit.from_json(audit().to_json() | change, where="x.json")


def test_a_number_that_is_not_json_is_refused():
    with pytest.raises(ValueError, match=r"a\.n is nan"):
        Finding(name="a", sentence="A.", values={"n": float("nan")})


def test_the_lead_counts_cautions():
    assert audit().lead.startswith("One caution changes how")
    assert "quick audit: no model was asked" in audit(complete=False).lead
    assert Audit(split="s", findings=()).lead.startswith("No finding changes")
