"""Scores formed block by block: the same ranks and first items as from whole (B, C) scores, and nothing unseen."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medleyrec.evaluation import products, ranking, scoring
from medleyrec.evaluation.ranking import NotFiniteError, rank_events, top_items
from medleyrec.models.base import Frozen, SequenceModel
from medleyrec.schema import Batch, EvalEvents


class Given(SequenceModel):
    """A model whose states are given: user u has state u, whatever the history."""

    name = "given"
    max_length = 4

    def __init__(self, states, table):
        super().__init__()
        self.states, self.table, self.encoded, self.tables = states, table, [], 0
        self.eval()

    def rows(self):
        raise AssertionError

    def last_state(self, batch, table):
        self.encoded.append(batch.items.shape)
        return self.states[batch.users]


class Rows:
    """An item table that counts how often it is made."""

    def __init__(self, model):
        self.model = model

    def all(self):
        self.model.tables += 1
        return self.model.table


class Plain:
    """The same model as any other ranker: all scores at once."""

    name = "plain"

    def __init__(self, model):
        self.model = model

    def scores(self, batch, candidates):
        return self.model.states[batch.users] @ self.model.table[candidates].T


def given_model(rng, *, users, items, width, spread=2):
    """Small integers, so that products are exact and ties abound."""
    states = torch.from_numpy(rng.integers(-spread, spread + 1, (users, width))).float()
    model = Given(states, torch.from_numpy(rng.integers(-spread, spread + 1, (items, width))).float())
    model.__dict__["rows"] = Rows(model)
    return model


def batches_of(users, rows, length=1):
    for at in range(0, users, rows):
        who = np.arange(at, min(at + rows, users))
        blank = torch.zeros(len(who), length, dtype=torch.int64)
        yield who, Batch(blank, blank, torch.ones(len(who), dtype=torch.int64), blank, torch.from_numpy(who))


def events_of(targets):
    E = len(targets)
    return EvalEvents(np.arange(E), np.zeros(E, int), np.zeros(E, int), np.array(targets, np.int32))


@st.composite
def worlds(draw):
    users, items = draw(st.sampled_from([1, 7, 20, 70])), draw(st.sampled_from([2, 33, 64, 100, 333]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    model = given_model(rng, users=users, items=items, width=draw(st.integers(1, 5)), spread=draw(st.integers(0, 3)))
    candidates = np.arange(1, items)
    if draw(st.booleans()):
        candidates = rng.permutation(candidates)[: draw(st.integers(1, items - 1))]
    seen = [rng.integers(1, items + 9, rng.integers(0, items)).astype(np.int32) for _ in range(users)]
    return model, torch.from_numpy(candidates), rng.choice(candidates, users), seen if draw(st.booleans()) else None


SIZES = {"block": st.sampled_from([1, 700, 1 << 20]), "panel": st.sampled_from([3, 16, 256])}


@settings(max_examples=120, deadline=None)
@given(world=worlds(), rows=st.sampled_from([5, 40, 100]), strip=st.sampled_from([3, 1 << 16]), block=SIZES["block"])
def test_ranks_are_those_of_whole_scores(world, rows, strip, block):
    model, candidates, targets, seen = world
    events, users = events_of(targets), len(targets)
    wanted = rank_events(Plain(model), batches_of(users, users), events, candidates, seen=seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BLOCK", block)
        patch.setattr(ranking, "_STRIP", strip)
        found = rank_events(Frozen(model), batches_of(users, rows), events, candidates, seen=seen)
    assert found.better.tolist() == wanted.better.tolist()
    assert found.tied.tolist() == wanted.tied.tolist()


@settings(max_examples=120, deadline=None)
@given(world=worlds(), k=st.integers(1, 40), rows=st.sampled_from([5, 40, 100]), **SIZES)
def test_first_items_are_those_of_a_stable_sort_of_whole_scores(world, k, rows, block, panel):
    model, candidates, targets, seen = world
    users = len(targets)
    scores = (model.states @ model.table[candidates].T).numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BLOCK", block)
        patch.setattr(scoring, "_PANEL", panel)
        ids, values = top_items(Frozen(model), batches_of(users, rows), candidates, k, seen=seen)
    for user in range(users):
        left_out = set() if seen is None else set(seen[user].tolist())
        left = [c for c in range(len(candidates)) if int(candidates[c]) not in left_out]
        best = sorted(left, key=lambda c: -scores[user, c])[:k]
        places = min(k, len(candidates))
        assert ids[user].tolist() == [int(candidates[c]) for c in best] + [0] * (places - len(best))
        assert values[user].tolist() == [scores[user, c] for c in best] + [-np.inf] * (places - len(best))


def test_scores_that_rise_with_the_column_replace_all_that_was_found(monkeypatch):
    """The worst order: every block holds more than the k best so far."""
    monkeypatch.setattr(scoring, "_BLOCK", 1)
    model = given_model(np.random.default_rng(0), users=3, items=300, width=1)
    model.states, model.table = torch.tensor([[1.0], [0.5], [-1.0]]), torch.arange(300.0)[:, None]
    ids, values = top_items(Frozen(model), batches_of(3, 3), torch.arange(1, 300), 5)
    assert ids.tolist() == [[299, 298, 297, 296, 295]] * 2 + [[1, 2, 3, 4, 5]]
    assert values[1].tolist() == [149.5, 149.0, 148.5, 148.0, 147.5]


def test_a_bare_model_makes_its_item_table_once():
    model = given_model(np.random.default_rng(0), users=40, items=9, width=2)
    rank_events(model, batches_of(40, 4), events_of([1] * 40), torch.arange(1, 9))
    assert model.tables == 1
    top_items(model, batches_of(40, 4), torch.arange(1, 9), 3)
    assert model.tables == 2


def test_a_model_that_scores_otherwise_is_asked_for_its_scores():
    class Otherwise(Frozen):
        def scores(self, batch, candidates):
            return -super().scores(batch, candidates)

    model = given_model(np.random.default_rng(0), users=2, items=4, width=1)
    model.states, model.table = torch.ones(2, 1), torch.arange(4.0)[:, None]
    assert rank_events(Frozen(model), batches_of(2, 2), events_of([3, 1]), torch.arange(1, 4)).rank.tolist() == [1, 3]
    ranks = rank_events(Otherwise(model), batches_of(2, 2), events_of([3, 1]), torch.arange(1, 4))
    assert ranks.rank.tolist() == [3, 1]


def test_states_are_made_in_even_parts_as_wide_as_the_batch(monkeypatch):
    monkeypatch.setattr(products, "POSITIONS", 200)
    monkeypatch.setattr(products, "FEWEST", 8)
    model = given_model(np.random.default_rng(0), users=90, items=9, width=2)
    found = rank_events(model, batches_of(90, 50, length=7), events_of([1] * 90), torch.arange(1, 9))
    assert [rows for rows, _ in model.encoded] == [25, 25, 20, 20]
    assert {length for _, length in model.encoded} == {7}
    assert (
        found.better.tolist()
        == rank_events(Plain(model), batches_of(90, 90), events_of([1] * 90), torch.arange(1, 9)).better.tolist()
    )
    monkeypatch.setattr(products, "FEWEST", 32)
    model.encoded.clear()
    rank_events(model, batches_of(90, 50, length=7), events_of([1] * 90), torch.arange(1, 9))
    assert [rows for rows, _ in model.encoded] == [50, 40], "no part is left with too few rows"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["state", "row"])
def test_states_and_rows_that_are_not_finite_are_an_error(value, where):
    model = given_model(np.random.default_rng(0), users=6, items=9, width=2)
    model.states.fill_(1.0), model.table.fill_(1.0)
    (model.states[4] if where == "state" else model.table[5])[1] = value
    told = f"model 'given' gives user 'u{4 if where == 'state' else 0}' the score"
    for rank in (
        lambda: rank_events(
            Frozen(model), batches_of(6, 6), events_of([1] * 6), torch.arange(1, 9), user_names="u{}".format
        ),
        lambda: top_items(Frozen(model), batches_of(6, 6), torch.arange(1, 9), 2, user_names="u{}".format),
    ):
        with pytest.raises(NotFiniteError, match=told):
            rank()


def test_finite_states_whose_scores_overflow_are_an_error():
    model = given_model(np.random.default_rng(0), users=2, items=3, width=1)
    model.states, model.table = torch.tensor([[1e25], [1.0]]), torch.full((3, 1), 1e25)
    with pytest.raises(NotFiniteError, match="gives user number 0 the score inf"):
        rank_events(Frozen(model), batches_of(2, 2), events_of([1, 1]), torch.arange(1, 3))
    model.states[0] = 1e10
    assert rank_events(Frozen(model), batches_of(2, 2), events_of([1, 1]), torch.arange(1, 3)).tied.tolist() == [1, 1]


def test_scores_of_any_ranker_are_asked_for_a_few_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(scoring, "_ASKED", 200)
    asked = []

    class Wide(Plain):
        def scores(self, batch, candidates):
            asked.append(len(batch))
            return super().scores(batch, candidates)

    model = given_model(np.random.default_rng(0), users=70, items=11, width=2)
    events, candidates = events_of([3] * 70), torch.arange(1, 11)
    found = rank_events(Wide(model), batches_of(70, 70), events, candidates)
    assert asked == [23, 23, 24]
    assert found.better.tolist() == rank_events(Frozen(model), batches_of(70, 70), events, candidates).better.tolist()


def test_spans_cover_everything_evenly():
    for total in (1, 2, 31, 32, 33, 100, 1000):
        for size in (1, 7, 32, 100, 5000):
            for unit in (1, 32):
                spans = list(scoring._spans(total, size, unit))
                assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
                assert spans[-1][1] == total
                assert all(end > start for start, end in spans)
                assert all(start % unit == 0 for start, _ in spans)
                assert all(end - start >= min(size, total) for start, end in spans) or unit > 1
                assert all(end - start < 2 * max(size, unit) + unit for start, end in spans)
