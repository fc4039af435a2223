"""The recipes of DMESR: each differs from the full one in what its name says, and each makes a model that learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medleyrec.models import build
from medleyrec.recipes.experiment import Experiment, load_experiment
from medleyrec.schema import (
    ATTRIBUTES,
    DESCRIBED_BOTH,
    DESCRIBED_IMAGE,
    DESCRIBED_TEXT,
    DESCRIPTIONS,
    FEATURES,
    Features,
)
from medleyrec.training.module import TrainingModule
from tests.worlds import facts, taught

RECIPES = Path(__file__).parents[1] / "recipes" / "dmesr"
FULL = (*DESCRIPTIONS, ATTRIBUTES)
GRU, BERT = {"backbone": "gru4rec", "depth": 1}, {"backbone": "bert4rec", "dropout": 0.2}
SLOW = ("bert4rec", "fine_only_bert4rec", "fine_id_view_bert4rec", "id_view_bert4rec", "plain_bert4rec")
"""Masked rows teach more slowly: more epochs, more patience, and the dropout of the plain model."""
CHANGES = {
    "full": {},
    "fine_only": {"items": (ATTRIBUTES,)},
    "coarse_only": {"items": DESCRIPTIONS},
    "without_described_image": {"items": (DESCRIBED_TEXT, DESCRIBED_BOTH, ATTRIBUTES)},
    "without_described_text": {"items": (DESCRIBED_IMAGE, DESCRIBED_BOTH, ATTRIBUTES)},
    "without_described_both": {"items": (DESCRIBED_IMAGE, DESCRIBED_TEXT, ATTRIBUTES)},
    "without_align": {"align": "none"},
    "align_image_text": {"align": "image-text"},
    "without_cross": {"fusion": "none"},
    "item_fusion": {"fusion": "item", "items": (*DESCRIPTIONS, "field_title", "field_categories", "field_brand")},
    "id_view": {"items": (*FULL, "id")},
    "without_residual": {"residual": False},
    "without_norm": {"norm": False},
    "bare_cross": {"norm": False, "residual": False},
    "linear_coarse": {"coarse": "linear"},
    "pictures": {"items": ("image", ATTRIBUTES)},
    "gru4rec": GRU,
    "bert4rec": BERT,
    "fine_only_gru4rec": GRU | {"items": (ATTRIBUTES,)},
    "fine_only_bert4rec": BERT | {"items": (ATTRIBUTES,)},
    "fine_id_view": {"items": (ATTRIBUTES, "id")},
    "fine_id_view_gru4rec": GRU | {"items": (ATTRIBUTES, "id")},
    "fine_id_view_bert4rec": BERT | {"items": (ATTRIBUTES, "id")},
    "id_view_gru4rec": GRU | {"items": (*FULL, "id")},
    "id_view_bert4rec": BERT | {"items": (*FULL, "id")},
    "group": {"max_length": 200, "heads": 1, "objective": "bce"},
    "bce": {"objective": "bce"},
}
PLAIN = ("sasrec", "gru4rec", "bert4rec")
ROWS = taught(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[0, 3], [0, 5]]))


def experiment(name: str) -> Experiment:
    return load_experiment(RECIPES / f"{name}.toml", flags={"project": "shop"})


def made(name: str, **more: object):
    """The recipe's model of eight items with all contents; `more` makes it small."""
    rng = np.random.default_rng(0)
    vectors = {n: np.vstack([np.zeros((1, 4)), rng.normal(size=(7, 4))]).astype(np.float16) for n in FEATURES}
    content = Features(vectors=vectors, present={n: np.arange(8) > 0 for n in FEATURES})
    recipe = experiment(name).model
    return build(recipe.name, facts(items=8), content, **{**recipe.settings, **more})


@pytest.mark.parametrize("name", CHANGES)
def test_a_recipe_differs_from_the_full_one_in_what_its_name_says_and_learns(name):
    net = made(name, width=8)
    assert net.settings.model_dump() == made("full", width=8).settings.model_dump() | CHANGES[name]
    found = TrainingModule(net.train(), classes=8, chunk=8)(ROWS)
    found["loss"].backward()
    assert torch.isfinite(found["loss"])
    for view in net.rows.content.values():
        assert view.project.weight.grad.abs().sum() > 0
    assert ("align" in found) == (len(set(net.settings.items) & set(DESCRIPTIONS)) > 1 and name != "without_align")


@pytest.mark.parametrize("name", PLAIN)
def test_the_backbones_by_themselves_are_there_to_compare_with(name):
    recipe = experiment(f"plain_{name}")
    assert (recipe.model.name, recipe.model.settings) == (name, {"items": ["id"]})
    assert recipe.train == experiment(name if name == "bert4rec" else "full").train
    assert torch.isfinite(TrainingModule(made(f"plain_{name}"), classes=8, chunk=8)(ROWS)["loss"])


def test_every_recipe_is_known_and_trains_alike_but_for_the_group_s_and_the_slow():
    assert {p.stem for p in RECIPES.glob("*.toml")} == {*CHANGES, *(f"plain_{n}" for n in PLAIN)}
    one = experiment("full").train
    assert (one.mode, one.targets_per_step, one.learning_rate, one.epochs) == ("one-pass", 1024, 2e-3, 60)
    assert all(experiment(name).train == one for name in CHANGES if name not in ("group", *SLOW))
    longer = one.model_copy(update={"epochs": 100})
    assert all(experiment(name).train == longer for name in SLOW)
    group = experiment("group").train
    assert (group.epochs, group.patience, group.learning_rate, group.targets_per_step) == (200, 20, 1e-3, 256)


def test_the_full_recipe_has_the_numbers_of_the_reconstruction():
    s = made("full").settings
    assert s.items == FULL
    assert (s.backbone, s.width, s.cross_heads, s.norm, s.residual) == ("sasrec", 64, 2, True, True)
    assert (s.coarse, s.fusion, s.align, s.alpha, s.temperature, s.pool) == ("mean", "sequence", "all", 0.1, 0.1, 1024)
