"""What was planted is found by HM4SR, and nothing is found in the noise twin; minutes of training, so `-m slow`.

The bazaar turns here (turn = 3): how the next item follows depends on the gap before, and a model that looks at the
gaps of a history can find it. In the default bazaar gaps tell when a session begins and nothing of what follows in it.
"""

from pathlib import Path

import pytest

from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.inspect import run_inspect
from medleyrec.recipes.inspect_hm4sr import SHORT_LONG
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import BAZAAR_OPTIONS, run_prepare
from medleyrec.recipes.train import run_train
from medleyrec.storage import read_json

RECIPE = Path(__file__).parents[1] / "recipes" / "bazaar" / "hm4sr.toml"
AS_IS, TEXT, IMAGE, GAPS = "as it is", "text shuffled", "image shuffled", "gaps shuffled"
NOTHING = 1e-3
"""NDCG@10 that the noise twin may lose or gain by chance: its own is below it."""


def inspected(folder, **source):
    """The insight into a trained model over all test events, and the planted drivers by category."""
    flags = {"project": str(folder), "source": {"kind": "bazaar", **source}, "prepare": BAZAAR_OPTIONS}
    experiment = load_experiment(RECIPE, flags=flags)
    run_prepare(experiment, Listener())
    run_encode(experiment, Listener())
    run, _ = run_train(experiment, Listener())
    found = run_inspect(run, Listener(), sample=0, out=folder / "inspect")
    return found, read_json(folder / "truth.json")["drivers"]


def lost(found, reach):
    """Category -> column -> (value, low, high)."""
    table = next(t for t in found.tables if t.title.endswith(reach))
    return {
        name: {
            column: (value, *bound) for column, value, bound in zip(table.columns, row, table.bounds[name], strict=True)
        }
        for name, row in table.rows.items()
    }


@pytest.mark.slow
def test_what_was_planted_is_found(tmp_path):
    found, drivers = inspected(tmp_path / "bazaar", turn=3)
    within = lost(found, "among items of one category")
    single = {name: driver for name, driver in drivers.items() if driver in ("text", "image")}
    assert len(single) == 6
    for name, driver in single.items():
        planted, other = (TEXT, IMAGE) if driver == "text" else (IMAGE, TEXT)
        assert within[name][planted][1] > 0, f"{name}: shuffling its {driver} costs"
        assert within[name][planted][0] > within[name][other][0], name
    assert found.figures[SHORT_LONG] >= 0.2
    assert lost(found, "among all items")["all events"][GAPS][1] > 0, "shuffled gaps cost"


@pytest.mark.slow
def test_nothing_is_found_in_the_noise_twin(tmp_path):
    found, _ = inspected(tmp_path / "twin", turn=3, noise=True)
    everything = lost(found, "among all items")["all events"]
    assert found.figures[SHORT_LONG] <= 0.05
    assert everything[AS_IS][0] < 0.002
    for column in (TEXT, IMAGE, GAPS):
        assert abs(everything[column][0]) < NOTHING, column
