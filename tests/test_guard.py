"""The regression guard's judgement on known figures: medians, noise, counts, and what is said of what cannot run."""

import json
import math
import subprocess

import pytest
from benchmarks import counting, guard, guard_cases
from benchmarks.guard import CLOCK, COUNTER, LIMIT, VALGRIND, Verdict, chance, compared, recounted


def rounds(seconds, instructions=None):
    counts = [0] * len(seconds) if instructions is None else instructions
    return [{"case": {"seconds": s, "instructions": i}} for s, i in zip(seconds, counts, strict=True)]


def test_the_ratio_is_the_median_over_rounds_and_bears_an_outlier():
    verdict = compared("case", rounds([1.0, 2.0, 1.0, 1.0, 1.0]), rounds([1.1, 2.2, 1.1, 9.0, 1.1]))
    assert verdict.ratio == pytest.approx(1.1)
    assert (verdict.other, verdict.this, verdict.measure) == (1.0, 1.1, CLOCK)


def test_drift_of_the_machine_falls_out_where_trees_take_turns():
    drift = [1.0, 1.02, 1.04, 1.06, 1.08, 1.1]
    verdict = compared("case", rounds(drift), rounds([1.2 * d for d in drift]))
    assert verdict.ratio == pytest.approx(1.2)
    assert verdict.slower


@pytest.mark.parametrize(("ratio", "slower"), [(1.0, False), (1.049, False), (1.051, True), (0.5, False), (2.0, True)])
def test_the_limit_is_five_percent_on_a_quiet_machine(ratio, slower):
    verdict = compared("case", rounds([1.0] * 6), rounds([ratio] * 6))
    assert verdict.noise == 0
    assert verdict.limit == LIMIT == 0.05
    assert verdict.slower is slower
    assert ("SLOWER" in str(verdict)) is slower


def test_noise_by_hand():
    steps = [1.0, math.e**0.1, 1.0, math.e**0.1]  # neighbours differ by a tenth, each time
    assert chance(steps, [1.0, math.e**0.1, 1.0, math.e**0.1]) == pytest.approx(2 * 1.25 * 1.48 * 0.1 / math.sqrt(4))
    assert chance([1.0], [1.0]) == 0
    assert chance([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]) == 0, "two trees apart are no noise"


def test_noise_widens_the_limit_where_seconds_are_all_there_is():
    swing = [1.0, 1.1, 1.0, 1.1, 1.0, 1.1]
    verdict = compared("case", rounds(swing), rounds([1.08 * s for s in swing]))
    assert verdict.noisy
    assert verdict.limit == pytest.approx(LIMIT + verdict.noise)
    assert (verdict.slower, verdict.undecided) == (False, True)
    assert "noise" in str(verdict)
    assert "UNDECIDED" in str(verdict)
    fine = compared("case", rounds(swing), rounds([1.04 * s for s in swing]))
    assert (fine.slower, fine.undecided) == (False, False)
    assert compared("case", rounds(swing), rounds([1.5 * s for s in swing])).slower


def test_instructions_are_taken_where_every_round_has_them():
    swing, exact = [1.0, 1.3, 1.0, 1.3], [100, 100, 100, 100]
    verdict = compared("case", rounds(swing, exact), rounds(swing, [106] * 4))
    assert (verdict.measure, verdict.noisy, verdict.limit) == (COUNTER, False, LIMIT)
    assert verdict.slower, "counts do not swing with the clock"
    some = compared("case", rounds(swing, exact), rounds(swing, [106, 0, 106, 106]))
    assert some.measure == CLOCK


@pytest.mark.parametrize(("first", "told"), [(True, "the other revision cannot run it"), (False, "this tree cannot")])
def test_what_a_tree_cannot_run_is_said_and_not_counted(first, told):
    broken = [{"case": {"error": "ImportError: no such thing"}}] * 2
    pair = (broken, rounds([1.0, 1.0])) if first else (rounds([1.0, 1.0]), broken)
    verdict = compared("case", *pair)
    assert not verdict.slower
    assert verdict.broken is not first, "what this tree alone cannot run is a failure"
    assert told in str(verdict)
    assert "ImportError: no such thing" in str(verdict)


def noisy(ratio):
    return Verdict(case="case", measure=CLOCK, other=1.0, this=ratio, ratio=ratio, noise=0.2, limit=0.25)


@pytest.mark.parametrize(("counts", "slower"), [((1000, 1100), True), ((1000, 1001), False)])
def test_a_noisy_case_that_looks_slower_is_counted_by_valgrind(counts, slower, monkeypatch, tmp_path):
    left = list(counts)
    monkeypatch.setattr(counting, "valgrind", lambda: "valgrind")
    monkeypatch.setattr(counting, "of_process", lambda *_: left.pop(0))
    verdict = recounted(noisy(1.1), (tmp_path / "other", tmp_path / "this"), 1)
    assert (verdict.measure, verdict.other, verdict.this, verdict.limit) == (VALGRIND, *counts, LIMIT)
    assert verdict.slower is slower


