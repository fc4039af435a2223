"""Runs on descriptions: whose they are is said, changed ones are noticed, and runs of former ones block nobody."""

import csv
import random
import shutil

import numpy as np
import pytest

from medleyrec.recipes.ablate import run_ablate
from medleyrec.recipes.describe import run_given, run_template
from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.evaluate import run_evaluate
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.identity import resolved, run_name
from medleyrec.recipes.prepare import run_prepare
from medleyrec.recipes.train import run_train
from medleyrec.recipes.vectors import run_vectors
from medleyrec.schema import DESCRIPTIONS, InputError
from tests.describing import Told

ITEMS = [f"{n:02d}" for n in range(12)]
VIEWS = [*DESCRIPTIONS, "attributes"]


@pytest.fixture
def shop(tmp_path):
    drawn = random.Random(0)
    with (tmp_path / "log.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["user_id", "item_id", "timestamp"])
        out.writerows([f"u{user}", drawn.choice(ITEMS), 10**9 + user * 100 + n] for user in range(40) for n in range(6))
    with (tmp_path / "items.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["item_id", "title", "categories", "brand"])
        out.writerows([item, f"thing {item}", f"kind{int(item) % 3}", f"maker{int(item) % 4}"] for item in ITEMS)
    source = {"interactions": str(tmp_path / "log.csv"), "items": str(tmp_path / "items.csv")}
    run_prepare(load_experiment(tmp_path / "shop", flags={"source": source}), Told())
    run_template(tmp_path / "shop", DESCRIPTIONS, Told())
    run_encode(experiment(tmp_path / "shop"), Told())
    return tmp_path / "shop"


def experiment(shop, **settings):
    small = {"items": VIEWS, "width": 8, "max_length": 8, **settings}
    train = {"epochs": 1, "softmax_chunk": 9, "targets_per_step": 64, "device": "cpu", "plan": False}
    flags = {"model": {"name": "dmesr", "settings": small}, "train": train, "evaluate": {"baselines": ["popularity"]}}
    return load_experiment(shop, flags=flags)


def answers(path, **texts):
    """A complete set of them, in words of its own."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["item_id", "view", "text"])
        out.writerows([item, view, texts.get(item, f"words about {item}")] for item in ITEMS for view in DESCRIPTIONS)
    return path


def test_a_table_never_calls_a_template_a_model(shop):
    run_train(experiment(shop), Told())
    run_train(experiment(shop, items=["attributes"]), Told())
    report = run_evaluate(experiment(shop), Told())
    label = "dmesr on sasrec (descriptions + attributes), stand-in descriptions"
    assert [row.name for row in report.models[1:]] == ["dmesr on sasrec (attributes)", label]
    assert f"The descriptions of {label} are of this origin: template (stand-in)." in report.notes
    assert sum("of this origin" in note for note in report.notes) == 1


def test_items_that_nobody_chose_are_the_views_that_are_there(shop):
    plain = experiment(shop)
    settings = {name: value for name, value in plain.model.settings.items() if name != "items"}
    unsaid = plain.model_copy(update={"model": plain.model.model_copy(update={"settings": settings})})
    assert resolved(unsaid).model.settings["items"] == VIEWS
    assert run_name(unsaid) == run_name(plain)
    shutil.rmtree(shop / "dataset" / "features")
    assert resolved(unsaid).model.settings["items"] == ["id"]


def test_descriptions_that_are_not_encoded_are_told(shop):
    told = Told()
    run_train(experiment(shop, items=["attributes"]), told)
    assert "are not encoded" not in str(told)
    for view in DESCRIPTIONS:
        shutil.rmtree(next((shop / "dataset" / "features").glob(f"*/{view}")))
    run_train(experiment(shop, items=["attributes"], width=4), told)
    assert "The items' descriptions (of template (stand-in)) are not encoded, so this trains without" in str(told)


def test_another_encoder_is_told_and_items_are_named(shop):
    told = Told()
    run_encode(load_experiment(experiment(shop).project), told)
    assert "is now made by" not in str(told)
    np.save(shop / "mine.npy", np.eye(12, dtype=np.float32))
    run_vectors(experiment(shop), shop / "mine.npy", told, table="attributes", in_order=True)
    assert "attributes is now made by imported-mine, which was tfidf-svd: runs" in str(told)
    assert "(`medley encode` with --text tfidf-svd goes back)" in str(told)
    run_encode(experiment(shop), told)
    assert "attributes is now made by tfidf-svd, which was imported-mine: runs" in str(told)
    assert "with --text imported:mine goes back)" in str(told)
    with_blank = answers(shop / "some.csv", **{"03": ""})
    run_given(shop, with_blank, Told())
    run_encode(experiment(shop), told)
    assert "1 missing: not described (03)" in str(told)


def test_descriptions_that_changed_are_noticed_and_former_runs_are_left_out(shop, tmp_path):
    told = Told()
    former, _ = run_train(experiment(shop), told)
    assert "have changed" not in str(told)
    run_given(shop, answers(tmp_path / "mine.csv"), Told())
    again = Told()
    run_train(experiment(shop, width=4), again)
    assert str(again).count("have changed since they were encoded (of template (stand-in) then, of file: mine.csv") == 3
    run_encode(experiment(shop), Told())
    new, _ = run_train(experiment(shop), Told())
    assert new.folder != former.folder
    report = run_evaluate(experiment(shop), Told())
    assert [row.name for row in report.models[1:]] == ["dmesr on sasrec (descriptions + attributes)"]
    left = [note for note in report.notes if note.startswith("Left out")]
    assert len(left) == 2
    assert any(former.folder.name in note for note in left)
    with pytest.raises(InputError, match=r"does not fit .*: its described_\w+ vectors were "):
        run_evaluate(experiment(shop), Told(), runs=[former])


def test_the_same_encoder_of_other_contents_is_told_as_such(shop, tmp_path):
    """TF-IDF is fitted on what it encodes, unless it was kept: here one description changes under a kept encoder."""
    run_given(shop, answers(tmp_path / "mine.csv"), Told())
    run_encode(experiment(shop), Told())
    run, _ = run_train(experiment(shop), Told())
    assert run.described_by == "file: mine.csv"
    run_given(shop, answers(tmp_path / "mine.csv", **{"03": "words about 04"}), Told())
    run_encode(experiment(shop), Told())
    assert run.misfit == "its described_both vectors were of other contents than those of now, by the same tfidf-svd"


def test_an_ablation_names_the_origin_and_refuses_what_cannot_be(shop, tmp_path):
    recipe = (
        '[model]\nname = "dmesr"\n[model.settings]\nitems = ["{}"]\nwidth = 8\n[train]\nepochs = 1\ndevice = "cpu"\n'
    )
    (tmp_path / "good.toml").write_text(recipe.format('described_text", "attributes'))
    (tmp_path / "bad.toml").write_text(recipe.format('attributes"]\nheads = 3\ncolour = ["red'))
    recipes = [tmp_path / "good.toml", tmp_path / "bad.toml"]
    for _ in range(2):  # trained, then found
        found = run_ablate(recipes, Told(), project=shop, overrides=["train.targets_per_step=64"])
        assert found.rows[0].written == "template (stand-in)"
        assert [row.name for row in found.refused] == ["bad"]
        assert "colour" in found.refused[0].refused
        assert "cannot be run" in str(found)
