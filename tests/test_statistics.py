"""Intervals and tests on data where theory knows the answer, each with its control."""

import numpy as np
import pytest

from medleyrec.evaluation.comparisons import compare_all, every_pair
from medleyrec.evaluation.metrics import Values
from medleyrec.evaluation.statistics import Estimate, compare, holm, intervals, sign_flip_p, slice_intervals
from medleyrec.schema import InputError

rng = np.random.default_rng


def values(*columns, names=None):
    return Values(
        tuple(names or (f"hit_rate@{i + 1}" for i in range(len(columns)))), np.column_stack(columns).astype(float)
    )


def one(column, users=None, **options):
    found = values(column)
    return intervals(found, np.arange(len(column)) if users is None else users, **options)["hit_rate@1"]


def test_the_interval_of_a_share_is_the_normal_one():
    hits = np.arange(1000) % 5 == 0  # a share of .2
    estimate, half = one(hits, resamples=4000), 1.96 * np.sqrt(0.2 * 0.8 / 1000)
    assert estimate.value == pytest.approx(0.2)
    assert estimate.low == pytest.approx(0.2 - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(0.2 + half, abs=0.1 * half)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """95 % of 300 intervals, give or take 4 standard deviations of such a count."""
    draws = rng(1)
    held = 0
    for trial in range(300):
        estimate = one(draws.random(200) < 0.3, resamples=300, seed=trial)
        held += estimate.low <= 0.3 <= estimate.high
    assert 270 <= held <= 299


def test_a_lower_level_is_narrower():
    hits = np.arange(1000) % 2
    wide, narrow = one(hits), one(hits, level=0.5)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_events_of_one_user_are_drawn_together():
    """Each user four times: no more is known than before, so the interval stays as wide."""
    hits = rng(2).random(500) < 0.4
    once = one(hits)
    clustered = one(np.repeat(hits, 4), users=np.repeat(np.arange(500), 4))
    pretended = one(np.repeat(hits, 4))
    assert clustered.high - clustered.low == pytest.approx(once.high - once.low, rel=0.1)
    assert pretended.high - pretended.low == pytest.approx((once.high - once.low) / 2, rel=0.15)
    assert clustered.value == once.value == pretended.value


def test_users_need_not_be_sorted_nor_dense():
    hits = rng(3).random(300) < 0.4
    users = np.repeat(np.arange(100), 3)
    order = rng(4).permutation(300)
    named = one(hits[order], users=(10_000 - 7 * users)[order])
    assert named.value == pytest.approx(one(hits, users=users).value)
    assert named.high - named.low == pytest.approx((e := one(hits, users=users)).high - e.low, rel=0.15)


def test_a_mean_over_events_weighs_users_by_their_events():
    assert one([1, 1, 1, 0], users=np.array([5, 5, 5, 9])).value == 0.75


def test_without_spread_there_is_no_width():
    assert one(np.ones(10)) == Estimate(value=1.0, low=1.0, high=1.0)


def test_the_same_seed_gives_the_same_numbers():
    hits = rng(5).random(400) < 0.4
    assert one(hits, seed=3) == one(hits, seed=3) != one(hits, seed=4)


def test_all_metrics_share_the_resamples():
    hits = rng(6).random(400)
    found = intervals(values(hits, 2 * hits), np.arange(400))
    assert found["hit_rate@2"].low == pytest.approx(2 * found["hit_rate@1"].low)


def test_a_slice_is_as_if_evaluated_alone():
    hits = rng(7).random(2000) < np.where(np.arange(2000) < 500, 0.7, 0.2)
    first = np.arange(2000) < 500
    found = slice_intervals(values(hits), np.arange(2000), {"first": first, "rest": ~first, "none": first & ~first})
    alone = one(hits[first])
    assert list(found) == ["first", "rest"]
    assert found["first"]["hit_rate@1"].value == alone.value
    assert found["first"]["hit_rate@1"].low == pytest.approx(alone.low, abs=0.01)
    assert found["first"]["hit_rate@1"].high == pytest.approx(alone.high, abs=0.01)


def test_a_slice_of_one_event_in_many_is_still_a_number():
    mask = np.arange(500) == 3
    found = slice_intervals(values(np.arange(500) == 3), np.arange(500), {"one": mask})
    assert found["one"]["hit_rate@1"] == Estimate(value=1.0, low=1.0, high=1.0)


def test_no_events_are_refused():
    with pytest.raises(InputError, match="no event to evaluate"):
        one(np.empty(0))


def test_an_estimate_is_finite_and_in_order():
    assert str(Estimate(value=0.5, low=0.25, high=0.75)) == "0.5000 (0.2500 to 0.7500)"
    for bad in ({"value": float("nan")}, {"low": 0.8}, {"high": float("inf")}):
        with pytest.raises(ValueError, match="no interval"):
            Estimate(**{"value": 0.5, "low": 0.25, "high": 0.75, **bad})


def test_p_of_five_wins_in_five_is_that_of_counting():
    """Of the 32 sign patterns of five equal differences, two are as extreme as all plus: p = 1/16."""
    assert sign_flip_p(np.ones((5, 1)), draws=20_000)[0] == pytest.approx(1 / 16, abs=0.006)


def test_p_counts_ties_of_rounded_sums_as_ties():
    """.1 + .2 + .3 in any order: the patterns +++ and --- alone are as extreme, 2 of 8."""
    assert sign_flip_p(np.array([[0.1], [0.2], [0.3]]), draws=20_000)[0] == pytest.approx(2 / 8, abs=0.015)


def test_p_is_one_where_nothing_differs():
    assert sign_flip_p(np.zeros((50, 2))).tolist() == [1.0, 1.0]
    assert sign_flip_p(np.array([[1.0], [-1.0]]))[0] == 1.0


def test_p_is_never_zero_and_tiny_under_a_real_difference():
    assert sign_flip_p(rng(8).normal(0.5, 1, (500, 1)), draws=999)[0] == 1 / 1000


def test_p_does_not_depend_on_the_direction():
    differences = rng(9).normal(0.1, 1, (200, 1))
    assert sign_flip_p(differences)[0] == pytest.approx(sign_flip_p(-differences)[0])


def test_p_is_uniform_where_there_is_no_difference():
    p = sign_flip_p(rng(10).normal(size=(40, 400)), draws=500)
    assert np.abs(np.sort(p) - np.linspace(0, 1, 400)).max() < 1.63 / np.sqrt(400)  # Kolmogorov at 1 %
    assert 0.02 < (p < 0.05).mean() < 0.09


def test_p_of_users_not_of_events():
    """Ten users, fifty equal events each: as sure as ten users with one event."""
    differences = np.array([1, 1, 1, 1, 1, 1, 1, -1, -1, 1.0])
    many = np.repeat(differences, 50)
    users = np.repeat(np.arange(10), 50)
    p = compare(values(many), values(0 * many), users)["hit_rate@1"].p
    assert p == pytest.approx(sign_flip_p(differences[:, None])[0])
    assert p == pytest.approx(112 / 1024, abs=0.02)  # at most two of ten on one side: 2 (1 + 10 + 45) / 1024


def test_a_comparison_is_that_of_pairs():
    """Two models that differ by little, user by user, though users differ by much."""
    easy = rng(11).random(400)
    found = compare(values(easy + 0.01), values(easy), np.arange(400))["hit_rate@1"]
    assert found.difference.value == pytest.approx(0.01)
    assert found.difference.low == pytest.approx(0.01)
    assert found.p < 0.001


def test_only_like_is_compared_with_like():
    with pytest.raises(ValueError, match="only equal metrics of equal events"):
        compare(values(np.ones(3)), values(np.ones(4)), np.arange(3))
    with pytest.raises(ValueError, match="2 users for 3 events"):
        intervals(values(np.ones(3)), np.arange(2))


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # sorted .005*4, .01*3, .03*2, then .04*1 kept at .06
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.03, 0.03], [0.06, 0.06]),
        ([], []),
    ],
)
def test_holm_by_hand(p, adjusted):
    assert holm(p).tolist() == pytest.approx(adjusted)


