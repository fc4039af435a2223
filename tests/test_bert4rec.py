"""Masked rows, and BERT4Rec: what it is taught, what it may see, what it answers."""

import pytest
import torch
import torch.nn.functional as F

from medleyrec.dataset.batches import DeviceLog, one_pass_windows, prefix_windows
from medleyrec.models import build
from medleyrec.models.masking import appended, drawn, places, whole_rows
from medleyrec.schema import PAD, InputError
from medleyrec.training.module import TrainingModule
from tests.backbones_plain import bert4rec, softmax_loss
from tests.worlds import batch, circle, facts, small, taught

V, L, D = 11, 5, 8
ITEMS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, PAD, PAD, PAD], [8, 9, 10, 1, PAD]])
TARGETS = torch.tensor([[PAD, PAD, 4, 5, 6], [7, 8, PAD, PAD, PAD], [PAD, PAD, PAD, 2, PAD]])
ROWS = torch.tensor([[1, 2, 3, 4, 5, 6], [6, 7, 8, PAD, PAD, PAD], [8, 9, 10, 1, 2, PAD]])


def made(**more):
    torch.manual_seed(0)
    model = build("bert4rec", facts(items=V), width=D, max_length=L, dropout=0.0, **more).double()
    with torch.no_grad():
        for weight in model.backbone.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        model.mask.normal_()
        model.rows.ids.weight[1:] += torch.randn(V - 1, D)
    return model


def test_a_whole_row_is_its_events_and_its_last_target():
    items, lengths = whole_rows(taught(ITEMS, TARGETS))
    assert torch.equal(items, ROWS)
    assert lengths.tolist() == [6, 3, 5]
    items, lengths = whole_rows(batch(ITEMS))
    assert torch.equal(items[:, :L], ITEMS)
    assert lengths.tolist() == [5, 2, 4], "a row that teaches nothing has no further event"


@pytest.mark.parametrize("windows", [one_pass_windows, prefix_windows])
def test_whole_rows_of_the_log_are_runs_of_its_events(tmp_path, windows):
    _, split = small(tmp_path / "d", circle(users=3, items=8, length=11))
    log = split.training_log()
    plan = windows(log, max_length=4, **({"stride": 2} if windows is one_pass_windows else {}))
    items, lengths = whole_rows(DeviceLog(log, plan).batch(torch.arange(len(plan)).numpy()))
    for row, n, start, length in zip(items.tolist(), lengths.tolist(), plan.starts, plan.lengths, strict=True):
        assert n == length + 1
        assert row[:n] == log.items[start : start + n].tolist()
        assert not any(row[n:])


def test_the_drawn_share_is_exact_and_padding_is_never_drawn():
    torch.manual_seed(0)
    lengths = torch.tensor([10, 6, 3, 2, 1, 0])
    for share, counts in ((0.6, [6, 4, 2, 1, 1, 0]), (0.2, [2, 1, 1, 1, 1, 0]), (0.99, [9, 5, 2, 1, 1, 0])):
        masked = drawn(lengths, 12, share)
        assert masked.sum(1).tolist() == counts
        assert not masked[torch.arange(12) >= lengths[:, None]].any()


def test_every_event_is_drawn_alike_and_some_rows_mask_the_last_alone():
    torch.manual_seed(0)
    masked = drawn(torch.full((20_000,), 5), 7, 0.4).float()  # 2 of 5
    torch.testing.assert_close(masked.mean(0), torch.tensor([0.4] * 5 + [0.0] * 2), atol=0.02, rtol=0)
    masked = drawn(torch.full((20_000,), 5), 7, 0.4, last=0.25)
    alone = masked[:, 4] & (masked.sum(1) == 1)
    assert alone.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (masked.sum(1)[~alone] == 2).all()


def test_places_of_masks_are_those_of_the_flattened_rows():
    masked = torch.tensor([[False, True, False], [True, False, True]])
    assert places(masked).tolist() == [1, 3, 5]
    assert ROWS[:2, :3].flatten()[places(masked)].tolist() == [2, 6, 8]


def test_a_mask_is_appended_to_the_last_events():
    long = torch.tensor([[1, 2, 3, 4], [5, 6, PAD, PAD], [PAD, PAD, PAD, PAD]])
    items, lengths, masked = appended(batch(long), 4)
    assert items.tolist() == [[1, 2, 3, 4, PAD], [5, 6, PAD, PAD, PAD], [PAD] * 5]
    assert lengths.tolist() == [5, 3, 1]
    assert masked.nonzero().tolist() == [[0, 4], [1, 2], [2, 0]]
    items, lengths, masked = appended(batch(long), 3)
    assert items.tolist() == [[2, 3, 4, PAD], [5, 6, PAD, PAD], [PAD] * 4]
    assert lengths.tolist() == [4, 3, 1]
    assert masked.nonzero().tolist() == [[0, 3], [1, 2], [2, 0]]


