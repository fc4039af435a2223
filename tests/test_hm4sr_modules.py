"""The modules of HM4SR one by one: time, experts, towers, contrast, categories."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medleyrec.models.categories import Categories, category_loss
from medleyrec.models.contrast import false_negatives, info_nce, random_pool
from medleyrec.models.experts import InteractiveExperts, TemporalExperts
from medleyrec.models.time import TimeEmbedding
from medleyrec.models.towers import Towers
from medleyrec.schema import PAD
from tests.worlds import DAY, START, batch

H = 6


def clock(*, max_gap=1000 * DAY, scale=10.0, raw=False) -> TimeEmbedding:
    torch.manual_seed(0)
    return TimeEmbedding(H, start_time=START, max_gap=max_gap, interval_scale=scale, raw_seconds=raw)


def at(*seconds: int):
    items = torch.ones(1, len(seconds) + 2, dtype=torch.int64)
    items[0, len(seconds) :] = PAD
    times = torch.tensor([[*seconds, 0, 0]])
    return replace(batch(items), times=times)


def test_intervals_by_hand():
    gaps = [0, 1, 3, 7, 6, 86_399]
    seconds = START + np.concatenate([[0], np.cumsum(gaps)])
    found = clock().interval(at(*seconds.tolist()))[0].tolist()
    #         first  0   log2(2)  log2(4)  log2(8)  log2(7) = 2.807  log2(86400) = 16.399   padding
    assert found == [0, 0, 10, 20, 30, 28, 163, 0, 0]


def test_the_interval_table_holds_the_largest_gap_and_larger_ones_share_its_last_row():
    net = clock(max_gap=7)
    assert net.intervals.num_embeddings == 31
    assert net.interval(at(START, START + 7, START + 7 + 10**8))[0].tolist()[:3] == [0, 30, 30]
    assert clock(max_gap=0).interval(at(START, START + 10**9))[0].tolist()[:2] == [0, 0]


def test_the_phase_counts_days_from_the_start_exactly():
    net = clock()
    with torch.no_grad():
        net.absolute.weight.fill_(2.0)
        net.absolute.bias.fill_(0.5)
    late = START + 5_000 * DAY + 6 * 3600
    phase = net.phase(torch.tensor([[late]]))[0, 0]
    assert phase.dtype == torch.float64
    wanted = [(2 * 5_000.25 + 0.5) / 10_000 ** (j / H) for j in range(H)]
    torch.testing.assert_close(phase, torch.tensor(wanted, dtype=torch.float64), rtol=2e-7, atol=0)
    assert phase[0].item() == 10_001.0, "no rounding where the frequency is one"


def test_raw_seconds_round_as_published():
    net = clock(raw=True)
    phases = net.phase(torch.tensor([[START, START + 60]]))[0]
    assert phases.dtype == torch.float32
    slope, bias = net.absolute.weight[:, 0], net.absolute.bias
    torch.testing.assert_close(phases[0], (torch.tensor(float(START)) * slope + bias) * net.frequency)
    assert torch.equal(phases[0], phases[1]), "a minute is lost in float32"
    assert not torch.equal(*clock().phase(torch.tensor([[START, START + 60]]))[0])


def test_a_time_embedding_is_interval_then_cosine():
    net, rows = clock(), at(START, START + 3)
    tau = net(rows)
    assert tau.shape == (1, 4, 2 * H)
    assert torch.equal(tau[0, 1, :H], net.intervals.weight[20])
    torch.testing.assert_close(tau[0, 1, H:], net.phase(rows.times)[0, 1].cos().float())


def test_interactive_experts_by_hand():
    torch.manual_seed(0)
    net = InteractiveExperts(3, H, experts=4, start=(0.0, 1.0, 0.5))
    x = torch.randn(2, 5, 3, H)
    found = net(x)
    for b, t in ((0, 0), (1, 3)):
        for m in range(3):
            gate = torch.stack([net.gates[m, k] @ x[b, t, m] + net.gate_bias[m, k] for k in range(4)]).softmax(0)
            said = [(net.experts[k] @ x[b, t].flatten() + net.expert_bias[k]).view(3, H)[m] for k in range(4)]
            mixed = sum(g * y for g, y in zip(gate, said, strict=True))
            torch.testing.assert_close(found[b, t, m], x[b, t, m] + net.weight[m] * mixed)
    assert torch.equal(found[..., 0, :], x[..., 0, :]), "the weight of the first part is 0"


def test_temporal_experts_by_hand():
    torch.manual_seed(0)
    net = TemporalExperts(2, H, experts=3)
    with torch.no_grad():
        net.gate.weight.normal_()
    z, tau = torch.randn(1, 4, 2, H), torch.randn(1, 4, 2 * H)
    found = net(z, tau)
    routes = (net.gate.weight @ tau[0, 2] + net.gate.bias).softmax(0)
    mixture = sum(routes[k] * net.experts[k] for k in range(3)).view(2, H)
    torch.testing.assert_close(found[0, 2], z[0, 2] * mixture)
    torch.testing.assert_close(net.routes(tau).sum(-1), torch.ones(1, 4))
    assert TemporalExperts(2, 64, experts=50).experts.std().item() == pytest.approx(0.1, rel=0.05)


def torchs_own(towers: Towers, m: int, *, heads: int) -> nn.Sequential:
    """Tower m as torch's own post-norm encoder layers with the same weights."""
    norm = nn.LayerNorm(2 * H, eps=1e-12)
    norm.load_state_dict({"weight": towers.norm.weight[m], "bias": towers.norm.bias[m]})
    layers = []
    for block in towers.blocks:
        layer = nn.TransformerEncoderLayer(
            2 * H, heads, 20, dropout=0.0, activation=F.gelu, layer_norm_eps=1e-12, batch_first=True
        )
        names = {
            "self_attn.in_proj_": block.qkv,
            "self_attn.out_proj.": block.out,
            "linear1.": block.up,
            "linear2.": block.down,
            "norm1.": block.norm1,
            "norm2.": block.norm2,
        }
        layer.load_state_dict({f"{n}{k}": getattr(p, k)[m] for n, p in names.items() for k in ("weight", "bias")})
        layers.append(layer)
    return nn.ModuleList([norm, *layers])


