"""Near-duplicates by known answers: words, pictures, groups, and copies of the target in the history."""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medleyrec.dataset import PrepareConfig, prepare
from medleyrec.dataset.audit import duplicates, given_away, neighbours, picture_findings, text_findings
from medleyrec.dataset.audit.duplicates import duplicate_in_history
from medleyrec.dataset.audit.neighbours import equal_groups, grouped, join, near_groups, pairs_of
from medleyrec.dataset.audit.pictures import Looks, near_pictures
from medleyrec.dataset.audit.texts import Shingles, near_texts, normal, shingles, words
from medleyrec.dataset.cuts import leave_one_out
from medleyrec.features.perceptual import fingerprint
from medleyrec.recipes.audit import looks_of
from medleyrec.recipes.listener import Listener
from medleyrec.schema import TEST, EvalEvents
from tests.worlds import tables

LOOSE = PrepareConfig(min_user_events=1, min_item_events=1)
PLOT = "a young wizard finds a mirror that shows what the heart wants most and loses it again before the winter ends"


def build(folder, log, goods, pictures=None):
    given = tables(log, goods)
    if pictures:
        table = pa.table({"item_id": list(pictures), "bytes": list(pictures.values())})
        given.connection.register("given_pictures", table)
        given = replace(given, images=given.connection.sql("FROM given_pictures"))
    return prepare(given, folder, LOOSE)[0]


def partition(groups):
    """Sets of positions that share a group."""
    return {frozenset(np.flatnonzero(groups == g).tolist()) for g in np.unique(groups)}


# groups


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=14))
@settings(max_examples=100, deadline=None)
def test_joining_is_that_of_merging_sets(n, links):
    links = [(a % n, b % n) for a, b in links]
    sets = [{i} for i in range(n)]
    groups = np.arange(n)
    for a, b in links:
        one, other = (next(s for s in sets if x in s) for x in (a, b))
        if one is not other:
            sets.remove(other)
            one |= other
        groups = join(groups, np.array([a]), np.array([b]))
    at_once = join(np.arange(n), np.array([a for a, _ in links], int), np.array([b for _, b in links], int))
    assert partition(groups) == partition(at_once) == {frozenset(s) for s in sets}
    assert groups.tolist() == [min(next(s for s in sets if i in s)) for i in range(n)]


def test_only_what_shares_a_key_and_is_alike_is_grouped():
    values = np.array([10, 11, 12, 50, 51, 11, 90])
    keys = np.array([[0, 1], [0, 2], [0, 3], [1, 4], [1, 5], [2, 2], [2, 6]], np.uint64)
    groups = near_groups(keys, lambda a, b: np.abs(values[a] - values[b]) <= 1)
    # 10 ~ 11 ~ 12 by the first key, the other 11 by the second; 90 shares a key with 11 but is not alike
    assert partition(groups) == {frozenset({0, 1, 2, 5}), frozenset({3, 4}), frozenset({6})}
    assert grouped(groups).tolist() == [True, True, True, True, True, True, False]
    assert pairs_of(groups, 5) == [(0, 1), (3, 4)]
    assert pairs_of(groups, 1) == [(0, 1)]


def test_work_stays_linear_in_a_crowded_bucket():
    n, asked = 5_000, []

    def alike(a, b):
        asked.append(len(a))
        return np.zeros(len(a), bool)

    near_groups(np.zeros((n, 1), np.uint64), alike)
    assert sum(asked) <= n * neighbours.REACH
    asked.clear()
    near_groups(np.zeros((n, 3), np.uint64), lambda a, b: alike(a, b) | True)
    assert sum(asked) == n - 1, "what is in one group is not compared again"


def test_neighbours_in_a_crowded_bucket_are_found_by_their_order():
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(0, 4000, 10), 2))
    keys = np.zeros((len(values), 1), np.uint64)
    groups = near_groups(keys, lambda a, b: values[a] == values[b], order_by=[values])
    assert all(len(g) == 2 for g in partition(groups))


def test_equal_keys():
    assert equal_groups(["a", None, "b", "a", None]).tolist() == [0, 1, 2, 0, 4]


# texts


def test_words_set_case_punctuation_and_typography_aside():
    assert words("The Matrix—RELOADED (2003), \uff26\uff55\uff4c\uff4c HD!") == [
        "the", "matrix", "reloaded", "2003", "full", "hd",
    ]  # fmt: skip
    assert words("红色 wool 帽") == ["红", "色", "wool", "帽"]
    assert normal("Stra\u00dfe 5") == normal("STRASSE, 5")
    assert normal(" -- ") is None
    assert normal(None) is None