def test_valgrind_is_left_alone_where_it_is_not_needed_or_of_no_use(monkeypatch, tmp_path):
    asked = []

    def refuse(*_):
        asked.append(True)
        raise subprocess.TimeoutExpired("valgrind", 1)

    trees = (tmp_path, tmp_path)
    monkeypatch.setattr(counting, "of_process", refuse)
    monkeypatch.setattr(counting, "valgrind", lambda: "valgrind")
    fine = Verdict(case="case", measure=CLOCK, ratio=1.2, noise=0.0)
    for verdict, times in ((fine, 0), (noisy(1.01), 0), (noisy(1.1), 1)):  # quiet; not slower; counting fails
        assert recounted(verdict, trees, 1) is verdict
        assert len(asked) == times
    monkeypatch.setattr(counting, "valgrind", lambda: None)
    assert recounted(noisy(1.1), trees, 1).measure == CLOCK


def test_the_closing_lines_of_valgrind_are_read():
    assert counting.parsed("==1== Events    : Ir\n==1== Collected : 116386922\n") == 116_386_922
    for log in ("==1== killed", "==1== Collected : 0"):
        with pytest.raises(ValueError, match="no count"):
            counting.parsed(log)


def test_counting_changes_nothing_without_valgrind():
    with counting.counted(), counting.Instructions() as counter:
        before = counter.read()
        assert sum(range(1000)) == 499_500
        assert counter.read() >= before
        assert counter.counts or counter.read() == 0


def test_what_is_undecided_is_no_success(monkeypatch, tmp_path, capsys):
    swing = iter([1.0, 1.08, 1.1, 1.19, 1.0, 1.08])  # the other, this, the other, this, ..
    monkeypatch.setattr(guard, "one_round", lambda *_: {"rank": {"seconds": next(swing), "instructions": 0}})
    monkeypatch.setattr(counting, "valgrind", lambda: None)
    monkeypatch.setattr("sys.argv", ["guard", str(tmp_path), "--tree", str(tmp_path), "--rounds", "3"])
    assert guard.main() == 2
    assert "too much noise to tell; run again on a quiet machine; rank" in capsys.readouterr().out


@pytest.mark.parametrize(("figures", "status"), [((1.0, 1.0), 0), ((1.0, 1.2), 1)])
def test_the_exit_status_and_the_file_name_the_case(figures, status, monkeypatch, tmp_path, capsys):
    other, this = tmp_path / "other", tmp_path / "this"
    other.mkdir()
    this.mkdir()
    turns = []

    def one_round(tree, cases, repeats):
        turns.append(tree.name)
        seconds = figures[0] if tree.name == "other" else figures[1]
        return {"rank": {"seconds": seconds, "instructions": 0}, "old": {"error": "AttributeError: gone"}}

    monkeypatch.setattr(guard, "one_round", one_round)
    out = tmp_path / "guard.json"
    monkeypatch.setattr("sys.argv", ["guard", str(other), "--tree", str(this), "--rounds", "3", "--out", str(out)])
    assert guard.main() == status
    assert turns == ["other", "this"] * 3
    told = capsys.readouterr().out
    assert ("1 of 2 cases slower" in told) == bool(status)
    assert told.endswith("by more than 5%; rank\n") == bool(status)
    assert "AttributeError: gone" in told
    rows = json.loads(out.read_text())["cases"]
    assert [row["case"] for row in rows] == ["rank", "old"]
    assert rows[0]["ratio"] == pytest.approx(figures[1])


def test_a_revision_is_unpacked_from_git():
    inside = subprocess.run(["git", "rev-parse", "HEAD"], cwd=guard.ROOT, capture_output=True, check=False)
    if inside.returncode:
        pytest.skip("not a git checkout")
    with guard.sources("HEAD") as folder:
        assert (folder / "src" / "medleyrec" / "schema.py").is_file()
        assert folder != guard.ROOT
    assert guard.environment(folder)["PYTHONPATH"] == str(folder / "src")


def test_every_case_is_work_that_can_be_repeated(monkeypatch):
    monkeypatch.setattr(guard_cases, "USERS", 40)
    monkeypatch.setattr(guard_cases, "ITEMS", 60)
    monkeypatch.setattr(guard_cases, "RANKED", 80)
    monkeypatch.setattr(guard_cases, "TARGETS", 32)
    for name in ("train sasrec", "rank all users", "first ten of all users"):
        found = guard_cases.measured(name, 2)
        assert found["seconds"] > 0
