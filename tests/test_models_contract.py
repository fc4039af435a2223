"""What every sequence model must do. A model enters this file by entering the registry."""

import pytest
import torch
import torch.nn.functional as F

from medleyrec.models import BASELINES, MODELS, baseline, build
from medleyrec.models.base import Frozen, Ranker
from medleyrec.schema import PAD, InputError
from tests.worlds import batch, facts, features

V, L = 8, 5  # items including padding, row length
SUBSETS = [("id",), ("text",), ("image",), ("id", "text"), ("text", "image"), ("id", "text", "image")]


@pytest.fixture(params=sorted(MODELS))
def name(request):
    return request.param


@pytest.fixture
def model(name):
    torch.manual_seed(0)
    return build(name, facts(items=V), width=16, max_length=2 * L).eval()


def states(model, items):
    return model.encode(batch(items), model.rows.all()).states


def test_the_future_does_not_leak_into_the_past(model):
    seen, changed = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[1, 2, 3, 7, 7]])
    torch.testing.assert_close(states(model, seen)[:, :3], states(model, changed)[:, :3])
    assert not states(model, seen)[:, 3:].allclose(states(model, changed)[:, 3:])


def test_a_prefix_has_the_same_state_alone_as_inside_a_row(model):
    row = torch.tensor([[1, 2, 3, 4, 5]])
    alone = F.pad(row[:, :3], (0, L), value=PAD)
    torch.testing.assert_close(states(model, row)[:, 2], states(model, alone)[:, 2])


def test_seeing_an_item_twice_is_not_seeing_it_once(model):
    twice, once = torch.tensor([[1, 1]]), torch.tensor([[1]])
    assert not states(model, twice)[:, -1].allclose(states(model, once)[:, -1])


def test_a_score_is_the_product_of_a_state_and_a_row(model):
    items = torch.tensor([[1, 2, 3], [4, 5, PAD]])
    candidates = torch.tensor([2, 7, 4])
    table = model.rows.all()
    last = states(model, items)[[0, 1], [2, 1]]
    expected = last @ table[candidates].T
    assert isinstance(model, Ranker)
    torch.testing.assert_close(model.scores(batch(items), candidates), expected)
    torch.testing.assert_close(Frozen(model).scores(batch(items), candidates), expected)
    torch.testing.assert_close(Frozen(model).scores(batch(items), torch.arange(2, 5)), last @ table[2:5].T)


def test_a_table_of_the_rows_in_use_serves_as_well_as_the_whole(model):
    items, used = torch.tensor([[3, 1, 7]]), torch.tensor([PAD, 1, 3, 7])
    remapped = torch.searchsorted(used, items)
    whole = model.encode(batch(items), model.rows.all()).states
    torch.testing.assert_close(model.encode(batch(remapped), model.rows(used)).states, whole)


@pytest.mark.parametrize("parts", SUBSETS, ids="+".join)
def test_any_subset_of_content_scores_and_learns(name, parts):
    torch.manual_seed(0)
    model = build(name, facts(items=V), features(V, missing=(3,)), items=parts, width=16, max_length=L)
    table = model.rows.all()
    assert table.shape == (V, model.rows.out_width)
    assert (table[PAD] == 0).all()
    loss = F.cross_entropy(states(model, torch.tensor([[1, 2, 3]]))[:, -1] @ table[1:].T, torch.tensor([4]))
    loss.backward()
    silent = [n for n, p in model.rows.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert set(silent) <= {"content.text.missing"}, "only the vector of missing texts, of which there are none"


def test_content_without_its_features_is_one_sentence(name):
    with pytest.raises(InputError, match=r"features \['text'\] are not encoded .* run `medley encode` first"):
        build(name, facts(items=V), items=["id", "text"])
    with pytest.raises(InputError, match="name each of"):
        build(name, facts(items=V), items=["id", "id"])


def test_an_unknown_setting_is_one_sentence(name):
    with pytest.raises(InputError, match=f"model {name}: unknown key 'widht'; did you mean 'width'"):
        build(name, facts(items=V), widht=3)


def test_learns_what_the_last_item_cannot_tell(name):
    """In 1 2 1 3 1 2 1 3 ..., what follows 1 depends on what came before it."""
    torch.manual_seed(0)
    model = build(name, facts(items=V), width=16, max_length=2 * L, dropout=0.0)
    stream = torch.tensor([1, 2, 1, 3]).repeat(6)
    rows, target = stream.unfold(0, L, 1)[:-1], stream[L:]
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-2)
    for _ in range(100):
        loss = F.cross_entropy(states(model, rows)[:, -1] @ model.rows.all().T, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = states(model.eval(), rows)[:, -1] @ model.rows.all().T
    assert (scores.argmax(-1) == target).all()


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
