"""Ranks against a plain sort, and what must not be ranked at all."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medleyrec.evaluation import scoring
from medleyrec.evaluation.ranking import NotFiniteError, Ranks, rank_events, seen_items, top_items
from medleyrec.evaluation.reach import reach
from medleyrec.schema import PAD, Batch, EvalEvents, InputError


class Table:
    """A ranker whose scores stand in a table: users x item rows."""

    name = "table"

    def __init__(self, table):
        self.table = torch.as_tensor(table, dtype=torch.float32)

    def scores(self, batch, candidates):
        return self.table[batch.users][:, candidates]


class Constant:
    name = "constant"

    def scores(self, batch, candidates):
        return torch.zeros(1).expand(len(batch), len(candidates))


def events_of(targets):
    E = len(targets)
    return EvalEvents(np.arange(E), np.arange(E) * 3, np.arange(E) * 3 + 2, np.array(targets, np.int32))


def batches_of(E, rows=4, order=None):
    """Batches that hold the events 0..E-1, in any order; user e has event e."""
    order = np.arange(E) if order is None else np.array(order)
    for at in range(0, E, rows):
        pick = order[at : at + rows]
        users = torch.from_numpy(pick)
        blank = torch.zeros(len(pick), 1, dtype=torch.int64)
        yield pick, Batch(blank, blank, torch.zeros(len(pick), dtype=torch.int64), blank, users)


def by_sorting(table, targets, candidates, hidden=None):
    """The same by a plain sort: the middle of the places that the target's score occupies."""
    ranks = []
    for e, target in enumerate(targets):
        left_out = set() if hidden is None else set(hidden[e]) - {target}
        scores = sorted((float(table[e][c]) for c in candidates if c not in left_out), reverse=True)
        places = [i for i, s in enumerate(scores, start=1) if s == float(table[e][target])]
        ranks.append((places[0] + places[-1]) / 2)
    return ranks


