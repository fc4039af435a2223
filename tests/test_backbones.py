"""The backbones against a plain transcription of their equations, and what holds for all of them."""

import pytest
import torch

from medleyrec.models import build
from medleyrec.models.backbones import BACKBONES, Shape
from medleyrec.schema import PAD
from medleyrec.training.module import TrainingModule
from tests.backbones_plain import PLAIN, softmax_loss
from tests.worlds import batch, facts, taught

B, L, D, V = 3, 6, 8, 11
LENGTHS = [6, 2, 4]


@pytest.fixture(params=sorted(BACKBONES))
def name(request):
    return request.param


def made(name, **more):
    """In float64, with weights far from their small start: what is nearly zero hides mistakes."""
    torch.manual_seed(1)
    settings = {"width": D, "max_length": L, "depth": 2, "heads": 2, "dropout": 0.0, **more}
    backbone = BACKBONES[name](Shape(**settings)).double()
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return backbone


def vectors():
    torch.manual_seed(2)
    return torch.randn(B, L, D, dtype=torch.float64), torch.tensor(LENGTHS)


@pytest.mark.parametrize(("depth", "heads"), [(1, 1), (2, 2)])
def test_states_and_gradients_are_those_of_the_equations(name, depth, heads):
    backbone = made(name, depth=depth, heads=heads)
    x, lengths = vectors()
    x.requires_grad_()
    weights = {n: p.detach().clone().requires_grad_() for n, p in backbone.named_parameters()}
    given = x.detach().clone().requires_grad_()
    ours = torch.cat([row[:n] for row, n in zip(backbone(x, lengths), LENGTHS, strict=True)])
    plain = torch.cat([PLAIN[name](weights, given[b, :n], depth=depth, heads=heads) for b, n in enumerate(LENGTHS)])
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)
    direction = torch.randn(ours.shape, dtype=torch.float64)
    (ours * direction).sum().backward()
    (plain * direction).sum().backward()
    torch.testing.assert_close(x.grad, given.grad, rtol=1e-10, atol=1e-10)
    for n, p in backbone.named_parameters():
        torch.testing.assert_close(p.grad, weights[n].grad, rtol=1e-10, atol=1e-10, msg=n)
        assert p.grad.abs().max() > 1e-6 or n.endswith("qkv.bias"), n


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_loss_and_gradients_of_the_causal_models_are_those_of_the_equations(name):
    """What BERT4Rec is taught is drawn; its loss has a test of its own."""
    torch.manual_seed(0)
    heads = {} if name == "gru4rec" else {"heads": 2}
    model = build(name, facts(items=V), width=D, max_length=L, depth=2, dropout=0.0, **heads).double()
    with torch.no_grad():
        model.rows.ids.weight[1:] += torch.randn(V - 1, D)
    items = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 0, 0, 0, 0]])
    targets = torch.tensor([[0, 0, 4, 5, 6, 7], [8, 9, 0, 0, 0, 0]])
    loss = TrainingModule(model, classes=V, chunk=4)(taught(items, targets))["loss"]
    loss.backward()
    rows = model.rows.ids.weight.detach().clone().requires_grad_()
    weights = {n: p.detach().clone().requires_grad_() for n, p in model.backbone.named_parameters()}
    total = 0.0
    for row, told in zip(items, targets, strict=True):
        states = PLAIN[name](weights, rows[row[row != PAD]], depth=2, heads=2)
        at = (told != PAD).nonzero()[:, 0]
        total = total + softmax_loss(states[at], rows[1:], told[at] - 1)
    plain = total / 6
    plain.backward()
    torch.testing.assert_close(loss, plain, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.rows.ids.weight.grad[1:], rows.grad[1:], rtol=1e-10, atol=1e-10)
    for n, p in model.backbone.named_parameters():
        torch.testing.assert_close(p.grad, weights[n].grad, rtol=1e-10, atol=1e-10, msg=n)


def test_what_stands_in_the_padding_changes_nothing(name):
    backbone = made(name)
    x, lengths = vectors()
    other = x.clone()
    for b, n in enumerate(LENGTHS):
        other[b, n:] = 100 * torch.randn(L - n, D, dtype=torch.float64)
    real = torch.arange(L) < lengths[:, None]
    assert torch.equal(backbone(x, lengths)[real], backbone(other, lengths)[real])


def test_who_is_causal_does_not_look_ahead_and_who_is_not_does(name):
    backbone = made(name)
    x, _ = vectors()
    changed = x.clone()
    changed[:, 4] += torch.randn(D, dtype=torch.float64)
    lengths = torch.full((B,), L)
    before, after = backbone(x, lengths)[:, :4], backbone(changed, lengths)[:, :4]
    if backbone.causal:
        torch.testing.assert_close(before, after, rtol=0, atol=1e-14)
    else:
        assert ((before - after).abs().amax(-1) > 1e-6).all(), "every position sees the change"


def test_the_order_of_events_matters(name):
    backbone = made(name)
    x, _ = vectors()
    turned = x.clone()
    turned[:, [0, 1]] = x[:, [1, 0]]
    lengths = torch.full((B,), L)
    assert (backbone(x, lengths)[:, -1] - backbone(turned, lengths)[:, -1]).abs().max() > 1e-3


def test_there_is_room_for_an_appended_mask_where_it_is_needed(name):
    backbone = made(name)
    longer = L + (not backbone.causal)
    states = backbone(torch.randn(B, longer, D, dtype=torch.float64), torch.full((B,), longer))
    assert states.shape == (B, longer, D)


def test_an_empty_row_has_the_finite_state_of_one_padding_event(name):
    backbone = made(name)
    x = torch.zeros(2, L, D, dtype=torch.float64)
    found = backbone(x, torch.tensor([0, 1]))[:, 0]
    assert torch.isfinite(found).all()
    assert torch.equal(found[0], found[1])


def test_dropout_is_of_training_alone(name):
    backbone = made(name, dropout=0.5)
    x, lengths = vectors()
    assert not torch.equal(backbone(x, lengths), backbone(x, lengths))
    backbone.eval()
    assert torch.equal(backbone(x, lengths), backbone(x, lengths))
    torch.testing.assert_close(backbone(x, lengths), made(name)(x, lengths))


def test_weights_of_sasrec_from_before_there_were_backbones_load():
    model = build("sasrec", facts(items=V), width=D, max_length=L)
    new = model.state_dict()
    old = {n.removeprefix("backbone."): torch.full_like(t, float(i)) for i, (n, t) in enumerate(new.items())}
    assert "positions.weight" in old
    model.load_state_dict(old)
    assert [t.flatten()[0].item() for t in model.state_dict().values()] == [float(i) for i in range(len(old))]
    with pytest.raises(RuntimeError, match="backbone.blocks.2"):
        model.load_state_dict({**old, "blocks.2.out.bias": torch.zeros(D)})


def test_heads_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match=r"width \(8\) must be a multiple of heads \(3\)"):
        Shape(width=8, max_length=4, heads=3)


def test_scaled_inputs_are_those_of_the_first_code():
    """log2feats of Kang & McAuley: the item vector times the root of the width, then the position."""
    torch.manual_seed(0)
    items, width = torch.tensor([[1, 4, 2]]), 8
    model = build("sasrec", facts(items=V), width=width, max_length=L, dropout=0.0, scaled_inputs=True).double()
    table = model.rows.all()
    weights = dict(model.backbone.named_parameters())
    plain = PLAIN["sasrec"](weights, table[items[0]] * width**0.5, depth=2, heads=2)
    torch.testing.assert_close(model.encode(batch(items), table).states[0], plain, rtol=1e-10, atol=1e-10)
