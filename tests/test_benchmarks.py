"""Benchmarks: who is judged on what, what a row holds, what the page says. Nothing is timed, no peer is installed."""

import argparse
import importlib.util
import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmarks import cammsr, catalogue, encode, hm4sr, peers, write
from benchmarks.peer import lightning, medley, task
from benchmarks.peer.task import Clock, Log, Task, left_padded, ranks
from benchmarks.peer_logs import LAST, SHAPES, Shape, cut, generated
from benchmarks.peer_table import HEAD, peer_table, peer_tables, seconds
from benchmarks.plan import MEMORY_BAR, TIME_BAR
from benchmarks.sections import SECTIONS, plain

from medleyrec import storage

V = 8  # items including padding


def log(*histories, targets=None, num_items=V):
    """Training events of each user; targets[u] comes after them."""
    items = np.concatenate([np.asarray(h, np.int32) for h in histories])
    offsets = np.concatenate([[0], np.cumsum([len(h) for h in histories])])
    targets = np.ones(len(histories), np.int32) if targets is None else np.asarray(targets, np.int32)
    return Log(items, offsets, targets, np.arange(len(histories)), num_items)


def given(tmp_path, **more):
    answer = str(tmp_path / "answer.json")
    settings = {
        "epochs": 1,
        "limit": 0.0,
        "least_steps": 1,
        "threads": torch.get_num_threads(),
        "seed": 0,
        "targets_per_step": 64,
    }
    return Task(log="", answer=answer, scratch=str(tmp_path), begun=0.0, inner=256, **(settings | more))


# the judge


def test_ndcg_and_hit_rate_of_known_ranks():
    found = peers.judged(np.array([[0, 1, 9, 10], [0, 0, 0, 0]]))
    assert found == pytest.approx(
        {"ndcg@10": (1 + 1 / math.log2(3) + 1 / math.log2(11)) / 4, "hit_rate@10": 3 / 4, "judged": 4}
    )


def test_a_tie_counts_half_of_its_span():
    assert peers.judged(np.array([[0], [1]]))["ndcg@10"] == pytest.approx(1 / math.log2(2.5))
    assert peers.judged(np.array([[0], [100]]))["hit_rate@10"] == 0  # a constant model finds nothing


def test_ranks_agree_with_a_sort_whatever_the_order_of_the_columns():
    rng = np.random.default_rng(0)
    data = log(*[rng.integers(1, V, 4) for _ in range(600)], targets=rng.integers(1, V, 600))
    columns = np.concatenate([[-1], rng.permutation(V - 1)])
    block = torch.from_numpy(rng.integers(0, 4, (600, V - 1))).float()  # many ties
    asked = []

    def scores(histories):
        asked.extend(histories)
        return block[len(asked) - len(histories) : len(asked)]

    better, tied = ranks(data, 3, scores, columns)
    for user, row in enumerate(block.tolist()):
        own = row[columns[data.targets[user]]]
        order = sorted(row, reverse=True)
        assert better[user] == order.index(own)
        assert tied[user] == order.count(own) - 1
    assert all(h.tolist() == data.items[o - 3 : o].tolist() for h, o in zip(asked, data.offsets[1:], strict=True))


def test_scores_that_are_no_numbers_and_targets_without_a_column_are_errors():
    data = log([1, 2], targets=[3])
    with pytest.raises(AssertionError, match="not finite"):
        ranks(data, 3, lambda h: torch.full((1, V - 1), float("nan")), np.arange(V) - 1)
    with pytest.raises(AssertionError, match="no column"):
        ranks(data, 3, lambda h: torch.zeros(1, V - 1), np.full(V, -1))


# the logs


def test_a_log_is_cut_to_the_last_events_before_the_target():
    items = np.arange(1, 101)
    found = cut(items, np.array([0, 60]), np.array([58, 98]), np.array([59, 99]), 101)
    assert LAST == 51
    assert found.items.tolist() == [*range(8, 59), *range(61, 99)]  # the last 51 of 58, all of 38
    assert found.offsets.tolist() == [0, 51, 89]
    assert found.targets.tolist() == [59, 99]
    assert found.taught == 50 + 37
    assert [h[0] for h in log(*np.split(found.items, [51]), num_items=101).histories(50)] == [9, 61]