def test_shingles_are_words_and_neighbouring_pairs():
    assert len(shingles("one two three four")) == 4 + 3
    assert len(shingles("one two three")) == 0, "too short to be judged"
    assert len(shingles("one one one one")) == 2, "'one' and 'one one'"


def test_near_texts_by_hand():
    changed = PLOT.replace("mirror", "lantern")
    half = " ".join(PLOT.split()[:10]) + " when nobody looks and so the story never comes to any end"
    texts = [PLOT, "short", changed, half, "short", PLOT.upper() + "!"]
    assert partition(near_texts(Shingles.of(texts))) == {
        frozenset({0, 2, 5}), frozenset({1}), frozenset({3}), frozenset({4}),
    }  # fmt: skip


def test_near_texts_among_many_are_those_of_all_pairs():
    """Against the Jaccard similarity of all pairs: 0.93, and 0.76, which a signature cannot tell from 0.8."""
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(150):
        base = [f"w{n}" for n in rng.integers(0, 400, size=30)]
        texts += [" ".join(base), " ".join([*base[:29], "other"]), " ".join([*base[:26], *"abcd"])]
    sets = [set(shingles(t).tolist()) for t in texts]
    groups = near_texts(Shingles.of(texts))
    pairs = {(i, j) for i in range(450) for j in range(i) if len(sets[i] & sets[j]) >= 0.8 * len(sets[i] | sets[j])}
    assert len(pairs) == 150
    assert {(i, j) for i in range(450) for j in range(i) if groups[i] == groups[j]} == pairs


def goods(*rows):
    return [dict(zip(("item_id", "title", "brand", "description"), row, strict=False)) for row in rows]


def test_titles_brands_and_texts_of_a_catalogue(tmp_path):
    catalogue = goods(
        ("a", "Red Hat", "Acme", None),
        ("b", "red hat!", "acme", None),
        ("c", "RED-HAT", "Other", None),
        ("d", "Story", None, PLOT),
        ("e", "Story", None, PLOT + " really"),
        ("f", None, "Acme", None),
        ("g", None, "Acme", None),
    )
    data = build(tmp_path / "d", [("u", i, t) for t, i in enumerate("abcdefg")], catalogue)
    (titles, texts), groups = text_findings(data)
    assert titles.values == {"items": 5, "share": 5 / 7, "with_brand": 2}
    assert titles.examples == (("a", "b"), ("d", "e"))
    assert texts.values == {"items": 2, "share": 2 / 7, "groups": 1, "largest": 2}
    assert texts.examples == (("d", "e"),)
    assert "for example a and b; d and e; 2 of these have its brand too" in titles.sentence
    assert {titles.level, texts.level} == {"caution"}
    assert partition(groups["text"][1:]) == {frozenset({3, 4}), *(frozenset({n}) for n in (0, 1, 2, 5, 6))}


def test_a_large_catalogue_is_sampled_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_TEXTS", 4)
    data = build(tmp_path / "d", [("u", f"i{n}", n) for n in range(9)], goods(*((f"i{n}", "Hat") for n in range(9))))
    (titles, _), groups = text_findings(data)
    assert titles.values == {"items": 4, "share": 1, "with_brand": 0}
    assert "4 items (100.0 % of 4 items drawn at random)" in titles.sentence
    assert grouped(groups["title"]).sum() == 4


# pictures