def test_loss_and_gradients_are_those_of_the_equations():
    model = made(heads=2, depth=2)
    given = taught(ITEMS, TARGETS)
    torch.manual_seed(6)
    losses = TrainingModule(model, classes=V, chunk=4)(given, normaliser=12.0)
    losses["loss"].backward()
    torch.manual_seed(6)
    masked = drawn(torch.tensor([6, 3, 5]), L + 1, 0.6, last=0.1)
    rows, mask = (p.detach().clone().requires_grad_() for p in (model.rows.ids.weight, model.mask))
    weights = {n: p.detach().clone().requires_grad_() for n, p in model.backbone.named_parameters()}
    total, count = 0.0, 0
    for row, hidden in zip(ROWS.tolist(), masked.tolist(), strict=True):
        real = [(v, h) for v, h in zip(row, hidden, strict=True) if v != PAD]
        x = torch.stack([mask if h else rows[v] for v, h in real])
        at = [t for t, (_, h) in enumerate(real) if h]
        states = bert4rec(weights, x, depth=2, heads=2)
        total = total + softmax_loss(states[at], rows[1:], torch.tensor([real[t][0] - 1 for t in at]))
        count += len(at)
    assert count == masked.sum() != given.num_targets, "else the two could be mistaken for each other"
    plain = total / count * (given.num_targets / 12.0)
    plain.backward()
    torch.testing.assert_close(losses["loss"], plain, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.mask.grad, mask.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.rows.ids.weight.grad[1:], rows.grad[1:], rtol=1e-10, atol=1e-10)
    for n, p in model.backbone.named_parameters():
        torch.testing.assert_close(p.grad, weights[n].grad, rtol=1e-10, atol=1e-10, msg=n)


def test_the_answer_is_that_of_the_equations():
    model = made(heads=2, depth=2).eval()
    table = model.rows.all()
    found = model.last_state(batch(ITEMS), table)
    weights = dict(model.backbone.named_parameters())
    for state, row in zip(found, ITEMS, strict=True):
        x = torch.cat([table[row[row != PAD]], model.mask[None]])
        torch.testing.assert_close(state, bert4rec(weights, x, depth=2, heads=2)[-1], rtol=1e-10, atol=1e-10)


def test_a_masked_item_is_never_seen():
    """Its row of the table may be anything, and no state of its row changes."""
    model = made().eval()
    table = model.rows.all().detach()
    items, lengths = whole_rows(taught(ITEMS, TARGETS))
    torch.manual_seed(3)
    masked = drawn(lengths, L + 1, 0.6)
    assert masked.any(1).all()
    x = table[items]
    other = torch.where(masked[..., None], 100 * torch.randn_like(x), x)
    real = torch.arange(L + 1) < lengths[:, None]
    assert torch.equal(model.states(x, masked, lengths)[real], model.states(other, masked, lengths)[real])
    shown = torch.where(masked[..., None], x, 100 * torch.randn_like(x))
    assert not torch.equal(model.states(x, masked, lengths)[real], model.states(shown, masked, lengths)[real])


def test_what_it_is_taught_says_what_was_masked_and_does_not_tell_it():
    model = made(mask_last=1.0).eval()
    table = model.rows.all()
    found = model.taught(taught(ITEMS, TARGETS), table)
    assert found.targets.tolist() == [6, 8, 2], "the last event of each row"
    changed = TARGETS.clone()
    changed[0, 4], changed[1, 1], changed[2, 3] = 9, 9, 9
    other = model.taught(taught(ITEMS, changed), table)
    assert other.targets.tolist() == [9, 9, 9]
    assert torch.equal(found.states, other.states)


def test_taught_the_last_event_it_is_asked_what_it_will_be_asked():
    model = made(mask_last=1.0).eval()
    table = model.rows.all()
    found = model.taught(taught(ITEMS, TARGETS), table)
    torch.testing.assert_close(found.states, model.last_state(batch(ITEMS), table))


def test_masks_follow_the_generator_and_differ_from_step_to_step():
    model = made()
    table, given = model.rows.all(), taught(ITEMS, TARGETS)
    drawn_at = {}
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        found = tuple(model.taught(given, table).targets.tolist())
        assert drawn_at.setdefault(seed, found) == found
    assert drawn_at[1] != drawn_at[2]


def test_shares_of_a_step_add_up():
    """Half of a step's targets weigh half, however many events were masked."""
    module, given = TrainingModule(made(), classes=V, chunk=4), taught(ITEMS, TARGETS)
    losses = []
    for normaliser in (None, 2.0 * given.num_targets):
        torch.manual_seed(0)
        losses.append(module(given, normaliser=normaliser)["loss"])
    torch.testing.assert_close(losses[0], 2 * losses[1])


def test_a_history_beyond_the_longest_counts_with_its_last_events():
    model = made().eval()
    long = torch.tensor([[7, 8, 9, 1, 2, 3, 4, 5]])
    table = model.rows.all()
    torch.testing.assert_close(model.last_state(batch(long), table), model.last_state(batch(long[:, -L:]), table))
    torch.testing.assert_close(
        model.last_state(batch(F.pad(ITEMS, (0, 7))), table), model.last_state(batch(ITEMS), table)
    )


def test_new_items_and_content_score_as_with_any_model():
    """No output bias: a score is the product of a state and a row, whatever the row."""
    model = made().eval()
    table = torch.cat([model.rows.all(), torch.randn(2, D, dtype=torch.float64)])
    state = model.last_state(batch(ITEMS), table)
    assert (state @ table.T).shape == (3, V + 2)
    assert not [n for n, p in model.named_parameters() if len(p) == V and p.dim() == 1]


def test_it_says_that_it_takes_its_time():
    assert "several times the epochs" in made().notes[0]


def test_settings_out_of_range_are_one_sentence():
    for key, value in (("mask", 0), ("mask", 1), ("mask_last", 1.5), ("mask_last", -0.1)):
        with pytest.raises(InputError, match=f"model bert4rec: {key} = {value} does not fit"):
            build("bert4rec", facts(items=V), **{key: value})
    with pytest.raises(NotImplementedError, match="ask for last_state or taught"):
        made().encode(batch(ITEMS), torch.zeros(V, D))