def test_towers_are_torchs_own_encoders_side_by_side():
    torch.manual_seed(0)
    net = Towers(3, width=2 * H, depth=2, heads=2, inner=20, dropout=0.0, std=0.3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, which = torch.randn(5, 4, 7, 2 * H), [0, 1, 2, 2, 0]
    found = net(x, torch.tensor(which))
    future = torch.ones(7, 7, dtype=torch.bool).triu(1)
    for g, m in enumerate(which):
        norm, *layers = torchs_own(net, m, heads=2)
        y = norm(x[g])
        for layer in layers:
            y = layer(y, src_mask=future, is_causal=True)
        torch.testing.assert_close(found[g], y, rtol=1e-4, atol=1e-5)


def test_towers_draw_their_dropout_apart():
    torch.manual_seed(0)
    net = Towers(1, width=2 * H, depth=1, heads=2, inner=20, dropout=0.5)
    same = torch.randn(1, 2, 3, 2 * H).repeat(2, 1, 1, 1)
    a, b = net.train()(same, torch.tensor([0, 0]))
    assert not torch.equal(a, b)
    a, b = net.eval()(same, torch.tensor([0, 0]))
    assert torch.equal(a, b)


def test_info_nce_of_points_one_can_see():
    points = torch.eye(3)
    targets = torch.tensor([1, 2, 1])
    false = false_negatives(targets)
    assert false.nonzero().tolist() == [[0, 2], [2, 0]]
    # rows 0 and 2 see one negative at cosine 0, row 1 sees two
    wanted = (2 * math.log(math.e + 1) + math.log(math.e + 2)) / 3 - 1
    assert info_nce(points, points, false, temperature=1.0).item() == pytest.approx(wanted, abs=1e-6)
    counted = math.log(math.e + 2) - 1
    assert info_nce(5 * points, points, false, temperature=1.0, counted=True).item() == pytest.approx(counted, abs=1e-6)
    colder = math.log(math.exp(2) + 1) * 2 / 3 + math.log(math.exp(2) + 2) / 3 - 2
    assert info_nce(points, points, false, temperature=0.5).item() == pytest.approx(colder, abs=1e-6)


def test_false_negatives_may_include_the_same_user():
    false = false_negatives(torch.tensor([1, 2, 3]), torch.tensor([7, 7, 8]))
    assert false.nonzero().tolist() == [[0, 1], [1, 0]]


def test_a_pool_is_a_part_drawn_without_replacement():
    torch.manual_seed(0)
    positions = torch.arange(100) * 3
    drawn = random_pool(positions, 40)
    assert len(drawn.unique()) == 40
    assert set(drawn.tolist()) <= set(positions.tolist())
    assert torch.equal(random_pool(positions, 100), positions)
    assert not torch.equal(random_pool(positions, 40), drawn)


def test_categories_are_renumbered_by_the_vocabulary():
    offsets = np.array([0, 0, 2, 2, 5])
    known = Categories.of(offsets, np.array([4, 9, 1, 4, 7], np.int32), np.array([1, 4, 9], np.int32))
    assert len(known) == 4
    assert known.multi_hot().int().tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]]
    assert repr(known) == "Categories(3 of 4 items, 4 labels)"


def test_category_loss_is_the_mean_over_real_tokens_and_classes():
    logits = torch.tensor([[0.0, 2.0], [1.0, -1.0], [9.0, 9.0]])
    wanted = torch.tensor([[1, 0], [0, 0], [0, 0]], dtype=torch.bool)
    terms = [math.log(2), math.log(1 + math.exp(2)), math.log(1 + math.e), math.log(1 + math.exp(-1))]
    found = category_loss(logits, wanted, torch.tensor([True, True, False]))
    assert found.item() == pytest.approx(sum(terms) / 4, abs=1e-6)
