"""The recipes of CAMMSR: each differs from the full one in what its name says, and each makes a model that learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medleyrec.dataset import PrepareConfig, prepare
from medleyrec.models import build
from medleyrec.models.categories import Categories
from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.experiment import Experiment, load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.run import Run, open_run
from medleyrec.recipes.train import run_train
from medleyrec.schema import InputError
from medleyrec.training.module import TrainingModule
from tests.worlds import batch, circle, facts, features, tables, taught

RECIPES = Path(__file__).parents[1] / "recipes" / "cammsr"
PAIRS = ("text-image", "id-text", "id-image")
MINUS, MEAN, TAUGHT = {"category_sign": -1}, {"category_reduction": "mean"}, {"category_loss_weight": 1}
CHANGES = {
    "full": {},
    "published": {"router_attention": "prefix", "init": "xavier", "temperature": 1},
    "without_attention": {"router": "linear"},
    "without_cg": {"guidance": False},
    "without_dyt": {"dyt": False},
    "vanilla_moe": {"router": "linear", "guidance": False},
    "gates_softmax": {"gates": "softmax"},
    "init_xavier": {"init": "xavier"},
    "temperature_1": {"temperature": 1},
    "without_mscl": {"mscl": 0},
    **{f"pairs_{p.replace('-', '_')}": {"pairs": (p,)} for p in PAIRS},
    **{f"pairs_without_{p.replace('-', '_')}": {"pairs": tuple(q for q in PAIRS if q != p)} for p in PAIRS},
    **{f"labels_missing_{n}": {"labels_missing": n / 100} for n in (10, 20, 30)},
    **{f"labels_wrong_{n}": {"labels_wrong": n / 100} for n in (10, 20, 30)},
    "sign_minus": MINUS,
    "reduction_mean": MEAN,
    "sign_minus_mean": MINUS | MEAN,
    "category_loss": TAUGHT,
    "sign_minus_category_loss": MINUS | TAUGHT,
    "reduction_mean_category_loss": MEAN | TAUGHT,
    "sign_minus_mean_category_loss": MINUS | MEAN | TAUGHT,
    "labels_max": {"multi_label": "max"},
    **{f"experts_{k}": {"experts": k} for k in (1, 2, 8, 16)},
    **{f"lambda_{n}": {"mscl": n / 100} for n in (50, 75, 100)},
    "without_text": {"items": ("id", "image")},
    "without_image": {"items": ("id", "text")},
}


def experiment(name: str) -> Experiment:
    return load_experiment(RECIPES / f"{name}.toml", flags={"project": "shop"})


def made(name: str, **more: object):
    """The recipe's model of eight items in four categories; `more` makes it small."""
    offsets = np.maximum(np.arange(9) - 1, 0)
    labels = Categories(offsets=offsets, labels=np.array([0, 1, 2, 3, 0, 1, 2], np.int32), count=4)
    recipe = experiment(name).model
    known = facts(items=8, num_categories=4)
    return build(recipe.name, known, features(8), categories=labels, **{**recipe.settings, **more})


@pytest.mark.parametrize("name", CHANGES)
def test_a_recipe_differs_from_the_full_one_in_what_its_name_says_and_learns(name):
    full = made("full").settings.model_dump()
    assert made(name).settings.model_dump() == full | CHANGES[name]
    rows = taught(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[0, 3], [0, 5]]))
    net = made(name, width=8)
    found = TrainingModule(net.train(), classes=8, chunk=8)(rows)
    found["loss"].backward()
    assert torch.isfinite(found["loss"])
    assert net.rows.ids.weight.grad.abs().sum() > 0


def test_every_recipe_is_known_and_trains_alike_but_for_the_published_one():
    assert {p.stem for p in RECIPES.glob("*.toml")} == CHANGES.keys()
    one = experiment("full").train
    assert (one.mode, one.targets_per_step, one.metric) == ("one-pass", 256, "ndcg@10")
    assert all(experiment(name).train == one for name in CHANGES if name != "published")
    published = experiment("published").train
    assert (published.mode, published.targets_per_step, published.metric) == ("prefix", 1024, "ndcg@20")
    assert (published.patience, published.learning_rate, published.epochs) == (10, 1e-3, 100)


def test_the_full_recipe_has_the_paper_s_numbers_but_for_the_temperature():
    s = made("full").settings
    assert s.items == ("id", "text", "image")
    assert (s.experts, s.mscl, s.swap, s.width, s.max_length) == (4, 0.25, 0.5, 64, 50)
    assert (s.temperature, made("published").settings.temperature) == (0.2, 1.0)
    assert (s.category_sign, s.category_reduction, s.category_loss_weight) == (1, "sum", 0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A circle of items with titles; all but one have a category."""
    folder = tmp_path_factory.mktemp("shop")
    kinds = ["red", "green", "blue"]
    goods = [
        {
            "item_id": f"i{i:02d}",
            "title": f"{kinds[i % 3]} thing {i}",
            "categories": [["all", kinds[i % 3]]] if i else [],
        }
        for i in range(12)
    ]
    config = PrepareConfig(min_user_events=1, min_item_events=1)
    prepare(tables(circle(users=20), goods), folder / "dataset", config)
    run_encode(load_experiment(folder, flags={"encode": {"text": "tfidf-svd"}}), Listener())
    return folder


def trained(shop: Path, recipe: str, **settings: object) -> Run:
    settings = {"items": ["id", "text"], "width": 8, "max_length": 8, **settings}
    train = {"epochs": 2, "softmax_chunk": 64}
    flags = {"project": str(shop), "model": {"settings": settings}, "train": train}
    return run_train(load_experiment(RECIPES / f"{recipe}.toml", flags=flags), Listener())[0]


@pytest.mark.parametrize("recipe", ["full", "published"])
def test_a_recipe_trains_and_the_finished_model_is_found_again_with_its_labels(shop, recipe):
    run = trained(shop, recipe)
    model, again = run.model, open_run(run.folder).model
    assert model.guidance.real.sum(1).sort().values.tolist() == [0, 0, *[2] * 11]
    rows, candidates = batch(torch.tensor([[1, 2, 3], [4, 5, 0]])), torch.arange(1, 13)
    assert torch.equal(model.scores(rows, candidates), again.scores(rows, candidates))
    assert not model.notes


def test_looking_ahead_in_one_pass_is_refused_with_the_fix(shop):
    with pytest.raises(InputError, match=r'set train\.mode = "prefix" or router_attention = "causal"'):
        trained(shop, "full", router_attention="prefix")