def drawing(seed, size=(200, 160)):
    """A smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, size=(6, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def stored(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def looks(*contents):
    prints = [fingerprint(c) for c in contents]
    blank = np.uint64(0), np.zeros((8, 9, 3), np.uint8)
    return Looks(
        rows=np.arange(1, len(contents) + 1),
        contents=tuple(str(c) for c in contents),
        readable=np.array([p is not None for p in prints]),
        hashes=np.array([(p or blank)[0] for p in prints], np.uint64),
        thumbnails=np.array([(p or blank)[1] for p in prints], np.uint8),
    )


def test_the_hash_says_where_brightness_rises():
    ramp = Image.fromarray(np.tile(np.arange(0, 252, 28, dtype=np.uint8), (8, 1)))
    assert fingerprint(stored(ramp))[0] == (1 << 64) - 1
    assert fingerprint(stored(ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))[0] == 0
    halves = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 72, 0).repeat(36, 1))
    assert fingerprint(stored(halves))[0] == int("00011000" * 8, 2), "the edge lies inside the fifth cell of nine"


@pytest.mark.parametrize("content", [b"", b"no picture", stored(drawing(0))[:90], b"\xff\xd8\xff\xe0 broken"])
def test_what_is_no_picture_has_no_fingerprint(content):
    assert fingerprint(content) is None


def test_scaled_and_compressed_copies_are_found_and_others_are_not():
    originals = [drawing(seed) for seed in range(60)]
    copies = [
        stored(im.resize((90, 70)) if n % 2 else im, "JPEG", quality=40 + n % 50) for n, im in enumerate(originals)
    ]
    groups = near_pictures(looks(*(stored(im) for im in originals), *copies))
    assert partition(groups) == {frozenset({n, n + 60}) for n in range(60)}


def test_plain_pictures_are_told_apart_by_colour():
    plain = [stored(Image.new("RGB", size, c)) for size in ((9, 9), (40, 30)) for c in ("red", "green", "blue")]
    assert partition(near_pictures(looks(*plain))) == {frozenset({n, n + 3}) for n in range(3)}


def test_unreadable_pictures_are_like_nothing():
    assert partition(near_pictures(looks(b"x", b"y", stored(drawing(1))))) == {
        frozenset({0}), frozenset({1}), frozenset({2}),
    }  # fmt: skip


def test_pictures_of_a_dataset(tmp_path):
    pictures = {
        "a": stored(drawing(1)), "b": stored(drawing(1)), "c": stored(drawing(1), "JPEG"), "d": stored(drawing(2)),
        "e": b"broken", "f": b"broken",
    }  # fmt: skip
    data = build(tmp_path / "d", [("u", i, t) for t, i in enumerate("abcdefg")], None, pictures)
    seen = looks_of(data, Listener())
    (found,), groups = picture_findings(data, seen)
    assert found.values == {
        "pictures": 6, "unreadable": 2, "equal_bytes": 4, "near": 5, "share": 5 / 6, "groups": 2,
    }  # fmt: skip
    assert found.examples == (("a", "b"), ("e", "f"))
    assert partition(groups["picture"][1:]) == {
        frozenset({0, 1, 2}), frozenset({4, 5}), frozenset({3}), frozenset({6}),
    }  # fmt: skip
    assert "drawn at random" not in found.sentence


@pytest.mark.parametrize("most", [3, 8])
def test_many_pictures_are_sampled_and_it_is_said(tmp_path, most):
    pictures = {f"i{n}": stored(drawing(n, (20, 20))) for n in range(0, 16, 2)}
    data = build(tmp_path / "d", [("u", f"i{n}", n) for n in range(16)], None, pictures)
    seen = looks_of(data, Listener(), most=most)
    again = looks_of(data, Listener(), most=most)
    assert len(seen) == most
    assert seen.rows.tolist() == again.rows.tolist()
    assert all(data.picture(int(row)) for row in seen.rows)
    (found,), _ = picture_findings(data, seen)
    assert ("Of 3 pictures drawn at random of 16 items" in found.sentence) == (most == 3)


# histories


def test_a_copy_of_the_target_in_the_history_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    catalogue = goods(*((i, "Hat" if i in "ab" else f"Thing {i}", None, PLOT if i in "xy" else None) for i in "abxyz"))
    log = [
        *(("copy", i, t) for t, i in enumerate("azb")),  # the target b has the title of a
        *(("same", i, t) for t, i in enumerate("bzb")),  # a repeat is no copy
        *(("text", i, t) for t, i in enumerate("xzy")),  # the target y has nearly the text of x
        *(("none", i, t) for t, i in enumerate("xzb")),  # x has a copy, but not of the target
    ]
    data = build(tmp_path / "d", log, catalogue)
    split = leave_one_out(data)
    _, groups = text_findings(data)
    found = given_away(split, groups)
    assert found.values == {"asked": 4, "events": 2, "share": 1 / 2, "title": 1, "text": 1}
    assert "For 2 of 4 test events (50.0 %)" in found.sentence
    users = [data.user_ids[u] for u in split.eval_events(TEST).users]
    mask = duplicate_in_history(data, split.eval_events(TEST), groups["title"])
    assert dict(zip(users, mask.tolist(), strict=True)) == {"copy": True, "same": False, "text": False, "none": False}
    monkeypatch.setattr(duplicates, "MOST_EVENTS", 3)
    assert "of 3 test events drawn at random" in given_away(split, groups).sentence


def test_an_event_without_history_has_no_copy(tmp_path):
    data = build(tmp_path / "d", [("u", "a", 1), ("u", "b", 2)], goods(("a", "Hat"), ("b", "Hat")))
    events = EvalEvents(np.array([0, 0]), np.array([0, 0]), np.array([0, 1]), np.array([1, 2], np.int32))
    assert duplicate_in_history(data, events, np.array([0, 1, 1])).tolist() == [False, True]
