"""Filters that look at the past alone, and the steps of preparation that work in blocks, by known answers."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medleyrec import storage
from medleyrec.config import parse, with_overrides
from medleyrec.dataset import PrepareConfig, arrays, core, order, prepare, sql
from medleyrec.dataset.arrays import ArrayReader, ArrayWriter, write_parquet
from medleyrec.schema import InputError
from tests.worlds import circle, noise, tables

PAST_ONLY = PrepareConfig(min_user_events=2, min_item_events=2, filter_until="100")


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_sync", lambda path: None)
        yield


def build(folder, log, config):
    return prepare(tables(log), folder, config)[0]


def rows(data):
    users = np.repeat(np.arange(len(data)), np.diff(data.offsets))
    triples = zip(users, data.items, data.times, strict=True)
    return [(data.user_ids[u], data.item_ids[i], int(t)) for u, i, t in triples]


def test_only_the_past_decides_and_newcomers_stay(tmp_path):
    log = [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "y", 4)]  # the core of the past
    log += [("c", "x", 5), ("a", "z", 6)]  # c and z occur once before 100 ...
    log += [("c", "y", 150), ("c", "n", 151), ("b", "z", 152), ("d", "z", 153)]  # ... and more often later
    log += [("e", "x", 100), ("f", "m", 200)]  # first seen at the moment, and after it
    data = build(tmp_path / "d", log, PAST_ONLY)
    assert rows(data) == [*log[0:2], *log[2:4], ("e", "x", 100), ("f", "m", 200)]
    assert data.manifest["filter_until"] == 100
    assert data.manifest["rounds"] == [
        {"events": 12, "users": 6, "items": 5},
        {"events": 6, "users": 4, "items": 3},
    ]


def test_without_a_moment_the_manifest_says_null(tmp_path):
    assert build(tmp_path / "d", circle(), PrepareConfig()).manifest["filter_until"] is None


def past_core(log, moment, k_user, k_item):
    """The events that are left, by a plain loop."""
    past = [e for e in log if e[2] < moment]
    users, items = {u for u, _, _ in past}, {i for _, i, _ in past}
    while True:
        left_users = {u for u in users if sum(e[0] == u for e in past) >= k_user}
        left_items = {i for i in items if sum(e[1] == i for e in past) >= k_item}
        kept = [e for e in past if e[0] in left_users and e[1] in left_items]
        if len(kept) == len(past):
            break
        past = kept
    fallen = (users - {u for u, _, _ in past}, items - {i for _, i, _ in past})
    return sorted(e for e in log if e[0] not in fallen[0] and e[1] not in fallen[1])


logs = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz"), st.integers(0, 50)), min_size=1, max_size=50
)


@given(logs, st.integers(0, 51), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_the_core_of_the_past_equals_a_plain_loop(tmp_path_factory, log, moment, k_user, k_item):
    wanted = past_core(log, moment, k_user, k_item)
    assume(wanted)
    config = PrepareConfig(min_user_events=k_user, min_item_events=k_item, filter_until=str(moment))
    assert sorted(rows(build(tmp_path_factory.mktemp("core") / "d", log, config))) == wanted


@given(logs, st.integers(1, 50), st.randoms(use_true_random=False), st.sampled_from(["all", "first"]))
@settings(max_examples=25, deadline=None)
def test_what_comes_later_changes_nothing_of_the_past(tmp_path_factory, log, moment, source, duplicates):
    home = tmp_path_factory.mktemp("past")
    log += [("m", i, 0) for i in "qr"] + [("n", i, 0) for i in "qr"]  # so that something is left
    config = PAST_ONLY.model_copy(update={"filter_until": str(moment), "duplicates": duplicates})
    changed = [later for event in log for later in another_future(event, moment, source)]
    one, two = (build(home / name, events, config) for name, events in (("one", log), ("two", changed)))
    assert {r for r in rows(one) if r[2] < moment} == {r for r in rows(two) if r[2] < moment}


def another_future(event, moment, source):
    """Events before the moment stay; later ones are moved later, deleted, doubled, or become those of others."""
    if event[2] < moment:
        return [event]
    user, item, time = event
    late = time + source.randrange(100)
    return source.choice([[], [(user, item, late)], [(user, source.choice("uvwxyz!"), late), ("new", item, time)]])


def test_the_last_of_repeated_events_and_the_past_alone_exclude_each_other():
    with pytest.raises(ValueError, match='choose "first" or "all"'):
        PrepareConfig(filter_until="80%", duplicates="last")


@pytest.mark.parametrize("share", ["10%", "50%", "57%", "80%", "99.9%"])
def test_a_share_is_the_time_of_the_event_with_that_number(tmp_path, monkeypatch, share):
    monkeypatch.setattr(core, "_BINS", 40)
    log = noise(users=50, items=9, length=4)
    log = [(u, i, t + random.Random(n).randrange(10**6)) for n, (u, i, t) in enumerate(log)]
    data = build(tmp_path / "d", log, PrepareConfig(min_user_events=1, min_item_events=1, filter_until=share))
    times = sorted(e[2] for e in log)
    number = round(float(share[:-1]) * 1000) * len(log) // 100_000
    assert data.manifest["filter_until"] == times[number]


def test_a_share_of_equal_times_is_found(tmp_path):
    log = [("u", "x", 5)] * 7 + [("u", "y", 5 + 10**9)]
    config = PrepareConfig(min_user_events=1, min_item_events=1, filter_until="50%")
    assert build(tmp_path / "a", log, config).manifest["filter_until"] == 5
    late = config.model_copy(update={"filter_until": "87.5%"})
    assert build(tmp_path / "b", log, late).manifest["filter_until"] == 5 + 10**9


@pytest.mark.parametrize("text", ["0%", "100%", "x%", "-5%", "1/0%", "soon", "2014-13-01"])
def test_a_moment_that_is_none_is_one_sentence(text):
    with pytest.raises(InputError, match=r"prepare: .*filter_until.*2014-01-01"):
        parse(PrepareConfig, {"filter_until": text}, where="prepare")


def test_dates_of_toml_are_moments():
    values = with_overrides({}, ["filter_until=2014-01-01"])
    assert parse(PrepareConfig, values, where="prepare").filter_until == "2014-01-01"


def test_arrays_are_written_in_any_order_and_read_in_slices(tmp_path):
    path = tmp_path / "a.npy"
    with ArrayWriter(path, np.int32) as writer:
        writer.put(3, [3, 4])
        writer.put(0, [9, 1])
        writer.append([5])
    assert np.load(path).tolist() == [9, 1, 0, 3, 4, 5]
    assert ArrayReader(path).read(1, 5).tolist() == [1, 0, 3, 4]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="a.npy is cut off"):
        ArrayReader(path).read(0, 6)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="a.npy is missing or damaged"):
        ArrayReader(path)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_parquet_bytes_do_not_depend_on_how_rows_arrive(tmp_path, monkeypatch, size):
    monkeypatch.setattr(arrays, "_GROUP", 64)
    table = pa.table({"n": pa.array(range(1000), pa.int64()), "t": [str(n % 17) for n in range(1000)]})
    whole, pieces = tmp_path / "whole.parquet", tmp_path / "pieces.parquet"
    assert write_parquet(whole, [table], table.schema) == 1000
    assert write_parquet(pieces, (table.slice(n, size) for n in range(0, 1000, size)), table.schema) == 1000
    assert whole.read_bytes() == pieces.read_bytes()
    assert pq.read_table(pieces).equals(table)
    assert write_parquet(tmp_path / "none.parquet", [], table.schema) == 0
    assert pq.read_table(tmp_path / "none.parquet").schema == table.schema


@pytest.mark.parametrize("duplicates", ["all", "first", "last"])
def test_small_blocks_and_buckets_give_the_same_bytes(tmp_path, monkeypatch, duplicates):
    log = noise(users=40, items=7, length=12)
    log = [(u, i, t - t % 300_000) for u, i, t in log] + [("heavy", f"i{n % 7:02d}", n // 3) for n in range(400)]
    config = PrepareConfig(duplicates=duplicates, min_item_events=3, filter_until=None)
    whole = build(tmp_path / "whole", log, config)
    monkeypatch.setattr(arrays.spans, "__kwdefaults__", {"size": 50})
    monkeypatch.setattr(order, "BLOCK", 50)
    monkeypatch.setattr(order, "_BUCKET", 90)
    pieces = build(tmp_path / "pieces", log, config)
    assert whole.manifest == pieces.manifest
    assert len(list((tmp_path / "pieces").iterdir())) == len(list((tmp_path / "whole").iterdir()))


def test_times_too_far_apart_for_one_key_are_still_sorted():
    kind = np.dtype([("user", "<i4"), ("item", "<i4"), ("time", "<i8"), ("nano", "<i4")])
    drawn = np.random.default_rng(0)
    events = np.zeros(500, kind)
    events["user"], events["nano"] = drawn.integers(0, 5, 500), drawn.integers(0, 2, 500)
    events["item"] = np.arange(500)
    for span in (4, 2**62):
        events["time"] = drawn.integers(0, 4, 500) * (span // 4)
        wanted = sorted(events.tolist(), key=lambda e: (e[0], e[2], e[3], e[1]))
        assert order._sorted(events).tolist() == wanted


def test_half_of_the_memory_is_that_of_the_container(tmp_path, monkeypatch):
    machine = sql.half_of_memory()
    limit = tmp_path / "memory.max"
    limit.write_text("1000000\n")
    monkeypatch.setattr(sql, "_LIMITS", (str(tmp_path / "none"), str(limit)))
    assert sql.half_of_memory() == 500_000
    limit.write_text("max\n")
    assert sql.half_of_memory() == machine


def test_queries_are_watched_to_the_end():
    told = []
    connection = sql.connect(threads=1)
    with sql.watched(connection, lambda *step: told.append(step), "counting"):
        connection.execute("SELECT 1").fetchall()
    assert told[-1] == ("counting", 100, 100)


def test_categories_are_the_labels_of_the_first_path(tmp_path):
    given = [None, [], [["m", "b", "m", ""]], [[], ["x"]], [["b"], ["y"]], [["", None, "a"]], [["é", "z"]]]
    goods = [{"item_id": f"i{n}", "categories": paths} for n, paths in enumerate(given)]
    log = [("u", item["item_id"], n) for n, item in enumerate(goods)]
    data, _ = prepare(tables(log, goods), tmp_path / "d", PrepareConfig(min_user_events=1, min_item_events=1))
    offsets, labels = data.categories
    assert data.labels == ["a", "b", "m", "z", "é"]
    found = [[data.labels[n] for n in labels[offsets[row] : offsets[row + 1]]] for row in range(data.num_items)]
    assert found == [[], [], [], ["b", "m"], [], ["b"], ["a"], ["z", "é"]]
    assert (offsets.dtype, labels.dtype) == (np.int64, np.int32)
