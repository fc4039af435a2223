"""The softmax over drawn classes: it estimates the exact one, and a run that learns by it is a run like any other."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from medleyrec.dataset.batches import DeviceLog, one_pass_windows
from medleyrec.dataset.split import TrainingLog
from medleyrec.models import build
from medleyrec.models.base import Frozen
from medleyrec.models.categories import Categories
from medleyrec.recipes.experiment import RUN_RECORD, load_experiment
from medleyrec.recipes.identity import run_name
from medleyrec.recipes.listener import Listener
from medleyrec.recipes.ranking import metric_means, ranks_of
from medleyrec.recipes.run import open_run
from medleyrec.recipes.train import run_train
from medleyrec.schema import DESCRIPTIONS, PAD, VALIDATION, Batch, Features, InputError
from medleyrec.training.config import TrainConfig
from medleyrec.training.loop import BEST, Trainer
from medleyrec.training.module import TrainingModule, of_a_step
from medleyrec.training.optimizer import RowwiseAdam, is_rowwise, optimizer_of
from medleyrec.training.sampling import NEGATIVES, TICKETS, Sampler, class_counts, sampled_softmax, tickets
from medleyrec.training.softmax import softmax_of
from tests.test_dataset import log_of
from tests.test_training import CONFIG, result
from tests.worlds import circle, facts, features, noise, small, taught

V = 30  # items including padding


def plain(states, table, targets, drawn, log_expected):
    """The loss, target by target and class by class."""
    total = torch.zeros((), dtype=states.dtype)
    for state, target in zip(states, targets, strict=True):
        own = state @ table[target]
        terms = [state @ table[c] - log for c, log in zip(drawn, log_expected, strict=True) if c != target]
        total = total + torch.stack([own, *terms]).logsumexp(0) - own
    return total


def points(classes=11, targets=37, width=6, *, scale=1.0, seed=0):
    torch.manual_seed(seed)
    states = torch.randn(targets, width, dtype=torch.float64)
    table = scale * torch.randn(classes, width, dtype=torch.float64)
    return states.requires_grad_(), table.requires_grad_(), torch.randint(classes, (targets,))


def gradients(loss, *of):
    return torch.autograd.grad(loss, of)


def test_every_class_once_is_the_exact_softmax():
    states, table, targets = points()
    exact = F.cross_entropy(states @ table.T, targets, reduction="sum")
    loss = sampled_softmax(states, table, targets, torch.randperm(11), torch.zeros(11))
    torch.testing.assert_close(loss, exact, rtol=1e-10, atol=1e-10)
    found, wanted = gradients(loss / 37, states, table), gradients(exact / 37, states, table)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_it_is_the_formula_with_repeated_draws_and_hits(monkeypatch):
    states, table, targets = points()
    monkeypatch.setattr("medleyrec.training.sampling.LOGITS_BYTES", 8 * 7 * 5)  # chunks of five targets
    drawn, log_expected = torch.tensor([3, 3, 0, 7, 10, 7, 7]), torch.randn(7, dtype=torch.float64)
    assert torch.isin(targets, drawn).any(), "some draws are the row's own target"
    loss, wanted = (f(states, table, targets, drawn, log_expected) for f in (sampled_softmax, plain))
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradients(3 * loss, states, table), gradients(3 * wanted, states, table))


def test_a_target_that_is_all_there_is_costs_nothing():
    states, table, _ = points(targets=2)
    loss = sampled_softmax(states, table, torch.tensor([4, 4]), torch.tensor([4, 4, 4]), torch.zeros(3))
    assert loss.item() == 0
    assert all((g == 0).all() for g in gradients(loss, states, table))


def test_autocast_leaves_its_sums_alone():
    states, table, targets = (t.detach() for t in points())
    states, table = states.float().requires_grad_(), table.float().requires_grad_()
    drawn, log_expected = torch.arange(8), torch.zeros(8)
    alone = sampled_softmax(states, table, targets, drawn, log_expected)
    with torch.autocast("cpu", torch.bfloat16):
        inside = sampled_softmax(states, table, targets, drawn, log_expected)
    assert torch.equal(inside, alone)


def estimate(states, table, targets, sampler, *, corrected=True, seed):
    """Gradients of the mean loss; uncorrected: as if all classes were drawn alike."""
    torch.manual_seed(seed)
    drawn, log_expected = sampler()
    log_expected = log_expected if corrected else torch.full_like(log_expected, np.log(len(drawn) / len(table)))
    return gradients(sampled_softmax(states, table, targets, drawn, log_expected) / len(targets), states, table)


def mean_distance(points, sampler, *, corrected=True, draws=60):
    """Of the mean gradient of many draws from the exact one, as a share of that; and the mean distance of each."""
    states, table, targets = points
    exact = gradients(F.cross_entropy(states @ table.T, targets), states, table)
    found = [estimate(*points, sampler, corrected=corrected, seed=s) for s in range(draws)]
    mean = [torch.stack([one[i] for one in found]).mean(0) for i in range(2)]
    own = sum((e.square().sum() for e in exact), torch.zeros(()))

    def apart(some):
        return float((sum((s - e).square().sum() for s, e in zip(some, exact, strict=True)) / own).sqrt())

    return apart(mean), float(np.mean([apart(one) for one in found]))


SKEWED = np.array([1000, 500, 200, 100, *[10] * 20, *[1] * 30, *[0] * 10])  # training events of 64 classes


@pytest.mark.parametrize("negatives", [128, 512])
def test_the_correction_brings_the_gradient_nearer_to_the_exact_one(negatives):
    world = points(classes=64, targets=40, width=8, scale=0.7)
    sampler = Sampler(SKEWED, negatives)
    with_it, without = mean_distance(world, sampler), mean_distance(world, sampler, corrected=False)
    assert with_it[0] < 0.5 * without[0], "the mean of the estimates"
    assert with_it[1] < without[1], "each of them"


def test_more_draws_are_nearer_and_the_uncorrected_ones_are_not():
    world = points(classes=64, targets=40, width=8, scale=0.7)
    right = [mean_distance(world, Sampler(SKEWED, n), draws=12)[1] for n in (64, 1024, 16384)]
    wrong = [mean_distance(world, Sampler(SKEWED, n), corrected=False, draws=12)[1] for n in (64, 1024, 16384)]
    assert right[1] < 0.5 * right[0]
    assert right[2] < 0.5 * right[1]
    assert right[2] < 0.07
    assert wrong[2] > 0.5 * wrong[0], "a bias does not go away"


def test_the_targets_own_logit_is_expected_once():
    """With log(S q) taken off the target's own logit too, as where negatives are other rows' targets, it is biased."""
    states, table, targets = points(classes=64, targets=40, width=8, scale=0.7)
    exact = F.cross_entropy(states @ table.T, targets)
    torch.manual_seed(0)
    sampler = Sampler(SKEWED, 1 << 16)
    drawn, log_expected = sampler()
    ours = sampled_softmax(states, table, targets, drawn, log_expected) / len(targets)
    own = (states * table[targets]).sum(1) - sampler.log_expected(targets)
    others = (states @ table[drawn].T - log_expected).masked_fill(targets[:, None] == drawn, float("-inf"))
    theirs = (torch.logaddexp(others.logsumexp(1), own) - own).mean()
    assert abs(ours - exact) < 0.02 * exact
    assert abs(theirs - exact) > 0.2 * exact


def test_tickets_mix_popularity_with_the_same_for_all():
    counts = np.array([6, 3, 0, 1])
    share = tickets(counts, power=1, even=0.2) / TICKETS
    np.testing.assert_allclose(share, [0.8 * 0.6 + 0.05, 0.8 * 0.3 + 0.05, 0.05, 0.8 * 0.1 + 0.05], rtol=1e-9)
    root = np.sqrt([6, 3, 0, 1])
    np.testing.assert_allclose(tickets(counts, power=0.5, even=0) / TICKETS, root / root.sum(), atol=1e-9)
    assert (tickets(counts, even=0) >= 1).all(), "no class is left out"
    assert (tickets(np.zeros(5, np.int64)) == tickets(np.zeros(5, np.int64))[0]).all(), "nothing is known: all alike"


def test_classes_are_drawn_as_often_as_their_tickets_say():
    sampler = Sampler(np.array([6, 3, 0, 1]), 200_000)
    torch.manual_seed(0)
    numbers, log_expected = sampler()
    share = torch.from_numpy(tickets(np.array([6, 3, 0, 1]))).double()
    expected = 200_000 * share / share.sum()
    np.testing.assert_allclose(np.bincount(numbers, minlength=4), expected, rtol=0.03)
    np.testing.assert_allclose(log_expected.exp(), expected[numbers], rtol=1e-5)
    torch.manual_seed(0)
    assert torch.equal(sampler()[0], numbers), "a function of the seed"
    torch.manual_seed(1)
    assert not torch.equal(sampler()[0], numbers)


def test_the_popularity_is_that_of_the_training_part():
    log = log_of([3, 2])
    log = TrainingLog(log.items, log.times, log.starts, log.ends - 1, log.num_items)  # the last events are held out
    counts = class_counts(log, log.num_items)
    inside = log.items[log.events]
    assert len(inside) == 3
    assert counts.tolist() == [int((inside == v).sum()) for v in range(1, log.num_items)]
    some = torch.tensor([1, 3])
    assert class_counts(log, some).tolist() == counts[[0, 2]].tolist()


class All(torch.nn.Module):
    """Every class once."""

    def __init__(self, order):
        super().__init__()
        self.order = order

    def forward(self):
        return self.order, torch.zeros(len(self.order))


ITEMS = torch.tensor([[3, 9, 2, 7], [12, 3, 25, PAD]])
TARGETS = torch.tensor([[9, 2, 7, 11], [3, 25, 29, PAD]])
NAMED = torch.tensor([2, 3, 7, 9, 11, 12, 25, 29])  # what the batch names: a step touches no other row
CASES = {
    "sasrec": ("sasrec", {}),
    "gru4rec": ("gru4rec", {}),
    "bert4rec": ("bert4rec", {}),
    "hm4sr": ("hm4sr", {"items": ("id", "text", "image")}),
    "hm4sr, a published mask": ("hm4sr", {"reference": ("category-mask",), "max_length": 4}),
    "cammsr": ("cammsr", {"items": ("id", "text", "image"), "category_loss_weight": 0.3}),
    "dmesr": ("dmesr", {"items": (*DESCRIPTIONS, "attributes", "id")}),
    "dmesr on bert4rec": ("dmesr", {"items": ("id", "text", "image"), "backbone": "bert4rec"}),
}
LOSSES = {"hm4sr": {"cp", "idcl", "pcl"}, "cammsr": {"mscl", "category"}, "dmesr": {"align"}}


def described(num_items):
    rng, names = np.random.default_rng(0), ("text", "image", *DESCRIPTIONS, "attributes")
    vectors = {n: rng.normal(size=(num_items, 5)).astype(np.float16) for n in names}
    present = {n: (np.arange(num_items) > 0) & (rng.random(num_items) < 0.9) for n in names}
    return Features(vectors={n: v * present[n][:, None] for n, v in vectors.items()}, present=present)


def labelled(num_items):
    """One label each; every third item has none."""
    has = np.arange(num_items) % 3 > 0
    labels = np.arange(int(has.sum()), dtype=np.int32) % 4
    return Categories(offsets=np.concatenate([[0], has.cumsum()]), labels=labels, count=4)


def module(case, sampler=None, *, classes=V):
    name, settings = CASES[case]
    torch.manual_seed(0)
    known = facts(items=V, num_categories=4, max_gap=100)
    own = {"width": 16, "max_length": 8, "dropout": 0.3, **settings}
    model = build(name, known, described(V), categories=labelled(V), **own).double()
    return TrainingModule(model, classes=classes, chunk=64, sampler=sampler).train()


@pytest.mark.parametrize("wrong", [8, 29], ids=["between classes", "beyond the last"])
@pytest.mark.parametrize("drawn", [False, True], ids=["all classes", "drawn classes"])
def test_a_target_that_is_no_class_is_an_error(drawn, wrong):
    classes = NAMED[:-1]
    training = module("sasrec", All(torch.arange(len(classes))) if drawn else None, classes=classes)
    training(taught(torch.tensor([[2, 3]]), torch.tensor([[3, 7]])))
    with pytest.raises(IndexError):
        training(taught(torch.tensor([[2, 3]]), torch.tensor([[3, wrong]])))


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("classes", [V, NAMED], ids=["all rows", "some rows"])
def test_a_step_on_the_rows_it_touches_is_the_step_on_all(case, classes):
    """Every loss and every gradient, labels and own losses included; the random numbers are the same."""
    found, count = [], V - 1 if classes is V else len(NAMED)
    for sampler in (None, All(torch.randperm(count))):
        made = module(case, sampler, classes=classes)
        torch.manual_seed(1)
        losses = made(taught(ITEMS, TARGETS))
        losses["loss"].backward()
        found.append((losses, {n: p.grad for n, p in made.named_parameters() if p.grad is not None}))
    assert LOSSES.get(case, set()) <= found[0][0].keys()
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ["sasrec", "bert4rec", "cammsr", "dmesr"])
def test_states_of_remapped_rows_are_bit_for_bit_those_of_the_whole_table(case):
    model, batch = module(case).model.eval(), taught(ITEMS, TARGETS)
    small, drawn, touched = of_a_step(batch, torch.tensor([28, 5, 5]))
    assert touched.tolist() == sorted({PAD, 28, 5, *ITEMS.flatten().tolist(), *TARGETS.flatten().tolist()})
    assert torch.equal(touched[drawn], torch.tensor([28, 5, 5]))
    assert torch.equal(small.catalogue(small.targets), TARGETS)
    assert torch.equal((small.items == PAD), (ITEMS == PAD))
    with torch.no_grad():
        table = model.rows.all()
        there = torch.equal(model.last_state(small, table[touched]), model.last_state(batch, table))
    assert there
    assert torch.equal(small.to("cpu").catalogue(small.items), ITEMS)


def test_only_the_rows_of_the_step_are_made():
    made, asked = module("sasrec", All(torch.tensor([4, 4, 10]))), []
    made.model.rows.register_forward_hook(lambda _, given, rows: asked.append((given, rows.shape)))
    made(taught(ITEMS, TARGETS))
    ids = {PAD, 5, 11, *ITEMS.flatten().tolist(), *TARGETS.flatten().tolist()}
    assert [(given[0].tolist(), shape) for given, shape in asked] == [(sorted(ids), (len(ids), 16))]


def dense_rowwise(weight, gradients, *, lr, beta=0.999, eps=1e-8):
    """The row-wise update as one that looks at every row in every step."""
    weight, second = weight.copy(), np.zeros(len(weight))
    for step, gradient in enumerate(gradients, 1):
        second = beta * second + (1 - beta) * (gradient**2).mean(1)
        moved = np.abs(gradient).sum(1) > 0
        root = np.sqrt(second / (1 - beta**step)) + eps
        weight[moved] -= lr * (gradient / root[:, None])[moved]
    return weight


def test_the_lazy_update_is_that_of_all_rows_in_every_step():
    torch.manual_seed(0)
    table = torch.nn.Embedding(6, 3, sparse=True).double()
    other = torch.nn.Parameter(torch.ones(2))
    start, gradients = table.weight.detach().numpy().copy(), []
    optimizer = RowwiseAdam([other], [table.weight], lr=0.1)
    for rows in ([1, 3], [3], [2, 2, 5], [1], [3, 5], [1, 2]):
        wanted = torch.randn(len(rows), 3, dtype=torch.float64)
        loss = (table(torch.tensor(rows)) * wanted).sum() + (other**2).sum()
        optimizer.zero_grad()
        loss.backward()
        dense = np.zeros((6, 3))
        np.add.at(dense, rows, wanted.numpy())
        gradients.append(dense)
        optimizer.step()
    np.testing.assert_allclose(table.weight.detach().numpy(), dense_rowwise(start, gradients, lr=0.1), rtol=1e-6)
    assert torch.equal(table.weight[0], torch.from_numpy(start)[0]), "a row that is not touched stays"
    assert {k: v.shape for k, v in optimizer.state[table.weight].items()} == {"step": (), "second": (6,), "last": (6,)}


def test_what_is_not_the_id_table_learns_by_adam():
    steps = {}
    for rowwise in (True, False):
        torch.manual_seed(0)
        ids, other = torch.nn.Embedding(4, 2, sparse=rowwise), torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = (
            RowwiseAdam([other], [ids.weight], lr=0.1) if rowwise else torch.optim.Adam([other], 0.1, fused=True)
        )
        for _ in range(3):
            optimizer.zero_grad()
            ((other**2).sum() + ids(torch.tensor([1])).sum()).backward()
            optimizer.step()
        steps[rowwise] = other.detach()
    assert torch.equal(steps[True], steps[False])


def test_which_optimizer_is_a_function_of_the_settings():
    assert is_rowwise(TrainConfig(), sampled=True)
    assert not is_rowwise(TrainConfig(), sampled=False)
    assert not is_rowwise(TrainConfig(weight_decay=0.1), sampled=True)
    assert not is_rowwise(TrainConfig(optimizer="adam"), sampled=True)
    with pytest.raises(InputError, match=r'train.optimizer = "rowwise" is for .* set train.softmax = "sampled"'):
        is_rowwise(TrainConfig(optimizer="rowwise"), sampled=False)
    with pytest.raises(InputError, match=r"train.weight_decay = 0.1 shrinks every row"):
        is_rowwise(TrainConfig(optimizer="rowwise", weight_decay=0.1), sampled=True)
    with pytest.raises(InputError, match=r"works in one process, and there are 2"):
        optimizer_of(module("sasrec", Sampler(np.ones(V - 1, np.int64), 4)), TrainConfig(), processes=2)


def test_the_choice_is_a_function_of_the_number_of_classes():
    small, large = softmax_of(TrainConfig(), 2_000_000), softmax_of(TrainConfig(), 2_000_001)
    assert (small.sampled, small.to_json(), str(small)) == (False, {}, "softmax over all 2,000,000 classes")
    assert large.to_json() == {"softmax": "sampled", "negatives": NEGATIVES, "optimizer": "rowwise"}
    assert 'more than 2,000,000 (train.softmax = "exact" takes all)' in str(large)
    assert not softmax_of(TrainConfig(softmax="exact"), 10**7).sampled
    assert softmax_of(TrainConfig(softmax="sampled"), 100).negatives == 100
    assert not softmax_of(TrainConfig(), 10**7, refused="there is none").sampled
    with pytest.raises(InputError, match=r'does not fit: there is none; set train.softmax = "exact"'):
        softmax_of(TrainConfig(softmax="sampled"), 10, refused="there is none")
    with pytest.raises(InputError, match=r"train.negatives = 5 is for a sampled softmax"):
        softmax_of(TrainConfig(negatives=5), 10)
    assert softmax_of(TrainConfig(softmax="sampled", negatives=10), 10).negatives == 10
    with pytest.raises(InputError, match=r"train.negatives = 1,000,000 are more than the 10 classes; draw fewer"):
        softmax_of(TrainConfig(softmax="sampled", negatives=10**6), 10)


SAMPLED = CONFIG.model_copy(update={"softmax": "sampled", "negatives": 6})


def trainer(folder: Path, world, config, *, name="sasrec", sampled=True):
    data, split = small(folder / "d", world)
    torch.manual_seed(config.seed)
    model = build(name, split.facts, width=16, max_length=8, dropout=0.2)
    log = split.training_log()
    windows = one_pass_windows(log, max_length=8, stride=4)

    def judge():
        model.eval()
        return metric_means(ranks_of(Frozen(model), split, split.eval_events(VALIDATION), max_length=8), [1, 5])

    classes = data.num_log_items
    sampler = Sampler(class_counts(log, classes), config.negatives) if sampled else None
    return Trainer(
        TrainingModule(model, classes=classes, chunk=64, sampler=sampler),
        DeviceLog(log, windows),
        windows,
        config,
        folder / "run",
        accelerator=Accelerator(cpu=True),
        validate=judge,
    )


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_a_killed_sampled_run_ends_bit_for_bit_as_an_unkilled_one(tmp_path, name):
    short = SAMPLED.model_copy(update={"epochs": 3, "checkpoint_minutes": 1e-9})
    trainer(tmp_path / "whole", circle(users=12), short, name=name).run()
    killed = trainer(tmp_path / "killed", circle(users=12), short, name=name)
    step = killed._step

    def dying(rows, targets):
        if killed.state.steps == 4:
            raise RuntimeError("killed")
        return step(rows, targets)

    killed._step = dying
    with pytest.raises(RuntimeError, match="killed"):
        killed.run()
    trainer(tmp_path / "killed", circle(users=12), short, name=name).run()
    assert result(tmp_path / "killed") == result(tmp_path / "whole")
    other = SAMPLED.model_copy(update={"epochs": 3, "seed": 1})
    trainer(tmp_path / "other", circle(users=12), other, name=name).run()
    assert result(tmp_path / "other") != result(tmp_path / "whole")


def test_it_learns_what_the_exact_softmax_learns_and_no_noise(tmp_path):
    world, config = circle(users=40, items=24), CONFIG.model_copy(update={"epochs": 40, "patience": 40})
    drawn = config.model_copy(update={"softmax": "sampled", "negatives": 12})
    exact = trainer(tmp_path / "exact", world, config, sampled=False).run().best
    assert exact >= 0.95
    assert trainer(tmp_path / "sampled", world, drawn).run().best >= exact - 0.1
    assert trainer(tmp_path / "noise", noise(users=40, items=24), drawn).run().best < 0.35, "chance is 1 in 24"


@pytest.fixture
def shop(tmp_path):
    small(tmp_path / "shop" / "dataset", circle(users=12))
    return tmp_path / "shop"


def experiment(shop, *, model="sasrec", settings=None, **train):
    own = {"width": 8, "max_length": 8, **(settings or {})}
    flags = {"model": {"name": model, "settings": own}, "train": {"epochs": 1, "softmax_chunk": 9, **train}}
    return load_experiment(shop, flags=flags)


def test_a_sampled_run_is_a_run_of_its_own(shop):
    name = run_name(experiment(shop))
    assert run_name(experiment(shop, softmax="exact")) == name, "what auto chooses, spelled out"
    assert run_name(experiment(shop, softmax="exact", optimizer="adam")) == name
    drawn = run_name(experiment(shop, softmax="sampled"))
    assert drawn == run_name(experiment(shop, softmax="sampled", negatives=12, optimizer="rowwise"))
    others = [{"negatives": 5}, {"optimizer": "adam"}, {"seed": 1}]
    names = {name, drawn, *(run_name(experiment(shop, **{"softmax": "sampled", **other})) for other in others)}
    assert len(names) == 5


def test_the_choice_is_said_and_kept(shop):
    said, listener = [], Listener()
    listener.say = said.append
    run, _ = run_train(experiment(shop, softmax="sampled", negatives=5), listener)
    told = "softmax over 5 classes drawn per step of 12, ids learn row by row"
    assert any(sentence.endswith(f"; {told}.") for sentence in said)
    record = json.loads((run.folder / RUN_RECORD).read_text())
    assert record["softmax"] == told
    assert record["experiment"]["train"]["softmax"] == "sampled"
    assert (run.folder / BEST).exists()
    assert open_run(run.folder).recommend(["i00", "i01"], k=3)
    run, _ = run_train(experiment(shop), listener)
    assert any(sentence.endswith("; softmax over all 12 classes.") for sentence in said)


def test_what_cannot_be_sampled_says_so(shop):
    with pytest.raises(InputError, match=r'the objective bce has no softmax; set train.softmax = "exact"'):
        run_train(experiment(shop, model="dmesr", settings={"objective": "bce"}, softmax="sampled"), Listener())
    published = {"reference": ["padding-class"], "inner": 8}
    with pytest.raises(InputError, match=r"the padding row is a class; set train.softmax"):
        run_train(experiment(shop, model="hm4sr", settings=published, softmax="sampled"), Listener())


def test_the_batch_carries_what_its_rows_stand_for():
    plain = taught(ITEMS, TARGETS)
    assert plain.touched is None
    assert torch.equal(plain.catalogue(ITEMS), ITEMS)
    assert isinstance(of_a_step(plain, torch.tensor([1]))[0], Batch)
    assert features(V).widths == {"text": 6, "image": 5}
