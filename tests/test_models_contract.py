"""What every sequence model must do. A model enters this file by entering the registry.

A causal model has a state at every position of a row; one that looks both ways has only the state after a whole row.
"""

import pytest
import torch
import torch.nn.functional as F

from medleyrec.models import BASELINES, MODELS, baseline, build
from medleyrec.models.base import Frozen, Ranker
from medleyrec.schema import PAD, InputError
from tests.worlds import batch, facts, features, taught

V, L = 8, 5  # items including padding, row length
SUBSETS = [("id",), ("text",), ("image",), ("id", "text"), ("text", "image"), ("id", "text", "image")]


CASES = {name: (name, {}) for name in MODELS} | {"dmesr on bert4rec": ("dmesr", {"backbone": "bert4rec"})}
BOTH_WAYS = ["bert4rec", "dmesr on bert4rec"]


def made(case, content=None, **settings):
    name, own = CASES[case]
    torch.manual_seed(0)
    return build(name, facts(items=V), content, **{"width": 16, "max_length": 2 * L, **own, **settings})


@pytest.fixture(params=sorted(CASES))
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return made(name).eval()


@pytest.fixture(params=sorted(set(CASES) - set(BOTH_WAYS)))
def causal(request):
    return made(request.param).eval()


@pytest.fixture(params=BOTH_WAYS)
def masked(request):
    return made(request.param).eval()


def states(model, items):
    return model.encode(batch(items), model.rows.all()).states


def last(model, items):
    """(B, D): after the whole of each row."""
    return model.last_state(batch(items), model.rows.all())


def test_who_looks_both_ways_says_so(name, model):
    assert model.causal == (name not in BOTH_WAYS)


def test_the_future_does_not_leak_into_the_past(causal):
    seen, changed = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[1, 2, 3, 7, 7]])
    torch.testing.assert_close(states(causal, seen)[:, :3], states(causal, changed)[:, :3])
    assert not states(causal, seen)[:, 3:].allclose(states(causal, changed)[:, 3:])


def test_a_prefix_has_the_same_state_alone_as_inside_a_row(causal):
    row = torch.tensor([[1, 2, 3, 4, 5]])
    alone = F.pad(row[:, :3], (0, L), value=PAD)
    torch.testing.assert_close(states(causal, row)[:, 2], states(causal, alone)[:, 2])
    torch.testing.assert_close(states(causal, row)[:, 2], last(causal, alone))


@pytest.mark.parametrize("depth", [1, 3])
def test_the_state_of_a_whole_row_is_the_one_at_its_end(causal, depth):
    """In float64, with weights far from their start, so that whatever is left out of the last layer shows."""
    model = made_deep(causal, depth)
    rows = torch.tensor([[1, 2, 3, 4, 5], [6, 7, PAD, PAD, PAD], [PAD] * 5, [2, PAD, PAD, PAD, PAD]])
    wanted = states(model, rows)[[0, 1, 2, 3], [4, 1, 0, 0]]
    torch.testing.assert_close(last(model, rows), wanted, rtol=1e-10, atol=1e-12)
    assert (wanted[:-1] - wanted[1:]).abs().amax(-1).min() > 1e-3


def made_deep(model, depth):
    case = next(case for case, (name, own) in CASES.items() if name == model.name and not own)
    deep = made(case, features(V), items=("id", "text"), depth=depth, dropout=0.3).double().eval()
    with torch.no_grad():
        for weight in deep.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return deep


def test_what_is_taught_are_the_targets_of_the_batch(causal):
    items, targets = torch.tensor([[1, 2, 3], [4, PAD, PAD]]), torch.tensor([[PAD, 3, 7], [5, PAD, PAD]])
    found = causal.taught(taught(items, targets), causal.rows.all())
    assert found.targets.tolist() == [3, 7, 5]
    torch.testing.assert_close(found.states, states(causal, items)[[0, 0, 1], [1, 2, 0]])
    torch.testing.assert_close(found.encoding.states, states(causal, items))


def test_the_target_is_never_seen(masked):
    """Another item in place of a masked one leaves all states of the row as they are."""
    row, table = torch.tensor([[1, 2, 3, 4, 5, 6]]), masked.rows.all()
    for seed in range(5):
        torch.manual_seed(seed)
        found = masked.taught(taught(row[:, :-1], row[:, 1:]), table)
        assert len(found.targets) > 0
        assert torch.isin(found.targets, row).all()
        other = torch.where(torch.isin(row, found.targets), 7, row)
        torch.manual_seed(seed)
        again = masked.taught(taught(other[:, :-1], other[:, 1:]), table)
        assert (again.targets == 7).all()
        assert torch.equal(again.states, found.states)
        assert torch.equal(again.encoding.states, found.encoding.states)


