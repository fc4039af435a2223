"""HM4SR against formulas written out, torch's own layers and worlds whose answer is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medleyrec.models import build
from medleyrec.models.categories import Categories
from medleyrec.models.hm4sr import HM4SR
from medleyrec.schema import PAD, Batch, InputError
from medleyrec.training.module import TrainingModule
from tests.worlds import DAY, START, facts, features, taught

V, L, C = 9, 12, 14
PARTS = ("id", "text", "image")


def labelled() -> Categories:
    """Every item has two or three random categories."""
    rng = np.random.default_rng(0)
    chosen = [[]] + [sorted(rng.choice(C, rng.integers(2, 4), replace=False)) for _ in range(1, V)]
    offsets = np.cumsum([0, *map(len, chosen)])
    return Categories(offsets=offsets, labels=np.concatenate(chosen).astype(np.int32), count=C)


def model(parts=PARTS, *, categories=True, seed=0, missing=(3,), **settings) -> HM4SR:
    torch.manual_seed(seed)
    labels = labelled() if categories else None
    known = facts(items=V, num_categories=C if categories else 0, start_time=START, max_gap=400 * DAY)
    content = features(V, missing=missing) if set(parts) - {"id"} else None
    settings = {"width": 8, "max_length": L, "dropout": 0.0, **settings}
    return build("hm4sr", known, content, items=parts, categories=labels, **settings)


def events(items: list[list[int]], gaps: int = DAY) -> Batch:
    """Rows of items; position t teaches the item at t + 1, the last one teaches item 1. Events are `gaps` apart."""
    width = max(map(len, items))
    rows = torch.tensor([row + [PAD] * (width - len(row)) for row in items])
    after = torch.tensor([row[1:] + [1] + [PAD] * (width - len(row)) for row in items])
    times = torch.where(rows != PAD, START + gaps * torch.arange(width), 0)
    return replace(taught(rows, after), times=times)


def prefixes(batch: Batch) -> Batch:
    """Every taught position as a row of its own: the events up to it, and its one target."""
    found = [(b, t) for b in range(len(batch)) for t in range(batch.items.shape[1]) if batch.targets[b, t] != PAD]
    rows = torch.tensor([b for b, _ in found])
    lengths = torch.tensor([t + 1 for _, t in found])
    position = torch.arange(batch.items.shape[1])
    inside, last = position < lengths[:, None], position == lengths[:, None] - 1
    return Batch(
        torch.where(inside, batch.items[rows], PAD),
        torch.where(inside, batch.times[rows], 0),
        lengths,
        torch.where(last, batch.targets[rows], PAD),
        batch.users[rows],
        len(found),
    )


ROWS = events([[1, 2, 3, 4, 5, 6, 7], [8, 3, 3], [5], [2, 4, 6, 8, 1]])


def losses(net: HM4SR, batch: Batch) -> dict[str, torch.Tensor]:
    return TrainingModule(net.train(), classes=V, chunk=8)(batch)


def test_one_pass_has_the_states_and_the_softmax_loss_of_all_prefixes():
    net = model()
    alone = prefixes(ROWS)
    table = net.rows.all()
    wanted = net.eval().last_state(alone, table)
    inside = net.encode(ROWS, table).states[ROWS.targets != PAD]
    assert (inside - wanted).abs().max() <= 1e-6
    one, many = losses(net, ROWS), losses(net, alone)
    assert abs(one["ce"] - many["ce"]) * alone.num_targets <= 1e-5, "summed"
    assert abs(one["ce"] - many["ce"]) <= 1e-6


def test_one_pass_has_the_gradients_of_all_prefixes():
    found = []
    for batch in (ROWS, prefixes(ROWS)):
        net = model(cp=0.0, pcl=0.0).double()
        losses(net, batch)["loss"].backward()
        found.append({n: p.grad for n, p in net.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_idcl_of_one_pass_is_that_of_the_same_pool_of_prefixes():
    net = model(pcl=0.0, cp=0.0)
    torch.testing.assert_close(losses(net, ROWS)["idcl"], losses(net, prefixes(ROWS))["idcl"])


def test_cp_of_prefixes_is_that_of_one_pass_with_tokens_weighted_by_their_prefixes():
    net = model()
    table = net.rows.all()
    items, weight = [], []
    for row, length in zip(ROWS.items.tolist(), ROWS.lengths.tolist(), strict=True):
        items += row[:length]
        weight += [length - t for t in range(length)]
    logits, wanted = net.head(table[items]), net.labels[items].float()
    terms = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1)
    many = (terms * torch.tensor(weight)).sum() / sum(weight)
    torch.testing.assert_close(losses(net, prefixes(ROWS))["cp"], many)
    torch.testing.assert_close(losses(net, ROWS)["cp"], terms.mean())


def test_the_pool_is_of_fixed_size_and_its_loss_grows_with_its_logarithm():
    net = model(pool=4)
    assert losses(net, ROWS)["idcl"].item() < losses(model(pool=100), ROWS)["idcl"].item()
    single = model(pool=2, same_user_negatives=False)
    one_row = events([[1, 2, 3, 4]])
    torch.testing.assert_close(losses(single, one_row)["idcl"], torch.tensor(0.0)), "one user has no negatives"


def test_placeholders_of_a_row_and_of_a_prefix():
    net = model(max_length=50)
    many = events([[1] * n for n in (1, 2, 3, 4, 6, 7, 10, 20, 33, 50)])
    torch.manual_seed(0)
    share = torch.stack([net.replaced(many) for _ in range(400)]).float().mean(0)
    assert (share - 0.3).abs().max() < 0.1, "each position alone"
    exact = model(max_length=50, placeholders="prefix")
    drawn = torch.stack([exact.replaced(many) for _ in range(200)])
    assert (drawn.sum(-1) == torch.tensor([0, 0, 0, 1, 1, 2, 3, 6, 9, 15])).all()
    assert not (drawn & (many.items == PAD)).any(), "padding is never replaced"
    assert (drawn[:, -1].float().mean(0) - 0.3).abs().max() < 0.15, "without favour"


def test_pcl_by_hand():
    net = model(idcl=0.0, cp=0.0)
    mask = torch.rand(ROWS.items.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    net.replaced = lambda _: mask
    found = losses(net, ROWS)["pcl"]
    table = net.rows.all()
    x, tau = net.mixed(ROWS, table)
    made = net.placeholder(tau).view(*tau.shape[:2], 2, 8)
    changed = x.clone()
    changed[:, :, 1:][mask] = made[mask]
    which = torch.arange(3)
    plain, other = (net.towers(y.permute(2, 0, 1, 3), which)[:, ROWS.targets != PAD] for y in (x, changed))
    targets = ROWS.targets[ROWS.targets != PAD]
    terms = [by_hand(plain[m], other[m], targets, 1.0, counted=False) for m in (1, 2)]
    assert found.item() == pytest.approx(sum(terms) / 2, abs=1e-5)


def by_hand(anchors, others, targets, temperature, *, counted):
    """The loss as a double loop over pairs."""
    a, b = F.normalize(anchors, dim=1).tolist(), F.normalize(others, dim=1).tolist()
    total = 0.0
    for i in range(len(a)):
        c = [sum(x * y for x, y in zip(a[i], row, strict=True)) / temperature for row in b]
        kept = sum(math.exp(c[j]) for j in range(len(b)) if j == i or targets[j] != targets[i])
        false = sum(1 for j in range(len(b)) if j != i and targets[j] == targets[i])
        total += -c[i] + math.log(kept + (false if counted else 0))
    return total / len(a)


@pytest.mark.parametrize("counted", [False, True])
def test_idcl_by_hand(counted):
    net = model(pcl=0.0, cp=0.0, reference=["counted-negatives"] if counted else [])
    table = net.rows.all()
    taught_here = ROWS.targets != PAD
    states, targets = net.encode(ROWS, table).states[taught_here][:, :8], ROWS.targets[taught_here]
    assert len(set(targets.tolist())) < len(targets), "there are equal targets"
    expected = by_hand(states, table[targets][:, :8], targets, 0.2, counted=counted)
    assert losses(net, ROWS)["idcl"].item() == pytest.approx(expected, abs=1e-5)
    assert not math.isclose(expected, by_hand(states, table[targets][:, :8], targets, 0.2, counted=not counted))


def test_cp_as_published_by_hand():
    net = model(idcl=0.0, pcl=0.0, reference=["category-mask"])
    table = net.rows.all()
    flat = F.pad(ROWS.items, (0, L - ROWS.items.shape[1])).flatten().tolist()
    terms = []
    for b, length in enumerate(ROWS.lengths.tolist()):
        token = flat[b]
        logits, wanted = net.head(table[token]), net.labels[token].float()
        terms += [F.binary_cross_entropy_with_logits(logits[c], wanted[c]) for c in range(length)]
    torch.testing.assert_close(losses(net, ROWS)["cp"], torch.stack(terms).mean())
    with pytest.raises(InputError, match=r"needs at least max_length \(15\) categories, there are 14"):
        model(max_length=15, reference=["all"])


def test_cp_as_published_judges_padding_too_without_teaching_its_id():
    net = model(idcl=0.0, pcl=0.0, reference=["category-mask", "raw-features"])
    short = events([[1], [2, 3], [4, 5, 6]])  # the first three tokens are item 1 and two of padding
    table = net.rows.all()
    found = net.extra_losses(short, net.encode(short, table), table)["cp"]
    terms = [
        F.binary_cross_entropy_with_logits(net.head(table[row])[c], net.labels[row, c].float())
        for row, length in ((1, 1), (PAD, 2), (PAD, 3))
        for c in range(length)
    ]
    torch.testing.assert_close(found, torch.stack(terms).mean())
    found.backward()
    gradient = net.rows.ids.weight.grad
    assert (gradient[PAD] == 0).all()
    assert gradient[1].abs().sum() > 0


def test_raw_features_are_taken_as_they_are():
    net, given = model(reference=["raw-features"]), features(V, missing=(3,))
    table = net.rows.all()
    image = net.rows.content["image"].project
    torch.testing.assert_close(table[3, 16:], image.bias), "a missing picture is zeros"
    vector = torch.from_numpy(given.vectors["image"][4].astype(np.float32))
    torch.testing.assert_close(table[4, 16:], image(vector))
    assert table[PAD, :8].abs().sum() > 0
    assert (model().rows.all()[PAD] == 0).all()
    learnt = model().rows.content["image"].missing
    torch.testing.assert_close(model().rows.all()[3, 16:], learnt.detach())


def test_content_scale_is_the_length_of_content_vectors():
    for scale in (1.0, 4.0):
        for part in model(content_scale=scale, missing=()).rows.content.values():
            assert part.vectors[1:].square().sum(1).mean().item() == pytest.approx(scale**2, rel=1e-4)


def test_lower_precision_reaches_neither_time_nor_the_loss_s_sense():
    net = model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net.time.phase(ROWS.times).dtype == torch.float64
        low = losses(net, ROWS)
    low["loss"].backward()
    assert low["ce"].item() == pytest.approx(losses(net, ROWS)["ce"].item(), rel=0.02)


def test_temporal_experts_learn_unless_fixed_and_are_saved_either_way():
    ours, fixed = model(), model(reference=["fixed-experts"])
    assert "temporal.experts" in dict(ours.named_parameters())
    assert "temporal.experts" not in dict(fixed.named_parameters())
    assert "temporal.experts" in fixed.state_dict()
    losses(ours, ROWS)["loss"].backward()
    assert ours.temporal.experts.grad.abs().sum() > 0


def test_padding_is_a_class_only_where_asked_for():
    assert not model().padding_class
    assert model(reference=["padding-class"]).padding_class
    assert model(reference=["all"]).padding_class


def test_weights_scale_the_losses_and_zero_turns_them_off():
    torch.manual_seed(1)
    plain = losses(model(), ROWS)
    assert plain.keys() == {"loss", "ce", "idcl", "pcl", "cp"}
    torch.testing.assert_close(plain["loss"], sum(plain[n] for n in ("ce", "idcl", "pcl", "cp")))
    twice = losses(model(cp=2.0, idcl=3.0), ROWS)
    torch.testing.assert_close(twice["cp"], 2 * plain["cp"])
    torch.testing.assert_close(twice["idcl"], 3 * plain["idcl"])
    assert losses(model(pcl=0.0), ROWS).keys() == {"loss", "ce", "idcl", "cp"}


@pytest.mark.parametrize(
    ("parts", "categories", "active", "off"),
    [
        (PARTS, True, {"idcl", "pcl", "cp"}, []),
        (("id", "text"), True, {"idcl", "pcl", "cp"}, []),
        (("image", "id"), True, {"idcl", "pcl", "cp"}, []),
        (("id",), True, {"idcl", "cp"}, ["PCL"]),
        (("text", "image"), True, {"pcl", "cp"}, ["IDCL"]),
        (PARTS, False, {"idcl", "pcl"}, ["CP"]),
        (("id",), False, {"idcl"}, ["PCL", "CP"]),
    ],
)
def test_any_content_works_and_says_what_is_off(parts, categories, active, off):
    net = model(parts, categories=categories)
    found = losses(net, ROWS)
    assert found.keys() - {"loss", "ce"} == active
    assert len(net.notes) == len(off)
    for name in off:
        assert any(f"({name})" in note for note in net.notes)
    found["loss"].backward()
    silent = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    silent -= {"rows.content.text.missing"}  # no text is missing
    if parts == ("id",):
        silent -= {n for n in silent if n.startswith("interactive.")}  # their weight on ids starts at 0
    assert not silent


def test_what_the_settings_turn_off_is_not_told_and_not_built():
    net = model(("id",), idcl=0.0, pcl=0.0, cp=0.0, temporal=False, interactive=False)
    assert net.notes == ()
    assert net.time is None
    assert losses(net, ROWS).keys() == {"loss", "ce"}
    assert model(temporal=False).time is not None, "placeholders are made of time"


def test_learning_categories_without_being_given_them_is_an_error():
    known = facts(items=V, num_categories=C)
    net = build("hm4sr", known, width=8, max_length=L)
    with pytest.raises(ValueError, match="pass `categories` to build, or set cp = 0"):
        losses(net, ROWS)


def test_the_time_of_an_event_reaches_its_state_only_through_time():
    early, late = events([[1, 2, 3]]), events([[1, 2, 3]], gaps=90 * DAY)
    for settings, equal in (({}, False), ({"temporal": False}, True)):
        net = model(**settings).eval()
        table = net.rows.all()
        states = [net.encode(batch, table).states for batch in (early, late)]
        assert torch.equal(*states) == equal


def gaps_decide(count: int, *, seed: int) -> Batch:
    """After item 1 comes 2 within the hour and 3 after a month: only the gap before the last event can tell."""
    rng = np.random.default_rng(seed)
    short = torch.from_numpy(rng.random(count) < 0.5)
    first = torch.from_numpy(START + rng.integers(0, 300, count) * DAY)
    items = torch.tensor([[4, 1]]).repeat(count, 1)
    gap = torch.where(short, 1800, 30 * DAY)
    times = torch.stack([first, first + gap], 1)
    targets = torch.stack([torch.zeros(count, dtype=torch.int64), torch.where(short, 2, 3)], 1)
    return Batch(items, times, torch.full((count,), 2), targets, torch.arange(count), count)


@pytest.mark.parametrize("temporal", [True, False])
def test_learns_what_only_time_tells(temporal):
    net = model(("id",), categories=False, idcl=0.0, interactive=False, temporal=temporal, interval_scale=4)
    lesson = gaps_decide(64, seed=0)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        losses(net, lesson)["loss"].backward()
        optimizer.step()
    exam = gaps_decide(200, seed=1)
    table = net.eval().rows.all()
    guessed = (net.last_state(exam, table) @ table.T).argmax(1)
    share = (guessed == exam.targets[:, 1]).float().mean().item()
    assert share == 1.0 if temporal else share < 0.65