@st.composite
def worlds(draw):
    """Few different scores, so that ties abound; candidates in any order and not all of them."""
    E, V = draw(st.integers(1, 9)), draw(st.integers(2, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    table = rng.integers(-3, draw(st.integers(-2, 40)), size=(E, V)).astype(np.float32)
    candidates = rng.permutation(np.arange(1, V))[: draw(st.integers(1, V - 1))]
    targets = rng.choice(candidates, E)
    hidden = [rng.integers(1, V + 5, size=rng.integers(0, V)).astype(np.int32) for _ in range(E)]
    return table, candidates, targets, hidden


@settings(max_examples=150, deadline=None)
@given(world=worlds(), masked=st.booleans(), block=st.sampled_from([1, 150, 1 << 19]))
def test_ranks_are_those_of_a_plain_sort(world, masked, block):
    table, candidates, targets, hidden = world
    E, seen = len(targets), hidden if masked else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BLOCK", block)
        order = np.arange(E)[::-1]
        ranks = rank_events(
            Table(table), batches_of(E, order=order), events_of(targets), torch.from_numpy(candidates), seen=seen
        )
    assert ranks.rank.tolist() == by_sorting(table, targets, candidates, seen)


@settings(max_examples=150, deadline=None)
@given(world=worlds(), k=st.integers(1, 70), masked=st.booleans(), block=st.sampled_from([1, 150, 1 << 19]))
def test_top_items_are_those_of_a_stable_sort(world, k, masked, block):
    table, candidates, targets, hidden = world
    E = len(targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BLOCK", block)
        ids, scores = top_items(
            Table(table), batches_of(E), torch.from_numpy(candidates), k, seen=hidden if masked else None
        )
    for e in range(E):
        left = [c for c in candidates.tolist() if not (masked and c in hidden[e])]
        best = sorted(left, key=lambda c: -table[e][c])[:k]
        rest = min(k, len(candidates)) - len(best)
        assert ids[e].tolist() == best + [PAD] * rest
        assert scores[e].tolist() == [table[e][c] for c in best] + [-np.inf] * rest
    assert ids.dtype == np.int32
    assert scores.dtype == np.float32


def test_a_rank_by_hand():
    table = [[9, 5, 7, 7, 1], [9, 2, 2, 2, 2], [9, 4, 3, 2, 1]]  # column 0 is padding
    ranks = rank_events(Table(table), batches_of(3), events_of([3, 1, 4]), torch.arange(1, 5))
    assert ranks.better.tolist() == [0, 0, 3]
    assert ranks.tied.tolist() == [1, 3, 0]
    assert ranks.rank.tolist() == [1.5, 2.5, 4.0]
    assert repr(ranks) == "Ranks(3 events, median rank 2.5, 2 tied)"
    assert ranks.take(np.array([2])).rank.tolist() == [4.0]


@pytest.mark.parametrize("C", [1, 2, 7])
def test_a_constant_model_ranks_everything_in_the_middle(C):
    ranks = rank_events(Constant(), batches_of(5), events_of([C] * 5), torch.arange(1, C + 1))
    assert ranks.rank.tolist() == [(C + 1) / 2] * 5


def test_scores_that_differ_in_the_last_bit_are_no_tie():
    one = np.float32(1.0)
    table = [[0, one, np.nextafter(one, np.float32(2)), np.nextafter(one, np.float32(0))]]
    ranks = rank_events(Table(table), batches_of(1), events_of([1]), torch.arange(1, 4))
    assert (ranks.better.tolist(), ranks.tied.tolist()) == ([1], [0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [(0, 1), (5, 3), (6, 2)])
@pytest.mark.parametrize("block", [1, 1 << 19])
def test_a_score_that_is_not_finite_names_user_and_model(value, place, block, monkeypatch):
    monkeypatch.setattr(scoring, "_BLOCK", block)
    table = np.ones((7, 4))
    table[place] = value
    told = rf"model 'table' gives user 'anna-{place[0]}' the score {value}"
    for rank in (
        lambda: rank_events(
            Table(table), batches_of(7), events_of([1] * 7), torch.arange(1, 4), user_names="anna-{}".format
        ),
        lambda: top_items(Table(table), batches_of(7), torch.arange(1, 4), 2, user_names="anna-{}".format),
    ):
        with pytest.raises(NotFiniteError, match=told):
            rank()


def test_what_padding_scores_is_of_no_interest():
    ranks = rank_events(Table([[np.nan, 1, 2]]), batches_of(1), events_of([1]), torch.tensor([1, 2]))
    assert ranks.rank.tolist() == [2.0]


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([0, 1, 2], "item row 0 is among the candidates; items are rows from 1 on"),
        ([1, 2, 2], "1 of 3 candidates are listed twice"),
        ([], "a list of at least one item row is needed"),
        ([1, 3], "target of 1 of 2 events is not among the candidates, first item row 2 of user 'bo-1'"),
    ],
)
def test_candidates_that_cannot_be_ranked(candidates, message):
    with pytest.raises(InputError, match=message):
        rank_events(
            Constant(),
            batches_of(2),
            events_of([1, 2]),
            torch.tensor(candidates, dtype=torch.int64),
            user_names="bo-{}".format,
        )


def test_the_target_stays_though_it_was_seen():
    seen = [np.array([1, 2, 3], np.int32)]
    ranks = rank_events(Table([[0, 3, 2, 1, 0]]), batches_of(1), events_of([3]), torch.arange(1, 5), seen=seen)
    assert ranks.rank.tolist() == [1.0]
    ids, _ = top_items(Table([[0, 3, 2, 1, 0]]), batches_of(1), torch.arange(1, 5), 2, seen=seen)
    assert ids.tolist() == [[4, PAD]]


def test_scores_are_not_written_to():
    table = np.arange(24.0).reshape(4, 6)
    ranker = Table(table)
    ranker.scores = lambda batch, candidates: ranker.table[:, 1:]
    seen = [np.array([2], np.int32)] * 4
    rank_events(ranker, batches_of(4), events_of([1] * 4), torch.arange(1, 6), seen=seen)
    top_items(ranker, batches_of(4), torch.arange(1, 6), 2, seen=seen)
    assert ranker.table.tolist() == table.tolist()


def test_what_a_user_had_before_is_the_history_of_the_event():
    log = np.array([4, 5, 6, 7, 8, 9], np.int32)
    assert [s.tolist() for s in seen_items(log, events_of([6, 9]))] == [[4, 5], [7, 8]]


def test_progress_counts_every_event():
    done = []
    rank_events(Constant(), batches_of(10), events_of([1] * 10), torch.arange(1, 3), progress=done.append)
    assert done == [4, 4, 2]


def test_batches_must_hold_each_event():
    with pytest.raises(ValueError, match="2 of 5 events were in no batch"):
        rank_events(Constant(), batches_of(3), events_of([1] * 5), torch.arange(1, 3))
    with pytest.raises(ValueError, match="do not hold each of the rows"):
        top_items(Constant(), batches_of(3, order=[0, 1, 1]), torch.arange(1, 3), 1)


def test_scores_of_a_wrong_shape_name_the_model():
    ranker = Table(np.ones((4, 3)))
    ranker.scores = lambda batch, candidates: torch.ones(len(batch), 1)
    with pytest.raises(ValueError, match=r"model 'table' gave scores of shape \(4, 1\), not \(4, 2\)"):
        rank_events(ranker, batches_of(4), events_of([1] * 4), torch.arange(1, 3))


def test_zero_items_cannot_be_asked_for():
    with pytest.raises(InputError, match="ask for at least 1"):
        top_items(Constant(), batches_of(1), torch.arange(1, 3), 0)


def test_no_events_give_no_ranks():
    assert len(rank_events(Constant(), iter(()), events_of([]), torch.arange(1, 3))) == 0
    assert top_items(Constant(), iter(()), torch.arange(1, 3), 2)[0].shape == (0, 2)


def test_ranks_must_be_of_equal_length():
    with pytest.raises(ValueError, match="unequal columns"):
        Ranks(np.zeros(2, np.int32), np.zeros(3, np.int32))


def test_reach_by_hand():
    """Items 1..4 with 10, 0, 10 and 30 training events; item 4 is shown twice, item 1 once, a place is left open."""
    ids = np.array([[4, 1], [4, PAD]], np.int32)
    found = reach(ids, np.array([1, 2, 3, 4]), np.array([0, 10, 0, 10, 30]))
    assert found.k == 2
    assert found.coverage == 2 / 4
    assert found.mean_popularity == pytest.approx((30 + 30 + 10) / 3)
    # Percentiles among 0, 10, 10, 30: item 4 stands at 87.5, item 1 (one below, tied with one) at 50.
    assert found.popularity_percentile == pytest.approx((87.5 + 87.5 + 50) / 3)
