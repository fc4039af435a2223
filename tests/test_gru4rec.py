"""GRU4Rec by hand; its equations are held in test_backbones.py, its learning in test_training.py."""

import pytest
import torch

from medleyrec.models import build
from medleyrec.schema import InputError
from tests.worlds import batch, facts


def test_one_cell_by_hand():
    """One item of width 1, its vector 1, all weights 1 and biases 0: h = (1 - s) tanh(1) with s = sigmoid(1)."""
    model = build("gru4rec", facts(items=2), width=1, max_length=3, dropout=0.0).double().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(0.0 if "bias" in name else 1.0)
    states = model.encode(batch(torch.tensor([[1, 1]])), torch.tensor([[0.0], [1.0]], dtype=torch.float64)).states
    s = 1 / (1 + torch.exp(torch.tensor(-1.0, dtype=torch.float64)))
    h = (1 - s) * torch.tanh(torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(states[0, 0, 0], h)
    z = 1 / (1 + torch.exp(-1 - h))
    torch.testing.assert_close(states[0, 1, 0], (1 - z) * torch.tanh(1 + z * h) + z * h)


def test_it_has_one_layer_unless_told_and_no_heads():
    assert build("gru4rec", facts(items=5)).backbone.gru.num_layers == 1
    assert build("gru4rec", facts(items=5), depth=3).backbone.gru.num_layers == 3
    with pytest.raises(InputError, match="model gru4rec: unknown key 'heads'"):
        build("gru4rec", facts(items=5), heads=2)


def test_between_layers_events_are_dropped_too():
    model = build("gru4rec", facts(items=5), width=4, depth=2, dropout=0.4)
    assert model.backbone.gru.dropout == 0.4
    assert build("gru4rec", facts(items=5), depth=1, dropout=0.4).backbone.gru.dropout == 0.0
