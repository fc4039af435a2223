"""CAMMSR against the same equations written out plainly: scores, losses and the gradient of every parameter."""

import numpy as np
import pytest
import torch

from medleyrec.models import build, cammsr
from medleyrec.models.cammsr import CAMMSR
from medleyrec.models.categories import Categories
from medleyrec.schema import PAD, Batch, Features
from medleyrec.training.module import TrainingModule
from tests.cammsr_plain import Plain
from tests.worlds import facts, taught

V, C, LONGEST = 8, 5, 6
LABELS = [[], [0, 2], [1], [], [3, 4, 2], [2], [0], [4]]  # item 3 has none
MISSING = {2, 4}  # without a picture
PARTS = ("id", "text", "image")
SMALL = {"width": 4, "heads": 2, "depth": 1, "inner": 5, "experts": 3, "max_length": LONGEST, "dropout": 0.0}
TOLERANCE = {"rtol": 0, "atol": 1e-10}

ROWS = taught(
    torch.tensor([[1, 2, 3, 4], [5, 3, PAD, PAD], [6, PAD, PAD, PAD], [4, 6, 7, PAD]]),
    torch.tensor([[2, 3, 4, 1], [3, 1, PAD, PAD], [2, PAD, PAD, PAD], [PAD, PAD, 5, PAD]]),
)
EXAMPLES = [(b, t) for b, t in (ROWS.targets != PAD).nonzero().tolist()]
HISTORIES = [ROWS.items[b, : t + 1].tolist() for b, t in EXAMPLES]
TARGETS = [int(ROWS.targets[b, t]) for b, t in EXAMPLES]


def alone() -> Batch:
    """Every taught position of ROWS as a row of its own."""
    position, last = torch.arange(ROWS.items.shape[1]), torch.tensor([t for _, t in EXAMPLES])
    rows = [b for b, _ in EXAMPLES]
    items = torch.where(position <= last[:, None], ROWS.items[rows], PAD)
    targets = torch.where(position == last[:, None], ROWS.targets[rows], PAD)
    return taught(items, targets)


def content() -> Features:
    """Vectors of signs: their length is a power of two, so that taking it to 1 does not round in float32."""
    rng = np.random.default_rng(0)
    vectors = {
        n: (rng.choice([-1, 1], (V, w)) * 2.0 ** rng.integers(-2, 3, (V, 1))).astype(np.float16)
        for n, w in (("text", 4), ("image", 16))
    }
    present = {n: np.arange(V) > 0 for n in vectors}
    present["image"][list(MISSING)] = False
    for name, table in vectors.items():
        table[~present[name]] = 0
    return Features(vectors=vectors, present=present)


def labelled() -> Categories:
    offsets = np.cumsum([0, *map(len, LABELS)])
    return Categories(offsets=offsets, labels=np.concatenate(LABELS).astype(np.int32), count=C)


def model(parts=PARTS, *, categories=True, **settings) -> CAMMSR:
    """In float64, every parameter at random: no zero and no one hides a factor that is forgotten."""
    torch.manual_seed(0)
    known = facts(items=V, num_categories=C if categories else 0)
    labels = labelled() if categories else None
    net = build("cammsr", known, content(), categories=labels, items=parts, **{**SMALL, **settings}).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))
    return net.train()


def plain(net: CAMMSR) -> Plain:
    s, given = net.settings, content()
    return Plain(
        weights={n: p.detach().clone().requires_grad_() for n, p in net.named_parameters()},
        parts=s.items,
        vectors={n: torch.from_numpy(v.astype(np.float64)) for n, v in given.vectors.items()},
        present={n: p.tolist() for n, p in given.present.items()},
        labels=LABELS,
        categories=0 if net.guidance is None else C,
        heads=s.heads,
        depth=s.depth,
        experts=s.experts,
        scale=s.content_scale,
        dyt=s.dyt,
        router=s.router,
        looks_ahead=s.router_attention == "prefix",
        gates=s.gates,
        guidance=s.guidance,
        sign=s.category_sign,
        reduction=s.category_reduction,
        multi_label=s.multi_label,
        temperature=s.temperature,
        same_target_negatives=s.same_target_negatives,
    )


SWAPS = torch.rand(3, *ROWS.items.shape, generator=torch.Generator().manual_seed(1)) < 0.5
POOL = [0, 1, 3, 4, 5, 7]  # examples that the modality swap compares


