"""Preparation by known answers: k-core, ids, order, split, facts, windows."""

import io
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medleyrec.dataset import Dataset, PrepareConfig, leave_one_out, open_split, prepare
from medleyrec.dataset.batches import DeviceLog, history_batches, one_pass_windows, plan_steps, prefix_windows
from medleyrec.dataset.split import TrainingLog
from medleyrec.schema import PAD, TEST, VALIDATION, InputError
from tests.worlds import circle, small, tables

LOOSE = PrepareConfig(min_user_events=1, min_item_events=1)


def build(folder, events, config=LOOSE, **more):
    return prepare(tables(events, **more), folder, config)[0]


def histories(dataset):
    return {dataset.user_ids[u]: [dataset.item_ids[i] for i in dataset.history(u)] for u in range(len(dataset))}


def test_events_are_ordered_by_time_and_ties_by_the_input(tmp_path):
    log = [("b", "z", 5), ("a", "y", 9), ("a", "x", 3), ("b", "w", 5), ("a", "q", 9), ("b", "a", 1)]
    data = build(tmp_path / "d", log)
    assert histories(data) == {"a": ["x", "y", "q"], "b": ["a", "z", "w"]}
    assert data.item_ids == ["", "a", "q", "w", "x", "y", "z"]
    assert data.times.dtype == np.int64


def test_times_are_never_rounded(tmp_path):
    base = 1_700_000_001  # beyond what float32 tells apart
    data = build(tmp_path / "d", [("u", f"i{t}", base + t) for t in reversed(range(5))])
    assert data.times.tolist() == [base + t for t in range(5)]


def test_the_k_core_is_iterated_until_nothing_falls(tmp_path):
    log = [(u, i, t) for u in "abc" for t, i in enumerate("xyz")]
    log += [("d", "x", 1), ("d", "y", 2), ("d", "rare", 3), ("e", "rare", 1), ("e", "x", 2)]
    # e falls (2 events), then rare (1 event left), then d (2 events left)
    data = build(tmp_path / "d", log, PrepareConfig(min_user_events=3, min_item_events=2))
    assert set(histories(data)) == {"a", "b", "c"}
    assert [r["events"] for r in data.manifest["rounds"]] == [14, 12, 11, 9]


def brute_core(log, k_user, k_item):
    while True:
        users = {u for u, _, _ in log if sum(e[0] == u for e in log) >= k_user}
        items = {i for _, i, _ in log if sum(e[1] == i for e in log) >= k_item}
        kept = [e for e in log if e[0] in users and e[1] in items]
        if len(kept) == len(log):
            return sorted(log)
        log = kept


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz"), st.integers(0, 50)), max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_the_k_core_equals_a_plain_loop(tmp_path_factory, log, k_user, k_item):
    wanted = brute_core(log, k_user, k_item)
    folder = tmp_path_factory.mktemp("core") / "d"
    config = PrepareConfig(min_user_events=k_user, min_item_events=k_item)
    if not wanted:
        with pytest.raises(InputError, match="no event"):
            build(folder, log, config)
        return
    data = build(folder, log, config)
    users = np.repeat(np.arange(len(data)), np.diff(data.offsets))
    found = [
        (data.user_ids[u], data.item_ids[i], int(t)) for u, i, t in zip(users, data.items, data.times, strict=True)
    ]
    assert sorted(found) == wanted


@pytest.mark.parametrize(("which", "left"), [("all", "xyx"), ("first", "xy"), ("last", "yx")])
def test_duplicates(tmp_path, which, left):
    config = LOOSE.model_copy(update={"duplicates": which})
    data = build(tmp_path / "d", [("u", "x", 1), ("u", "y", 2), ("u", "x", 3)], config)
    assert "".join(histories(data)["u"]) == left


def test_ratings_and_events_filter(tmp_path):
    log = [("u", "x", 1), ("u", "y", 2), ("u", "z", 3)]
    extra = {"rating": [5.0, 2.0, 4.0], "event": ["buy", "buy", "view"]}
    strict = LOOSE.model_copy(update={"min_rating": 4.0, "events": ("buy",)})
    assert histories(build(tmp_path / "d", log, strict, extra=extra)) == {"u": ["x"]}
    with pytest.raises(InputError, match="min_rating needs a column 'rating', which the interactions lack"):
        build(tmp_path / "e", log, LOOSE.model_copy(update={"min_rating": 4.0}))


