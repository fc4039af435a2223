"""What a run is called, and what makes two runs the same."""

import pytest

from medleyrec.dataset.cuts import make_split
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.identity import identity_of, resolved, run_name
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import open_dataset
from medleyrec.recipes.train import run_train
from medleyrec.schema import DESCRIPTIONS
from tests.worlds import circle, small


@pytest.fixture
def shop(tmp_path):
    small(tmp_path / "shop" / "dataset", circle(users=12))
    return tmp_path / "shop"


def experiment(shop, *, train=None, **model):
    settings = {"items": ["id"], "width": 8, **model}
    return load_experiment(
        shop,
        flags={
            "model": {"name": "dmesr", "settings": settings},
            "train": {"epochs": 1, "softmax_chunk": 9, **(train or {})},
        },
    )


def test_a_run_is_found_by_the_name_it_was_given(shop):
    run, _ = run_train(experiment(shop), Listener())
    assert run.folder.name == run_name(experiment(shop))
    assert run.record["label"] == "dmesr on sasrec (id)"
    assert run_name(experiment(shop, train={"seed": 3})).endswith("-seed3")


def test_what_decides_the_result_is_in_the_name_and_nothing_else(shop):
    name = run_name(experiment(shop))
    assert run_name(experiment(shop, dropout=0.5)) == name, "a default that is spelled out"
    assert run_name(experiment(shop, train={"softmax_chunk": 4, "checkpoint_minutes": 1.0})) == name
    for other in ({"width": 16}, {"backbone": "gru4rec"}, {"train": {"learning_rate": 0.01}}):
        assert run_name(experiment(shop, **other)) != name


def test_a_setting_that_came_later_leaves_old_names_alone(shop):
    def sasrec(**more):
        return load_experiment(shop, flags={"model": {"name": "sasrec", "settings": {"items": ["id"], **more}}})

    assert "scaled_inputs" not in resolved(sasrec(scaled_inputs=False)).model.settings
    assert run_name(sasrec(scaled_inputs=False)) == run_name(sasrec())
    assert resolved(sasrec(scaled_inputs=True)).model.settings["scaled_inputs"] is True
    assert run_name(sasrec(scaled_inputs=True)) != run_name(sasrec())


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (["id", "attributes"], "id + attributes"),
        ([*DESCRIPTIONS, "attributes", "id"], "descriptions + attributes + id"),
        (["id", *reversed(DESCRIPTIONS)], "id + descriptions"),
        (["described_text", "attributes"], "described_text + attributes"),
    ],
)
def test_three_descriptions_have_one_name_in_a_report(shop, items, told):
    one = resolved(experiment(shop, items=items))
    record = identity_of(one, make_split(open_dataset(shop), one.split), refit=False)
    assert record["label"] == f"dmesr on sasrec ({told})"
