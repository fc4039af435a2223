"""Looking into a trained CAMMSR: tables whose numbers are known."""

import pytest
import torch

from medleyrec.dataset import PrepareConfig, prepare
from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.inspect import run_inspect
from medleyrec.recipes.inspect_cammsr import EXPLAINED, PLANTED, SATURATION
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.train import run_train
from tests.worlds import circle, tables


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Twelve items in three categories, with a title each. Every second user has five events, the others nine."""
    folder = tmp_path_factory.mktemp("shop")
    goods = [
        {"item_id": f"i{n:02d}", "title": f"thing number {n} of kind {n % 3}", "categories": [["all", f"kind {n % 3}"]]}
        for n in range(12)
    ]
    log = [event for n, event in enumerate(circle(users=24)) if (n // 9) % 2 or n % 9 < 5]
    prepare(tables(log, goods), folder / "dataset", PrepareConfig(min_user_events=1, min_item_events=1))
    run_encode(load_experiment(folder, flags={"encode": {"image": "none"}}), Listener())
    return folder


def trained(shop, **settings):
    model = {"name": "cammsr", "settings": {"items": ["id", "text"], "width": 8, "max_length": 8, **settings}}
    experiment = load_experiment(shop, flags={"model": model, "train": {"epochs": 1, "softmax_chunk": 64}})
    return run_train(experiment, Listener())[0]


def table(found, title):
    return next(t for t in found.tables if title in t.title)


def test_weights_by_category_and_their_saturation(shop, tmp_path):
    run = trained(shop)
    with torch.no_grad():
        run.model.guidance.weight.zero_()
        run.model.guidance.bias.zero_()
    even = run_inspect(run, Listener(), out=tmp_path)
    assert even.figures == {SATURATION: 0}, "weights that do not vary say nothing of the categories"
    by_category = table(even, "weight of each part")
    assert set(by_category.rows) == {"all events", "kind 0", "kind 1", "kind 2"}
    for row in by_category.rows.values():
        assert row == pytest.approx((0.5, 0.5))
    assert by_category.count["all events"] == 12 * 8 + 12 * 4
    with torch.no_grad():  # the id's head is far off wherever the label is kind 1: that part gets all the weight
        vocabulary = [run.dataset.labels[i] for i in run.split.vocabulary]
        run.model.guidance.bias[0, vocabulary.index("kind 1")] = -100.0
    found = run_inspect(run, Listener(), out=tmp_path)
    by_category = table(found, "weight of each part")
    assert by_category.rows["kind 1"] == pytest.approx((1, 0), abs=1e-6)
    share = by_category.count["kind 1"] / by_category.count["all events"]
    assert found.figures[SATURATION] == pytest.approx(share)
    assert table(found, "saturation").rows["all events"][-1] == pytest.approx(share)
    assert found.figures[EXPLAINED] == pytest.approx(1), "the weights are those of the category alone"
    assert found.figures[f"{EXPLAINED}, p"] <= 0.03, "few of the ways to deal out twelve items do as well"
    assert PLANTED not in found.figures, "only where something was planted"


def test_the_map_of_a_router_without_a_preference_is_even_over_what_came_before(shop, tmp_path):
    run = trained(shop)
    with torch.no_grad():
        run.model.router.weight.zero_()
    found = run_inspect(run, Listener(), out=tmp_path)
    for part in ("id", "text"):
        rows = list(table(found, f"Router of {part}").rows.values())
        assert len(rows) == 8
        for i, row in enumerate(rows):
            assert row == pytest.approx([1 / (i + 1)] * (i + 1) + [0] * (7 - i), abs=1e-6)
    assert table(found, "mean gate").rows["id"] == pytest.approx((0,) * 4), "values are zero, and so are the gates"


def test_the_map_is_that_of_the_gates(shop):
    run = trained(shop)
    torch.manual_seed(0)
    router, lengths = run.model.router, torch.tensor([5, 3])
    e = torch.randn(2, 2, 5, 8)
    values = router._projected(e)[2][:, 0].view(2, 2, 5, -1)
    gates = router.maps(e, lengths) @ values
    real = torch.arange(5) < lengths[:, None]
    torch.testing.assert_close(gates[:, real], router(e, lengths)[:, real])


def test_what_is_off_is_left_out(shop, tmp_path):
    found = run_inspect(trained(shop, router="linear", guidance=False), Listener(), out=tmp_path)
    titles = [t.title for t in found.tables]
    assert not [t for t in titles if "guidance" in t or "who looks" in t]
    assert found.figures == {}
    assert sum(table(found, "mean gate").rows["text"]) == pytest.approx(1)
    assert "Score of the target by tower, above the mean candidate" in titles
    heads_alone = run_inspect(trained(shop, guidance=False, category_loss_weight=1), Listener(), out=tmp_path)
    assert heads_alone.figures == {}, "the heads learn, and weigh nothing"