def test_the_order_of_the_input_leaves_no_trace_where_times_differ(tmp_path):
    log = circle()
    shuffled = random.Random(0).sample(log, len(log))
    one, two = build(tmp_path / "a", log), build(tmp_path / "b", shuffled)
    assert one.manifest["content"] == two.manifest["content"]
    for name in ("items.npy", "users.parquet", "catalogue.parquet"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_a_finished_step_is_found_and_another_one_is_made(tmp_path):
    first, done = prepare(tables(circle(), fingerprint="a"), tmp_path / "d", LOOSE)
    assert done
    before = (tmp_path / "d" / "manifest.json").stat().st_mtime_ns
    again, done = prepare(tables(circle(), fingerprint="a"), tmp_path / "d", LOOSE)
    assert not done
    assert (tmp_path / "d" / "manifest.json").stat().st_mtime_ns == before
    assert again.manifest == first.manifest
    _, done = prepare(tables(circle(), fingerprint="b"), tmp_path / "d", LOOSE)
    assert done


def test_a_killed_preparation_leaves_nothing(tmp_path):
    code = (
        "import importlib, os, signal, sys\nfrom pathlib import Path\n"
        "b = importlib.import_module('medleyrec.dataset.build')\n"
        "from medleyrec.dataset import PrepareConfig, prepare\n"
        "from tests.worlds import circle, tables\n"
        "b.save_categories = lambda folder: os.kill(os.getpid(), signal.SIGKILL)\n"
        "prepare(tables(circle()), Path(sys.argv[1]), PrepareConfig())"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "d")], check=False)
    assert run.returncode == -signal.SIGKILL
    assert not (tmp_path / "d").exists()
    build(tmp_path / "d", circle())
    assert os.listdir(tmp_path) == ["d"]


def test_nothing_left_says_what_to_loosen(tmp_path):
    with pytest.raises(InputError, match=r"no event is left after the k-core \(min_user_events = 5.*lower them"):
        build(tmp_path / "d", [("u", "x", 1)], PrepareConfig())
    with pytest.raises(InputError, match="hold no event"):
        build(tmp_path / "d", [])
    assert not (tmp_path / "d").exists()


def test_what_is_no_dataset_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="is not a prepared dataset .* run `medley prepare` first"):
        Dataset.open(tmp_path)


def jpeg(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_come_back_by_row(tmp_path):
    from dataclasses import replace

    import pyarrow as pa

    given = tables([("u", i, t) for t, i in enumerate("cab")])
    pictures = pa.table({"item_id": ["c", "b", "unknown"], "bytes": [jpeg("red"), jpeg("blue"), jpeg("green")]})
    given.connection.register("given_pictures", pictures)
    data, _ = prepare(replace(given, images=given.connection.sql("FROM given_pictures")), tmp_path / "d", LOOSE)
    assert data.item_ids == ["", "a", "b", "c"]
    assert data.picture(1) is None
    assert data.picture(2) == jpeg("blue")
    assert data.picture(3) == jpeg("red")
    assert data.manifest["coverage"]["image"] == pytest.approx(2 / 3)


def test_a_picture_path_that_climbs_out_of_its_folder_is_refused(tmp_path):
    from dataclasses import replace

    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.png").write_bytes(b"fine")
    goods = [{"item_id": "a", "image": "a.png"}, {"item_id": "b", "image": "../secret.png"}]
    given = tables([("u", "a", 1), ("u", "b", 2)], goods)
    data, _ = prepare(replace(given, image_folder=tmp_path / "pics"), tmp_path / "d", LOOSE)
    assert data.picture(1) == b"fine"
    assert data.picture(2) is None


def test_leave_one_out_by_hand(tmp_path):
    log = [("a", i, t) for t, i in enumerate("wxyz")] + [("b", i, t) for t, i in enumerate("xy")]
    data = build(tmp_path / "d", log)
    split = leave_one_out(data)
    assert split.manifest["counts"] == {"train": 4, "validation": 1, "test": 1}
    validation, test = split.eval_events(VALIDATION), split.eval_events(TEST)
    assert [data.item_ids[i] for i in (*validation.targets, *test.targets)] == ["y", "z"]
    assert validation.history_ends.tolist() == [2]
    assert test.history_ends.tolist() == [3], "the test history holds the validation event"
    names = np.array(data.item_ids)
    assert set(names[split.in_train]) == {"w", "x", "y"}, "b trains on x and y, having fewer than three events"
    assert len(split.training_log(refit=True).events) == 6


def test_facts_are_those_of_the_training_part(tmp_path):
    goods = [{"item_id": i, "categories": [["root", f"leaf {i}"]]} for i in "wxyz"]
    log = [("a", i, t) for t, i in zip([10, 30, 1000, 9000], "wxyz", strict=True)]
    data = build(tmp_path / "d", log, items=goods)
    split = leave_one_out(data)
    assert split.facts.start_time == 10
    assert split.facts.max_gap == 20
    assert [data.labels[n] for n in split.vocabulary] == ["leaf w", "leaf x", "root"]
    with pytest.raises(InputError, match="has no split 'weekly'"):
        open_split(data, "weekly")


def log_of(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])
    items = np.arange(1, total + 1, dtype=np.int32)
    return TrainingLog(items, np.arange(total) * 60, offsets[:-1], offsets[1:], total + 1)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 9), st.data())