def test_a_row_alone_is_a_row_inside_a_batch(model):
    rows = torch.tensor([[1, 2, 3, 4, 5], [6, 7, PAD, PAD, PAD], [2, 2, 5, PAD, PAD]])
    together = last(model, rows)
    for row, state in zip(rows, together, strict=True):
        torch.testing.assert_close(last(model, row[row != PAD][None])[0], state)


def test_further_padding_changes_nothing(model):
    rows = torch.tensor([[1, 2, 3], [4, 5, PAD]])
    torch.testing.assert_close(last(model, F.pad(rows, (0, 2 * L - 3))), last(model, rows))


def test_a_row_without_events_has_a_finite_state(model):
    rows = torch.tensor([[1, 2], [PAD, PAD]])
    assert torch.isfinite(last(model, rows)).all()
    torch.testing.assert_close(last(model, rows)[:1], last(model, rows[:1]))


def test_every_event_of_a_history_counts(model):
    history = torch.tensor([[1, 2, 3, 4, 5]])
    for position in range(L):
        other = history.clone()
        other[0, position] = 7
        assert not last(model, other).allclose(last(model, history)), f"event {position}"


def test_seeing_an_item_twice_is_not_seeing_it_once(model):
    assert not last(model, torch.tensor([[1, 1]])).allclose(last(model, torch.tensor([[1]])))


def test_a_score_is_the_product_of_a_state_and_a_row(model):
    items = torch.tensor([[1, 2, 3], [4, 5, PAD]])
    candidates = torch.tensor([2, 7, 4])
    table = model.rows.all()
    state = last(model, items)
    expected = state @ table[candidates].T
    assert isinstance(model, Ranker)
    torch.testing.assert_close(model.scores(batch(items), candidates), expected)
    torch.testing.assert_close(Frozen(model).scores(batch(items), candidates), expected)
    torch.testing.assert_close(Frozen(model).scores(batch(items), torch.arange(2, 5)), state @ table[2:5].T)


def test_a_table_of_the_rows_in_use_serves_as_well_as_the_whole(model):
    items, used = torch.tensor([[3, 1, 7]]), torch.tensor([PAD, 1, 3, 7])
    remapped = torch.searchsorted(used, items)
    torch.testing.assert_close(model.last_state(batch(remapped), model.rows(used)), last(model, items))


@pytest.mark.parametrize("parts", SUBSETS, ids="+".join)
def test_any_subset_of_content_scores_and_learns(name, parts):
    model = made(name, features(V, missing=(3,)), items=parts)
    table = model.rows.all()
    assert table.shape == (V, model.rows.out_width)
    assert (table[PAD] == 0).all()
    loss = F.cross_entropy(last(model, torch.tensor([[1, 2, 3]])) @ table[1:].T, torch.tensor([4]))
    loss.backward()
    silent = [n for n, p in model.rows.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert set(silent) <= {"content.text.missing"}, "only the vector of missing texts, of which there are none"


def test_content_without_its_features_is_one_sentence(name):
    with pytest.raises(InputError, match=r"features \['text'\] are not encoded .* run `medley encode` first"):
        made(name, items=["id", "text"])
    with pytest.raises(InputError, match="name each of"):
        made(name, items=["id", "id"])


def test_an_unknown_setting_is_one_sentence(name):
    with pytest.raises(InputError, match=f"model {CASES[name][0]}: unknown key 'widht'; did you mean 'width'"):
        made(name, widht=3)


def test_learns_what_the_last_item_cannot_tell(name):
    """In 1 2 1 3 1 2 1 3 ..., what follows 1 depends on what came before it."""
    model = made(name, dropout=0.0)
    stream = torch.tensor([1, 2, 1, 3]).repeat(6)
    rows, target = stream.unfold(0, L, 1)[:-1], stream[L:]
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=5e-3)
    for _ in range(400):
        scores = last(model, rows) @ model.rows.all().T
        if learnt := bool((scores.argmax(-1) == target).all()):
            break
        optimizer.zero_grad()
        F.cross_entropy(scores, target).backward()
        optimizer.step()
    assert learnt


@pytest.mark.parametrize("known", sorted(BASELINES))
def test_a_baseline_is_a_ranker(known):
    items, times = torch.tensor([1, 2, 3, 1, 2, 4]).numpy(), torch.arange(6).numpy()
    ranker = baseline(known).fit(items, times, torch.tensor([0, 0, 0, 1, 1, 1]).numpy(), num_items=V)
    assert isinstance(ranker, Ranker)
    rows, candidates = batch(torch.tensor([[1, 2], [4, PAD], [PAD, PAD]])), torch.tensor([4, 3, 7])
    scores = ranker.scores(rows, candidates)
    assert scores.shape == (3, 3)
    assert torch.isfinite(scores).all()
    assert (scores[:, 2] <= scores[:, 0]).all(), "an item nobody took does not lead"


def test_an_unknown_model_is_one_sentence():
    with pytest.raises(InputError, match=r"there is no model 'sasrek'; there are: .*sasrec"):
        build("sasrek", facts(items=V))
