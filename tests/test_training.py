"""Training learns what is there, finds nothing in noise, and is the same after a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file

from medleyrec.dataset.batches import DeviceLog, one_pass_windows, prefix_windows
from medleyrec.models import build
from medleyrec.models.base import Frozen
from medleyrec.recipes.ranking import metric_means, ranks_of
from medleyrec.schema import PAD, TEST, VALIDATION, InputError
from medleyrec.training.blocked import CHUNK_BYTES, blocked_softmax
from medleyrec.training.config import TrainConfig
from medleyrec.training.loop import BEST, LOG, Trainer
from medleyrec.training.module import TrainingModule
from medleyrec.training.objectives import calibrate_chunk, sampled_binary
from tests.worlds import DAY, START, batch, circle, facts, noise, small, taught

V = 9


def test_the_chunked_softmax_equals_the_plain_one():
    torch.manual_seed(0)
    states, rows = torch.randn(37, 6, dtype=torch.float64), torch.randn(11, 6, dtype=torch.float64)
    targets = torch.randint(11, (37,))
    grads = []
    for chunk in (None, 8, 64):
        a, b = states.clone().requires_grad_(), rows.clone().requires_grad_()
        plain = F.cross_entropy(a @ b.T, targets, reduction="sum")
        loss = plain if chunk is None else blocked_softmax(a, b, targets, classes=range(11), chunk=chunk)
        torch.testing.assert_close(loss, plain)
        torch.autograd.backward(loss / 37)
        grads.append((a.grad, b.grad))
    torch.testing.assert_close(grads[1], grads[0])
    torch.testing.assert_close(grads[2], grads[0])


def test_one_random_item_beside_each_target():
    states, rows = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    targets, seen = torch.tensor([2, 0]), set()
    for seed in range(30):
        torch.manual_seed(seed)
        drawn = torch.randint(3, (2,)).tolist()
        seen |= set(drawn)
        torch.manual_seed(seed)
        scores = (states @ rows.T).tolist()
        told = [(scores[t][int(targets[t])], scores[t][drawn[t]]) for t in range(2)]
        expected = sum(np.log1p(np.exp(-wanted)) + np.log1p(np.exp(other)) for wanted, other in told)
        assert sampled_binary(states, rows, targets).item() == pytest.approx(expected, rel=1e-5)
    assert seen == {0, 1, 2}


def test_the_model_says_what_its_states_are_taught_with():
    rows, losses = taught(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[2, 3], [4, 5]])), {}
    for objective in ("softmax", "bce"):
        torch.manual_seed(0)
        model = build("dmesr", facts(items=9), items=("id",), width=8, dropout=0.0, objective=objective)
        losses[objective] = TrainingModule(model, classes=9, chunk=4)(rows)["ce"].item()
    assert losses["softmax"] == pytest.approx(np.log(8), abs=0.05), "fresh weights tell nothing apart"
    assert losses["bce"] == pytest.approx(2 * np.log(2), abs=0.05)


def test_calibration_names_a_chunk_that_fits_its_memory():
    assert calibrate_chunk(targets=100, width=8, classes=50, device="cpu") in (64, 128, 256, 512)
    assert calibrate_chunk(targets=100, width=8, classes=10**7, device="cpu") * 10**7 * 4 <= CHUNK_BYTES


def module(dropout=0.0, **more):
    torch.manual_seed(0)
    model = build("sasrec", facts(items=V), width=16, max_length=12, dropout=dropout, **more)
    return TrainingModule(model, classes=V, chunk=8)


def test_the_loss_is_the_mean_over_targets_and_padding_teaches_nothing():
    trained = module()
    items, targets = torch.tensor([[1, 2, 3], [4, PAD, PAD]]), torch.tensor([[2, PAD, 7], [5, PAD, PAD]])
    losses = trained(taught(items, targets))
    table = trained.model.rows.all()
    states = trained.model.encode(batch(items), table).states
    picked = torch.stack([states[0, 0], states[0, 2], states[1, 0]])
    expected = F.cross_entropy(picked @ table[1:].T, torch.tensor([2, 7, 5]) - 1)
    torch.testing.assert_close(losses["loss"], expected)
    losses["loss"].backward()
    assert (trained.model.rows.ids.weight.grad[PAD] == 0).all(), "padding is no class"


KEPT = """
import os, sys
from pathlib import Path
from medleyrec.training.config import TrainConfig
from tests.test_training import trainer
from tests.worlds import circle
trainer(Path(sys.argv[1]), circle(users=5), TrainConfig(epochs=1, metric="ndcg@5", device="cpu"))[0].run()
print(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])
"""


@pytest.mark.parametrize(("before", "told"), [(None, "8"), ("100", "100")])
def test_training_keeps_few_primitives(tmp_path, before, told):
    env = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN")}
    env |= {} if before is None else {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": before}
    done = subprocess.run(
        [sys.executable, "-c", KEPT, str(tmp_path)], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == told


def test_one_pass_teaches_what_all_prefixes_teach(tmp_path):
    _, split = small(tmp_path / "d", circle(users=5, items=8, length=9))
    log = split.training_log()
    trained = module().double()
    found = []
    for windows in (one_pass_windows(log, max_length=12, stride=6), prefix_windows(log, max_length=12)):
        trained.zero_grad()
        loss = trained(DeviceLog(log, windows).batch(np.arange(len(windows))))["loss"]
        loss.backward()
        found.append((loss.detach(), [p.grad.clone() for p in trained.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_our_optimiser_step_is_that_of_torch_adam():
    """The fused step against the formula of Kingma & Ba, algorithm 1, by hand."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
    m = v = np.zeros(2)
    w = np.array([1.0, -2.0])
    for t in (1, 2, 3):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
        g = 2 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-6)


