"""A model trained on a planted bazaar and looked into: what the slow checks of several models share."""

from pathlib import Path

from medleyrec.recipes.encode import run_encode
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.inspect import run_inspect
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.prepare import BAZAAR_OPTIONS, run_prepare
from medleyrec.recipes.train import run_train
from medleyrec.storage import read_json

RECIPES = Path(__file__).parents[1] / "recipes" / "bazaar"
AS_IS, TEXT, IMAGE, GAPS = "as it is", "text shuffled", "image shuffled", "gaps shuffled"
NOTHING = 1e-3
"""NDCG@10 that the noise twin may lose or gain by chance: its own is below it."""


def inspected(recipe, folder, **source):
    """The insight into a trained model over all test events, and the planted drivers by category."""
    flags = {"project": str(folder), "source": {"kind": "bazaar", **source}, "prepare": BAZAAR_OPTIONS}
    experiment = load_experiment(RECIPES / f"{recipe}.toml", flags=flags)
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


def assert_contents_are_found(found, drivers):
    """In every category that follows one content: dealing it out anew costs, and more than the other content."""
    within = lost(found, "among items of one category")
    single = {name: driver for name, driver in drivers.items() if driver in ("text", "image")}
    assert len(single) == 6
    for name, driver in single.items():
        planted, other = (TEXT, IMAGE) if driver == "text" else (IMAGE, TEXT)
        assert within[name][planted][1] > 0, f"{name}: shuffling its {driver} costs"
        assert within[name][planted][0] > within[name][other][0], name


def assert_contents_are_noise(found):
    everything = lost(found, "among all items")["all events"]
    assert everything[AS_IS][0] < 0.002
    for column in (TEXT, IMAGE):
        assert abs(everything[column][0]) < NOTHING, column
