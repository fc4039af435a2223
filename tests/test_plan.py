"""A plan says what a run will take, keeps it within its limit, and changes nothing of its result."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from typer.testing import CliRunner

import medleyrec.recipes.planning as planning
import medleyrec.training.calibration as calibration
import medleyrec.training.memory as memory
from medleyrec.cli import app, main
from medleyrec.dataset.batches import DeviceLog, Windows, one_pass_windows, plan_steps
from medleyrec.dataset.cuts import make_split
from medleyrec.models import build
from medleyrec.recipes.experiment import load_experiment
from medleyrec.recipes.identity import identity_of, resolved, run_name
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.plan import LOGITS, told_seconds
from medleyrec.recipes.planning import plan_of, run_plan
from medleyrec.recipes.prepare import open_dataset
from medleyrec.recipes.train import run_train
from medleyrec.recipes.workbench import workbench
from medleyrec.schema import InputError
from medleyrec.training.config import TrainConfig
from medleyrec.training.estimate import LEAST_CHUNK, MOST_PARTS, Peak, Seconds, Shape, choices
from medleyrec.training.loop import BEST, Trainer
from medleyrec.training.memory import Heap, Meter, room_of
from medleyrec.training.module import TrainingModule
from medleyrec.training.parts import parts_of
from medleyrec.training.sizes import parse_bytes, told_bytes
from tests.worlds import facts, features, noise, small

V, WIDTH = 13, 16
UNEVEN = [event for event in noise(users=40) if (event[2] - 1_600_000_000) // 86_400 < 4 + int(event[0][1:]) % 6]


@pytest.fixture
def shop(tmp_path):
    """Histories of 4 to 9 events, of which the last two are held out."""
    small(tmp_path / "shop" / "dataset", UNEVEN)
    return tmp_path / "shop"


def experiment(shop, *, model="sasrec", settings=None, **train):
    sizes = {"items": ["id"], "width": WIDTH, "max_length": 8, **(settings or {})}
    told = {"epochs": 2, "softmax_chunk": 9, "targets_per_step": 32, "device": "cpu", **train}
    return load_experiment(shop, flags={"model": {"name": model, "settings": sizes}, "train": told})


class Heard(Listener):
    def __init__(self):
        self.sentences = []

    def say(self, sentence):
        self.sentences.append(sentence)


def weights(run):
    return load_file(str(run.folder / BEST))


def trainer(tmp_path, model, *, accelerator=None, **config):
    _, split = small(tmp_path / "d", UNEVEN)
    windows = one_pass_windows(split.training_log(), max_length=8, stride=4)
    module = TrainingModule(model, classes=split.dataset.num_log_items, chunk=5)
    settings = TrainConfig(device="cpu", targets_per_step=64, **config)
    log = DeviceLog(split.training_log(), windows)
    return Trainer(module, log, windows, settings, tmp_path / "run", accelerator=accelerator or Accelerator(cpu=True))


def gradients(tmp_path, positions, **settings):
    """Of one step in parts, by parameter; and how many parts."""
    torch.manual_seed(0)
    model = build("sasrec", facts(items=V), width=WIDTH, max_length=8, dropout=0.0, **settings).double()
    made, found = trainer(tmp_path, model, step_positions=positions), {}
    rows = max(plan_steps(made.windows, seed=0, epoch=0, targets_per_step=64), key=len)

    def step():
        found.update({name: p.grad.clone() for name, p in model.named_parameters()})

    made.optimizer.step = step
    loss = made._step(rows, int(made.windows.fresh[rows].sum()))
    return found, loss, len(parts_of(rows, made.windows.lengths, positions))


@pytest.mark.parametrize("positions", [40, 17, 1])
def test_the_parts_of_a_step_add_up_to_it(tmp_path, positions):
    whole, loss, one = gradients(tmp_path / "whole", 0)
    parts, summed, many = gradients(tmp_path / "parts", positions)
    assert one == 1 < many
    assert loss.item() == pytest.approx(summed.item(), rel=1e-12)
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-10, atol=1e-12, msg=name)
    assert max(float(g.abs().max()) for g in whole.values()) > 1e-3


def test_parts_keep_to_their_positions_and_to_the_order_of_the_rows():
    lengths = np.array([3, 1, 2, 9, 2, 2], np.int64)
    rows = np.array([0, 1, 2, 4, 5, 3])
    assert [p.tolist() for p in parts_of(rows, lengths, 0)] == [rows.tolist()]
    assert [p.tolist() for p in parts_of(rows, lengths, 54)] == [rows.tolist()]
    assert [p.tolist() for p in parts_of(rows, lengths, 6)] == [[0, 1], [2, 4, 5], [3]], "a row too long is alone"
    assert [p.tolist() for p in parts_of(rows, lengths, 9)] == [[0, 1, 2], [4, 5], [3]]


def trained(tmp_path, positions):
    torch.manual_seed(0)
    model = build("sasrec", facts(items=V), width=WIDTH, max_length=8, dropout=0.0).double()
    trainer(tmp_path, model, step_positions=positions, epochs=3, learning_rate=0.01).run()
    return model.state_dict()


def test_training_in_parts_ends_at_the_same_weights(tmp_path):
    whole, parts = trained(tmp_path / "whole", 0), trained(tmp_path / "parts", 20)
    for name, value in parts.items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=1e-6, msg=name)
    assert any(not torch.equal(value, whole[name]) for name, value in parts.items()), "they are rounded apart"


def test_a_run_remembers_the_size_of_its_parts(shop):
    run, _ = run_train(experiment(shop, step_positions=20, epochs=1), Listener())
    assert run.record["experiment"]["train"]["step_positions"] == 20
    repeated, _ = run_train(load_experiment(run.folder), Listener(), again=True)
    assert (repeated.folder / BEST).read_bytes() == (run.folder / BEST).read_bytes()


def test_what_a_plan_chose_is_what_training_does(shop):
    chosen = replace(plan_of(bench(experiment(shop))), step_positions=20, softmax_chunk=3)
    with mock.patch("medleyrec.recipes.train.plan_of", return_value=chosen):
        run, _ = run_train(experiment(shop, epochs=1), Listener())
    assert run.record["softmax_chunk"] == 3
    told, _ = run_train(
        experiment(shop, epochs=1, step_positions=20, softmax_chunk=3, plan=False), Listener(), again=True
    )
    whole, _ = run_train(experiment(shop, epochs=1, softmax_chunk=3, plan=False), Listener(), again=True)
    assert len({run.folder, told.folder, whole.folder}) == 3
    bits = [(r.folder / BEST).read_bytes() for r in (run, told, whole)]
    assert bits[0] == bits[1] != bits[2]


def test_losses_that_look_at_all_rows_keep_a_step_whole(shop):
    settings = {"settings": {"items": ["id"], "idcl": 0.1}, "model": "hm4sr"}
    with pytest.raises(
        InputError, match=r"train.step_positions would take a step in parts, but hm4sr has losses .*idcl"
    ):
        run_train(experiment(shop, **settings, step_positions=20, plan=False), Listener())
    with pytest.raises(InputError, match="Its steps stay whole: idcl look at all rows of a step. To go on, "):
        planned(shop, room=1000 + LOGITS_OF_9 + 10 * (whole_step(shop, **settings) // 2), **settings)


def test_the_plan_changes_no_bit_of_the_weights(shop):
    heard, quiet = Heard(), Heard()
    with_plan, _ = run_train(experiment(shop), heard)
    without, _ = run_train(experiment(shop, plan=False), quiet, again=True)
    assert with_plan.folder != without.folder
    assert any(line.startswith("Plan of sasrec (id) on cpu") for line in heard.sentences)
    assert not any("Plan" in line for line in quiet.sentences)
    one, other = weights(with_plan), weights(without)
    assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [
        [e["loss"] for e in map(json.loads, (r.folder / "train.jsonl").read_text().splitlines())]
        for r in (with_plan, without)
    ]
    assert losses[0] == losses[1]


def test_rehearsals_leave_weights_and_random_numbers_alone(shop):
    made = bench(experiment(shop))
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    made.chunk()
    torch.manual_seed(5)
    plan_of(made)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())
    assert made.model.training
    assert all(p.grad is None for p in made.model.parameters())


def bench(experiment, *, refit=False):
    experiment = resolved(experiment)
    split = make_split(open_dataset(experiment.project), experiment.split)
    return workbench(experiment, split, identity_of(experiment, split, refit=refit), refit=refit)


def test_sizes_are_those_of_a_hand(shop):
    made = bench(experiment(shop))
    found = plan_of(made)
    log, windows = made.log, made.windows
    assert found.memory["log"] == 12 * len(log.items) + tensor_bytes(windows), "an int32 item, an int64 time"
    assert found.memory["parameters"] == found.memory["gradients"] == 4 * found.parameters
    moments = 2 * 4 * found.parameters
    assert moments <= found.memory["optimiser"] <= moments + 8 * len(list(made.model.parameters()))
    assert found.memory[LOGITS] == 4 * (V - 1) * 9
    assert found.parameters == sum(p.numel() for p in made.model.parameters())
    assert found.parameters > V * WIDTH
    assert found.peak_bytes == sum(found.memory.values())


def tensor_bytes(windows):
    return sum(getattr(windows, name).nbytes for name in ("users", "starts", "lengths", "fresh"))


def test_features_are_float32_in_the_plan(tmp_path):
    torch.manual_seed(0)
    model = build("sasrec", facts(items=V), features(V, text=6), items=("id", "text"), width=WIDTH, max_length=8)
    held = sum(b.nbytes for b in model.buffers())
    assert held == 4 * V * 6 + V + 2 * 4 * 6, "vectors, which are there, and how they are scaled"


BASE, LEARNT = 10_000_000, 200_000  # bytes of the process, and of gradients and moments


class Counted(Meter):
    """Memory that is, beside BASE and LEARNT, 1,000 bytes, 10 for each position of a batch, logits of 9 targets."""

    def __init__(self, log):
        super().__init__()
        self.most, batch = BASE, log.batch

        def counted(rows):
            made = batch(rows)
            self.most = max(
                self.most, BASE + LEARNT + 1000 + 10 * made.items.numel() + 4 * (V - 1) * min(9, made.num_targets)
            )
            return made

        log.batch = counted

    def now(self):
        return BASE

    def so_far(self):
        return BASE

    def peak(self, work):
        self.most = BASE
        work()
        return self.most


class Steep(Counted):
    """Whole steps take more than their shares promise."""

    def peak(self, work):
        found = super().peak(work)
        return found + 5000 if found > BASE + LEARNT + 1000 + LOGITS_OF_9 + 10 * WHOLE // 2 else found


class Loaded(Counted):
    """Building the model took a gigabyte."""

    def so_far(self):
        return 10**9


def planned(shop, *, room, meter=Counted, source=memory.LIMIT, **more):
    """A plan whose steps may take `room` bytes."""
    made = bench(experiment(shop, **more))
    size = round((BASE + LEARNT + room) * (1 + memory.PILE)) + 1
    return plan_of(made, meter=meter(made.device_log), room=memory.Room(size, source))


def whole_step(shop, **more):
    made = bench(experiment(shop, **more))
    steps = plan_steps(made.windows, seed=0, epoch=0, targets_per_step=32)
    return max(len(rows) * int(made.windows.lengths[rows].max()) for rows in steps)


LOGITS_OF_9 = 4 * (V - 1) * 9
WHOLE = 51  # positions of the largest step


def test_a_step_that_fits_stays_whole(shop):
    found = planned(shop, room=1000 + LOGITS_OF_9 + 10 * whole_step(shop))
    assert (found.step_positions, found.parts, found.softmax_chunk) == (0, 1, 9)
    assert not any("parts" in note for note in found.notes)
    assert planned(shop, room=1000 + LOGITS_OF_9 + 10 * whole_step(shop) - 9).parts > 1, "what piles up needs room too"


def test_the_first_thing_to_give_way_is_the_size_of_a_part(shop):
    most = whole_step(shop)
    found = planned(shop, room=1000 + LOGITS_OF_9 + 10 * (most // 2))
    assert found.step_positions == most // 2
    assert found.softmax_chunk == 9
    assert found.parts > 1
    assert any(f"parts of at most {most // 2:,} positions, as train.memory_limit is" in note for note in found.notes)
    assert f"in up to {found.parts} parts" in "\n".join(found.lines())


def test_a_promise_that_is_not_kept_is_followed_by_smaller_parts(shop):
    assert whole_step(shop) == WHOLE
    room = 1000 + LOGITS_OF_9 + 10 * WHOLE
    assert planned(shop, room=room).step_positions == 0
    assert planned(shop, room=room, meter=Steep).step_positions == WHOLE // 2


def test_what_is_beyond_a_limit_anywhere_in_the_run_is_refused_and_elsewhere_said(shop):
    with pytest.raises(InputError, match=r"needs 1 GB at the least \(.*loading, beyond all that \d+ MB"):
        planned(shop, room=10**6, meter=Loaded)
    found = planned(shop, room=10**6, meter=Loaded, source="available on this machine")
    assert any(note.startswith("Caution: 1 GB are expected, and 13.1 MB are available on this") for note in found.notes)


def test_what_does_not_fit_in_the_smallest_parts_is_refused_with_its_numbers(shop):
    with pytest.raises(
        InputError,
        match=r"needs .* at the least \(.*parameters .*optimiser .*\), and train.memory_limit "
        r'is .*raise train.memory_limit to 12.5 MB, or lower .*or set train.softmax = "sampled"',
    ):
        planned(shop, room=900)
    assert not (shop / "runs").exists()


def test_no_setting_is_proposed_where_the_program_alone_is_too_much():
    room = memory.Room(100 * 10**6, memory.LIMIT)
    hopeless = planning._cure(room, {planning.PROGRAM: 150 * 10**6, "parameters": 50 * 10**6})
    assert hopeless == "raise train.memory_limit to 210 MB; no setting can help, as the program takes more by itself"
    assert "or lower model.settings.width" in planning._cure(room, {planning.PROGRAM: 50 * 10**6, "steps": 80 * 10**6})


def test_gradients_and_moments_are_asked_for_before_the_first_step(shop):
    made = bench(experiment(shop))
    needed = 3 * 4 * made.parameters
    with pytest.raises(InputError, match=r"takes 10 MB before its first step and .* of gradients and moments in it"):
        plan_of(made, meter=Counted(made.device_log), room=memory.Room(BASE + needed - 1, memory.LIMIT))


def test_choices_come_in_order():
    windows = one_pass_windows_of([8] * 64)
    step = np.arange(64)
    assert list(choices(step, windows, budget=0, chunk=8, splits=True, chunks=False)) == [
        (0, 8),
        (256, 8),
        (128, 8),
        (64, 8),
        (32, 8),
    ]
    tried = list(choices(step, windows, budget=128, chunk=4 * LEAST_CHUNK, splits=True, chunks=True))
    assert tried[:4] == [(128, 64), (64, 64), (32, 64), (16, 64)]
    assert tried[5][1] == 2 * LEAST_CHUNK
    assert [c for p, c in choices(step, windows, budget=0, chunk=64, splits=False, chunks=True)] == [64, 32, 16]
    assert (
        min(p for p, _ in choices(step, windows, budget=0, chunk=8, splits=True, chunks=False) if p)
        >= 512 // MOST_PARTS
    )


def one_pass_windows_of(lengths):
    lengths = np.array(lengths, np.int64)
    return Windows(np.arange(len(lengths)), lengths.cumsum() - lengths, lengths, lengths)


def test_a_run_goes_on_as_it_was_begun_but_for_a_new_limit(shop):
    run, _ = run_train(experiment(shop, epochs=1), Listener())
    (run.folder / "result.json").unlink()
    heard = Heard()
    run_train(experiment(shop, epochs=1), heard)
    assert not any("Plan" in line for line in heard.sentences), "it goes on"
    (run.folder / "result.json").unlink()
    room = memory.Room(10**12, memory.LIMIT)
    with mock.patch("medleyrec.recipes.planning.room_of", return_value=room):
        again, _ = run_train(experiment(shop, epochs=1, memory_limit="900GB"), heard)
    assert any("Plan" in line for line in heard.sentences)
    assert again.folder == run.folder
    assert again.record["experiment"]["train"]["memory_limit"] == "900GB"
    (run.folder / "result.json").unlink()
    run_train(experiment(shop, epochs=1, memory_limit="900GB"), later := Heard())
    assert not any("Plan" in line for line in later.sentences), "it was begun with that"


def test_what_is_only_of_this_machine_is_not_in_the_name_of_a_run(shop):
    name = run_name(experiment(shop))
    for other in ({"memory_limit": "3GB"}, {"step_positions": 50}, {"plan": False}):
        assert run_name(experiment(shop, **other)) == name
    assert run_name(experiment(shop, targets_per_step=16)) != name


def test_a_refit_has_no_validation(shop):
    found = plan_of(bench(experiment(shop), refit=True))
    assert found.validation_seconds is None
    assert found.seconds_per_epoch == found.epoch_seconds > 0
    assert "validation" not in "\n".join(found.lines())


def test_the_plan_of_an_epoch(shop):
    found = run_plan(experiment(shop, epochs=7))
    assert found.steps == len(plan_steps(bench(experiment(shop)).windows, seed=0, epoch=0, targets_per_step=32))
    assert 0 < found.epoch_seconds < 60
    assert 0 < found.validation_seconds < 60
    assert found.to_json()["seconds_at_most"] == pytest.approx(7 * found.seconds_per_epoch)
    assert not (shop / "runs").exists()


def command(*args):
    return CliRunner().invoke(app, list(map(str, args)))


QUICK = ["--set", "model.settings.width=16", "--set", "train.softmax_chunk=9", "--set", "train.epochs=3"]


def test_the_command_says_it_as_json_and_as_lines(shop):
    words = ["plan", shop, "--model", "hm4sr", "--items", "id", *QUICK]
    told = command(*words, "--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    assert found["epochs"] == 3
    assert found["label"] == "hm4sr (id)"
    assert found["notes"], "a model's own notes are inside"
    assert found["peak_bytes"] == sum(found["memory"].values()) > 50e6, "a process with torch in it"
    assert found["seconds_at_most"] == pytest.approx(3 * found["seconds_per_epoch"])
    assert found["limit_bytes"] > found["peak_bytes"]
    lines = command(*words).output
    assert f"{found['parameters']:,}" in lines
    assert "peak memory" in lines
    assert not (shop / "runs").exists()


@pytest.mark.parametrize("verb", ["plan", "train"])
def test_a_limit_that_is_too_small_is_one_sentence_and_nothing_is_written(shop, verb, capsys, monkeypatch):
    for limit, sentence in (
        ("1kB", r"to learn the ids of 12 items at width 16 takes 3.33 kB, and train.memory_limit is 1 kB"),
        ("5MB", r"sasrec \(id\) takes \d+ MB before its first step and .* of gradients and moments"),
    ):
        monkeypatch.setattr("sys.argv", ["medley", verb, str(shop), "--memory-limit", limit, *QUICK])
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr().err.strip()
        assert left.value.code == 2
        assert len(told.splitlines()) == 1
        assert re.search(sentence, told), told
        assert "raise train.memory_limit" in told
        assert not (shop / "runs").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("512MiB", 512 << 20), ("1.5 gib", 3 << 29), ("700kB", 700_000), ("1TB", 10**12), ("12B", 12)],
)
def test_sizes_are_read_with_their_unit(text, size):
    assert parse_bytes(text) == size
    assert TrainConfig(memory_limit=text).memory_limit == text


@pytest.mark.parametrize(
    "text", ["4", "GB", "4XB", "-1GB", "0GB", "4GB!", "4 GB of", "", "0.1B", "9" * 400 + "GB", "2000000TB"]
)
def test_what_is_no_size_is_one_sentence(shop, text):
    with pytest.raises(InputError, match=r"train.memory_limit = .* does not fit: write a size with its unit"):
        experiment(shop, memory_limit=text)


def test_numbers_for_a_reader():
    assert [told_bytes(n) for n in (0, 999, 1000, 640e6, 999.9e6, 3.21e9, 4.5e12)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "640 MB",
        "1 GB",
        "3.21 GB",
        "4,500 GB",
    ]
    assert [told_seconds(s) for s in (0.0234, 5.94, 42, 59.97, 590, 3599, 3600, 7500)] == [
        "0.023 s",
        "5.9 s",
        "42 s",
        "1 min 0 s",
        "9 min 50 s",
        "59 min 59 s",
        "1 h 0 min",
        "2 h 5 min",
    ]


def test_the_room_is_the_least_of_machine_and_container(tmp_path, monkeypatch):
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (groups / "shop" / "one").mkdir(parents=True)
    (proc / "self" / "statm").write_text("100 7 0 0 0 0 0")
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    (proc / "self" / "cgroup").write_text("0::/shop/one\n")
    monkeypatch.setattr(memory, "PROC", proc)
    monkeypatch.setattr(memory, "CGROUPS", groups)
    page = os.sysconf("SC_PAGE_SIZE")
    assert room_of("auto") == memory.Room(7 * page + 5000 * 1024, "available on this machine")
    for folder, limit, taken in ((groups / "shop" / "one", "max", 0), (groups / "shop", "3000000", 1_500_000)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{taken}\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 500000\n")
    assert room_of("auto") == memory.Room(7 * page + 2_000_000, "left to this container"), "files can be dropped"
    assert room_of("2MB") == memory.Room(2_000_000, "train.memory_limit")
    assert room_of("64MB") == room_of("auto"), "a limit above what there is protects from nothing"


def test_a_meter_sees_what_was_there_for_a_moment():
    meter = Meter()

    def work(size):
        held = np.ones(size // 8)
        assert held.sum() > 0
        torch.randn(300, 300) @ torch.randn(300, 300)

    for size in (192 << 20, 64 << 20, 320 << 20):  # a new height of the process, a lower one, a new one
        meter.peak(lambda: work(1 << 10))
        before = meter.now()
        assert meter.peak(lambda size=size: work(size)) - before == pytest.approx(size, rel=0.25)
        assert meter.now() - before < size / 2


def test_a_heap_is_returned_each_time_it_has_grown(monkeypatch):
    sizes, called = iter([100, 120, 151, 80, 119, 121]), []
    monkeypatch.setattr(memory, "resident", lambda: next(sizes))
    monkeypatch.setattr(memory, "returned", lambda: called.append(True))
    heap, seen = Heap(0.5), []
    for _ in range(6):
        heap.look()
        seen.append(len(called))
    assert seen == [0, 0, 1, 1, 1, 2], "the level is that of the first look after each"


def shape(**more):
    return Shape(**{"parts": 1, "targets": 0, "positions": 0, "squares": 0, "largest": 0, "taught": 0, **more})


def test_a_cost_that_is_linear_is_found():
    rng = np.random.default_rng(0)
    steps = [
        shape(targets=int(t), positions=int(p), squares=int(p * w))
        for t, p, w in zip(rng.integers(100, 1000, 9), rng.integers(500, 3000, 9), rng.integers(3, 50, 9), strict=True)
    ]

    def truth(step):
        return 0.02 + 3e-5 * step.targets + 2e-5 * step.positions + 1e-7 * step.squares

    seconds = Seconds.fit([(step, truth(step)) for step in steps])
    other = shape(targets=2000, positions=9000, squares=90_000)
    assert seconds(other) == pytest.approx(truth(other), rel=1e-6)
    falling = Seconds.fit([(shape(targets=1, positions=10), 2.0), (shape(targets=1, positions=20), 1.0)])
    assert min(falling.weights) >= 0, "no work takes time back"


def test_a_peak_grows_with_positions_and_the_logits_of_a_chunk():
    def truth(step, chunk):
        return 5000 + 7 * step.largest + 40 * min(chunk, step.taught)

    small, large = shape(largest=100, taught=20), shape(largest=400, taught=90)
    peak = Peak.fit([(s, truth(s, 64)) for s in (small, large)], chunk=64, logits=40)
    for step, chunk in ((shape(largest=3000, taught=1000), 64), (shape(largest=50, taught=10), 16), (large, 32)):
        assert peak(step, chunk) == truth(step, chunk)
    flat = Peak.fit([(small, 900), (small, 1000)], chunk=64, logits=0)
    assert flat(large, 64) == 1000, "without a slope the larger one counts"


DISTRIBUTED = """
import sys
import numpy as np, torch, torch.distributed as dist
from accelerate import Accelerator
from pathlib import Path
torch.set_num_threads(1)
from medleyrec.models import build
from medleyrec.training.config import TrainConfig
from tests.test_plan import trainer
from tests.worlds import facts
from safetensors.torch import save_file
accelerator = Accelerator(cpu=True)
torch.manual_seed(0)
model = build("sasrec", facts(items=13), width=16, max_length=8, dropout=0.0)
folder = Path(sys.argv[1]) / str(accelerator.process_index)
made = trainer(folder, model, accelerator=accelerator, step_positions=int(sys.argv[2]))
made.optimizer.step = made.optimizer.zero_grad = lambda **_: None
rows = np.arange(9)
made._step(rows, int(made.windows.fresh[rows].sum()))
if accelerator.is_main_process:
    inner = accelerator.unwrap_model(made.module)
    save_file({n: p.grad.contiguous() for n, p in inner.named_parameters()}, sys.argv[1] + ".safetensors")