def trainer(folder, world, config, *, name="sasrec", validate=True, epochs_seen=None, **settings):
    data, split = small(folder / "d", world)
    torch.manual_seed(config.seed)
    model = build(name, split.facts, **{"width": 16, "max_length": 8, "dropout": 0.2, **settings})
    log = split.training_log()
    windows = one_pass_windows(log, max_length=8, stride=4)

    def judge():
        model.eval()
        return metric_means(ranks_of(Frozen(model), split, split.eval_events(VALIDATION), max_length=8), [1, 5])

    made = Trainer(
        TrainingModule(model, classes=data.num_log_items, chunk=64),
        DeviceLog(log, windows),
        windows,
        config,
        folder / "run",
        accelerator=Accelerator(cpu=True),
        validate=judge if validate else None,
        on_epoch=epochs_seen,
    )
    return made, split


CONFIG = TrainConfig(
    epochs=30, patience=30, targets_per_step=32, learning_rate=5e-3, metric="hit_rate@1", softmax_chunk=64, device="cpu"
)


def learnt(folder, world, config=CONFIG, **more):
    """Hit rate at 1 of the test events after training."""
    made, split = trainer(folder, world, config, **more)
    made.run()
    made.model.eval()
    ranks = ranks_of(Frozen(made.model), split, split.eval_events(TEST), max_length=8)
    return metric_means(ranks, [1])["hit_rate@1"]


@pytest.mark.parametrize(("name", "least"), [("sasrec", 1.0), ("gru4rec", 0.9)])
def test_a_circle_is_learnt_and_noise_is_not(tmp_path, name, least):
    assert learnt(tmp_path / "circle", circle(), name=name) >= least
    assert learnt(tmp_path / "noise", noise(), name=name) < 0.3, "12 items: chance is 1 in 12"


def test_masked_rows_teach_the_circle_more_slowly_and_no_noise(tmp_path):
    """Histories of 5 to 9 events, so that masks stand at every distance from the end that is asked about."""
    settings = {"name": "bert4rec", "dropout": 0.0, "mask_last": 0.5}
    config = CONFIG.model_copy(update={"epochs": 50, "patience": 50, "learning_rate": 2e-3})
    assert learnt(tmp_path / "circle", uneven(circle(users=60)), config, **settings) > 0.6
    assert learnt(tmp_path / "noise", uneven(noise(users=60)), config, **settings) < 0.3


def uneven(world):
    """The first 5 to 9 events of each user."""
    return [(user, item, at) for user, item, at in world if (at - START) // DAY < 5 + int(user[1:]) % 5]


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path):
    seen = []
    made, _ = trainer(tmp_path, noise(users=20), CONFIG.model_copy(update={"patience": 3}), epochs_seen=seen.append)
    outcome = made.run()
    values = [e["validation"]["hit_rate@1"] for e in outcome.history]
    assert outcome.best == max(values)
    assert outcome.best_epoch == values.index(max(values)) + 1
    assert len(values) == outcome.best_epoch + 3
    assert [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()] == seen
    kept, now = load_file(str(tmp_path / "run" / BEST)), made.model.state_dict()
    assert all(torch.equal(kept[n], now[n]) for n in kept)


def test_an_unmeasured_metric_and_a_lost_loss_are_one_sentence(tmp_path):
    made, _ = trainer(tmp_path / "a", circle(), CONFIG.model_copy(update={"metric": "ndcg@3"}))
    with pytest.raises(InputError, match=r"train.metric = 'ndcg@3' is not measured; choose one of"):
        made.run()
    made, _ = trainer(tmp_path / "b", circle(), CONFIG.model_copy(update={"learning_rate": 1e20}))
    with pytest.raises(InputError, match="the loss became .* lower train.learning_rate|gives user"):
        made.run()


