"""CAMMSR in worlds whose answer is known: prefixes, leaks, weights, swaps, spoilt labels. The equations themselves are
checked in test_cammsr_plain.py."""

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medleyrec.models import build
from medleyrec.models.cammsr import CAMMSR
from medleyrec.models.categories import Categories
from medleyrec.models.guidance import CategoryGuidance
from medleyrec.models.mislabel import spoilt
from medleyrec.models.swap import present, swapped
from medleyrec.schema import PAD, Batch, Features, InputError
from medleyrec.training.module import TrainingModule
from tests.worlds import batch, facts, features, taught

V, L, C = 9, 12, 6
PARTS = ("id", "text", "image")
LABELS = [[], [0, 2], [1], [3], [], [4, 2, 5], [2], [0], [1, 3]]  # item 4 has none


def categories(labels: list[list[int]], count: int = C) -> Categories:
    offsets = np.cumsum([0, *map(len, labels)])
    return Categories(offsets=offsets, labels=np.array([c for some in labels for c in some], np.int32), count=count)


def model(parts=PARTS, *, labels: list[list[int]] | None = LABELS, missing=(3,), loud=True, **settings) -> CAMMSR:
    """loud: weights so far from zero that every step of the model shows in its states."""
    torch.manual_seed(0)
    known = facts(items=V, num_categories=0 if labels is None else C)
    content = features(V, missing=missing) if set(parts) - {"id"} else None
    settings = {"width": 8, "max_length": L, "dropout": 0.0, **settings}
    given = None if labels is None else categories(labels)
    net = build("cammsr", known, content, items=parts, categories=given, **settings)
    if loud:
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                own = torch.Generator().manual_seed(crc32(name.encode()))  # the same whatever else is built
                parameter.copy_(0.7 * torch.randn(parameter.shape, generator=own))
            if net.rows.ids is not None:
                net.rows.ids.weight[PAD] = 0
    return net


def events(items: list[list[int]]) -> Batch:
    """Rows of items; position t teaches the item at t + 1, the last one teaches item 1."""
    width = max(map(len, items))
    rows = torch.tensor([row + [PAD] * (width - len(row)) for row in items])
    return taught(rows, torch.tensor([row[1:] + [1] + [PAD] * (width - len(row)) for row in items]))


def prefixes(whole: Batch) -> Batch:
    """Every taught position as a row of its own."""
    rows, last = (whole.targets != PAD).nonzero().unbind(1)
    position = torch.arange(whole.items.shape[1])
    items = torch.where(position <= last[:, None], whole.items[rows], PAD)
    return taught(items, torch.where(position == last[:, None], whole.targets[rows], PAD))


ROWS = events([[1, 2, 3, 4, 5, 6, 7], [8, 3, 3], [5], [2, 4, 6, 8, 1]])


def losses(net: CAMMSR, rows: Batch) -> dict[str, torch.Tensor]:
    return TrainingModule(net.train(), classes=V, chunk=8)(rows)


def gap(net: CAMMSR) -> float:
    """Largest distance between a state inside its row and that of the same prefix alone."""
    table = net.eval().rows.all()
    inside = net.encode(replace(ROWS, num_targets=0), table).states[ROWS.targets != PAD]
    return (inside - net.last_state(prefixes(ROWS), table)).abs().max().item()


@pytest.mark.parametrize("settings", [{}, {"gates": "softmax"}, {"router": "linear"}, {"dyt": False}])
def test_one_pass_has_the_states_and_the_softmax_loss_of_all_prefixes(settings):
    net = model(**settings).double()
    assert gap(net) <= 1e-13
    one, many = losses(net, ROWS), losses(net, prefixes(ROWS))
    assert abs(one["ce"] - many["ce"]).item() <= 1e-13
    assert gap(model(**settings)) <= 1e-5, "in float32, of states of size 5"


def test_a_router_that_looks_ahead_has_other_states_in_one_pass():
    assert gap(model(router_attention="prefix")) > 0.05


def test_a_router_that_looks_ahead_refuses_to_learn_in_one_pass():
    net = model(router_attention="prefix")
    with pytest.raises(InputError, match=r'a row may teach its last event only; set train\.mode = "prefix"'):
        losses(net, ROWS)
    assert torch.isfinite(losses(net, prefixes(ROWS))["loss"])
    assert torch.isfinite(losses(model(router_attention="prefix", router="linear"), ROWS)["loss"]), "it sees one event"