def test_only_users_whose_target_is_trained_on_are_judged():
    items = np.array([1, 2, 3, 1, 2, 5, 4, 4])
    found = cut(items, np.array([0, 3, 6]), np.array([2, 5, 6]), np.array([3, 1, 2]), V)
    assert found.judged.tolist() == [1]  # 3 is nowhere else, and the last user has no history


def test_users_and_steps_are_counted_by_their_targets():
    data = log([1, 2, 3, 4], [1], [5, 6])
    assert (data.taught, data.rows, data.users.tolist()) == (4, 2, [0, 0, 0, 0, 1, 2, 2])
    assert data.rows_per_step(8) == 4  # two targets a row
    assert left_padded([np.array([1, 2]), np.array([3])], 3, padding=7).tolist() == [[7, 1, 2], [7, 7, 3]]


def test_a_log_is_read_as_it_was_written(tmp_path):
    data = log([1, 2, 3], [4, 5], targets=[4, 2])
    data.write(tmp_path / "log.npz")
    back = Log.read(tmp_path / "log.npz")
    assert all(np.array_equal(getattr(back, n), getattr(data, n)) for n in ("items", "offsets", "targets", "judged"))
    assert back.num_items == V


def test_a_generated_log_has_its_shape_and_something_to_learn():
    found = generated(SHAPES["tiny"])
    lengths = np.diff(found.offsets)
    assert (len(found), found.num_items, lengths.min(), lengths.max()) == (600, 301, 3, LAST)
    assert np.array_equal(generated(SHAPES["tiny"]).items, found.items)
    last = found.items[found.offsets[1:] - 1]
    pairs = np.stack([found.items[:-1], found.items[1:]], 1)[np.diff(found.users) == 0]
    often = {a: np.bincount(pairs[pairs[:, 0] == a, 1]).argmax() for a in np.unique(last)}
    told = np.mean([often.get(a) == t for a, t in zip(last, found.targets, strict=True) if a in often])
    popular = np.mean(found.targets == np.bincount(found.items).argmax())
    assert told > 0.2 > 3 * popular


def test_users_are_added_until_a_log_is_full():
    found = generated(Shape(users=600, items=300, events=60_000, least=20, kept=5_000))
    assert 5_000 <= len(found.items) <= 5_000 + LAST
    assert np.diff(found.offsets).min() >= 19


# the clock


def test_a_whole_epoch_is_judged_and_one_left_at_its_limit_is_not(tmp_path):
    data, verdict = log([1, 2, 3], [4, 5, 6]), np.zeros((2, 2), np.int32)
    whole, left = (Clock(given(tmp_path, limit=limit), data, lambda: verdict) for limit in (0.0, 1e-9))
    for clock in (whole, left):
        clock.start()
        assert [*clock.limited([2, 1, 1], int)] == ([2, 1, 1] if clock is whole else [2])
        clock.stop()
    assert [(e.targets, e.steps, e.whole) for e in (*whole.epochs, *left.epochs)] == [(4, 3, True), (2, 1, False)]
    assert (len(whole.ranks), len(left.ranks)) == (1, 0)


def test_the_limit_is_that_of_all_epochs_together(tmp_path):
    clock = Clock(given(tmp_path, limit=100.0), log([1, 2, 3]), lambda: np.zeros((2, 1), np.int32))
    clock.start()
    assert not clock.over
    clock.epochs = [task.Epoch(101.0, 0.0, 2, 1, True)]
    assert clock.over


def test_a_limit_waits_for_the_least_number_of_steps(tmp_path):
    clock = Clock(given(tmp_path, limit=1e-9, least_steps=2), log([1, 2, 3, 4]), lambda: None)
    clock.start()
    assert [*clock.limited([1, 1, 1], int)] == [1, 1]


def test_lightning_stops_at_the_limit(tmp_path):
    clock = Clock(given(tmp_path, limit=1e-9), log([1, 2, 3]), lambda: None)
    callback, trainer = lightning.clocked(object, clock, len), SimpleNamespace(should_stop=False)
    callback.on_train_epoch_start(trainer, None)
    callback.on_train_batch_end(trainer, None, None, [1], 0)
    assert trainer.should_stop
    callback.on_train_epoch_end(trainer, None)
    assert clock.epochs[0].targets == 1


def test_memory_is_that_of_this_process():
    assert 0 < task.resident() <= task.peak()


