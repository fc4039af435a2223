"""Known answers for item rows, dropout, attention and the baselines."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medleyrec.models import baseline
from medleyrec.models.dropout import Dropout, dropout
from medleyrec.models.items import ItemRows
from medleyrec.models.transformer import attention, causal_attention
from medleyrec.schema import PAD, Features
from tests.worlds import batch, features

V = 8


def test_features_are_standardised_on_training_items_alone():
    given = features(V)
    train = np.arange(V) % 2 == 1
    part = ItemRows(V, 4, parts=("text",), features=given, train_items=train).content["text"]
    known = part.vectors[torch.from_numpy(train)]
    torch.testing.assert_close(known.mean(0), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(known.std(0, correction=0), torch.full((6,), 6**-0.5))


def test_centred_features_keep_what_varies_more_louder():
    given = features(V)
    train = np.arange(V) % 2 == 1
    raw = torch.from_numpy(given.vectors["text"][train]).float()
    part = ItemRows(V, 4, parts=("text",), features=given, train_items=train, scaling="centred", content_scale=2.0)
    known = part.content["text"].vectors[torch.from_numpy(train)]
    torch.testing.assert_close(known.mean(0), torch.zeros(6), atol=1e-6, rtol=0)
    ratios = known.std(0, correction=0) / raw.std(0, correction=0)
    torch.testing.assert_close(ratios, ratios[:1].expand(6))
    assert known.square().sum(1).mean().sqrt().item() == pytest.approx(2.0, rel=1e-4), "the mean square length"


def test_a_column_that_never_varies_says_nothing():
    table = np.ones((V, 2), np.float16)
    table[:, 1] = np.arange(V)
    given = Features(vectors={"text": table}, present={"text": np.arange(V) > 0})
    part = ItemRows(V, 4, parts=("text",), features=given).content["text"]
    assert (part.vectors[:, 0] == 0).all()
    assert part.vectors[1:, 1].std(correction=0).item() == pytest.approx(1)


def test_a_missing_picture_is_a_learnt_vector_and_a_new_item_gets_the_row_of_its_twin():
    given = features(V, missing=(3,))
    rows = ItemRows(V, 4, parts=("image",), features=given)
    with torch.no_grad():
        rows.content["image"].missing.fill_(0.5)
    assert (rows.all()[3] == 0.5).all()
    twin = Features(
        vectors={"image": given.vectors["image"][[2, 3]]}, present={"image": given.present["image"][[2, 3]]}
    )
    torch.testing.assert_close(rows.new(twin), rows.all()[[2, 3]])


def test_parts_stand_side_by_side_or_are_summed():
    torch.manual_seed(0)
    wide = ItemRows(V, 4, parts=("id", "text"), features=features(V), join="concat")
    narrow = ItemRows(V, 4, parts=("id", "text"), features=features(V), join="sum")
    narrow.load_state_dict(wide.state_dict())
    torch.testing.assert_close(wide.all()[:, :4] + wide.all()[:, 4:], narrow.all())
    torch.testing.assert_close(wide(torch.tensor([5, PAD, 2])), wide.all()[[5, PAD, 2]])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_the_share(p):
    torch.manual_seed(0)
    x = torch.ones(400, 501)
    y = dropout(x, p)
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert y.mean().item() == pytest.approx(1, abs=0.02)
    columns = (y == 0).float().mean(0)
    assert columns.std() < 3 * (p * (1 - p) / 400) ** 0.5, "no column is favoured"
    assert torch.equal(Dropout(p).eval()(x), x)
    assert not torch.equal(dropout(x, p), y), "every call draws anew"


def test_dropout_passes_gradients_to_what_is_kept():
    x = torch.ones(50, 7, requires_grad=True)
    y = dropout(x, 0.5)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_written_out_attention_equals_the_fused_one():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 6, 4)
    fused = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(causal_attention(q, k, v, dropout_p=0.0), fused)
    torch.manual_seed(0)
    many = torch.stack([causal_attention(q, k, v, dropout_p=0.3) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(many, fused, atol=0.05, rtol=0)


def test_written_out_attention_to_real_positions_equals_the_fused_one():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 6, 4)
    seen = (torch.arange(6) < torch.tensor([[6], [3]]))[:, None, None]
    fused = attention(q, k, v, seen=seen, dropout_p=0.0)
    torch.testing.assert_close(fused[1], F.scaled_dot_product_attention(q[1], k[1, :, :3], v[1, :, :3]))
    many = torch.stack([attention(q, k, v, seen=seen, dropout_p=0.3) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(many, fused, atol=0.05, rtol=0)


def fitted(name, log, **settings):
    """log: one list of items per user."""
    items = np.array([i for user in log for i in user], np.int32)
    users = np.repeat(np.arange(len(log)), [len(user) for user in log])
    return baseline(name, **settings).fit(items, np.arange(len(items)) * 86_400, users, num_items=V)


def scores(ranker, history):
    return ranker.scores(batch(torch.tensor([history])), torch.arange(V))[0]


def test_popularity_counts_and_recent_popularity_fades():
    log = [[1, 1, 1, 2], [2, 3]]  # one event a day: 1 1 1 2 2 3
    assert scores(fitted("popularity", log), [5])[:4].tolist() == [0, 3, 2, 1]
    faded = scores(fitted("recent-popularity", log, half_life=1.0), [5])
    torch.testing.assert_close(faded[:4], torch.tensor([0, 0.125 + 0.0625 + 0.03125, 0.75, 1.0]))


def test_transitions_by_hand():
    log = [[1, 2, 3], [1, 2, 4], [1, 3, 4]]
    found = scores(fitted("transitions", log, second=0.5, back_off=0.0), [1, 2])
    # after 2 came 3 and 4, once each; two after 1 came 3, 4 and 4
    assert found[3].item() == pytest.approx(1 / 2 + 0.5 / 3, abs=1e-5)
    assert found[4].item() == pytest.approx(1 / 2 + 0.5 * 2 / 3, abs=1e-5)
    one = scores(fitted("transitions", log, second=0.0, back_off=0.0), [1, 2])
    assert one[3].item() == pytest.approx(one[4].item(), abs=1e-5)


def test_transitions_back_off_to_items_of_the_same_users():
    log = [[1, 2], [3, 4], [4, 5]]
    found = scores(fitted("transitions", log, second=0.0, back_off=0.1), [2])
    assert found[1].item() == pytest.approx(0.1, abs=1e-5), "cosine of {0} and {0} is 1"
    assert found[4] < 1e-5
    assert found[2] < 1e-5, "an item is no neighbour of itself"


def test_users_do_not_run_into_each_other():
    found = scores(fitted("transitions", [[1, 2], [3, 4]], second=0.0, back_off=0.0), [2])
    assert found[3] < 1e-5
