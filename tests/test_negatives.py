"""Sampled negatives: never what the user had, uniform, the same for every model; ranks among them against a sort."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medleyrec.evaluation import scoring
from medleyrec.evaluation.negatives import Negatives
from medleyrec.evaluation.ranking import NotFiniteError, rank_events
from medleyrec.recipes.ranking import LOG, negatives_of, ranks_of
from medleyrec.recipes.remarks import sampled_notes, sampled_title
from medleyrec.schema import PAD, TEST, EvalEvents, InputError
from tests.test_ranking import Constant, Table, batches_of
from tests.test_time_cut import by_hand, cut


class Shop:
    """A random log of a few users and items; every user's last event is the target."""

    def __init__(self, rng, users, items):
        lengths = rng.integers(1, 9, users)
        self.offsets = np.concatenate([[0], lengths.cumsum()])
        self.log = rng.integers(1, items, self.offsets[-1]).astype(np.int32)
        ends = self.offsets[1:] - 1
        self.events = EvalEvents(np.arange(users), self.offsets[:-1], ends, self.log[ends])

    def negatives(self, candidates, count=5, seed=0):
        return Negatives.of(self.events, self.log, self.offsets, np.asarray(candidates), count=count, seed=seed)

    def had(self, user):
        return set(self.log[self.offsets[user] : self.offsets[user + 1]].tolist())


