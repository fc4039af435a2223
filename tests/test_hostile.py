"""Input made to break the data plane: a fixed sample of the campaign in `tests/hostile`, and tests of its judge."""

import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from medleyrec.schema import InputError
from tests.hostile import verdict
from tests.hostile.campaign import keys, run
from tests.hostile.case import EASY, Case, Event
from tests.hostile.kinds import KINDS, shares
from tests.hostile.logs import nasty_values
from tests.hostile.terminal import check_command
from tests.hostile.verdict import (
    DEFECT,
    PREPARED,
    REFUSED,
    Ear,
    UnsoundError,
    check_dataset,
    check_sentence,
    judged,
    prepared,
)
from tests.hostile.writing import HEADER, put, written

linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")


def test_a_sample_of_the_campaign(tmp_path):
    tally = run(keys(shares(400)), tmp_path)
    assert not tally.defects, "\n".join(tally.defects[:10])
    assert {kind for kind, _ in tally.outcomes} == set(KINDS)
    total = {
        name: sum(n for (_, outcome), n in tally.outcomes.items() if outcome == name) for name in (PREPARED, REFUSED)
    }
    assert min(total.values()) > 100, "cases that are all refused, or all prepared, would show little"


@pytest.mark.parametrize(("kind", "seed", "code"), [("values", 0, 0), ("fault", 0, 2), ("special", 1, 2)])
def test_the_command_line(kind, seed, code, tmp_path):
    assert check_command(kind, seed, tmp_path) == code


ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
events = st.lists(st.tuples(ids, ids, st.integers(0, 99_999_999_999)), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=events, name=st.sampled_from(["log.csv", "log.tsv", "log.jsonl", "log.parquet"]))
def test_any_text_is_an_id_that_comes_out_as_it_went_in(rows, name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    path = put(folder, name, written(name, HEADER, rows))
    wanted = tuple(Event(*row) for row in rows)
    case = Case(source={"interactions": str(path), "time_unit": "s"}, events=wanted)
    if all(user.strip() and item.strip() for user, item, _ in rows):
        check_dataset(prepared(case, folder / "project", Ear()), case)
    else:
        with pytest.raises(InputError, match="is empty, but every event needs"):
            prepared(case, folder / "project", Ear())


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("log.csv is bad\nmend it", "no single printable line"),
        ("log.csv is bad\x1b[31m; mend it", "no single printable line"),
        ("log.csv is bad; mend it " + "x" * 400, "characters long"),
        ("log.csv: Binder Error: no; mend it", "says 'Binder'"),
        ("log.csv: column c0 is bad; mend it", "says 'c0'"),
        ("log.csv is bad", "no way to mend it"),
        ("it is bad; mend it", "names none of"),
    ],
)
def test_the_judge_of_sentences(sentence, message, tmp_path):
    case = Case(named=("log.csv",))
    check_sentence("log.csv, line 3 ('c0 CAST duckdb') is bad; mend it", case, tmp_path)
    with pytest.raises(UnsoundError, match=message):
        check_sentence(sentence, case, tmp_path)


def test_the_judge_of_datasets(tmp_path):
    rows = [Event("u", "a", 1), Event("u", "b", 2)]
    path = put(tmp_path, "log.csv", written("log.csv", HEADER, rows))
    case = Case(source={"interactions": str(path), "time_unit": "s"}, events=tuple(rows))
    dataset = prepared(case, tmp_path / "project", Ear())
    check_dataset(dataset, case)
    with pytest.raises(UnsoundError, match="other events"):
        check_dataset(dataset, Case(events=(rows[0], Event("u", "b", 3))))
    with pytest.raises(UnsoundError, match="times in range"):
        check_dataset(_with(dataset, times=np.array([-1, 2])), case)
    with pytest.raises(UnsoundError, match="times sorted"):
        check_dataset(_with(dataset, times=np.array([2, 1])), case)
    with pytest.raises(UnsoundError, match="items in range"):
        check_dataset(_with(dataset, items=np.array([0, 1], np.int32)), case)


def _with(dataset, **arrays):
    parts = {"items": dataset.items, "times": dataset.times} | arrays
    return type(dataset)(dataset.folder, dataset.manifest, parts["items"], parts["times"], dataset.offsets)


def _writes_outside(case, project, listener):
    put(project.parent / "outside", "new.txt", b"x")
    raise InputError("log.csv is bad; mend it")


def _changes_the_input(case, project, listener):
    put(project.parent / "outside", "canary.txt", b"crows")
    raise InputError("log.csv is bad; mend it")


def _leaves_a_part(case, project, listener):
    put(project, ".dataset.partial-1-x", b"x")
    raise InputError("log.csv is bad; mend it")


def _fails(case, project, listener):
    raise RuntimeError("boom")


def _eats_memory(case, project, listener):
    np.ones(1 << 27)
    raise InputError("log.csv is bad; mend it")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (_writes_outside, "written outside"),
        (_changes_the_input, "written outside"),
        (_leaves_a_part, "but left"),
        (_fails, "boom"),
        pytest.param(_eats_memory, "MiB of memory", marks=linux),
    ],
)
def test_the_judge_of_what_is_done(act, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "input").mkdir()

    def kind(random, folder):
        return Case(prepare=EASY)

    monkeypatch.setattr(verdict, "prepared", act)
    found = judged(kind, "0", tmp_path / "case")
    assert found.outcome == DEFECT
    assert message in found.told


def test_a_case_that_hangs_or_ends_the_process_is_noticed_and_the_next_ones_still_run(tmp_path):
    tally = run([("hang", 0), ("iso", 0), ("crash", 0), ("values", 0)], tmp_path, seconds=8)
    assert tally.outcomes == {("hang", DEFECT): 1, ("iso", PREPARED): 1, ("crash", DEFECT): 1, ("values", PREPARED): 1}
    assert "Timeout" in tally.defects[0]
    assert "exit code 7" in tally.defects[1]


def test_equal_seeds_give_equal_cases(tmp_path):
    from random import Random

    made = []
    for place in (tmp_path / "a", tmp_path / "b"):
        case = nasty_values(Random("values 5"), place)
        made.append((case.events, [p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()]))
    assert made[0] == made[1]
