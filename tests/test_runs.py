"""What is said of runs: that one goes on, is there already, is left out of a table, or differs from its namesake."""

from unittest import mock

import pytest

from medleyrec.features.table import open_features
from medleyrec.recipes.evaluate import run_evaluate
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.train import run_train
from medleyrec.schema import InputError
from medleyrec.training.loop import Trainer
from tests.worlds import noise, small


class Heard(Listener):
    def __init__(self):
        self.sentences = []

    def say(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture
def shop(tmp_path):
    small(tmp_path / "shop" / "dataset", noise(users=40))
    return tmp_path / "shop"


def experiment(shop, **train):
    told = {"epochs": 1, "softmax_chunk": 9, "targets_per_step": 32, "device": "cpu", "plan": False, **train}
    sizes = {"items": ["id"], "width": 8, "max_length": 8}
    audit = {"evaluate": {"baselines": ["popularity"]}}
    return load_experiment(shop, flags={"model": {"name": "sasrec", "settings": sizes}, "train": told, **audit})


def test_an_evaluation_says_which_runs_are_in_no_row_and_what_rows_of_one_label_differ_in(shop):
    first, _ = run_train(experiment(shop), Listener())
    second, _ = run_train(experiment(shop), Listener(), again=True)
    longer, _ = run_train(experiment(shop, epochs=2), Listener())
    stopped, _ = run_train(experiment(shop, seed=1), Listener())
    (stopped.folder / "result.json").unlink()
    heard = Heard()
    report = run_evaluate(experiment(shop), heard)
    label, families = "sasrec (id)", (first.record["family"][:6], longer.record["family"][:6])
    expected = {
        f"Left out, as it is unfinished: {stopped.folder.name}.",
        f"Left out, as it has the settings and the seed of another run that is in the table: {first.folder.name}.",
        f"{label} {families[0]} has train.epochs = 1.",
        f"{label} {families[1]} has train.epochs = 2.",
    }
    assert set(heard.sentences) == expected <= set(report.notes)
    assert [row.name for row in report.models[1:]] == sorted(f"{label} {family}" for family in families)
    heard = Heard()
    run_evaluate(experiment(shop), heard, runs=[second])
    assert not heard.sentences, "what was not asked for is not missed"


def test_a_finished_run_says_what_it_was_trained_with_where_that_is_not_what_is_asked_for(shop):
    run, _ = run_train(experiment(shop, step_positions=20), Listener())
    for asked, told in (({"step_positions": 20}, False), ({"step_positions": 40}, True)):
        heard = Heard()
        run_train(experiment(shop, **asked), heard)
        (sentence,) = heard.sentences
        assert sentence.startswith(f"{run.folder} is finished already")
        assert ("It was trained with train.step_positions = 20; that alone makes no other run." in sentence) is told


def test_a_run_that_goes_on_says_so(shop):
    wanted, heard = experiment(shop, epochs=3), Heard()
    close = Trainer._close_epoch

    def stopping(self):
        close(self)
        self._stop = self.state.epoch == 1

    with mock.patch.object(Trainer, "_close_epoch", stopping):
        run, interrupted = run_train(wanted, heard)
    assert interrupted
    assert not any("Goes on" in sentence for sentence in heard.sentences)
    again, _ = run_train(wanted, heard)
    assert any(
        "Goes on from a checkpoint; epochs finished: 1, steps of the next: 1." in sentence
        for sentence in heard.sentences
    )
    assert again.result
    assert again.folder == run.folder


def test_missing_descriptions_are_to_be_asked_for_and_other_tables_to_be_encoded(tmp_path):
    with pytest.raises(InputError, match=r"\['described_text'\] are not encoded .* run `medley describe` \(items have"):
        open_features(tmp_path, ["described_text"])
    with pytest.raises(InputError, match=r"\['text'\] are not encoded .*; run `medley encode` first"):
        open_features(tmp_path, ["text"])


def test_a_run_that_is_not_there_is_answered_with_those_that_are(shop):
    run, _ = run_train(experiment(shop), Listener())
    with pytest.raises(InputError, match=f"nope is no run; there are: {run.folder.name}"):
        run_train(load_experiment(shop / "runs" / "nope"), Listener())
