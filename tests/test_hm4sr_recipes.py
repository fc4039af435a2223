"""The recipes of HM4SR, and running several of them: rows that are finished, found again, pending and refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from medleyrec.config import parse
from medleyrec.dataset import PrepareConfig, leave_one_out, prepare
from medleyrec.models.hm4sr_settings import HM4SRSettings
from medleyrec.recipes import ablate
from medleyrec.recipes.ablate import run_ablate
from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.labels import categories_of
from medleyrec.recipes.listener import Listener
from medleyrec.schema import InputError
from tests.worlds import circle, small, tables

RECIPES = Path(__file__).parents[1] / "recipes" / "hm4sr"


def settings(name: str) -> dict[str, object]:
    experiment = load_experiment(RECIPES / f"{name}.toml", flags={"project": "shop"})
    assert experiment.model.name == "hm4sr"
    assert str(experiment.project) == "shop"
    return parse(HM4SRSettings, experiment.model.settings, where=name).model_dump()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("without_interactive", {"interactive": False}),
        ("without_temporal", {"temporal": False}),
        ("without_cp", {"cp": 0}),
        ("without_idcl", {"idcl": 0}),
        ("without_pcl", {"pcl": 0}),
        ("without_text", {"items": ("id", "image")}),
        ("without_image", {"items": ("id", "text")}),
        ("reference", {"reference": ("all",)}),
        ("published", {"reference": ("all",), "placeholders": "prefix"}),
    ],
)
def test_a_recipe_differs_from_the_full_one_in_what_its_name_says(name, change):
    assert settings(name) == settings("full") | change


def test_every_recipe_is_known():
    assert len(list(RECIPES.glob("*.toml"))) == 10
    published = load_experiment(RECIPES / "published.toml").train
    assert (published.mode, published.targets_per_step, published.metric) == ("prefix", 1024, "ndcg@20")
    assert (published.patience, published.seed, published.learning_rate) == (11, 2025, 1e-3)


class Heard(Listener):
    def __init__(self) -> None:
        self.told: list[str] = []

    def say(self, sentence: str) -> None:
        self.told.append(sentence)


def recipe(folder: Path, name: str, **changes: object) -> Path:
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"width": 8, "max_length": 8, **changes}.items()]
    path = folder / f"{name}.toml"
    path.write_text(
        '[model]\nname = "hm4sr"\n[model.settings]\n' + "\n".join(lines) + "\n[train]\nepochs = 2\nsoftmax_chunk = 64\n"
    )
    return path


@pytest.fixture
def shop(tmp_path):
    small(tmp_path / "shop" / "dataset", circle(users=20))
    return tmp_path / "shop"


def test_rows_are_pending_then_finished_then_found(shop, tmp_path, monkeypatch):
    heard = Heard()
    both = [recipe(tmp_path, "plain", items=["id", "text"]), recipe(tmp_path, "less", idcl=0)]
    before = run_ablate(both, heard, project=shop, seeds=2, table_only=True)
    assert [row.metrics for row in before.rows] == [{}, {}]
    assert str(before).count("pending") == 2
    assert not before.finished
    after = run_ablate(both, heard, project=shop, seeds=2)
    assert [row.seeds for row in after.rows] == [(0, 1), (0, 1)]
    assert after.finished
    lacking = "plain.toml: the project has no vectors of text; the recipe does without"
    assert f"{lacking} (medley encode {shop} would make them)." in heard.told
    kept = json.loads((shop / "ablation" / "hm4sr" / "less.json").read_text())
    assert kept["metrics"]["ndcg@10"]["value"] == after.rows[1].metrics["ndcg@10"].value
    assert [int(name[-1]) for name in kept["runs"]] == [0, 1]
    monkeypatch.setattr(ablate, "run_train", lambda *_: pytest.fail("trained again"))
    assert str(run_ablate(both, heard, project=shop, seeds=2)) == str(after)
    changed = [both[0], recipe(tmp_path, "less", idcl=0, pcl=0, dropout=0.1)]
    again = run_ablate(changed, heard, project=shop, seeds=2, table_only=True)
    assert [bool(row.metrics) for row in again.rows] == [True, False], "another recipe is another row"
    told = run_ablate(both[:1], heard, project=shop, seeds=1, table_only=True)
    assert str(told.rows[0]) == str(after.rows[0]), "the table shows what there is"
    monkeypatch.setattr(ablate, "run_train", lambda *_: (None, True))
    fewer = run_ablate(both, heard, project=shop, seeds=1)
    assert not fewer.rows[0].metrics, "one seed is another row than two"


def test_rows_are_compared_with_the_first_recipe_on_the_same_events(shop, tmp_path):
    three = [recipe(tmp_path, "first"), recipe(tmp_path, "twin"), recipe(tmp_path, "less", interactive=False)]
    found = run_ablate(three, Heard(), project=shop)
    first, twin, less = found.rows
    assert first.against is None
    assert twin.against.difference.value == 0
    assert twin.against.p_holm == 1
    ndcg = [row.metrics["ndcg@10"].value for row in (less, first)]
    assert less.against.difference.value == pytest.approx(ndcg[0] - ndcg[1], abs=1e-6)
    assert less.against.difference.value != 0
    assert "ndcg@10 against first" in str(found).splitlines()[0]
    assert str(run_ablate([three[0], *three], Heard(), project=shop)) == str(found), "first.toml *.toml names it twice"
    (shop / "ablation" / "hm4sr" / "less.npy").unlink()
    assert not run_ablate(three, Heard(), project=shop, table_only=True).rows[2].metrics
    assert str(run_ablate(three, Heard(), project=shop)) == str(found), "what is missing is made again"


def test_a_row_of_vectors_that_were_encoded_anew_is_pending(tmp_path):
    shop = tmp_path / "shop"
    goods = [{"item_id": f"i{n:02d}", "title": f"thing {n} of kind {n % 3}"} for n in range(12)]
    prepare(tables(circle(users=20), goods), shop / "dataset", PrepareConfig(min_user_events=1, min_item_events=1))

    def encode(width: int) -> None:
        wanted = {"image": "none", "text_settings": {"width": width}}
        run_encode(load_experiment(shop, flags={"encode": wanted}), Listener())

    both = [recipe(tmp_path, "text", items=["id", "text"]), recipe(tmp_path, "ids", items=["id"])]
    encode(8)
    found = run_ablate(both, Heard(), project=shop)
    assert found.finished
    encode(4)
    rows = run_ablate(both, Heard(), project=shop, table_only=True).rows
    assert [bool(row.metrics) for row in rows] == [False, True], "ids alone are as they were"
    encode(8)
    assert str(run_ablate(both, Heard(), project=shop, table_only=True)) == str(found)


def test_rows_are_judged_as_they_ask_and_compared_where_that_is_alike(shop, tmp_path):
    sections = {"a": "", "b": "", "later": '[split]\nkind = "time"\n', "unseen": "[evaluate]\nmask_seen = true\n"}
    four = [recipe(tmp_path, name, items=["id"], width=4 if name == "b" else 8) for name in sections]
    for path, section in zip(four, sections.values(), strict=True):
        path.write_text(path.read_text() + section)
    found = run_ablate(four, Heard(), project=shop)
    assert found.finished
    assert [row.against is None for row in found.rows] == [True, False, True, True]
    assert found.rows[3].metrics["ndcg@10"].value > found.rows[0].metrics["ndcg@10"].value, "nobody takes an item twice"
    assert str(run_ablate(four, Heard(), project=shop, table_only=True)) == str(found)


def test_an_interruption_leaves_the_rest_pending(shop, tmp_path, monkeypatch):
    both = [recipe(tmp_path, "a"), recipe(tmp_path, "b")]
    monkeypatch.setattr(ablate, "run_train", lambda *_: (None, True))
    assert str(run_ablate(both, Heard(), project=shop)).count("pending") == 2


def test_a_recipe_that_cannot_be_run_is_a_row_that_says_why(shop, tmp_path):
    bad = recipe(tmp_path, "bad", heads=3)
    found = run_ablate([bad, recipe(tmp_path, "good")], Heard(), project=shop)
    assert "width (8) must be a multiple of heads (3)" in found.rows[0].refused
    assert found.rows[1].metrics
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="two recipes are called 'bad'"):
        run_ablate([bad, recipe(tmp_path / "other", "bad")], Heard(), project=shop)


def test_recipes_of_two_models_that_share_a_name_stand_in_one_table(shop, tmp_path):
    (tmp_path / "plain").mkdir()
    other = tmp_path / "plain" / "full.toml"
    other.write_text('[model]\nname = "sasrec"\n[model.settings]\nwidth = 8\n[train]\nepochs = 1\nsoftmax_chunk = 64\n')
    both = [recipe(tmp_path, "full"), other]
    found = run_ablate(both, Heard(), project=shop)
    assert [row.name for row in found.rows] == [f"{tmp_path.name}/full", "plain/full"]
    assert found.rows[0].metrics != found.rows[1].metrics
    assert found.rows[1].against is not None
    assert str(run_ablate(both[:1], Heard(), project=shop, table_only=True).rows[0]).split()[0] == "full"
    assert run_ablate(both[:1], Heard(), project=shop, table_only=True).rows[0].metrics == found.rows[0].metrics


def test_categories_are_those_that_training_items_carry(tmp_path):
    events = [("u", item, 100 * n) for n, item in enumerate(["a", "b", "a", "c"])]  # c is the test event
    goods = [
        {"item_id": i, "categories": [path, ["other"]]}
        for i, path in (("a", ["x", "y"]), ("b", ["x"]), ("c", ["z", "x"]))
    ]
    data, _ = prepare(tables(events, goods), tmp_path / "d", PrepareConfig(min_user_events=1, min_item_events=1))
    split = leave_one_out(data)
    found = categories_of(split, "hm4sr")
    names = np.array(data.labels)[np.asarray(split.vocabulary)]
    carried = {data.item_ids[row]: set(names[hot.numpy()]) for row, hot in enumerate(found.multi_hot()) if row}
    assert carried == {"a": {"x", "y"}, "b": {"x"}, "c": {"x"}}
    assert categories_of(split, "sasrec") is None
