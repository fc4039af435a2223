"""The audit as a whole: probes on logs whose order is everything or nothing, what is found again, and the real sets."""

import json

import numpy as np
import pytest

from medleyrec.dataset import PrepareConfig, prepare
from medleyrec.dataset.audit import Audit
from medleyrec.dataset.cuts import leave_one_out, make_split, time_cut
from medleyrec.recipes import audit as recipe
from medleyrec.recipes import probes
from medleyrec.recipes.audit import audit_key, run_audit
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import run_prepare
from medleyrec.recipes.probes import probe_findings, probe_log
from tests.worlds import DAY, START, circle, noise, small, tables

LOOSE = PrepareConfig(min_user_events=1, min_item_events=1)


def probed(split):
    return {f.name: f for f in probe_findings(split, lambda *_: None)}


def project(folder, log):
    dataset, _ = prepare(tables(log, fingerprint=str(hash(tuple(log)))), folder / "dataset", LOOSE)
    make_split(dataset)
    return load_experiment(folder)


# probes


def test_where_order_is_everything_it_is_found(tmp_path):
    _, split = small(tmp_path / "d", circle(users=60, items=12, length=9))
    found = probed(split)
    order, over = found["order_probe"], found["transitions_over_popularity"]
    assert order.values["true"] == 1
    assert order.values["share"] > 0.4
    assert order.values["difference"] == pytest.approx(order.values["true"] - order.values["shuffled"])
    assert order.values["difference_low"] < order.values["difference"] < order.values["difference_high"]
    assert order.sentence.startswith("Order carries 0.")
    assert "of 60 users" in order.sentence
    assert over.values["ratio"] == pytest.approx(over.values["transitions"] / over.values["popularity"])
    assert over.values["ratio"] > 2
    assert (order.level, over.level) == ("fact", "fact")
    assert "tie_order_probe" not in found, "no event is tied"


def test_where_order_is_nothing_none_is_claimed(tmp_path):
    _, split = small(tmp_path / "d", noise(users=200, items=40, length=8))
    order = probed(split)["order_probe"]
    assert order.values["difference_low"] <= 0 <= order.values["difference_high"]
    assert order.sentence.startswith("Order carries nothing that could be shown")
    assert order.level == "caution"


