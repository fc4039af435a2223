"""The whole path from Python on a small bazaar, and what the README shows."""

import re
from pathlib import Path

import pytest
import torch

import medleyrec as medley
from medleyrec.recipes.inspect import run_inspect
from medleyrec.recipes.listener import Listener

README = Path(__file__).parents[1] / "README.md"


def test_python_from_nothing_to_recommendations(tmp_path):
    shop = medley.Project(tmp_path / "shop")
    sizes = {"min_item_events": 1}
    dataset = shop.prepare(kind="bazaar", users=300, items=864, prepare=sizes)
    assert len(dataset) == 300
    assert set(shop.encode()) == {"text", "image"}
    run = shop.fit("sasrec", items=["id", "text", "image"], width=16, train={"epochs": 2})
    report = shop.evaluate(run)
    assert report.row("sasrec (id + text + image)").oracle_share > 0
    history = [dataset.item_ids[i] for i in dataset.history(0)]
    first = run.recommend(history, k=5)
    assert len(first) == 5
    assert not {item for item, _ in first} & set(history)
    assert first == medley.open_run(run.folder).recommend(history, k=5), "a run opened again says the same"
    with pytest.raises(medley.InputError, match=r"none of the history \('nobody'\) is an item of"):
        run.recommend(["nobody"])
    shuffled_texts_cost_nothing_where_texts_are_not_used(run, tmp_path / "inspect")


def shuffled_texts_cost_nothing_where_texts_are_not_used(run, folder):
    with torch.no_grad():
        run.model.rows.content["text"].project.weight.zero_()
        run.model.rows.content["image"].project.weight.mul_(30)
    found = run_inspect(run, Listener(), sample=0, out=folder)
    assert len(found.tables) == 2, "within categories and among all items"
    for table in found.tables:
        assert table.columns == ("as it is", "text shuffled", "image shuffled")
        assert {row[1] for row in table.rows.values()} == {0}, "no text, no loss"
        assert any(row[2] != 0 for row in table.rows.values())
        assert table.count["all events"] == sum(n for name, n in table.count.items() if name != "all events")
    assert len(found.tables[0].rows) == 13, "all events and twelve categories"
    assert (folder / "inspect.html").exists()


def test_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1
    assert len([line for line in blocks[0].splitlines() if line.strip()]) == 8
    small = blocks[0].replace('kind="bazaar"', 'kind="bazaar", users=300, items=864')
    monkeypatch.chdir(tmp_path)
    exec(compile(small.replace('epochs": 15', 'epochs": 1'), "README", "exec"), {})
    told = capsys.readouterr().out
    assert "ranks the true next item" in told or "No model is shown" in told or "better" in told
    assert "item-" in told