def test_medley_runs_the_task_to_the_end(tmp_path, monkeypatch):
    data = generated(SHAPES["tiny"])
    data.write(tmp_path / "log.npz")
    settings = given(tmp_path, epochs=2).__dict__ | {"log": str(tmp_path / "log.npz")}
    (tmp_path / "task.json").write_text(json.dumps(settings))
    monkeypatch.setattr(sys, "argv", ["medley", str(tmp_path / "task.json")])
    medley.main()
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert [(e["targets"], e["whole"]) for e in answer["epochs"]] == [(data.taught, True)] * 2
    assert answer["targets_per_step"] == pytest.approx(64, rel=0.1)
    found = np.load(tmp_path / "answer.npz")["ranks"]
    assert found.shape == (2, 2, len(data.judged))
    popularity = np.bincount(data.items, minlength=data.num_items).astype(np.float32)[1:]
    most_popular = ranks(data, 50, lambda h: torch.from_numpy(popularity).expand(len(h), -1), np.arange(301) - 1)
    first, second = (peers.judged(epoch)["ndcg@10"] for epoch in found)
    assert second > max(first, 1.2 * peers.judged(most_popular)["ndcg@10"])


# rows, one by one


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Options of a small table, and what was run: (contestant, round)."""
    done = []

    def run(contestant, log, settings, seed, work):
        if (contestant, seed) in asked.broken:
            return {"failed": "ended with status 1"}
        if (contestant, seed) == asked.killed:
            raise KeyboardInterrupt
        done.append((contestant, seed))
        return answer(10.0)

    monkeypatch.setattr(peers, "run", run)
    monkeypatch.setattr(peers, "log_of", lambda *_: tmp_path / "log.npz")
    asked = SimpleNamespace(done=done, broken=(), killed=None, out=tmp_path / "rows")
    asked.options = argparse.Namespace(work=tmp_path, beauty=None, threads=1, out=asked.out)
    asked.table = peers.Table(log="tiny", epochs=1, rounds=2, contestants=("medley", "rectools"))
    asked.go = lambda table=asked.table: peers.run_table("tiny", table, asked.options)
    return asked


def answer(seconds, *, cpu=None, peak=400.0, ndcg=(0.01, 0.02), targets=100):
    epochs = [
        {"seconds": seconds, "cpu_seconds": cpu or seconds, "targets": targets, "steps": 2, "whole": targets == 100}
    ]
    return {
        "epochs": epochs,
        "targets_per_epoch": 100,
        "targets_per_step": 50.0,
        "setup_seconds": 1.0,
        "base_mib": 300.0,
        "peak_mib": peak,
        "parameters": 1234,
        "threads": 1,
        "versions": {"torch": "2.13.0"},
        "notes": ["a sentence"],
        "metrics": [{"ndcg@10": n, "hit_rate@10": n, "judged": 5} for n in ndcg],
    }


def row(contestant, number, **more):
    settings = {"threads": 1, "epochs": 5, "limit": 30.0, "targets_per_step": 1000, "dropout": 0.5}
    about = {"machine": "a machine", "load": 0.5, "settings": settings}
    return {"table": "beauty", "contestant": contestant, "round": number, **about, **more}


def test_contestants_take_turns(asked):
    asked.go()
    assert asked.done == [("medley", 0), ("rectools", 0), ("medley", 1), ("rectools", 1)]


def test_an_interrupted_table_goes_on_where_it_stopped(asked):
    asked.killed = ("medley", 1)
    with pytest.raises(KeyboardInterrupt):
        asked.go()
    assert sorted(p.name for p in asked.out.iterdir()) == ["tiny-medley-0.json", "tiny-rectools-0.json"]
    asked.killed = None
    asked.go()
    assert asked.done == [("medley", 0), ("rectools", 0), ("medley", 1), ("rectools", 1)]
    asked.go()
    assert len(asked.done) == 4


def test_a_row_that_failed_says_so_and_is_made_again(asked):
    asked.broken = (("rectools", 0),)
    asked.go()
    path = asked.out / "tiny-rectools-0.json"
    assert json.loads(path.read_text())["failed"] == "ended with status 1"
    asked.broken = ()
    asked.go()
    assert asked.done[-1] == ("rectools", 0)
    assert "failed" not in json.loads(path.read_text())


def test_rows_of_other_settings_are_not_mixed_in(asked):
    asked.go()
    with pytest.raises(SystemExit, match="was made with .*delete it or choose another --out"):
        asked.go(peers.Table(log="tiny", epochs=3, rounds=2, contestants=("medley",)))


def test_every_contestant_has_a_runner_and_every_peer_its_pins():
    folder = write.ROOT / "benchmarks" / "peer"
    assert {c.runner for c in peers.CONTESTANTS.values()} == {peers.FIRST, *peers.PEERS}
    for name in peers.PEERS:
        assert (folder / f"{name}.py").exists()
        lines = (folder / f"{name}.txt").read_text().split()
        assert "torch==2.13.0" in lines
        assert any(line.startswith(name) and "==" in line for line in lines)


# the page


def two_rounds():
    return [
        row("medley", 0, **answer(10.0)),
        row("medley", 1, **answer(20.0)),
        row("rectools", 0, **answer(50.0, peak=1600.0)),
        row("rectools", 1, **answer(80.0, peak=1600.0)),
        row("replay", 0, **answer(5.0, targets=10)),  # a tenth of an epoch
        row("recbole", 0, failed="ended with status 9"),
    ]


def test_ratios_are_taken_within_a_round():
    table = peers.Table(log="beauty", epochs=2, rounds=2, speed=4.0, memory=4.0, contestants=tuple(peers.CONTESTANTS))
    shown = peer_table("beauty", table, two_rounds()).split("| NDCG@10 after")[0]
    lines = {line.split("|")[1].strip(): line for line in shown.splitlines() if "|" in line}
    cells = {name: [c.strip() for c in line.split("|")[2:-1]] for name, line in lines.items()}
    assert cells["medley"][1:4] == ["2 of 2", "15.0 (10.0 to 20.0)", "1.00 (1.00 to 1.00)"]
    assert cells["rectools"][1:4] == ["2 of 2", "65.0 (50.0 to 80.0)", "4.50 (4.00 to 5.00)"]
    assert cells["rectools"][6:8] == ["1,600 (1,600 to 1,600)", "4.00 (4.00 to 4.00)"]
    assert cells["replay"][1:4] == ["1 of 2, the rest pending", "50.0", "5.00"]
    assert cells["recbole"][1:3] == ["ended with status 9", "pending"]
    assert cells["rectools-preln"][1:3] == ["0 of 2, the rest pending", "pending"]


def test_a_library_with_more_targets_in_its_epoch_is_not_slower_for_that():
    table = peers.Table(log="beauty", epochs=2, rounds=1, speed=4.0)
    twice = answer(20.0)
    twice |= {"targets_per_epoch": 2 * twice["targets_per_epoch"]}
    twice["epochs"] = [{**e, "targets": 2 * e["targets"]} for e in twice["epochs"]]
    told = peer_table("beauty", table, [row("medley", 0, **answer(10.0)), row("rectools", 0, **twice)])
    assert "| 20.0 | 1.00 |" in told
    assert "Fastest peer: rectools, 1.00 times" in told


def test_an_epoch_that_was_left_counts_only_where_there_is_no_whole_one():
    found = answer(10.0)
    found["epochs"] += [{**found["epochs"][0], "seconds": 30.0}, {**found["epochs"][0], "targets": 1, "whole": False}]
    assert seconds(found) == 20.0
    assert seconds({**found, "epochs": found["epochs"][2:]}) == 1000.0


def test_the_fastest_peer_is_set_beside_what_was_asked_for():
    table = peers.Table(log="beauty", epochs=2, rounds=2, speed=4.0, memory=4.0)
    told = peer_table("beauty", table, two_rounds())
    assert "Fastest peer: replay, 5.00 times Medley's seconds per target (asked for: at least 4)" in told
    assert "1.00 times its memory (asked for: at least 4)." in told
    assert "| rectools | 0.0100 | 0.0200 |" in told
    made = "up to 5 epochs a row, left after 30 s and then scaled by its targets; about 1,000 targets a step"
    assert (
        f"Log `beauty`, {made}, dropout 0.5. a machine; threads: 1; load average when a row began: 0.5 to 0.5." in told
    )
    assert "- rectools (torch 2.13.0): 100 targets an epoch; 50 a step; a sentence." in told


def test_a_page_without_any_figures_says_what_is_pending(tmp_path):
    page = write.page(tmp_path)
    assert page.count("\nPending.\n") == len(SECTIONS) - 1
    for section in SECTIONS.values():
        assert f"## {section.title}\n\n{section.claim}\n\n    python -m {section.command}" in page
    tables = peer_tables([])
    assert tables in page
    assert tables.count(f"| {' | '.join(HEAD)} |") == len(peers.TABLES) - len(peers.CHECKS)
    assert "| medley |  | 0 of 5, the rest pending | pending |" in tables


def test_a_page_shows_what_was_kept_and_on_what(tmp_path):
    (tmp_path / "guard.json").write_text(
        json.dumps({"machine": "that machine", "steps": {"sasrec": {"ratio": 1.0123}}})
    )
    (tmp_path / "encode.json").write_text(
        json.dumps({"rows": [{"encoder": "tfidf", "items": 10_000}, {"items": 2, "seconds": 0.5}]})
    )
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "encode.json").write_text(json.dumps({"machine": "this machine", "versions": "Python 3"}))
    page = write.page(tmp_path)
    assert "that machine.\n\n| figure | value |\n|---|---|\n| steps.sasrec.ratio | 1.012 |" in page
    shown = "| encoder | items | seconds |\n|---|---|---|\n| tfidf | 10,000 |  |\n|  | 2 | 0.5 |"
    assert f"this machine; Python 3.\n\n{shown}" in page
    assert page.count("\nPending.\n") == len(SECTIONS) - 3


def test_an_interrupted_run_over_encoders_goes_on(tmp_path, monkeypatch, capsys):
    asked, path = [], tmp_path / "encode.json"

    def run(command, **_):
        asked.append(tuple(command[-2:]))
        row = {"encoder": command[-2], "items": int(command[-1]), "seconds": 1.0, "items_per_second": 2.0}
        return SimpleNamespace(stdout=json.dumps(row | {"peak_mib": 3, "base_mib": 4, "times_peer": 5, "peer": "p"}))

    monkeypatch.setattr(encode.subprocess, "run", run)
    words = ["encode", "--minilm", "5", "--tfidf", "7", "--descriptors", "--model", "m", "--out", str(path)]
    for more, new in ((["--tfidf"], [("minilm", "5")]), ([], [("tfidf", "7")]), ([], [])):
        asked.clear()
        monkeypatch.setattr(sys, "argv", [*words, *more])
        encode.main()
        assert asked == new
    assert [(row["encoder"], row["items"]) for row in storage.read_json(path)["rows"]] == [("minilm", 5), ("tfidf", 7)]
    storage.write_json(path, storage.read_json(path) | {"versions": "others"})
    encode.main()
    assert asked == [("minilm", "5"), ("tfidf", "7")], "figures of other versions are not mixed in"
    kept = storage.read_json(path)
    storage.write_json(path, kept | {"rows": [{n: v for n, v in r.items() if n != "times_peer"} for r in kept["rows"]]})
    asked.clear()
    encode.main()
    assert asked == [("minilm", "5"), ("tfidf", "7")], "nor are rows without a peer"
    told = capsys.readouterr().out
    assert "2 items/s" in told
    assert "5 times p" in told


def test_the_page_is_the_one_of_the_kept_figures():
    assert write.page(write.RESULTS) == write.PAGE.read_text(encoding="utf-8"), "run python -m benchmarks.write"


def test_a_section_is_measured_then_the_page_is_written(tmp_path, monkeypatch):
    asked = []

    def run(command, *, cwd, check):
        asked.append(command)
        (tmp_path / "train.json").write_text(json.dumps({"targets": 7, "one-pass": dict.fromkeys(ONE, 2.0)}))

    monkeypatch.setattr(write, "RESULTS", tmp_path)
    monkeypatch.setattr(write, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(write.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["write", "--run", "train"])
    write.main()
    assert asked == [[sys.executable, "-m", "benchmarks.train", "--out", str(tmp_path / "train.json")]]
    page = (tmp_path / "page.md").read_text()
    assert "| 7 | 2 | 2 | 2.00 (2.00 to 2.00) | 2 | 2 |" in page
    assert f", torch {torch.__version__.split('+')[0]}" in page


ONE = {
    "epoch_seconds": 5.6,
    "targets_per_second": 23_500.0,
    "ratio": 1.84,
    "ratio_min": 1.76,
    "ratio_max": 1.9,
    "gflops_of_products": 197.0,
    "evaluation_seconds": 0.68,
}


def test_sections_read_what_the_benchmarks_write():
    assert "| 131,413 | 5.6 | 23,500 | 1.84 (1.76 to 1.90) | 197 | 0.68 |" in SECTIONS["train"].rows(
        {"targets": 131_413, "one-pass": ONE}
    )
    mode = dict.fromkeys(("targets_per_second", "gflops", "targets_per_second_at_200_gflops"), 5_000.0)
    mode |= {"epoch_seconds": 30.0, "peak_memory_gib": 0.8}
    assert "| one-pass | 5,000 | 5,000 | 5,000 | 30 | 0.8 |" in SECTIONS["hm4sr"].rows({"one-pass": mode})


def test_objects_in_lists_are_tables_of_their_own():
    shown = plain(
        {"machine": "here", "load": 1.5, "speed": 2, "cases": [{"name": "a", "x": 1}, {"name": "b"}], "no": []}
    )
    assert shown == "| figure | value |\n|---|---|\n| speed | 2 |\n\ncases:\n\n" + "\n".join(
        ["| name | x |", "|---|---|", "| a | 1 |", "| b |  |"]
    )


def test_every_kept_figure_has_its_table():
    """What the repository holds is what a page is written of; a renamed figure would break it."""
    for name, section in SECTIONS.items():
        found = write.read(write.RESULTS / section.file)
        if found and name != "peers":
            assert section.rows(found).count("|") > 20, name


def test_a_part_measured_later_joins_those_of_the_same_circumstances(tmp_path):
    path, where = tmp_path / "catalogue.json", {"threads": 2, "versions": "torch 2.13.0"}
    new = {"exact": [{"classes": 7, "seconds": 2}], "sampled": [{"classes": 3}], "content": []}
    assert catalogue.joined(path, where, new) == new
    old = {"exact": [{"classes": 7, "seconds": 1}, {"classes": 5}], "sampled": [], "content": [{"classes": 1}]}
    storage.write_json(path, {**where, **old})
    assert catalogue.joined(path, where, new) == {
        "exact": [{"classes": 5}, {"classes": 7, "seconds": 2}],
        "sampled": [{"classes": 3}],
        "content": [{"classes": 1}],
    }
    assert catalogue.joined(path, where | {"threads": 1}, new) == new


@pytest.mark.parametrize("file", ["hm4sr", "cammsr"])
def test_kept_figures_of_training_are_within_their_bars(file):
    """Of what was measured, not of this tree: nothing is timed here."""
    bars = {"hm4sr": hm4sr.SUBJECT.bar, "cammsr": cammsr.SUBJECT.bar}
    found = write.read(write.RESULTS / f"{file}.json")["one-pass"]
    assert found["targets_per_second_at_200_gflops"] >= bars[file] >= 3_600
    assert found["peak_memory_gib"] < 2.5


@pytest.mark.parametrize("file", ["plan", "scoring", "catalogue"])
def test_kept_figures_are_within_their_bars(file):
    found = write.read(write.RESULTS / f"{file}.json")
    if file == "plan":
        cases = [case for case in found.values() if isinstance(case, dict)]
        assert len(cases) == 8
        assert max(abs(case["memory_error"]) for case in cases) <= MEMORY_BAR
        assert max(abs(case["time_error"]) for case in cases) <= TIME_BAR
    elif file == "scoring":
        assert found["ranking"]["hm4sr"]["users_per_second"] >= found["ranking"]["hm4sr"]["bar"]
    else:
        million = next(row for row in found["exact"] if row["classes"] == 1_000_000)
        assert million["ratio"] <= 1.6
        assert million["gib_above_table"] < 3


def test_the_short_sections_can_be_run_as_they_stand():
    short = {name: section for name, section in SECTIONS.items() if section.short}
    assert short
    assert all(write.can_run(section) for section in short.values())
    assert all(importlib.util.find_spec(section.command.split()[0]) for section in short.values())
    assert not write.can_run(SECTIONS["peers"])


def test_any_json_becomes_a_table():
    assert plain({"a": {"b": 1234, "c": [0.5, 2]}, "machine": "x"}) == (
        "| figure | value |\n|---|---|\n| a.b | 1,234 |\n| a.c | 0.5, 2 |"
    )
