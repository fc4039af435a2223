"""Metrics as tables by hand, slices by hand, and one contract for every metric of the registry."""

from math import log2

import numpy as np
import pytest

from medleyrec.evaluation.metrics import METRICS, Values, event_values, mean_over_seeds, metric_names, parse_metric
from medleyrec.evaluation.ranking import Ranks
from medleyrec.evaluation.slices import (
    by_history,
    by_item,
    by_popularity,
    by_user,
    head_and_tail,
    least_of_head,
    of_events,
)
from medleyrec.schema import EvalEvents, InputError


def ranks(*pairs):
    better, tied = np.array(pairs, np.int32).T
    return Ranks(better, tied)


# (better, tied) -> rank: 1, 1.5, 2, 2.5, 5.5, 11
TABLE = ranks((0, 0), (0, 1), (1, 0), (0, 3), (4, 1), (10, 0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hit_rate@1", [1, 0, 0, 0, 0, 0]),
        ("hit_rate@2", [1, 1, 1, 0, 0, 0]),
        ("hit_rate@5", [1, 1, 1, 1, 0, 0]),
        ("hit_rate@6", [1, 1, 1, 1, 1, 0]),
        ("hit_rate@11", [1, 1, 1, 1, 1, 1]),
        ("mrr@2", [1, 2 / 3, 1 / 2, 0, 0, 0]),
        ("mrr@10", [1, 2 / 3, 1 / 2, 2 / 5, 2 / 11, 0]),
        ("ndcg@2", [1, 1 / log2(2.5), 1 / log2(3), 0, 0, 0]),
        ("ndcg@10", [1, 1 / log2(2.5), 1 / log2(3), 1 / log2(3.5), 1 / log2(6.5), 0]),
    ],
)
def test_values_by_hand(name, expected):
    assert event_values(TABLE, [name])[name] == pytest.approx(expected)


def test_means_by_hand():
    assert event_values(TABLE, ["mrr@10"]).means() == {
        "mrr@10": pytest.approx((1 + 2 / 3 + 1 / 2 + 2 / 5 + 2 / 11) / 6)
    }


@pytest.fixture(params=sorted(METRICS))
def metric(request):
    return METRICS[request.param]


def test_first_is_perfect(metric):
    assert metric(np.array([1.0]), 1).tolist() == [1.0]


def test_past_the_cutoff_is_nothing(metric):
    assert metric(np.array([10.5, 11.0, 1e6]), 10).tolist() == [0.0, 0.0, 0.0]


def test_the_cutoff_itself_counts(metric):
    assert metric(np.array([10.0]), 10)[0] > 0


def test_a_worse_rank_is_never_worth_more(metric):
    values = metric(np.arange(1, 30, 0.5), 10)
    assert (np.diff(values) <= 0).all()
    assert ((values >= 0) & (values <= 1)).all()


def test_a_longer_list_is_never_worth_less(metric):
    rank = np.arange(1, 30, 0.5)
    assert (metric(rank, 20) >= metric(rank, 10)).all()


def test_columns_are_named_and_in_order():
    values = event_values(TABLE)
    assert values.names == metric_names()
    assert values.names[:4] == ("hit_rate@5", "hit_rate@10", "hit_rate@20", "ndcg@5")
    assert values.matrix.shape == (6, 9)
    assert "hit_rate@5=0.6667" in repr(values)
    with pytest.raises(InputError, match=r"no metric 'mrr@7' was computed; there are: hit_rate@5, "):
        values["mrr@7"]


