"""The whole path from Python on a small bazaar, and what the README shows."""

import re
from pathlib import Path

import pytest

import medleyrec as medley

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