def test_order_that_no_time_vouches_for_is_found_out(tmp_path):
    """Everyone walks the circle on one day: the whole order is the input's."""
    log = [(u, i, START // DAY * DAY) for u, i, _ in circle(users=60, items=30, length=9)]
    _, split = small(tmp_path / "d", log)
    found = probed(split)
    ties = found["tie_order_probe"]
    assert ties.values["difference"] == pytest.approx(found["order_probe"].values["difference"])
    assert ties.level == "caution"
    assert " instead of 1.0000 (-0." in ties.sentence
    assert "rests on the order of the input" in ties.sentence


def test_popularity_alone_is_not_beaten_where_all_take_the_same(tmp_path):
    log = [(f"u{u}", "hit", START + DAY * t) for u in range(30) for t in range(5)]
    over = probed(small(tmp_path / "d", log)[1])["transitions_over_popularity"]
    assert (over.values["transitions"], over.values["popularity"], over.level) == (1, 1, "caution")
    assert "1.0 times popularity (1.0000 (1.0000 to 1.0000)): it is not shown to be better" in over.sentence


def test_popularity_without_a_hit_is_no_divisor(tmp_path):
    """The next item is always one that popularity puts behind ten others."""
    log = [(f"u{u}", f"hit{n}", n) for u in range(20) for n in range(12)]
    log += [(f"u{u}", f"{step} {u % 2}", 100 + t) for u in range(20) for t, step in enumerate("abc")]
    over = probed(small(tmp_path / "d", log)[1])["transitions_over_popularity"]
    assert over.values["popularity"] == 0
    assert "ratio" not in over.values
    assert "popularity has none" in over.sentence


def test_the_probe_never_looks_at_the_test_part(tmp_path):
    log = circle(users=20, items=10, length=6)
    last = max(t for _, _, t in log)
    changed = [(u, "i00" if t == last else i, t) for u, i, t in log]
    one, other = (probed(small(tmp_path / n, x)[1]) for n, x in (("a", log), ("b", changed)))
    assert [f.values for f in one.values()] == [f.values for f in other.values()]


def test_the_log_of_a_probe_is_the_training_part(tmp_path):
    data, split = small(tmp_path / "d", circle(users=6, items=5, length=6))
    log = probe_log(split)
    assert log.items.tolist() == data.items[split.training_log().events].tolist()
    assert log.events.targets.tolist() == data.items[split.train_end].tolist()
    assert (log.events.history_starts == np.arange(6) * 4).all()
    assert (log.events.history_ends == np.arange(6) * 4 + 4).all()
    assert log.candidates.tolist() == [1, 2, 3, 4, 5]
    assert log.sample == ""


def test_under_a_time_cut_known_items_are_asked_of_users_with_a_history(tmp_path):
    log = [(f"u{u}", f"i{(u + t) % 4}", 100 * t + u) for u in range(4) for t in range(8)]
    log += [("late", "i0", 510), ("odd", "i0", 5), ("odd", "new", 520), ("two", "i1", 6), ("two", "i2", 530)]
    data, _ = prepare(tables(log), tmp_path / "d", LOOSE)
    probe = probe_log(time_cut(data, validation_from="500", test_from="700", targets="last"))
    # The first validation event of u0 to u3 and of `two`; `late` has no history, the target of `odd` was unknown.
    assert len(probe.events) == 5
    assert data.item_rows["new"] not in probe.candidates
    assert sorted(data.item_ids[i] for i in probe.events.targets) == ["i0", "i1", "i2", "i2", "i3"]


def test_shuffling_keeps_users_and_where_told_times(tmp_path):
    log = [(f"u{u}", f"i{t}", START + DAY * (t // 5)) for u in range(9) for t in range(17)]
    probe = probe_log(small(tmp_path / "d", log)[1])
    mixed, tied = probe.shuffled(0), probe.shuffled(0, ties_only=True)
    for user in range(9):
        mine = probe.users == user
        assert sorted(mixed.items[mine]) == sorted(probe.items[mine])
        assert mixed.items[mine].tolist() != probe.items[mine].tolist()
        for time in np.unique(probe.times[mine]):
            same = mine & (probe.times == time)
            assert sorted(tied.items[same]) == sorted(probe.items[same])
    assert tied.items.tolist() != probe.items.tolist()
    assert probe.shuffled(1).items.tolist() != mixed.items.tolist()
    assert probe.tied == pytest.approx(12 / 14)


def test_a_large_log_is_sampled_and_it_is_said(tmp_path, monkeypatch):
    _, split = small(tmp_path / "d", circle(users=40, items=10, length=8))  # 6 training events each
    monkeypatch.setattr(probes, "MOST_EVENTS", 100)
    probe = probe_log(split)
    assert (len(probe.items), len(probe.events)) == (96, 16)
    monkeypatch.setattr(probes, "MOST_SCORES", 0)
    monkeypatch.setattr(probes, "FEWEST_ASKED", 7)
    assert len(probe_log(split).events) == 7
    told = probed(split)["order_probe"].sentence
    assert "of 7 users, 95 % intervals, a random sample: 16 users and 7 validation events" in told


def test_without_validation_events_no_model_is_asked(tmp_path):
    _, split = small(tmp_path / "d", [("a", "x", 1), ("a", "y", 2), ("b", "x", 1)])
    assert probe_log(split) is None
    found = probed(split)
    assert list(found) == ["order_probe"]
    assert "no model could be asked" in found["order_probe"].sentence


# the file


def test_a_finished_audit_is_found_and_another_split_is_another_audit(tmp_path, monkeypatch):
    experiment = project(tmp_path, circle(users=30, items=10, length=8))
    made = run_audit(experiment, Listener())
    path = tmp_path / "audit.json"
    assert Audit.from_json(json.loads(path.read_text())) == made
    assert made.complete
    assert {"ties", "order_probe", "near_duplicate_in_history", "training_after_test"} <= {f.name for f in made}
    monkeypatch.setattr(recipe, "_findings", lambda *_: pytest.fail("it was there already"))
    assert run_audit(experiment, Listener()) == made
    assert run_audit(experiment, Listener(), probes=False) == made, "a complete audit answers a quick question"
    monkeypatch.undo()
    before = path.read_bytes()
    path.unlink()
    run_audit(experiment, Listener())
    assert path.read_bytes() == before, "equal data give equal bytes"
    other = run_audit(load_experiment(tmp_path, flags={"split": {"kind": "time"}}), Listener())
    assert other.key != made.key
    assert other.split.startswith("time cut")
    assert other["training_after_test"].values["test_events_with_later_training"] == 0


def test_a_split_may_be_given(tmp_path):
    experiment = project(tmp_path, circle(users=30, items=10, length=8))
    dataset, _ = prepare(tables(circle(users=30, items=10, length=8)), tmp_path / "other", LOOSE)
    split = time_cut(dataset)
    assert run_audit(experiment, Listener(), split=split, probes=False).key == audit_key(split)


def test_a_quick_audit_asks_no_model_and_is_no_complete_one(tmp_path, monkeypatch):
    experiment = project(tmp_path, circle(users=20, items=10, length=6))
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "probe_findings", lambda *_: pytest.fail("a model was asked"))
        patch.setattr(recipe, "text_findings", lambda *_: pytest.fail("texts were compared"))
        quick = run_audit(experiment, Listener(), probes=False)
        assert run_audit(experiment, Listener(), probes=False) == quick
    assert not quick.complete
    assert "quick audit" in quick.lead
    assert run_audit(experiment, Listener()).complete


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 0}'])
def test_a_damaged_file_is_made_again(tmp_path, text):
    experiment = project(tmp_path, circle(users=20, items=10, length=6))
    made = run_audit(experiment, Listener(), probes=False)
    (tmp_path / "audit.json").write_text(text)
    assert run_audit(experiment, Listener(), probes=False) == made


def test_changed_data_are_audited_again(tmp_path):
    first = run_audit(project(tmp_path, circle(users=20, items=10, length=6)), Listener(), probes=False)
    second = run_audit(project(tmp_path, circle(users=20, items=10, length=7)), Listener(), probes=False)
    assert first["events_per_user"].values["max"] == 6
    assert second["events_per_user"].values["max"] == 7


def test_targets_of_a_split_are_part_of_the_key(tmp_path):
    data, split = small(tmp_path / "d", circle())
    assert audit_key(split) == audit_key(leave_one_out(data))
    assert audit_key(time_cut(data)) != audit_key(time_cut(data, targets="first")) != audit_key(split)


def test_every_step_is_told_to_its_end(tmp_path):
    steps = {}

    class Heard(Listener):
        def step(self, name, done, total):
            assert 0 <= done <= total
            steps[name] = (done, total)

    run_audit(project(tmp_path, circle(users=20, items=10, length=6)), Heard())
    assert set(steps) == {"audit the log", "probe", "compare texts"}
    assert all(done == total for done, total in steps.values())


# the real sets


def audited(folder, source):
    experiment = load_experiment(folder, flags={"source": {"kind": "tables", "interactions": str(source)}})
    run_prepare(experiment, Listener())
    return run_audit(experiment, Listener(), probes=False)


def test_beauty_has_its_known_facts(real_data, tmp_path):
    found = audited(tmp_path / "beauty", real_data("amazon-beauty-2014-5core"))
    assert found["ties"].values["same_day"] == pytest.approx(0.439, abs=5e-4)
    assert found["ties"].values["tied"] == found["ties"].values["same_day"], "times are whole days"
    assert found["last_two"].values["tied"] == pytest.approx(0.435, abs=5e-4)
    assert found["time_resolution"].values == {"step_seconds": DAY, "whole_days": 1}
    assert found["repeats"].values["repeat_rate"] == 0
    assert found["k_core"].values["rounds"] == 0
    assert "43.9 % of consecutive events" in found["ties"].sentence
    assert "For 43.5 % of users the last two events" in found["last_two"].sentence


def test_films_are_rated_in_sessions(real_data, tmp_path):
    found = audited(tmp_path / "films", real_data("ml-latest-small-posters"))
    assert found["gaps"].values["under_an_hour"] == pytest.approx(0.94, abs=5e-3)
    assert found["rating_sessions"].level == "caution"
    assert found["kept"].values["items"] == 3_650