def test_comparisons_are_corrected_together():
    base = rng(12).random(300)
    models = {"popularity": values(base), "noise": values(rng(13).permutation(base)), "good": values(base + 0.2)}
    pairs = [("noise", "popularity"), ("good", "popularity")]
    noise, good = compare_all(models, np.arange(300), pairs, ["hit_rate@1"])
    assert (noise.model, noise.reference, noise.metric) == ("noise", "popularity", "hit_rate@1")
    assert good.p_holm == pytest.approx(2 * good.p)
    assert noise.p_holm == noise.p > 0.05
    assert (good.better, good.worse, good.shown) == (True, False, True)
    assert (noise.better, noise.worse, noise.shown) == (False, False, False)
    (bad,) = compare_all(models, np.arange(300), [("popularity", "good")], ["hit_rate@1"])
    assert (bad.better, bad.worse) == (False, True)
    assert bad.difference.value == pytest.approx(-0.2)


def test_every_two_models_are_a_pair_once():
    assert every_pair(["b", "ids", "c"], ["popularity"], "ids") == [
        ("b", "popularity"),
        ("ids", "popularity"),
        ("c", "popularity"),
        ("b", "ids"),
        ("c", "ids"),
        ("c", "b"),
    ]
    assert every_pair(["a", "b"], [], None) == [("b", "a")]
    assert every_pair([], ["popularity"], None) == []
    many = [f"m{i}" for i in range(9)]
    between = every_pair(many, [], "m4")
    assert len({frozenset(pair) for pair in between}) == len(between) == 9 * 8 / 2
    assert {reference for model, reference in between if "m4" in (model, reference)} == {"m4"}
