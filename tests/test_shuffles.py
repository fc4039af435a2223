"""What shuffling an input costs: known answers on a shop where the next item is told by one input alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medleyrec.dataset import PrepareConfig, leave_one_out, prepare
from medleyrec.models.base import Encoding, SequenceModel
from medleyrec.models.items import ItemRows
from medleyrec.recipes.shuffles import GAPS, WHOLE, WITHIN, dealt, most_specific, shuffle_losses, shuffled_gaps
from medleyrec.schema import TEST, Batch, Features
from tests.worlds import DAY, START, tables

ITEMS = 12


class Reader(SequenceModel):
    """Reads item texts, each a word of its own, and knows that the next word follows the last one.

    Where the last gap of a row is not its longest, it believes that one word is left out.
    """

    name = "reader"
    uses_times = True
    max_length = 8

    def __init__(self):
        super().__init__()
        words = np.eye(ITEMS + 1, dtype=np.float16)
        words[0] = 0
        known = Features(vectors={"text": words}, present={"text": words.any(1)})
        self.rows = ItemRows(ITEMS + 1, ITEMS + 1, parts=("text",), features=known, scaling="unit")
        with torch.no_grad():
            self.rows.content["text"].project.weight.copy_(torch.eye(ITEMS + 1))

    def encode(self, batch, table):
        words = F.embedding(batch.items, table).argmax(-1)  # (B, L)
        gaps = F.pad(batch.times.diff(dim=1), (1, 0))
        step = torch.where(gaps >= gaps.cummax(1).values, 1, 2)
        return Encoding(F.one_hot((words - 1 + step) % ITEMS + 1, ITEMS + 1).float())


@pytest.fixture
def reader(tmp_path):
    """Everyone walks the same circle of items, ever more slowly. Odd and even items have a category each."""
    log = [(f"u{u:02d}", f"i{(u + t) % ITEMS:02d}", START + DAY * t * t) for u in range(24) for t in range(7)]
    goods = [{"item_id": f"i{n:02d}", "categories": [["all", f"c{n}" if n < 10 else "twins"]]} for n in range(ITEMS)]
    data, _ = prepare(tables(log, goods), tmp_path / "d", PrepareConfig(min_user_events=1, min_item_events=1))
    split = leave_one_out(data)
    return SimpleNamespace(model=Reader().eval(), split=split, dataset=data), split.eval_events(TEST)


def test_what_a_shuffle_costs_by_category(reader):
    run, events = reader
    whole = shuffle_losses(run, events, reach=WHOLE)
    assert whole.kinds == ("text", GAPS)
    assert {e.value for e in whole.kept.values()} == {1}, "as it is every target comes first"
    assert whole.lost["all events"]["text"].low > 0.3
    assert whole.lost["all events"][GAPS].low > 0.3
    assert whole.count == {"all events": 24, "twins": 4, **{f"c{n}": 2 for n in range(10)}}
    within = shuffle_losses(run, events, reach=WITHIN)
    assert within.kinds == ("text",)
    touched = {"twins", "c0"}  # whose own text, or that of the item before, may be the other twin's
    assert {n for n, lost in within.lost.items() if lost["text"].value != 0} <= {*touched, "all events"}
    assert within.lost["c5"]["text"].value == 0, "an item alone in its category keeps its text"
    assert within.lost["twins"]["text"].value > 0


def batch(times, lengths):
    whole = torch.tensor(times)
    ones = torch.ones_like(whole)
    return Batch(ones, whole, torch.tensor(lengths), torch.zeros_like(whole), torch.arange(len(whole)))


def test_gaps_change_places_inside_their_own_row():
    rows = batch([[0, 1, 11, 111, 1111], [5, 7, 107, 0, 0], [9, 0, 0, 0, 0]], [5, 3, 1])
    seen = set()
    for seed in range(40):
        moved = shuffled_gaps(rows, np.random.default_rng(seed))
        assert sorted(moved[0].diff().tolist()) == [1, 10, 100, 1000]
        assert moved[0, 0] == 0
        assert moved[0, -1] == 1111
        assert sorted(moved[1, :3].diff().tolist()) == [2, 100]
        assert moved[1, 3:].tolist() == [0, 0], "padding stays"
        assert moved[2].tolist() == [9, 0, 0, 0, 0]
        seen.add(tuple(moved[0].tolist()))
    assert len(seen) > 10


def test_contents_stay_in_their_group():
    within = np.array([7, 0, 1, 0, 1, 0, 1, 1, 0, 2])
    orders = [dealt(within, seed) for seed in range(20)]
    for order in orders:
        assert order[0] == 0
        assert sorted(order.tolist()) == list(range(10))
        assert (within[order.numpy()] == within)[1:].all()
    assert len({tuple(order.tolist()) for order in orders}) > 10
    assert any((order[1:] != torch.arange(1, 10)).any() for order in orders)


def test_the_rarest_label_names_an_item():
    offsets = np.array([0, 0, 2, 4, 4, 5])
    labels = np.array([0, 1, 0, 2, 0], np.int32)
    assert most_specific(offsets, labels).tolist() == [-1, 1, 2, -1, 0]
    assert most_specific(np.array([0, 0]), np.zeros(0, np.int32)).tolist() == [-1]


@pytest.mark.parametrize("join", ["concat", "sum"])
def test_an_item_with_anothers_text_is_the_item_made_with_it(join):
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    present = np.array([False, True, True, False, True])
    order = torch.tensor([0, 3, 1, 4, 2])

    def rows(text, there):
        torch.manual_seed(0)
        made = ItemRows(
            5,
            4,
            parts=("id", "text"),
            features=Features(vectors={"text": text.astype(np.float16)}, present={"text": there}),
            join=join,
        )
        made.content["text"].missing.data.fill_(0.5)
        return made

    plain = rows(vectors, present)
    twin = rows(vectors, present)
    part = twin.content["text"]
    part.vectors, part.present = part.vectors[order], part.present[order]
    with torch.no_grad():
        found = plain.exchanged("text", order)
        assert torch.allclose(found, twin.all(), atol=1e-7)
        assert not torch.allclose(found, plain.all(), atol=1e-3)
        assert found[0].abs().sum() == 0
