"""The store against a dict, and what it says of damage, overflow and a second writer."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medleyrec.features.index import KeyIndex
from medleyrec.features.store import MOST_REASONS, OTHER, VectorStore
from medleyrec.schema import InputError

WIDTH = 3
ENCODER = SimpleNamespace(name="toy", revision="1", width=WIDTH)


def keys(*numbers):
    """Keys whose first half is often equal, so that only the second half tells them apart."""
    words = np.array([[n % 3, n] for n in numbers], dtype="<u8").reshape(-1, 2)
    return words.view(np.uint8).reshape(-1, 16)


def vectors(*numbers):
    return np.array([[n, -n, n / 4] for n in numbers], np.float32).reshape(-1, WIDTH)


def stored(space, *numbers):
    return space.gather(space.lookup(keys(*numbers))).tolist()


numbers = st.lists(st.integers(0, 40), max_size=12)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(numbers, st.booleans()), max_size=6))
def test_behaves_like_a_dict_that_keeps_the_first_value(tmp_path_factory, steps):
    store, model = VectorStore(tmp_path_factory.mktemp("store")), {}
    space = store.space(ENCODER)
    for time, (some, reopen) in enumerate(steps):
        reasons = ["broken" if n % 5 == 0 else None for n in some]
        space.append(keys(*some), vectors(*some) + time, reasons)
        for n, reason in zip(some, reasons, strict=True):
            model.setdefault(n, (vectors(n)[0] + time if reason is None else np.zeros(WIDTH), reason))
        if reopen:
            space = store.space(ENCODER)
        asked = list(range(41))
        rows = space.lookup(keys(*asked))
        assert [n for n, row in zip(asked, rows, strict=True) if row >= 0] == sorted(model)
        assert sorted(rows[rows >= 0]) == list(range(len(model)))
        assert len(space) == len(model)
        known = rows[rows >= 0]
        expected = [model[n] for n in sorted(model)]
        np.testing.assert_array_equal(space.gather(known), np.array([v for v, _ in expected]).reshape(-1, WIDTH))
        assert space.reasons(known) == [reason for _, reason in expected]
        assert space.present(known).tolist() == [reason is None for _, reason in expected]


def test_the_index_finds_each_of_many_keys_however_they_came():
    drawn = np.random.default_rng(0).integers(0, 256, (5000, 16), dtype=np.uint8)
    drawn[:2500, :8] = drawn[0, :8]  # half of them share their first half
    index = KeyIndex(drawn[:100])
    for start in range(100, 5000, 97):
        index.add(drawn[start : start + 97])
    np.testing.assert_array_equal(index.rows(drawn), np.arange(5000))
    assert (index.rows(drawn[:, ::-1]) == -1).all()


def test_a_half_written_tail_is_neither_seen_nor_kept(tmp_path):
    store = VectorStore(tmp_path)
    space = store.space(ENCODER)
    space.append(keys(1), vectors(1), [None])
    for name in ("rows.bin", "vectors.f16"):
        with (space.folder / name).open("ab") as file:
            file.write(b"half a row")
    again = store.space(ENCODER)
    assert stored(again, 1) == vectors(1).tolist()
    again.append(keys(2), vectors(2), [None])
    assert stored(store.space(ENCODER), 1, 2) == vectors(1, 2).tolist()
    assert (space.folder / "vectors.f16").stat().st_size == 2 * WIDTH * 2


def test_rows_written_by_another_since_opening_are_kept(tmp_path):
    store = VectorStore(tmp_path)
    early, other = store.space(ENCODER), store.space(ENCODER)
    other.append(keys(1), vectors(1), [None])
    early.append(keys(2, 1), vectors(2, 9), [None, None])
    assert stored(store.space(ENCODER), 1, 2) == vectors(1, 2).tolist()


@pytest.mark.parametrize(("name", "place"), [("vectors.f16", 1), ("rows.bin", 3), ("rows.bin", 16)])
def test_a_flipped_bit_is_noticed(tmp_path, name, place):
    space = VectorStore(tmp_path).space(ENCODER)
    space.append(keys(1, 2), vectors(1, 2), [None, None])
    data = bytearray((space.folder / name).read_bytes())
    data[place] ^= 1
    (space.folder / name).write_bytes(data)
    with pytest.raises(InputError, match="damaged at row 0; delete this folder"):
        VectorStore(tmp_path).space(ENCODER).gather(np.array([1, 0]))


def test_a_file_that_lost_its_end_is_noticed(tmp_path):
    space = VectorStore(tmp_path).space(ENCODER)
    space.append(keys(1, 2), vectors(1, 2), [None, None])
    (space.folder / "vectors.f16").write_bytes(b"")
    with pytest.raises(InputError, match="shorter than its 2 rows"):
        VectorStore(tmp_path).space(ENCODER)


@pytest.mark.parametrize(("value", "told"), [(1e5, "100000"), (-7e4, "-70000"), (np.nan, "nan"), (np.inf, "inf")])
def test_what_float16_cannot_hold_is_refused(tmp_path, value, told):
    space = VectorStore(tmp_path).space(ENCODER)
    with pytest.raises(InputError, match=f"toy gave the value {told}, float16 holds up to 65504"):
        space.append(keys(1), np.array([[0, value, 0]], np.float32), [None])
    assert len(VectorStore(tmp_path).space(ENCODER)) == 0


def test_unequal_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unequal columns"):
        VectorStore(tmp_path).space(ENCODER).append(keys(1, 2), vectors(1), [None])


def test_the_number_of_different_reasons_is_bounded(tmp_path):
    space = VectorStore(tmp_path).space(ENCODER)
    many = range(MOST_REASONS + 2)
    space.append(keys(*many), vectors(*many), [f"reason {n}" for n in many])
    assert space.reasons(space.lookup(keys(0, MOST_REASONS - 1, MOST_REASONS, MOST_REASONS + 1))) == [
        "reason 0",
        f"reason {MOST_REASONS - 1}",
        OTHER,
        OTHER,
    ]


HOLD = """
import sys
from types import SimpleNamespace
from pathlib import Path
from medleyrec.features.store import VectorStore
space = VectorStore(Path(sys.argv[1])).space(SimpleNamespace(name="toy", revision="1", width=3))
with space.writing():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_told_who_writes_and_gets_its_turn_when_the_first_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "held\n"
        space = VectorStore(tmp_path).space(ENCODER)
        with pytest.raises(InputError, match=f"being written by another process \\(id {first.pid}\\); wait until"):
            space.append(keys(1), vectors(1), [None])
        assert len(space) == 0
        first.kill()
    space.append(keys(1), vectors(1), [None])
    assert stored(space, 1) == vectors(1).tolist()


def test_encoders_of_different_revision_do_not_meet(tmp_path):
    store = VectorStore(tmp_path)
    store.space(ENCODER).append(keys(1), vectors(1), [None])
    other = store.space(SimpleNamespace(name="toy", revision="2", width=WIDTH))
    assert other.lookup(keys(1)).tolist() == [-1]


@pytest.mark.parametrize("key", ["", "a/b", "..", "a b"])
def test_a_fitted_encoder_cannot_be_placed_elsewhere(tmp_path, key):
    with pytest.raises(InputError, match="cannot name a fitted encoder"):
        VectorStore(tmp_path).fitted("toy", key)