@st.composite
def shops(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items = draw(st.integers(2, 40))
    shop = Shop(rng, draw(st.integers(1, 7)), items)
    others = rng.permutation(np.arange(1, items + 10))[: draw(st.integers(0, items + 9))]
    return shop, np.union1d(others, shop.events.targets), rng


@settings(max_examples=150, deadline=None)
@given(made=shops(), count=st.integers(1, 30), seed=st.integers(0, 3))
def test_negatives_are_different_candidates_that_the_user_never_had(made, count, seed):
    shop, candidates, _ = made
    drawn = shop.negatives(candidates, count, seed)
    left = drawn.left()
    for user, row in enumerate(drawn[np.arange(len(drawn))]):
        found = row[row != PAD].tolist()
        possible = set(candidates.tolist()) - shop.had(user)
        assert left[user] == len(possible)
        assert len(found) == len(set(found)) == min(count, len(possible))
        assert set(found) <= possible
        assert (row[: len(found)] != PAD).all(), "padding comes last"


@settings(max_examples=100, deadline=None)
@given(made=shops(), count=st.integers(1, 30), block=st.sampled_from([1, 50, 1 << 19]))
def test_ranks_among_negatives_are_those_of_a_plain_sort(made, count, block):
    shop, candidates, rng = made
    E = len(shop.events)
    table = rng.integers(-3, 4, size=(E, 60)).astype(np.float32)
    drawn = shop.negatives(candidates, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BLOCK", block)
        order = np.arange(E)[::-1]
        columns = torch.from_numpy(rng.permutation(candidates))
        ranks = rank_events(Table(table), batches_of(E, order=order), shop.events, columns, negatives=drawn)
    for e, row in enumerate(drawn[np.arange(E)]):
        target, others = table[e][shop.events.targets[e]], [table[e][i] for i in row if i != PAD]
        assert ranks.better[e] == sum(score > target for score in others)
        assert ranks.tied[e] == sum(score == target for score in others)


def test_every_item_that_is_left_is_drawn_equally_often():
    """Chi-square of 4,000 events over 8 items that are left, at p = 0.0001; places in the draw do not matter."""
    log = np.tile(np.array([3, 7, 10], np.int32), 4_000)
    offsets = np.arange(0, len(log) + 1, 3)
    events = EvalEvents(np.arange(4_000), offsets[:-1], offsets[1:] - 1, np.full(4_000, 10, np.int32))
    drawn = Negatives.of(events, log, offsets, np.arange(1, 12), count=3, seed=0)[np.arange(4_000)]
    counts = Counter(drawn.ravel().tolist())
    assert sorted(counts) == [1, 2, 4, 5, 6, 8, 9, 11]
    expected = 4_000 * 3 / 8
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 29.9


def test_pairs_of_items_are_equally_often_drawn_together():
    """A draw without repetition gives each of the 6 pairs of 4 items with probability 1/6: chi-square, p = 0.0001."""
    log = np.full(6_000, 2, np.int32)
    events = EvalEvents(np.arange(6_000), np.arange(6_000), np.arange(6_000), log)
    drawn = Negatives.of(events, log, np.arange(6_001), np.arange(1, 6), count=2, seed=1)[np.arange(6_000)]
    counts = Counter(frozenset(pair) for pair in drawn.tolist())
    assert len(counts) == 6
    assert sum((n - 1_000) ** 2 / 1_000 for n in counts.values()) < 25.7


def shop_of(seed=0):
    return Shop(np.random.default_rng(seed), 20, 300)


def test_a_draw_is_of_the_seed_and_the_event_alone():
    shop, everything = shop_of(), np.arange(1, 300)
    drawn = shop.negatives(everything)
    whole = drawn[np.arange(20)]
    assert np.array_equal(whole, shop.negatives(everything)[np.arange(20)]), "again"
    assert np.array_equal(whole, shop.negatives(everything[::-1])[np.arange(20)]), "whatever the candidates' order"
    assert np.array_equal(whole[[7, 3]], drawn[np.array([7, 3])]), "in another batch"
    some = drawn.take(np.array([4, 9, 11]))
    assert len(some) == 3
    assert np.array_equal(whole[[11, 4]], some[np.array([2, 0])]), "among fewer events"
    assert not np.array_equal(whole, shop.negatives(everything, seed=1)[np.arange(20)])


def test_two_events_of_one_user_have_negatives_of_their_own():
    log = np.arange(1, 7, dtype=np.int32)
    events = EvalEvents(np.array([0, 0]), np.array([0, 0]), np.array([4, 5]), np.array([5, 6], np.int32))
    drawn = Negatives.of(events, log, np.array([0, 6]), np.arange(1, 200), count=20, seed=0)[np.arange(2)]
    assert set(drawn[0].tolist()) != set(drawn[1].tolist())
    assert not set(drawn.ravel().tolist()) & set(range(1, 7)), "nor does one hold the other's target"


def test_two_models_are_judged_on_the_same_negatives():
    """A model that scores by item row alone: its better count is a function of the negatives, so equal twice."""
    shop, candidates = shop_of(), torch.arange(1, 300)
    table = np.tile(np.arange(300.0), (20, 1))
    drawn = shop.negatives(candidates.numpy(), 50)
    one, other = (
        rank_events(Table(table), batches_of(20, rows=rows), shop.events, candidates, negatives=drawn)
        for rows in (3, 20)
    )
    assert one.better.tolist() == other.better.tolist()
    expected = (drawn[np.arange(20)] > shop.events.targets[:, None]).sum(1)
    assert one.better.tolist() == expected.tolist()


def test_a_constant_model_is_in_the_middle_of_its_negatives():
    shop = shop_of()
    ranks = rank_events(
        Constant(), batches_of(20), shop.events, torch.arange(1, 300), negatives=shop.negatives(np.arange(1, 300), 100)
    )
    assert ranks.rank.tolist() == [51.0] * 20


def test_a_score_that_is_not_finite_is_an_error_here_too():
    shop, table = shop_of(), np.ones((20, 300))
    table[3, 5] = np.nan
    with pytest.raises(NotFiniteError, match="model 'table' gives user number 3 the score nan"):
        drawn = shop.negatives(np.arange(1, 300))
        rank_events(Table(table), batches_of(20), shop.events, torch.arange(1, 300), negatives=drawn)


def test_too_few_items_are_said():
    shop = shop_of()
    few = Negatives.of(shop.events, shop.log, shop.offsets, np.arange(1, 300), count=298, seed=0)
    least = int(few.left().min())
    assert sampled_title(few) == "Against up to 298 sampled negatives"
    assert sampled_title(shop.negatives(np.arange(1, 300))) == "Against 5 sampled negatives"
    said = sampled_notes(few)[-1]
    users = int((few.left() < 298).sum())
    assert said.startswith(f"For {users} of 20 events fewer than 298 such items are left (at least {least})")
    assert len(sampled_notes(shop.negatives(np.arange(1, 300)))) == len(sampled_notes(few)) - 1


class Backwards:
    """Scores items by their row: z first, then y, x, w."""

    name = "backwards"

    def scores(self, given, candidates):
        return candidates.float().expand(len(given), -1)


def test_negatives_under_a_time_cut(tmp_path):
    """Missed targets stay behind all, recent popularity ranks who has no history, and the future is not drawn."""
    split = cut(by_hand(tmp_path))
    events = split.eval_events(TEST)
    known = negatives_of(split, events)
    # a, twice: had all of w x y; b: w is left; c: x and y are left; d: w and y are left.
    assert known.left().tolist() == [0, 0, 1, 2, 2]
    ranks = ranks_of(Backwards(), split, events, max_length=5, negatives=known)
    # a: nothing to beat; z unknown, behind all three; b: y before w; c: w behind x and y; d: x most popular.
    assert ranks.rank.tolist() == [1, 4, 1, 3, 1]
    wide = negatives_of(split, events, LOG)
    assert wide.left().tolist() == [0, 0, 2, 2, 3]
    ranks = ranks_of(Backwards(), split, events, max_length=5, candidates=LOG, negatives=wide)
    assert ranks.rank.tolist() == [1, 1, 2, 3, 1]
    assert "(at least 0)" in sampled_notes(wide)[-1]


def test_no_negative_can_be_asked_for():
    with pytest.raises(InputError, match="0 negatives were asked for; ask for at least 1"):
        shop_of().negatives(np.arange(1, 300), 0)


def test_its_name_tells_its_size():
    assert repr(shop_of().negatives(np.arange(1, 300))) == "Negatives(5 of 299 candidates for each of 20 events)"
