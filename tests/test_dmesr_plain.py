"""DMESR against the same equations written out plainly: scores, losses and the gradient of every parameter."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from medleyrec.models import build, dmesr
from medleyrec.models.dmesr import DMESR
from medleyrec.schema import (
    ATTRIBUTES,
    DESCRIBED_BOTH,
    DESCRIBED_IMAGE,
    DESCRIBED_TEXT,
    DESCRIPTIONS,
    PAD,
    TEXT,
    Features,
)
from medleyrec.training.module import TrainingModule
from tests.dmesr_plain import Plain
from tests.worlds import facts, taught

V, LONGEST = 8, 6
TITLE, BRAND = "field_title", "field_brand"
ALL = (*DESCRIPTIONS, ATTRIBUTES)
WIDTHS = {DESCRIBED_IMAGE: 4, DESCRIBED_TEXT: 4, DESCRIBED_BOTH: 16, ATTRIBUTES: 4, TEXT: 16, TITLE: 4, BRAND: 16}
MISSING = {  # item 5 has no coarse view, item 6 no fine one
    DESCRIBED_IMAGE: (3, 5),
    DESCRIBED_TEXT: (5, 7),
    DESCRIBED_BOTH: (3, 5),
    ATTRIBUTES: (2, 6),
    TEXT: (4, 6),
    TITLE: (4, 6),
    BRAND: (1, 6),
}
SMALL = {"width": 4, "heads": 2, "depth": 1, "max_length": LONGEST, "dropout": 0.0, "content_vectors": "unit"}
TOLERANCE = {"rtol": 0, "atol": 1e-10}

ROWS = taught(
    torch.tensor([[1, 2, 3, 4], [5, 3, PAD, PAD], [6, PAD, PAD, PAD], [4, 6, 7, PAD]]),
    torch.tensor([[2, 3, 4, 1], [3, 1, PAD, PAD], [2, PAD, PAD, PAD], [PAD, PAD, 5, PAD]]),
)
EXAMPLES = [(b, t) for b, t in (ROWS.targets != PAD).nonzero().tolist()]

SWITCHES = {
    "all views": {},
    "two coarse": {"items": (DESCRIBED_TEXT, DESCRIBED_IMAGE, ATTRIBUTES)},
    "two fine": {"items": (*ALL, TEXT)},
    "fine alone": {"items": (ATTRIBUTES,)},
    "coarse alone": {"items": DESCRIPTIONS},
    "id": {"items": ("id", *ALL)},
    "id alone": {"items": ("id",)},
    "no residual": {"residual": False},
    "no norm": {"norm": False},
    "linear coarse": {"coarse": "linear"},
    "align image-text": {"align": "image-text"},
    "no alignment": {"align": "none"},
    "side by side": {"fusion": "none"},
    "item fusion": {"fusion": "item", "items": (*ALL, TEXT), "cross_heads": 4},
    "fields": {"items": (*DESCRIPTIONS, TITLE, BRAND)},
    "item fusion of fields": {"fusion": "item", "items": (*DESCRIPTIONS, BRAND, TITLE)},
}
BACKBONES = ("sasrec", "gru4rec")


def content() -> Features:
    """Vectors of signs: their length is a power of two, so that taking it to 1 does not round in float32."""
    rng = np.random.default_rng(0)
    vectors = {
        n: (rng.choice([-1, 1], (V, w)) * 2.0 ** rng.integers(-2, 3, (V, 1))).astype(np.float16)
        for n, w in WIDTHS.items()
    }
    present = {n: ~np.isin(np.arange(V), (PAD, *MISSING[n])) for n in vectors}
    for name, table in vectors.items():
        table[~present[name]] = 0
    return Features(vectors=vectors, present=present)


def model(**settings) -> DMESR:
    """In float64, every parameter at random: no zero and no one hides a factor that is forgotten."""
    torch.manual_seed(0)
    net = build("dmesr", facts(items=V), content(), **{**SMALL, "items": ALL, **settings}).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))
    return net.train()


def plain(net: DMESR) -> Plain:
    s, given = net.settings, content()
    weights = {n: p.detach().clone().requires_grad_() for n, p in net.named_parameters()}
    prefix = "backbone."
    own = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}

    def backbone(sequence: list[torch.Tensor]) -> list[torch.Tensor]:
        """One sequence alone, nothing padded; what a backbone computes is the business of its own tests."""
        x = torch.stack(sequence)[None]
        return list(functional_call(net.backbone, own, (x, torch.tensor([len(sequence)])))[0])

    return Plain(
        weights=weights,
        items=s.items,
        vectors={n: torch.from_numpy(v.astype(np.float64)) for n, v in given.vectors.items()},
        present={n: p.tolist() for n, p in given.present.items()},
        backbone=backbone,
        width=s.width,
        heads=s.cross_heads,
        linear=s.coarse == "linear",
        fusion=s.fusion,
        norm=s.norm,
        residual=s.residual,
        pairs=s.pairs,
        temperature=s.temperature,
        both_ways=not net.causal,
    )


def written_out(said: Plain) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
    """Scores (examples, V - 1), their mean cross entropy and the alignment of the plain one."""
    scores = [said.scores(said.states(ROWS.items[b, : t + 1].tolist())[-1], V) for b, t in EXAMPLES]
    targets = [int(ROWS.targets[b, t]) for b, t in EXAMPLES]
    ce = sum(said.cross_entropy(s, v) for s, v in zip(scores, targets, strict=True)) / len(scores)
    return torch.stack(scores), ce, said.align(ROWS.items.flatten().tolist()) if said.pairs else 0.0


def same_gradients(net: DMESR, said: Plain) -> None:
    for name, parameter in net.named_parameters():
        found, wanted = parameter.grad, said.weights[name].grad
        zero = torch.zeros_like(parameter)
        torch.testing.assert_close(
            zero if found is None else found,
            zero if wanted is None else wanted,
            **TOLERANCE,
            msg=lambda m, n=name: n + m,
        )


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("switch", SWITCHES)
def test_scores_losses_and_gradients_are_those_of_the_equations(switch, backbone):
    net = model(**SWITCHES[switch], backbone=backbone)
    said = plain(net)
    scores, ce, align = written_out(said)
    table = net.rows.all()
    states = net.encode(ROWS, table).states
    found = torch.stack([states[b, t] for b, t in EXAMPLES]) @ table[1:].T
    torch.testing.assert_close(found, scores, **TOLERANCE)
    losses = TrainingModule(net, classes=V, chunk=8)(ROWS)
    torch.testing.assert_close(losses["ce"], ce, **TOLERANCE)
    assert ("align" in losses) == bool(said.pairs)
    if said.pairs:
        torch.testing.assert_close(losses["align"], 0.1 * align, **TOLERANCE)
    losses["loss"].backward()
    (ce + 0.1 * align).backward()
    same_gradients(net, said)


MASKED = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 1, 0]], dtype=torch.bool)
WHOLE = [[1, 2, 3, 4, 1], [5, 3, 1], [6, 2], [4, 6, 7, 5]]


def masked_by_hand(said: Plain) -> torch.Tensor:
    """Mean cross entropy of the masked events."""
    terms = []
    for row, history in enumerate(WHOLE):
        hidden = tuple(t for t in range(len(history)) if MASKED[row, t])
        states = said.states(history, hidden)
        terms += [said.cross_entropy(said.scores(states[t], V), history[t]) for t in hidden]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("switch", SWITCHES)
def test_on_bert4rec_masked_events_and_gradients_are_those_of_the_equations(switch, monkeypatch):
    net = model(**SWITCHES[switch], backbone="bert4rec")
    said = plain(net)
    monkeypatch.setattr(dmesr, "drawn", lambda *_, **__: MASKED)
    losses = TrainingModule(net, classes=V, chunk=8)(ROWS)
    ce, align = masked_by_hand(said), said.align(ROWS.items.flatten().tolist()) if said.pairs else 0.0
    torch.testing.assert_close(losses["ce"], ce, **TOLERANCE)
    losses["loss"].backward()
    (ce + 0.1 * align).backward()
    same_gradients(net, said)
    asked = [
        said.scores(said.states([v for v in row if v] + [PAD], (len([v for v in row if v]),))[-1], V)
        for row in ROWS.items.tolist()
    ]
    torch.testing.assert_close(net.scores(ROWS, torch.arange(1, V)), torch.stack(asked), **TOLERANCE)
