"""DMESR: what leaks, what is left out, what stands where, and what alignment is for."""

from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medleyrec.models import build, dmesr
from medleyrec.models.align import alignment, different_items
from medleyrec.models.cross import CrossFusion
from medleyrec.models.masking import SLOW
from medleyrec.models.views import ViewRows, retrieval_recall
from medleyrec.recipes.inspect_dmesr import dmesr_figures
from medleyrec.schema import (
    ATTRIBUTES,
    DESCRIBED_BOTH,
    DESCRIBED_IMAGE,
    DESCRIBED_TEXT,
    DESCRIPTIONS,
    FIELDS,
    PAD,
    Features,
    InputError,
)
from medleyrec.training.module import TrainingModule
from tests.worlds import batch, facts, features, taught

V = 9
ALL = (*DESCRIPTIONS, ATTRIBUTES)
ROW = torch.tensor([[1, 2, 3, 4, 5, 6]])


def content(*, missing: dict[str, tuple[int, ...]] | None = None, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    present = {n: ~np.isin(np.arange(V), (PAD, *(missing or {}).get(n, ()))) for n in (*ALL, "text", "image", *FIELDS)}
    vectors = {n: (rng.normal(size=(V, 6)) * there[:, None]).astype(np.float16) for n, there in present.items()}
    return Features(vectors=vectors, present=present)


def model(given: Features | None = None, **settings):
    torch.manual_seed(0)
    settings = {"items": ALL, "width": 8, "max_length": 8, "dropout": 0.0, **settings}
    return build("dmesr", facts(items=V), given or content(), **settings).double().eval()


def states(net, items: torch.Tensor, table: torch.Tensor | None = None) -> torch.Tensor:
    return net.encode(batch(items), net.rows.all() if table is None else table).states


# what may be seen


@pytest.mark.parametrize("backbone", ["sasrec", "gru4rec"])
@pytest.mark.parametrize("side", [0, 1, 2])
@pytest.mark.parametrize("residual", [False, True])
def test_no_side_of_a_later_event_reaches_an_earlier_state(backbone, side, residual):
    net = model(items=(*ALL, "id"), backbone=backbone, residual=residual)
    table = net.rows.all()
    own, changed = slice(8 * side, 8 * side + 8), table.clone()
    changed[5, own] += 10 * torch.randn(8, dtype=torch.float64)  # the fifth event's coarse, fine or id side
    before, after = states(net, ROW, table), states(net, ROW, changed)
    torch.testing.assert_close(after[:, :4], before[:, :4], rtol=0, atol=1e-12)
    moved = ((after - before).abs() > 1e-6).unflatten(-1, (3, 8)).any(-1)[0]  # (L, S)
    assert moved[4].tolist() == ([True, True, False] if side < 2 else [False, False, True])


@pytest.mark.parametrize("lengths", [1, 3, 6])
def test_what_a_row_is_batched_with_does_not_matter(lengths):
    for backbone in ("sasrec", "gru4rec", "bert4rec"):
        net = model(items=(*ALL, "id"), backbone=backbone)
        alone = ROW[:, :lengths]
        together = torch.cat([F.pad(alone, (0, 6 - lengths)), torch.tensor([[7, 8, 7, 8, 7, 8]])])
        found = net.scores(batch(together), torch.arange(1, V))[0]
        torch.testing.assert_close(found, net.scores(batch(alone), torch.arange(1, V))[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("fusion", ["sequence", "none"])
def test_on_bert4rec_a_masked_item_is_hidden_in_all_sides(fusion):
    net = model(items=(*ALL, "id"), backbone="bert4rec", fusion=fusion)
    masked, lengths = torch.tensor([[False, True, False, True, False, False]]), torch.tensor([5])
    other = torch.tensor([[1, 7, 3, 8, 5, 2]])  # other items at the masks and in the padding
    table = net.rows.all()
    one, two = (net.told(items, masked, lengths, table)[:, :5] for items in (ROW, other))
    assert torch.equal(one, two)
    third = torch.tensor([[1, 2, 7, 4, 5, 6]])
    assert not net.told(third, masked, lengths, table)[:, 0].allclose(one[:, 0]), "it looks ahead at what is not masked"


def test_on_bert4rec_the_last_events_that_fit_and_a_mask_answer():
    net = model(backbone="bert4rec", max_length=4)
    found = net.scores(batch(ROW), torch.arange(1, V))
    torch.testing.assert_close(found, net.scores(batch(ROW[:, 2:]), torch.arange(1, V)))
    assert torch.isfinite(net.scores(batch(torch.tensor([[PAD, PAD]])), torch.arange(1, V))).all()
    with pytest.raises(NotImplementedError, match="ask for last_state"):
        states(net, ROW)


@torch.no_grad()
def test_on_bert4rec_the_fusion_counts_places_from_the_end():
    """The mask that is asked stands at the last one, which rows of any length have been at."""
    fusion = CrossFusion(4, length=9, heads=2, dropout=0.0, norm=False, residual=True)
    for part in (fusion.to_coarse.out, fusion.to_fine.out):  # what is left is the sequence and its positions
        part.weight.zero_()
    rows, lengths = torch.randn(2, 7, 4), torch.tensor([7, 5])
    before = fusion(rows, rows, lengths)
    fusion.coarse_positions.weight[0] += 1
    fusion.fine_positions.weight[0] += 1
    for old, new in zip(before, fusion(rows, rows, lengths), strict=True):
        moved = (new - old).abs().sum(-1) > 0
        assert moved[0].tolist() == [False] * 6 + [True]
        assert moved[1, :5].tolist() == [False] * 4 + [True]


def test_the_masked_items_are_the_targets_and_the_draw_follows_the_settings(monkeypatch):
    net = model(backbone="bert4rec", mask=0.25, mask_last=0.5)
    asked = []

    def draw(lengths, width, share, *, last):
        asked.append((lengths.tolist(), width, share, last))
        return torch.tensor([[False, True, False], [True, False, False]])

    monkeypatch.setattr(dmesr, "drawn", draw)
    rows = taught(torch.tensor([[1, 2], [4, PAD]]), torch.tensor([[2, 3], [5, PAD]]))
    found = net.taught(rows, net.rows.all())
    assert found.targets.tolist() == [2, 4]
    assert found.states.shape == (2, 16)
    assert asked == [([3, 2], 3, 0.25, 0.5)]


# what an item is


def test_ids_alone_are_the_plain_backbone():
    for backbone in ("sasrec", "gru4rec", "bert4rec"):
        net = model(items=("id",), backbone=backbone)
        plain = build(backbone, facts(items=V), width=8, max_length=8, depth=2, dropout=0.0).double().eval()
        plain.load_state_dict({n.replace("mask_vector", "mask"): w for n, w in net.state_dict().items()})
        some = torch.arange(1, V)
        torch.testing.assert_close(net.scores(batch(ROW), some), plain.scores(batch(ROW), some), rtol=0, atol=1e-12)


def test_a_view_that_is_missing_does_not_count():
    lacking = {DESCRIBED_IMAGE: (3, 4), DESCRIBED_TEXT: (4,), DESCRIBED_BOTH: (4,), ATTRIBUTES: (5,)}
    rows = model(content(missing=lacking)).rows
    with torch.no_grad():
        for number, name in enumerate(ALL, 1):
            rows.view(name).missing.fill_(number)
    coarse, fine = rows.all().split(8, -1)
    h = {name: rows.view(name).aligned(torch.arange(V))[0] for name in ALL}
    torch.testing.assert_close(coarse[1], sum(h[name][1] for name in DESCRIPTIONS) / 3)
    torch.testing.assert_close(coarse[3], (h[DESCRIBED_TEXT][3] + h[DESCRIBED_BOTH][3]) / 2)
    assert (coarse[4] == 2).all(), "nothing is there: the mean of the learnt vectors 1, 2, 3"
    assert (fine[5] == 4).all()
    torch.testing.assert_close(fine[4], h[ATTRIBUTES][4])
    assert (rows.all()[PAD] == 0).all()


def test_the_adapter_is_two_linear_layers():
    view = model().rows.view(ATTRIBUTES)
    torch.testing.assert_close(view.adapted(view.vectors), view.out(view.project(view.vectors)))
    assert (view.project.out_features, view.out.out_features) == (3, 8)
    assert not any(name.endswith("vectors") for name in model().state_dict())


@pytest.mark.parametrize("more", [{}, {"coarse": "linear"}, {"fusion": "item", "items": (*ALL, "text")}])
def test_an_exchanged_view_is_that_of_the_other_item_and_nothing_else(more):
    lacking = {DESCRIBED_IMAGE: (3,), ATTRIBUTES: (5,)}
    given = content(missing=lacking)
    net = model(given, **more)
    order = torch.tensor([0, 3, 5, 1, 2, 8, 4, 6, 7])
    for name in net.rows.parts:
        dealt = Features(
            vectors={**given.vectors, name: given.vectors[name][order]},
            present={**given.present, name: given.present[name][order]},
        )
        wanted = model(dealt, **more).rows
        wanted.load_state_dict(net.rows.state_dict())
        found = net.rows.exchanged(name, order)
        torch.testing.assert_close(found, wanted.all(), rtol=0, atol=1e-5)  # vectors are scaled in float32
        assert not found.allclose(net.rows.all())


def test_new_items_have_the_rows_they_would_have_had():
    given = content(missing={DESCRIBED_TEXT: (2,), ATTRIBUTES: (3,)})
    rows = model(given, items=(*ALL, "id")).float().rows
    table = rows.all()
    found = rows.new(given)
    torch.testing.assert_close(found[1:, :16], table[1:, :16])
    torch.testing.assert_close(found[4, 16:], rows.ids.weight[1:].mean(0))


def test_rows_have_the_height_of_the_table():
    with pytest.raises(InputError, match="the text features have 5 rows, the item table has 9"):
        build("dmesr", facts(items=V), features(5), items=["text"])


# alignment


def test_items_are_compared_once_and_padding_never():
    items, count = different_items(torch.tensor([[3, 1, 3], [PAD, 1, 7]]), 10)
    assert sorted(items[count].tolist()) == [1, 3, 7]
    items, count = different_items(torch.tensor([[3, 1, 3], [PAD, 1, 7]]), 2)
    assert len(items) == 2
    assert count.all()
    drawn = {
        i for seed in range(40) for i in (torch.manual_seed(seed), different_items(torch.arange(9), 2)[0])[1].tolist()
    }
    assert drawn == {*range(1, 9)}, "where there are more than fit, each has a chance"
    assert not different_items(torch.zeros(4, dtype=torch.int64), 3)[1].any()


def test_alignment_counts_what_counts():
    one, other = torch.eye(3, dtype=torch.float64)[[0, 1, 2]], torch.eye(3, dtype=torch.float64)[[0, 2, 1]]
    everything, first = torch.tensor([True] * 3), torch.tensor([True, True, False])
    wrong, right = np.log(2 + np.e), np.log(2 + np.e) - 1  # own cosine 0 or 1, at temperature 1
    found = alignment(one, other, everything, temperature=1.0)
    torch.testing.assert_close(found.item(), (right + 2 * wrong) / 3)
    pair = alignment(one, other, first, temperature=1.0)
    torch.testing.assert_close(pair.item(), (np.log(1 + np.e) - 1 + np.log(2)) / 2)
    nothing = torch.zeros(2, 3, requires_grad=True)
    alignment(nothing, nothing, torch.tensor([False, False]), temperature=0.1).backward()
    assert torch.equal(nothing.grad, torch.zeros(2, 3))


def test_alignment_is_off_where_it_has_nothing_to_do_and_needs_the_whole_table():
    rows = taught(ROW, torch.full_like(ROW, 7))
    assert "align" in TrainingModule(model().train(), classes=V, chunk=8)(rows)
    for off in ({"align": "none"}, {"alpha": 0}, {"items": (DESCRIBED_IMAGE, ATTRIBUTES)}):
        net = model(**off)
        assert "align" not in TrainingModule(net.train(), classes=V, chunk=8)(rows)
    net = model().train()
    with pytest.raises(ValueError, match="needs the whole item table, 9 rows, and got 7"):
        net.extra_losses(rows, net.encode(rows, net.rows.all()), net.rows.all()[:7])
    assert net.eval().extra_losses(rows, net.encode(rows, net.rows.all()), net.rows.all()) == {}


def test_recall_of_a_view_by_another_is_a_share_of_the_items():
    given = content(missing={DESCRIBED_IMAGE: (8,)})
    rows = model(given, items=(DESCRIBED_IMAGE, DESCRIBED_TEXT)).rows
    seven = torch.arange(1, 8)
    a, b = (F.normalize(rows.view(n).aligned(seven)[0], dim=-1) for n in (DESCRIBED_TEXT, DESCRIBED_IMAGE))
    place = [sum(bool(b[j] @ a[i] > b[i] @ a[i]) for j in range(7) if j != i) for i in range(7)]
    for k in (1, 3, 7):
        found = retrieval_recall(rows, DESCRIBED_TEXT, DESCRIBED_IMAGE, k=k, block=3)
        assert found == sum(p < k for p in place) / 7
    with torch.no_grad():
        for view in rows.content.values():
            view.out.weight.zero_()
            view.out.bias.fill_(1)
    assert retrieval_recall(rows, DESCRIBED_TEXT, DESCRIBED_IMAGE, k=6) == 0, "all alike: nothing is found"


def test_descriptions_that_no_item_has_both_of_have_no_recall():
    """Descriptions may cover few items yet; a number that there is none of cannot be written down."""
    everything = {*permutations(DESCRIPTIONS, 2)}
    for lacking, known in (((), everything), (range(1, V), {*permutations((DESCRIBED_TEXT, DESCRIBED_BOTH), 2)})):
        found = dmesr_figures(model(content(missing={DESCRIBED_IMAGE: tuple(lacking)})))
        assert set(found) == {f"recall@10 of an item's {sought} from its {query}" for query, sought in known}
        assert set(found.values()) == {1.0}, "there are fewer than ten items"


def world(items: int, *, latent: int = 16, seed: int = 0) -> Features:
    """Every view is the same latent of an item, turned its own way, and noise of a third of its size."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(items, latent))
    turned = {n: truth @ np.linalg.qr(rng.normal(size=(latent, latent)))[0] for n in ALL}
    vectors = {n: (v + rng.normal(size=v.shape) / 3).astype(np.float16) for n, v in turned.items()}
    for table in vectors.values():
        table[PAD] = 0
    return Features(vectors=vectors, present={n: np.arange(items) > 0 for n in ALL})


def recall_after_training(alpha: float, items: int = 301) -> float:
    torch.manual_seed(0)
    net = build("dmesr", facts(items=items), world(items), items=ALL, width=16, max_length=6, dropout=0.0, alpha=alpha)
    module = TrainingModule(net.train(), classes=items, chunk=64)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        start = torch.randint(1, items, (24, 1))
        walk = (start + torch.arange(7) - 1) % (items - 1) + 1
        module(taught(walk[:, :-1], walk[:, 1:]))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    return retrieval_recall(net.rows, DESCRIBED_TEXT, DESCRIBED_IMAGE, k=10)


def test_alignment_lets_the_text_find_the_picture():
    without, with_it = recall_after_training(0.0), recall_after_training(0.1)
    assert with_it > 0.8
    assert with_it > without + 0.3


# settings


def test_what_it_is_and_what_it_lacks_is_said():
    whole = model().notes
    assert len(whole) == 1
    assert "reconstruction" in whole[0]
    assert "reconstruction" in dmesr.__doc__.splitlines()[0]
    told = " ".join(model(items=("text",)).notes)
    for part in ("cross-attention is off", "alignment is off", "nothing here was written by a language model"):
        assert part in told
    assert "in place of sentences about attributes" in told
    assert "in place of what a language model wrote" in " ".join(model(items=("image", "text")).notes)
    assert "alignment is off" in " ".join(model(items=(DESCRIBED_IMAGE, DESCRIBED_BOTH), align="image-text").notes)


def test_what_is_set_in_vain_is_said():
    assert model(backbone="bert4rec", mask=0.3, mask_last=0.2).notes[1:] == (SLOW,)
    said = model(heads=1, norm=False, residual=False, cross_heads=4, coarse="linear", temperature=0.2, pool=9).notes
    assert len(said) == 1, "all of these are read"
    told = model(mask=0.3, mask_last=0.2).notes[-1]
    assert told.startswith("DMESR on sasrec with")
    assert told.endswith("has no use for mask and mask_last.")
    assert "for heads." in model(backbone="gru4rec", heads=1).notes[-1]
    alone = {"items": (ATTRIBUTES,), "coarse": "linear", "norm": False, "residual": False, "cross_heads": 4}
    told = model(**alone, temperature=0.2, pool=9).notes[-1]
    assert told.endswith("for coarse and norm and residual and cross_heads and temperature and pool.")
    item = model(fusion="item", items=(*ALL, "text"), cross_heads=4, norm=False).notes[-1]
    assert item.endswith("for norm.")


def test_settings_that_do_not_fit_are_one_sentence():
    with pytest.raises(InputError, match=r"width \(9\) must be a multiple of heads \(2\)"):
        model(width=9)
    with pytest.raises(InputError, match=r"width \(8\) must be a multiple of cross_heads \(3\)"):
        model(cross_heads=3)
    with pytest.raises(InputError, match="a coarse view and two or more of attributes, text, field_title, "):
        model(fusion="item")
    with pytest.raises(InputError, match="backbone = 'bert' does not fit"):
        model(backbone="bert")


def test_rows_are_what_the_rest_of_the_product_takes_them_for():
    rows = model(items=(*ALL, "id")).rows
    assert isinstance(rows, ViewRows)
    assert (rows.parts, rows.num_items, rows.out_width) == ((*ALL, "id"), V, 24)
    unknown = np.arange(V) > 6
    rows.silence(unknown)
    assert not rows.ids.weight[7:].any()
    assert rows.ids.weight[1:7].any(1).all()
    torch.testing.assert_close(rows(torch.tensor([PAD, 4, 4])), rows.all()[[PAD, 4, 4]])
