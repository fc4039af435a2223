"""Windows and steps of a log of any length: the same as planned at one go, and nowhere twice in memory."""

import numpy as np
import pytest
import torch
from benchmarks import flat
from hypothesis import given, settings
from hypothesis import strategies as st

from medleyrec import storage
from medleyrec.dataset import batches
from medleyrec.dataset.batches import DeviceLog, Steps, Windows, one_pass_windows, plan_steps, prefix_windows
from medleyrec.dataset.split import TrainingLog


def plan_at_one_go(windows, *, seed, epoch, targets_per_step):
    """The order as first defined: one sort of the whole epoch, split into a list."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(windows))
    pool = (windows.fresh[order].cumsum() - 1) // (batches.POOL * targets_per_step)
    order = order[np.lexsort((windows.lengths[order], pool))]
    step = (windows.fresh[order].cumsum() - 1) // targets_per_step
    steps = np.split(order, np.flatnonzero(np.diff(step)) + 1) if len(order) else []
    return [steps[i] for i in rng.permutation(len(steps))]


def windows_by_hand(log, *, max_length, stride):
    """User by user, window by window."""
    found = []
    for user, (start, end) in enumerate(zip(log.starts.tolist(), log.ends.tolist(), strict=True)):
        inputs = max(end - start - 1, 0)
        last = inputs
        while last > 0:
            length = min(last, max_length)
            found.append((user, start + last - length, length, last if last <= max_length else stride))
            last = last - stride if last > max_length else 0
    return found


def log_of(lengths, held_out=0):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])
    rng = np.random.default_rng(total)
    ends = np.maximum(offsets[:-1], offsets[1:] - held_out)
    return TrainingLog(rng.integers(1, 99, total).astype(np.int32), np.arange(total) * 60, offsets[:-1], ends, 99)


lengths_of_users = st.lists(st.integers(0, 70), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(lengths_of_users, st.integers(1, 20), st.integers(0, 3), st.data())
def test_windows_are_those_made_one_by_one(lengths, max_length, held_out, data):
    stride = data.draw(st.integers(1, max_length))
    log = log_of(lengths, held_out)
    windows = one_pass_windows(log, max_length=max_length, stride=stride)
    columns = (windows.users, windows.starts, windows.lengths, windows.fresh)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == windows_by_hand(
        log, max_length=max_length, stride=stride
    )
    assert [c.itemsize for c in columns] == [4, 8, 4, 4], "20 bytes a window"


@settings(max_examples=100, deadline=None)
@given(
    lengths_of_users,
    st.booleans(),
    st.integers(1, 200),
    st.integers(0, 3),
    st.sampled_from([1, 7, 1 << 20]),
)
def test_the_order_of_steps_is_the_one_of_a_single_sort(lengths, prefix, targets_per_step, epoch, block):
    log = log_of(lengths)
    windows = prefix_windows(log, max_length=9) if prefix else one_pass_windows(log, max_length=9, stride=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "BLOCK", block)
        patch.setattr(batches, "POOL", 2)
        wanted = plan_at_one_go(windows, seed=5, epoch=epoch, targets_per_step=targets_per_step)
        plan = plan_steps(windows, seed=5, epoch=epoch, targets_per_step=targets_per_step)
    assert [step.tolist() for step in plan] == [step.tolist() for step in wanted]
    assert len(plan) == len(wanted)
    half = len(plan) // 2
    assert [s.tolist() for s in plan[half:]] == [s.tolist() for s in wanted[half:]], "what is left of an epoch"
    assert sum(windows.fresh[rows].sum() for rows in plan[:half]) == sum(windows.fresh[r].sum() for r in wanted[:half])


def test_steps_are_a_sequence():
    order, edges = np.array([3, 1, 0, 2], np.int32), np.array([0, 1, 4])
    steps = Steps(order, edges, np.array([1, 0]))
    assert [s.tolist() for s in steps] == [[1, 0, 2], [3]]
    assert steps[-1].tolist() == [3]
    assert steps[0].dtype == np.int64
    assert repr(steps[1:]) == "Steps(1 of 2, 4 windows)"
    with pytest.raises(IndexError):
        steps[2]
    steps[0][:] = 9
    assert order.tolist() == [3, 1, 0, 2], "a step is a copy"


def test_a_log_without_a_target_has_no_step():
    empty = np.empty(0, np.int32)
    plan = plan_steps(Windows(empty, empty.astype(np.int64), empty, empty), seed=0, epoch=0, targets_per_step=4)
    assert (len(plan), list(plan)) == (0, [])


def test_the_log_on_the_cpu_is_the_file_itself(tmp_path):
    log = log_of([9, 4, 30])
    for name, values in (("items", log.items), ("times", log.times)):
        storage.save_array(tmp_path / f"{name}.npy", values)
    items, times = (storage.open_array(tmp_path / f"{name}.npy") for name in ("items", "times"))
    mapped = TrainingLog(items, times, log.starts, log.ends, log.num_items)
    windows = one_pass_windows(mapped, max_length=8, stride=4)
    rows = DeviceLog(mapped, windows)
    assert rows.items.data_ptr() == items.ctypes.data
    assert rows.times.data_ptr() == times.ctypes.data
    assert rows.lengths.data_ptr() == windows.lengths.ctypes.data
    own, copied = (d.batch(np.arange(len(windows))) for d in (rows, DeviceLog(log, windows)))
    for name in ("items", "times", "lengths", "targets", "users"):
        assert torch.equal(getattr(own, name), getattr(copied, name))
        assert getattr(own, name).dtype == torch.int64


def test_the_verdict_on_cost_and_memory_by_hand():
    def row(events, ns, mib):
        costs = {"set_up_cpu_ns_per_event": 5.0, "batches_cpu_ns_per_event": 15.0, "step_cpu_ns_per_target": ns}
        return {"events": events, "windows": events / 10, "peak_mib": mib, "anonymous_mib": 10.0, **costs}

    mib = 2**20 / 1e6  # per million events at one byte an event
    found = flat.verdict(
        [row(1e6, 80.0, 100 + 14 / mib), row(2e6, 90.0, 100 + 28 / mib), row(4e6, 94.9, 100 + 56 / mib)]
    )
    assert found["cost_against_smallest"] == {"1000000": 1.0, "2000000": 1.1, "4000000": pytest.approx(1.149)}
    assert found["flat"]
    assert found["bytes_per_event"] == pytest.approx(14)
    assert found["bytes_per_event_beyond_the_log"] == pytest.approx(2)
    assert found["windows_per_event"] == pytest.approx(0.1)
    assert found["anonymous_bytes_per_event"] == pytest.approx(0)
    assert not flat.verdict([row(1e6, 80.0, 100.0), row(2e6, 95.1, 100.0)])["flat"]
    assert not flat.verdict([row(1e6, 80.0, 100.0), row(2e6, 60.0, 100.0)])["flat"]


def test_generated_logs_hold_whole_users_of_two_events_and_more(tmp_path):
    flat.generate(tmp_path, 4_000)
    items, times, starts, ends = (np.load(tmp_path / f"{name}.npy") for name in flat.ARRAYS)
    assert len(items) == len(times) == ends[-1]
    assert starts[0] == 0
    assert starts[1:].tolist() == ends[:-1].tolist()
    assert (ends - starts).min() >= 2
    assert len(items) == pytest.approx(4_000, rel=0.3)
    assert items.min() >= 1
    assert items.max() <= flat.ITEMS
    assert (items.itemsize + times.itemsize) == flat.LOG_BYTES