def fed(net: CAMMSR, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Losses of the fast model, with the swaps and the pool given."""
    rows = [b for b, _ in EXAMPLES] if len(batch) == len(EXAMPLES) else list(range(len(batch)))
    monkeypatch.setattr(cammsr, "random_pool", lambda positions, _: positions[POOL])
    net.drawn = lambda _: SWAPS[: len(net.pairs)][:, rows, : batch.items.shape[1]]
    return TrainingModule(net, classes=V, chunk=8)(batch)


def written_out(net: CAMMSR, said: Plain, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Scores (examples, V - 1) and losses of the plain one."""
    scores = torch.stack([said.scores(history, V) for history in HISTORIES])
    terms = [said.cross_entropy(row, target) for row, target in zip(scores, TARGETS, strict=True)]
    losses = {"ce": sum(terms) / len(terms)}
    if net.pairs:
        losses["mscl"] = net.settings.mscl * sum(
            said.contrast(
                [
                    said.swapped(HISTORIES[i], pair, SWAPS[p, EXAMPLES[i][0], : EXAMPLES[i][1] + 1].tolist())
                    for i in POOL
                ],
                [TARGETS[i] for i in POOL],
            )
            for p, pair in enumerate(net.pairs)
        )
    if net.settings.category_loss_weight:
        rows = [row[:n].tolist() for row, n in zip(batch.items, batch.lengths, strict=True)]
        losses["category"] = net.settings.category_loss_weight * said.category_loss(rows)
    return scores, losses | {"loss": sum(losses.values())}


def check(net: CAMMSR, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    said = plain(net)
    scores, wanted = written_out(net, said, batch)
    table = net.rows.all()
    found = net.eval().last_state(alone(), table) @ table[1:].T
    torch.testing.assert_close(found, scores, **TOLERANCE)
    losses = fed(net.train(), batch, monkeypatch)
    assert losses.keys() == wanted.keys()
    torch.testing.assert_close(losses, wanted, **TOLERANCE)
    losses["loss"].backward()
    gradients = torch.autograd.grad(wanted["loss"], list(said.weights.values()), allow_unused=True)
    for (name, parameter), gradient in zip(net.named_parameters(), gradients, strict=True):
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        expected = torch.zeros_like(parameter) if gradient is None else gradient
        torch.testing.assert_close(own, expected, **TOLERANCE, msg=lambda told, name=name: f"{name}: {told}")


CASES = {
    "as printed": {},
    "softmax gates, minus, mean": {"gates": "softmax", "category_sign": -1, "category_reduction": "mean"},
    "vanilla mixture": {"router": "linear", "guidance": False},
    "linear, LayerNorm, two blocks": {"router": "linear", "dyt": False, "depth": 2},
    "max of the labels, cold, known false negatives": {
        "multi_label": "max",
        "temperature": 0.3,
        "same_target_negatives": False,
    },
    "category loss": {"category_loss_weight": 0.7, "mscl": 1.5, "content_scale": 3.0},
    "category loss without guidance": {"category_loss_weight": 0.7, "guidance": False, "pairs": ["text-image"]},
    "one pair, one expert": {"pairs": ["id-image"], "experts": 1, "heads": 1},
    "no swap": {"mscl": 0.0},
    "no categories": {"categories": False, "pairs": ["id-image", "id-text"]},
    "id and text": {"parts": ("id", "text")},
    "picture and text, that order": {"parts": ("image", "text"), "category_sign": -1},
    "id alone": {"parts": ("id",)},
    "pictures alone": {"parts": ("image",)},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("form", ["one pass", "prefixes"])
def test_scores_losses_and_gradients_are_those_of_the_equations(settings, form, monkeypatch):
    check(model(**settings), ROWS if form == "one pass" else alone(), monkeypatch)


@pytest.mark.parametrize("more", [{}, {"gates": "softmax", "parts": ("id", "text")}])
def test_a_router_that_looks_ahead_is_that_of_the_equations_too(more, monkeypatch):
    check(model(router_attention="prefix", **more), alone(), monkeypatch)


def test_the_plain_one_is_not_blind(monkeypatch):
    """One wrong sign there and it no longer agrees."""
    net = model()
    said = plain(net)
    said.sign = -1
    scores, _ = written_out(net, said, ROWS)
    table = net.rows.all()
    assert (net.last_state(alone(), table) @ table[1:].T - scores).abs().max() > 1e-3