@settings(max_examples=80, deadline=None)
def test_every_training_event_but_the_first_is_a_target_exactly_once(lengths, max_length, data):
    stride = data.draw(st.integers(1, max_length))
    log = log_of(lengths)
    wanted = sorted(e + 1 for s, n in zip(log.starts, lengths, strict=True) for e in range(s + 1, s + n))
    for windows in (
        one_pass_windows(log, max_length=max_length, stride=stride),
        prefix_windows(log, max_length=max_length),
    ):
        if not len(windows):
            assert not wanted
            continue
        batch = DeviceLog(log, windows).batch(np.arange(len(windows)))
        assert sorted(batch.targets[batch.targets != PAD].tolist()) == wanted
        assert batch.num_targets == len(wanted)
        assert batch.items.shape[1] <= max_length
        follows = (batch.targets == batch.items + 1) | (batch.targets == PAD)
        assert follows.all(), "a target is the event right after its position"
        real = batch.items != PAD
        assert torch_equal(real.sum(1), batch.lengths)
        assert (real[:, :-1] >= real[:, 1:]).all(), "left-aligned"


def torch_equal(a, b):
    return a.tolist() == b.tolist()


def test_a_long_history_is_seen_as_far_back_as_a_prefix_sees_it_up_to_a_window():
    log = log_of([30])
    windows = one_pass_windows(log, max_length=8, stride=4)
    ends = windows.starts + windows.lengths
    assert int(ends.max()) == 29, "the last window ends at the last input"
    seen = {}  # target -> events that its position sees
    for start, length, fresh in zip(windows.starts, windows.lengths, windows.fresh, strict=True):
        seen |= {int(start + p) + 1: int(p) + 1 for p in range(length - fresh, length)}
    assert all(seen[target] == target for target in range(1, 6)), "up to a window, all there is"
    assert {seen[target] for target in range(9, 30)} == {5, 6, 7, 8}, "beyond it, L - stride + 1 to L events"


def test_the_order_of_steps_is_a_function_of_seed_and_epoch():
    windows = one_pass_windows(log_of([9] * 50), max_length=10, stride=5)

    def plan(seed, epoch):
        return [s.tolist() for s in plan_steps(windows, seed=seed, epoch=epoch, targets_per_step=40)]

    assert plan(1, 2) == plan(1, 2)
    assert plan(1, 2) != plan(1, 3)
    assert plan(1, 2) != plan(2, 2)
    assert sorted(row for step in plan(1, 2) for row in step) == list(range(len(windows)))
    sizes = [windows.fresh[s].sum() for s in plan(1, 2)]
    assert max(sizes) <= 40 + 8


def test_histories_hold_the_last_events_before_the_target(tmp_path):
    data, split = small(tmp_path / "d", circle(users=3, items=5, length=7))
    events = split.eval_events(TEST)
    seen = {}
    for rows, batch in history_batches(data.items, data.times, events, max_length=4, rows=2):
        for row, items, times in zip(rows, batch.items.tolist(), batch.times.tolist(), strict=True):
            seen[int(row)] = items
            assert times == sorted(times)
    for row in range(len(events)):
        end = int(events.history_ends[row])
        assert seen[row] == data.items[end - 4 : end].tolist()
        assert data.items[end] == events.targets[row]