@pytest.mark.parametrize("name", ["gru4rec", "bert4rec"])
def test_drawn_masks_and_dropout_are_the_same_after_a_kill(tmp_path, name):
    """The killed step leaves by an error, right after a checkpoint; the processes below are killed for real."""
    short = CONFIG.model_copy(update={"epochs": 3, "checkpoint_minutes": 1e-9})
    whole, _ = trainer(tmp_path / "whole", circle(users=12), short, name=name)
    whole.run()
    killed, _ = trainer(tmp_path / "killed", circle(users=12), short, name=name)
    step = killed._step

    def dying(rows, targets):
        if killed.state.steps == 4:
            raise RuntimeError("killed")
        return step(rows, targets)

    killed._step = dying
    with pytest.raises(RuntimeError, match="killed"):
        killed.run()
    trainer(tmp_path / "killed", circle(users=12), short, name=name)[0].run()
    assert result(tmp_path / "killed") == result(tmp_path / "whole")


WORKER = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.test_training import CONFIG, circle, trainer
import medleyrec.training.loop as loop
kill_at, folder = int(sys.argv[1]), Path(sys.argv[2])
made, _ = trainer(folder, circle(), CONFIG.model_copy(update={"epochs": 4, "checkpoint_minutes": float(sys.argv[4])}))
step = made._step
def counted(rows, targets):
    if made.state.steps == kill_at:
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
    return step(rows, targets)
made._step = counted
outcome = made.run()
print("interrupted" if outcome.interrupted else "finished")
"""


def work(folder: Path, kill_at: int, how: str = "SIGKILL", minutes: float = 1e-9) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WORKER, str(kill_at), str(folder), how, str(minutes)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def result(folder: Path):
    log = [json.loads(line) for line in (folder / "run" / LOG).read_text().splitlines()]
    curve = [(e["epoch"], e["loss"], e["validation"]) for e in log]
    return curve, (folder / "run" / BEST).read_bytes()


def test_a_killed_run_ends_bit_for_bit_as_an_unkilled_one(tmp_path):
    assert work(tmp_path / "whole", -1).stdout.strip() == "finished"
    for kill_at, minutes in ((0, 1e-9), (3, 1e-9), (16, 5.0)):  # a checkpoint each step, or each epoch alone
        folder = tmp_path / f"killed-{kill_at}"
        assert work(folder, kill_at, minutes=minutes).returncode == -signal.SIGKILL
        assert work(folder, -1).stdout.strip() == "finished"
        assert result(folder) == result(tmp_path / "whole"), f"killed at step {kill_at}"


def test_ctrl_c_saves_and_the_run_goes_on(tmp_path):
    assert work(tmp_path / "whole", -1).stdout.strip() == "finished"
    stopped = work(tmp_path / "stopped", 5, "SIGINT")
    assert (stopped.returncode, stopped.stdout.strip()) == (0, "interrupted")
    assert work(tmp_path / "stopped", -1).stdout.strip() == "finished"
    assert result(tmp_path / "stopped") == result(tmp_path / "whole")


DISTRIBUTED = """
import sys
import numpy as np, torch, torch.distributed as dist
from accelerate import Accelerator
torch.set_num_threads(1)
from medleyrec.dataset.batches import DeviceLog, one_pass_windows
from pathlib import Path
from medleyrec.training.loop import Trainer
from tests.test_training import CONFIG, module
from tests.test_dataset import log_of
from safetensors.torch import save_file
accelerator = Accelerator(cpu=True)
log = log_of([3, 4, 2, 4][: int(sys.argv[2])])
log.items[:] = (log.items - 1) % 8 + 1
windows = one_pass_windows(log, max_length=8, stride=4)
trainer = Trainer(module(), DeviceLog(log, windows), windows, CONFIG, Path(sys.argv[1]), accelerator=accelerator)
trainer.optimizer.step = trainer.optimizer.zero_grad = lambda **_: None  # the gradients of one step are what is asked
trainer._step(np.arange(len(windows)), windows.targets)
if accelerator.is_main_process:
    inner = accelerator.unwrap_model(trainer.module)
    save_file({n: p.grad.contiguous() for n, p in inner.named_parameters()}, sys.argv[1] + ".safetensors")
accelerator.wait_for_everyone()
accelerator.end_training()
if dist.is_initialized():
    dist.destroy_process_group()
"""


@pytest.mark.parametrize("rows", [4, 1], ids=["uneven rows", "a process without rows"])
def test_two_processes_have_the_gradients_of_one(tmp_path, rows):
    script = tmp_path / "worker.py"
    script.write_text(DISTRIBUTED)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), "ACCELERATE_USE_CPU": "true"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([sys.executable, str(script), str(tmp_path / "one"), str(rows)], check=True, env=env)
    both = subprocess.run(
        [*launch, str(script), str(tmp_path / "two"), str(rows)], check=False, env=env, capture_output=True, text=True
    )
    assert both.returncode == 0, both.stderr
    one, two = load_file(str(tmp_path / "one.safetensors")), load_file(str(tmp_path / "two.safetensors"))
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-5, atol=1e-7, msg=name)
    assert max(float(g.abs().max()) for g in one.values()) > 1e-3