def test_one_pass_has_the_gradients_of_all_prefixes():
    found = []
    for rows in (ROWS, prefixes(ROWS)):
        net = model(mscl=0.0).double()
        losses(net, rows)["loss"].backward()
        found.append({n: p.grad for n, p in net.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_later_events_do_not_reach_earlier_states():
    seen, changed = batch(torch.tensor([[1, 2, 3, 5, 6]])), batch(torch.tensor([[1, 2, 3, 8, 8]]))
    for settings, leaks in (({}, False), ({"router_attention": "prefix"}, True)):
        net = model(**settings).eval()
        table = net.rows.all()
        a, b = (net.encode(rows, table).states for rows in (seen, changed))
        assert torch.equal(a[:, :3], b[:, :3]) != leaks
        assert not torch.equal(a[:, 3:], b[:, 3:])


def test_padding_is_not_looked_at():
    for attention in ("causal", "prefix"):
        net = model(router_attention=attention).eval()
        table = net.rows.all()
        short, padded = torch.tensor([[1, 2, 5]]), torch.tensor([[1, 2, 5, PAD, PAD]])
        alone, wide = (net.last_state(batch(rows), table) for rows in (short, padded))
        torch.testing.assert_close(alone, wide, rtol=0, atol=1e-6)


def test_a_row_without_events_looks_at_its_first_padding():
    nothing, found = batch(torch.tensor([[PAD, PAD]])), []
    for attention in ("causal", "prefix"):
        net = model(router_attention=attention).eval()
        found.append(net.last_state(nothing, net.rows.all()))
    assert torch.isfinite(found[0]).all()
    torch.testing.assert_close(*found)


def weights(net: CAMMSR, items: list[int]) -> torch.Tensor:
    """(M, items)"""
    rows = batch(torch.tensor([items]))
    _, e = net.embedded(rows, net.rows.all())
    return net.guidance(e, rows.items)[0][:, 0]


def test_weights_of_the_parts_by_hand():
    net = model()
    rows = batch(torch.tensor([[5, 4, 1]]))
    _, e = net.embedded(rows, net.rows.all())
    off = []
    for m in range(3):
        guessed = torch.sigmoid(net.guidance.weight[m] @ e[m, 0, 0] + net.guidance.bias[m])
        off.append(F.binary_cross_entropy(guessed, torch.tensor([0.0, 0, 1, 0, 1, 1]), reduction="sum"))
    torch.testing.assert_close(weights(net, [5, 4, 1])[:, 0], torch.stack(off).softmax(0))
    torch.testing.assert_close(weights(net, [5, 4, 1]).sum(0), torch.ones(3))
    torch.testing.assert_close(weights(net, [5, 4, 1])[:, 1], torch.full((3,), 1 / 3)), "item 4 has no label"


def test_the_sign_turns_the_order_and_the_mean_evens_it():
    plus, minus, mean = (
        weights(model(**s), [5])[:, 0] for s in ({}, {"category_sign": -1}, {"category_reduction": "mean"})
    )
    assert plus.argsort().tolist() == minus.argsort(descending=True).tolist()
    assert mean.argsort().tolist() == plus.argsort().tolist()
    torch.testing.assert_close(mean.log() - mean.log().mean(), (plus.log() - plus.log().mean()) / C)


def test_the_worst_label_alone_decides_where_asked_for():
    net = model(multi_label="max")
    rows = batch(torch.tensor([[5]]))
    _, e = net.embedded(rows, net.rows.all())
    logits = (net.guidance.weight @ e[:, 0, 0, :, None])[..., 0] + net.guidance.bias  # (M, C)
    worst = (-torch.sigmoid(logits[:, [2, 4, 5]]).log()).amax(1)
    torch.testing.assert_close(weights(net, [5])[:, 0], worst.softmax(0))


def test_guidance_reaches_the_states_and_labels_are_what_guides():
    rows, others = batch(torch.tensor([[1, 2, 3]])), [*LABELS]
    others[1] = [5]
    table = model().rows.all()
    found = {
        name: model(**kw).eval().encode(rows, table).states
        for name, kw in {
            "plain": {},
            "other label": {"labels": others},
            "off": {"guidance": False},
            "no labels": {"labels": None},
            "items without": {"labels": [[]] * V},
        }.items()
    }
    assert not torch.equal(found["plain"], found["other label"])
    assert not torch.allclose(found["plain"], found["off"])
    torch.testing.assert_close(found["items without"], found["off"])


def test_new_items_have_no_label_and_a_part_of_the_table_is_an_error():
    net = model().eval()
    table = net.rows.all()
    longer = torch.cat([table, table[1:3]])
    states = net.encode(batch(torch.tensor([[1, V]])), longer).states
    assert torch.equal(states[:, 0], net.encode(batch(torch.tensor([[1, 2]])), table).states[:, 0])
    new = net.guidance(torch.randn(3, 1, 1, 8), torch.tensor([[V + 1]]))[0]
    torch.testing.assert_close(new, torch.full((3, 1, 1), 1 / 3))
    with pytest.raises(ValueError, match="needs the whole item table, 9 rows, and got 4"):
        net.encode(batch(torch.tensor([[1, 2]])), table[:4])


def test_labels_that_are_asked_for_must_be_given():
    known = facts(items=V, num_categories=C)
    two = {"items": ["id", "text"], "width": 8}
    for given in (None, categories(LABELS[:-1])):
        with pytest.raises(ValueError, match="pass `categories` to build, or set guidance = false"):
            build("cammsr", known, features(V), categories=given, **two)
    assert build("cammsr", known, features(V), guidance=False, **two).guidance is None
    assert build("cammsr", known, width=8).guidance is None, "one part alone weighs 1"
    with pytest.raises(ValueError, match="category_loss_weight = 0"):
        build("cammsr", known, width=8, category_loss_weight=1.0)


def test_labels_are_padded_side_by_side_each_once():
    numbers, real = categories([[], [4, 1, 4], [2]]).padded()
    assert numbers.tolist() == [[0, 0], [1, 4], [2, 0]]
    assert real.tolist() == [[False, False], [True, True], [True, False]]
    assert categories([[], [], []]).padded()[1].tolist() == [[False]] * 3


def test_swapped_parts_of_points_one_can_see():
    x = torch.arange(3.0)[:, None, None, None].expand(3, 1, 2, 1)  # part m is m everywhere
    where = torch.tensor([[[True, False]], [[False, False]]])
    found = swapped(x, torch.tensor([1, 0]), torch.tensor([2, 2]), where)[..., 0]
    assert found.tolist() == [[[2, 1]], [[0, 0]], [[1, 2]], [[2, 2]]]
    assert present(["text-image", "id-text", "id-image"], PARTS) == [(1, 2), (0, 1), (0, 2)]
    assert present(["text-image", "id-text"], ("text", "id")) == [(1, 0)]


def test_swaps_are_drawn_for_every_pair_row_and_position_anew():
    rows = events([[1] * 12] * 200)
    net = model(swap=0.3)
    torch.manual_seed(0)
    a, b = net.drawn(rows), net.drawn(rows)
    assert a.shape == (3, 200, 12)
    assert (a.float().mean((0, 1)) - 0.3).abs().max() < 0.06
    for one, other in ((a, b), (a[0], a[1]), (a[:, 0], a[:, 1])):
        assert not torch.equal(one, other)
    assert not model(swap=0.0).drawn(rows).any()
    assert model(swap=1.0).drawn(rows).all()


def test_a_swap_that_changes_nothing_compares_the_plain_states():
    net = model(swap=0.0)
    encoding = net.train().encode(ROWS, net.rows.all())
    plain = encoding.states.unflatten(-1, (3, 8)).permute(2, 0, 1, 3)
    torch.testing.assert_close(encoding.parts["swapped"], plain[[1, 0, 0, 2, 1, 2]])
    all_of_it = model(swap=1.0)
    other = all_of_it.train().encode(ROWS, all_of_it.rows.all()).parts["swapped"]
    assert not torch.allclose(other, encoding.parts["swapped"]), "text in the encoder of pictures is something else"


def test_the_modality_swap_compares_states_after_taught_positions_alone():
    last = replace(ROWS, targets=torch.where(torch.arange(7) == 0, ROWS.targets, PAD), num_targets=4)
    net = model(swap=0.0, pairs=["id-text"], mscl=1.0, temperature=0.5)
    states = net.train().encode(ROWS, net.rows.all()).states[:, 0].unflatten(-1, (3, 8))
    cosines = F.normalize(states[:, 0], dim=-1) @ F.normalize(states[:, 1], dim=-1).T
    torch.testing.assert_close(losses(net, last)["mscl"], F.cross_entropy(cosines / 0.5, torch.arange(4)))


def test_the_pool_is_of_fixed_size():
    small, large = (losses(model(pool=p, swap=0.0), ROWS)["mscl"].item() for p in (2, 100))
    assert small < 0.25 * 3 * 2.2 < large, "at cosines from -1 to 1, two examples cannot cost more"


def test_weights_scale_the_losses_and_zero_turns_them_off():
    plain = losses(model(swap=0.0), ROWS)
    assert plain.keys() == {"loss", "ce", "mscl"}
    torch.testing.assert_close(plain["loss"], plain["ce"] + plain["mscl"])
    torch.testing.assert_close(losses(model(swap=0.0, mscl=1.0), ROWS)["mscl"], 4 * plain["mscl"])
    assert losses(model(mscl=0.0), ROWS).keys() == {"loss", "ce"}
    assert losses(model(pairs=[]), ROWS).keys() == {"loss", "ce"}
    both = [losses(model(category_loss_weight=w, mscl=0.0), ROWS) for w in (1.0, 3.0)]
    assert both[0].keys() == {"loss", "ce", "category"}
    torch.testing.assert_close(3 * both[0]["category"], both[1]["category"])
    net = model(category_loss_weight=1.0).eval()
    table = net.rows.all()
    assert net.extra_losses(ROWS, net.encode(ROWS, table), table) == {}, "nothing is learnt from while evaluating"


def test_each_pair_adds_its_loss():
    terms = [losses(model(swap=0.0, pairs=[p]), ROWS)["mscl"] for p in ("text-image", "id-text", "id-image")]
    torch.testing.assert_close(losses(model(swap=0.0), ROWS)["mscl"], sum(terms))
    assert len({round(t.item(), 5) for t in terms}) == 3


@pytest.mark.parametrize(
    ("parts", "labels", "active", "off"),
    [
        (PARTS, LABELS, {"mscl"}, []),
        (("id", "text"), LABELS, {"mscl"}, []),
        (("image", "text"), LABELS, {"mscl"}, []),
        (("id",), LABELS, set(), ["MSCL"]),
        (("image",), None, set(), ["MSCL"]),
        (PARTS, None, {"mscl"}, ["without categories: category guidance is off"]),
        (("id",), None, set(), ["MSCL"]),
    ],
)
def test_any_content_works_and_says_what_is_off(parts, labels, active, off):
    net = model(parts, labels=labels)
    found = losses(net, ROWS)
    assert found.keys() - {"loss", "ce"} == active
    assert len(net.notes) == len(off)
    for told, note in zip(off, net.notes, strict=True):
        assert told in note
    found["loss"].backward()
    silent = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert silent <= {"rows.content.text.missing"}, "no text is missing"


def test_notes_tell_of_data_and_of_what_was_spoilt_not_of_settings():
    assert model(guidance=False, labels=None, mscl=0.0).notes == ()
    assert model(("id",), pairs=[]).notes == ()
    assert model(guidance=False, labels_missing=0.1).notes == (), "no label is looked at"
    assert "id and text alone: there is no pair" in model(("id", "text"), pairs=["id-image"]).notes[0]
    assert "the category loss is off" in model(("id",), labels=None, category_loss_weight=1, pairs=[]).notes[0]
    told = model(labels_missing=0.1, labels_wrong=0.2).notes
    assert "about 10% of the items to be without labels" in told[0]
    assert "about 20% of the items to be with wrong labels" in told[1]


def test_settings_that_do_not_fit_are_one_sentence():
    with pytest.raises(InputError, match="names a pair twice; name each once"):
        model(pairs=["id-text", "id-text"])
    with pytest.raises(InputError, match="must be a multiple of heads"):
        model(heads=3)
    for wrong in ({"category_sign": 0}, {"labels_wrong": 1.1}, {"swap": -0.1}, {"gates": "hard"}, {"pairs": ["a-b"]}):
        with pytest.raises(InputError, match=f"model cammsr: '?{next(iter(wrong))}"):
            model(**wrong)


def test_fresh_weights_are_xavier_s_where_asked_for():
    torch.manual_seed(0)
    known = facts(items=2001, num_categories=300)
    labels = categories([[]] + [[c % 300] for c in range(2000)], 300)
    wide = features(2001, text=500, image=400)
    net = build("cammsr", known, wide, categories=labels, items=PARTS, width=64, init="xavier")
    expected = {
        "rows.ids.weight": 2001 + 64,
        "rows.content.text.project.weight": 564,
        "positions.weight": 50 + 64,
        "experts.up": 192 + 256,
        "experts.down": 256 + 64,
        "router.weight": 64 + 4,
        "guidance.weight": 364,
        "towers.blocks.0.qkv.weight": 128,
        "towers.blocks.1.out.weight": 128,
        "towers.blocks.0.up.weight": 64 + 256,
        "towers.blocks.1.down.weight": 64 + 256,
    }
    drawn = dict(net.named_parameters())
    for name, fan in expected.items():
        assert drawn[name].std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.06), name
    assert (net.rows.ids.weight[PAD] == 0).all()
    assert (net.towers.norm.alpha == 0.5).all()
    zeros = [n for n in drawn if n.endswith(("bias", "missing")) and "norm" not in n]
    assert len(zeros) > 8
    assert all((drawn[n] == 0).all() for n in zeros)


def test_fresh_weights_are_hm4sr_s():
    torch.manual_seed(0)
    known, content = facts(items=2001), features(2001, text=500, image=400)
    nets = [build("hm4sr", known, content, items=PARTS), build("cammsr", known, content, items=PARTS)]
    theirs, ours = (dict(net.named_parameters()) for net in nets)
    shared = [n for n in ours if n in theirs and n.endswith("weight") and "norm" not in n]
    assert len(shared) == 4 + 2 * 4
    for name in shared:
        assert ours[name].std().item() == pytest.approx(theirs[name].std().item(), rel=0.05), name


def test_content_vectors_have_the_length_asked_for_whatever_it_was():
    given = features(V, missing=(3,))
    longer = Features(vectors={n: (7 * v).astype(np.float16) for n, v in given.vectors.items()}, present=given.present)
    tables = []
    for content in (given, longer):
        torch.manual_seed(0)
        net = build("cammsr", facts(items=V), content, items=PARTS, width=8, content_scale=3.0)
        lengths = net.rows.content["image"].vectors.norm(dim=1)
        torch.testing.assert_close(lengths, 3.0 * torch.tensor([0.0, 1, 1, 0, 1, 1, 1, 1, 1]))
        tables.append(net.rows.all())
        torch.testing.assert_close(net.rows.new(content)[1:, 8:], net.rows.all()[1:, 8:]), "new items likewise"
    torch.testing.assert_close(*tables, rtol=1e-3, atol=1e-3)  # 7 times a float16 is rounded
    columns = model(content_vectors="standardised", loud=False, missing=()).rows.content["text"].vectors[1:]
    torch.testing.assert_close(columns.mean(0), torch.zeros(6), rtol=0, atol=1e-6)


def test_dropout_is_drawn_for_plain_and_swapped_sequences_apart():
    net = model(dropout=0.5, swap=0.0, loud=False).train()
    found = net.encode(ROWS, net.rows.all())
    plain = found.states.unflatten(-1, (3, 8)).permute(2, 0, 1, 3)
    assert not torch.allclose(found.parts["swapped"], plain[[1, 0, 0, 2, 1, 2]])
    again = net.eval().encode(ROWS, net.rows.all())
    assert torch.equal(again.states, net.encode(ROWS, net.rows.all()).states)
    assert not again.parts


def test_lower_precision_keeps_the_sense_of_loss_and_weights():
    net = model(loud=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = losses(net, ROWS)
    low["loss"].backward()
    assert low["ce"].item() == pytest.approx(losses(net, ROWS)["ce"].item(), rel=0.02)


def test_lower_precision_does_not_round_a_sum_over_many_categories():
    """Near 350, numbers of 8 bits are 2 apart."""
    torch.manual_seed(0)
    net = CategoryGuidance(3, 8, categories([[], [7, 300]], 500), sign=1, reduction="sum", labels="multi_hot")
    e, items = torch.randn(3, 4, 5, 8), torch.ones(4, 5, dtype=torch.int64)
    wanted = net(e, items)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net(e, items)[0]
    assert wanted.max() - wanted.min() > 0.1
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)


def test_the_category_loss_teaches_the_heads_the_categories_and_without_it_they_do_not_learn_them():
    last = {}
    for weight in (1.0, 0.0):
        net = model(loud=False, mscl=0.0, category_loss_weight=weight)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(200):
            optimizer.zero_grad()
            losses(net, ROWS)["loss"].backward()
            optimizer.step()
        _, e = net.embedded(ROWS, net.rows.all())
        labelled = torch.tensor([bool(some) for some in LABELS])[ROWS.items]
        last[weight] = net.guidance(e, ROWS.items)[1][:, labelled].mean().item()
    assert last[1.0] < 0.2
    assert last[0.0] > 0.4


def test_events_without_any_label_cost_no_category_loss():
    assert losses(model(category_loss_weight=1.0, mscl=0.0), events([[4, 4, 4]]))["category"].item() == 0


def many() -> Categories:
    """400 items of 1 to 3 of 20 categories, and 100 without."""
    rng = np.random.default_rng(0)
    return categories([[], *(rng.choice(20, n, replace=False).tolist() for n in [1, 2, 3, 0, 1] * 100)], 20)


def sets(found: Categories) -> list[frozenset[int]]:
    return [frozenset(row.nonzero()[:, 0].tolist()) for row in found.multi_hot()]


def test_spoilt_labels():
    true = sets(many())
    lost = [sets(spoilt(many(), missing=share, wrong=0.0)) for share in (0.1, 0.3)]
    wrong = [sets(spoilt(many(), missing=0.0, wrong=share)) for share in (0.1, 0.3)]
    for share, without, other in zip((0.1, 0.3), lost, wrong, strict=True):
        gone = [row for row, s in enumerate(true) if s != without[row]]
        assert all(without[row] == frozenset() for row in gone)
        assert len(gone) / 400 == pytest.approx(share, abs=0.04)
        false = [row for row, s in enumerate(true) if s != other[row]]
        assert len(false) / 400 == pytest.approx(share, abs=0.04)
        assert all(true[row] and other[row] in true for row in false), "another item's labels; none stay none"
    for few, more in (lost, wrong):
        changed = [{row for row, s in enumerate(true) if s != some[row]} for some in (few, more)]
        assert changed[0] < changed[1], "the items of a smaller share are among those of a larger one"
    assert len(set(wrong[1]) - {frozenset()}) > 0.8 * len(set(true)), "from all over the catalogue"
    given = [wrong[1][row] for row, s in enumerate(true) if s != wrong[1][row]]
    assert max(map(given.count, given)) < 0.2 * len(given)
    both = sets(spoilt(many(), missing=0.3, wrong=0.3))
    assert [s == frozenset() for s in both] == [s == frozenset() for s in lost[1]]
    false = sum(bool(s) and s != t for s, t in zip(both, true, strict=True))
    assert false / 400 == pytest.approx(0.3 * 0.7, abs=0.04), "lost and wrong are drawn apart"
    assert sets(spoilt(many(), missing=1.0, wrong=0.0)) == [frozenset()] * 501
    assert all(a != b for a, b in zip(sets(spoilt(many(), missing=0.0, wrong=1.0)), true, strict=True) if b)


def test_a_model_of_spoilt_labels_spoils_the_same_in_every_run():
    held = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        known = facts(items=501, num_categories=20)
        kw = {"items": PARTS, "width": 8, "labels_missing": 0.2, "labels_wrong": 0.2}
        net = build("cammsr", known, features(501), categories=many(), **kw)
        held.append((net.guidance.labels, net.guidance.real))
    wanted = spoilt(many(), missing=0.2, wrong=0.2).padded()
    for found in held:
        assert torch.equal(found[0], wanted[0])
        assert torch.equal(found[1], wanted[1])


def test_labels_that_cannot_be_wrong_are_one_sentence():
    with pytest.raises(InputError, match="labels_wrong needs items of different categories"):
        model(labels=[[]] + [[1]] * (V - 1), labels_wrong=0.5)