accelerator.wait_for_everyone()
accelerator.end_training()
if dist.is_initialized():
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_with_unequal_parts_have_the_gradients_of_one(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(DISTRIBUTED)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), "ACCELERATE_USE_CPU": "true"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([sys.executable, str(script), str(tmp_path / "one"), "0"], check=True, env=env)
    done = subprocess.run(
        [*launch, str(script), str(tmp_path / "two"), "9"], check=False, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, two = load_file(str(tmp_path / "one.safetensors")), load_file(str(tmp_path / "two.safetensors"))
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def rehearsed(positions, seconds_per_position):
    """A rehearsal of steps with so many positions, whose clock is a formula; the last share tried was a quarter."""
    found = object.__new__(calibration._Rehearsal)
    found.probes = [np.full(1, size) for size in positions]
    shape = {size: mock.Mock(positions=size) for size in [*positions, positions[0] // 4]}
    found._shape = lambda rows: shape[int(rows[0])]
    found._try = lambda rows: (found._shape(rows), seconds_per_position * rows[0], 1000 + int(rows[0]))
    found.whole, found.tried = [], [(shape[positions[0] // 4], seconds_per_position * (positions[0] // 4), 0)]
    return found


def test_where_the_largest_step_takes_too_long_smaller_ones_are_timed():
    afford = int(calibration.ENOUGH / 0.001)
    found = rehearsed([4 * afford, afford // 10, afford // 20], 0.001)
    assert found._try_whole() == 0, "the peak of the largest is not known"
    assert {shape.positions for shape, _ in found.whole} == {afford // 10, afford // 20}
    whole = rehearsed([afford // 8, afford // 10, afford // 20], 0.001)
    assert whole._try_whole() == 1000 + afford // 8
    assert afford // 8 in {shape.positions for shape, _ in whole.whole}
    none = rehearsed([4 * afford, 2 * afford], 0.001)
    assert none._try_whole() == 0
    assert not none.whole