def test_metric_names_are_parsed():
    assert parse_metric("ndcg@10") == ("ndcg", 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc@10", "unknown metric 'ndgc@10'; did you mean 'ndcg'"),
        ("auc@10", "known are: hit_rate, ndcg, mrr"),
        ("ndcg", "no cutoff of at least 1; write it as ndcg@10"),
        ("ndcg@0", "no cutoff of at least 1"),
        ("ndcg@-3", "no cutoff of at least 1"),
        ("ndcg@ten", "no cutoff of at least 1"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        parse_metric(name)


def test_seeds_are_averaged_per_event():
    one, other = event_values(ranks((0, 0), (1, 0)), ["mrr@2"]), event_values(ranks((1, 0), (5, 0)), ["mrr@2"])
    assert mean_over_seeds([one, other])["mrr@2"].tolist() == [0.75, 0.25]
    with pytest.raises(ValueError, match="different metrics or events"):
        mean_over_seeds([one, one.take(np.array([0]))])


def test_no_event_has_no_mean():
    with pytest.raises(InputError, match="no event to evaluate"):
        Values(("mrr@2",), np.empty((0, 1))).means()


def parts(masks, E):
    """Every event is in exactly one slice."""
    assert (np.sum(list(masks.values()), axis=0) == np.ones(E)).all()
    return {name: np.flatnonzero(mask).tolist() for name, mask in masks.items() if mask.any()}


def test_slices_by_history():
    lengths = np.array([0, 1, 2, 3, 4, 5, 400])
    assert parts(by_history(lengths, edges=(1, 2, 5)), 7) == {
        "empty history (fallback)": [0],
        "history of 1": [1],
        "history of 2 to 4": [2, 3, 4],
        "history of 5 or more": [5, 6],
    }
    with pytest.raises(ValueError, match="edges must rise from 1"):
        by_history(lengths, edges=(1, 5, 2))


def test_slices_by_popularity():
    """Ten items, of which 9 were trained on. A head of 2 is nearer to a fifth of them than one of 4 or of 1."""
    counts = np.array([99, 50, 60, 20, 20, 4, 3, 2, 1, 1, 0])
    targets = np.array([1, 2, 3, 4, 9, 10], np.int32)
    assert parts(by_popularity(targets, counts), 6) == {
        "head target (50 or more training events)": [0, 1],
        "tail target (under 50)": [2, 3, 4],
        "target never in training": [5],
    }
    assert parts(by_item(targets, counts), 6) == {
        "head item (50 or more training events; 22.2 % of trained items)": [0, 1],
        "tail item (under 50; 77.8 % of trained items)": [2, 3, 4, 5],
    }


@pytest.mark.parametrize(
    ("values", "least"),
    [
        ([1, 2, 3, 4, 5], 5),
        ([5, 1, 4, 2, 3, 6, 7, 8, 9, 10], 9),
        ([1, 1, 1, 1, 9], 9),  # exactly a fifth
        ([1, 9, 9, 9, 9], 9),  # no better cut: the head is four fifths, and said to be
        ([1, 1, 1, 1, 1, 1, 7, 7, 7, 9], 9),  # a tenth is nearer to a fifth than four tenths
        ([1, 1, 1, 1, 1, 1, 7, 7, 8, 8], 8),  # equal values are never parted
        ([3, 3, 3], 3),
        ([0, 0], 0),
        ([], 1),
    ],
)
def test_where_the_head_begins(values, least):
    assert least_of_head(np.array(values, np.int64)) == least


def test_groups_of_users_count_each_user_once_and_the_first_one_too():
    """User 0 has four events and the longest history: as one of five users he is the head, and none of his is lost."""
    users = np.array([0, 0, 0, 0, 1, 2, 3, 4])
    lengths = np.array([9, 9, 9, 9, 1, 2, 3, 4])
    assert parts(by_user(lengths, users), 8) == {
        "head user (9 or more events before the test part; 20.0 % of users)": [0, 1, 2, 3],
        "tail user (under 9; 80.0 % of users)": [4, 5, 6, 7],
    }


def test_head_and_tail_part_the_events_twice_and_leave_out_empty_groups():
    events = EvalEvents(np.array([0, 1]), np.array([0, 4]), np.array([3, 6]), np.array([1, 1], np.int32))
    masks = head_and_tail(events, np.array([0, 7, 2, 2, 2, 2]), np.array([3, 2]))
    assert [(name.split(" (")[0], mask.tolist()) for name, mask in masks.items()] == [
        ("head user", [True, False]),
        ("tail user", [False, True]),
        ("head item", [True, True]),
    ]


def test_slices_of_a_log_without_training():
    assert list(parts(by_popularity(np.array([1, 2], np.int32), np.zeros(3, np.int64)), 2)) == [
        "target never in training"
    ]


def test_slices_of_events_leave_out_the_empty_ones():
    events = EvalEvents(np.arange(2), np.array([0, 4]), np.array([0, 6]), np.array([1, 1], np.int32))
    masks = of_events(events, np.array([0, 7]))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "empty history (fallback)": [True, False],
        "history of 1 to 2": [False, True],
        "head target (7 or more training events)": [True, True],
    }
