"""Catalogues of millions: the softmax in blocks equals the plain one, and feature tables on disk those in memory."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medleyrec import storage
from medleyrec.models import build
from medleyrec.models.base import Frozen
from medleyrec.models.items import ContentPart, ItemRows
from medleyrec.models.on_disk import TableOnDisk, is_large
from medleyrec.models.views import retrieval_recall
from medleyrec.schema import ATTRIBUTES, PAD, TEXT, Features, InputError
from medleyrec.training.blocked import BLOCK, CHUNK, CHUNK_BYTES, WHOLE, block_of, blocked_softmax, chunk_of
from medleyrec.training.module import TrainingModule
from medleyrec.training.objectives import LARGE, calibrate_chunk
from medleyrec.training.sampling import Sampler
from tests.worlds import batch, facts, features, taught

V = 31  # rows of the table
CLASSES = {"a range": range(1, 30), "rows by name": torch.tensor([0, 2, 3, 5, 8, 13, 14, 15, 16, 17, 19, 22, 30])}


@pytest.fixture
def blocks(monkeypatch):
    """Blocks of seven classes, the last one shorter."""
    monkeypatch.setattr("medleyrec.training.blocked.WHOLE", 7)
    monkeypatch.setattr("medleyrec.training.blocked.BLOCK", 7)


def points(classes, *, dtype=torch.float64, scale=1.0):
    torch.manual_seed(0)
    states = torch.randn(37, 6, dtype=dtype, requires_grad=True)
    table = (scale * torch.randn(V, 6, dtype=dtype)).requires_grad_()
    return states, table, torch.randint(len(classes), (37,))


def plain(states, table, targets, classes):
    rows = table[torch.tensor(classes)] if isinstance(classes, range) else table[classes]
    return F.cross_entropy(states @ rows.T, targets, reduction="sum")


@pytest.mark.parametrize("kind", sorted(CLASSES))
@pytest.mark.parametrize("chunk", [1, 8, 64])
def test_the_softmax_in_blocks_is_the_plain_one(blocks, kind, chunk):
    states, table, targets = points(CLASSES[kind])
    wanted, loss = (
        plain(states, table, targets, CLASSES[kind]),
        blocked_softmax(states, table, targets, classes=CLASSES[kind], chunk=chunk),
    )
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-12)
    found, exact = (torch.autograd.grad(x / 3, (states, table)) for x in (loss, wanted))
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-12)
    outside = torch.ones(V, dtype=torch.bool)
    outside[torch.as_tensor(list(CLASSES[kind]))] = False
    assert (found[1][outside] == 0).all(), "what is no class has no gradient"


def test_logits_of_hundreds_do_not_overflow(blocks):
    states, table, targets = points(range(1, 30), dtype=torch.float32, scale=100.0)
    loss = blocked_softmax(states, table, targets, classes=range(1, 30), chunk=8)
    wanted = plain(states.double(), table.double(), targets, range(1, 30))
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-3)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, (states, table)))


def test_gradients_are_formed_once_and_only_where_they_are_wanted(blocks):
    states, table, targets = points(range(1, 30))
    loss = blocked_softmax(states, table, targets, classes=range(1, 30), chunk=8)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="can be taken once"):
        loss.backward()
    with torch.no_grad():
        alone = blocked_softmax(states, table, targets, classes=range(1, 30), chunk=8)
    assert alone.item() == pytest.approx(loss.item(), rel=1e-12)
    assert not alone.requires_grad


def test_a_target_that_is_no_class_is_an_error():
    states, table, targets = points(range(1, 30))
    for wrong in (-1, 29):
        targets[3] = wrong
        with pytest.raises(IndexError, match="a target is none of the 29 classes"):
            blocked_softmax(states, table, targets, classes=range(1, 30), chunk=8)


def test_autocast_leaves_products_and_sums_alone(blocks):
    states, table, targets = points(range(1, 30), dtype=torch.float32)
    alone = blocked_softmax(states, table, targets, classes=range(1, 30), chunk=8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = blocked_softmax(states, table, targets, classes=range(1, 30), chunk=8)
        half = blocked_softmax(states.bfloat16(), table, targets, classes=range(1, 30), chunk=8)
    assert torch.equal(inside, alone)
    assert torch.autograd.grad(half, states)[0].dtype == states.dtype


def test_a_chunk_fits_its_memory():
    assert chunk_of(8192, 1_000_000) == CHUNK
    assert chunk_of(100, 1_000_000) == 100
    for classes in (5_000_000, 10**8, 10**12):
        assert chunk_of(8192, classes) == max(1, CHUNK_BYTES // (4 * classes))
    assert calibrate_chunk(targets=100, width=8, classes=LARGE + 1, device="cpu") == 100


@pytest.mark.parametrize("classes", [9, torch.tensor([2, 3, 4, 5, 7])], ids=["all", "named"])
def test_a_module_takes_the_same_loss_whole_and_in_blocks(monkeypatch, classes):
    rows, found = taught(torch.tensor([[1, 2, 3], [4, 5, PAD]]), torch.tensor([[2, 3, 4], [5, 7, PAD]])), []
    for whole in (9, 0):
        monkeypatch.setattr("medleyrec.training.blocked.WHOLE", whole)
        monkeypatch.setattr("medleyrec.training.blocked.BLOCK", 3)
        torch.manual_seed(0)
        module = TrainingModule(build("sasrec", facts(items=9), width=8, dropout=0.0), classes=classes, chunk=2)
        loss = module(rows)["loss"]
        loss.backward()
        found.append((loss.detach(), {n: p.grad for n, p in module.named_parameters()}))
    torch.testing.assert_close(found[1], found[0])


def test_few_classes_are_one_block_and_many_are_not():
    assert block_of(WHOLE) == WHOLE
    assert block_of(WHOLE + 1) == BLOCK
    assert block_of(100, "cuda") > WHOLE


MEMORY = """
import json, resource, torch
from medleyrec.training.blocked import blocked_softmax
classes = 200_000
table = torch.randn(classes + 1, 32).requires_grad_()
states, targets = torch.randn(256, 32, requires_grad=True), torch.randint(classes, (256,))
small = torch.randn(8, 32, requires_grad=True)
blocked_softmax(small, table[:9000], targets[:8] % 8000, classes=range(1, 9000), chunk=8).backward()
table.grad = None
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
blocked_softmax(states, table, targets, classes=range(1, classes + 1), chunk=32).backward()
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in KiB")
def test_memory_is_a_chunk_and_one_gradient():
    found = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    above, table, chunk = 1024 * json.loads(found.stdout), 4 * 200_000 * 32, 4 * 200_000 * 32
    assert above < 1.3 * (table + chunk), "all logits would be eight chunks"


class Counting:
    """A table that counts the rows read of it."""

    def __init__(self, vectors):
        self.vectors, self.shape, self.size, self.dtype = vectors, vectors.shape, vectors.size, vectors.dtype
        self.most = self.all = 0

    def __len__(self):
        return len(self.vectors)

    def __getitem__(self, which):
        found = self.vectors[which]
        self.most, self.all = max(self.most, len(found)), self.all + len(found)
        return found

    def __array__(self, *_, **__):
        raise AssertionError("the table was read whole")


ITEMS = 40


@pytest.fixture
def disk(monkeypatch):
    """Every table is large, and a block of it is eight rows of six numbers."""
    monkeypatch.setattr("medleyrec.models.on_disk.IN_MEMORY", 0)
    monkeypatch.setattr("medleyrec.models.on_disk.BLOCK_BYTES", 4 * 8 * 6)


def counted(content):
    tables = {n: Counting(v) for n, v in content.vectors.items()}
    return Features(vectors=tables, present=content.present), tables


def both(monkeypatch, name, content, train_items=None, **settings):
    """(in memory, on disk, its tables): two models with the same weights."""
    made = []
    on_disk, tables = counted(content)
    for given, ceiling in ((content, 1 << 30), (on_disk, 0)):
        monkeypatch.setattr("medleyrec.models.on_disk.IN_MEMORY", ceiling)
        torch.manual_seed(0)
        own = {"width": 16, "max_length": 8, "dropout": 0.0, **settings}
        made.append(build(name, facts(items=ITEMS), given, train_items=train_items, **own))
    return *made, tables


SETTINGS = {
    "sasrec": ("sasrec", {"items": ("id", "text", "image")}),
    "centred": ("hm4sr", {"items": ("id", "text", "image"), "content_vectors": "centred"}),
    "unit": ("cammsr", {"items": ("text", "image"), "content_vectors": "unit"}),
    "raw": ("hm4sr", {"items": ("id", "text"), "reference": ("raw-features",)}),
    "views": ("dmesr", {"items": ("id", "text", "image")}),
}


@pytest.mark.parametrize("case", sorted(SETTINGS))
def test_features_on_disk_are_those_in_memory(disk, monkeypatch, case):
    name, settings = SETTINGS[case]
    content = features(ITEMS, text=6, image=6, missing=(3, 17))
    known = np.arange(ITEMS) < 33
    memory, on_disk, tables = both(monkeypatch, name, content, known, **settings)
    for part in ("mean", "scale"):
        for one, other in zip(memory.rows.content.values(), on_disk.rows.content.values(), strict=True):
            torch.testing.assert_close(getattr(other, part), getattr(one, part))
    ids = torch.tensor([0, 3, 4, 17, 39, 4])
    torch.testing.assert_close(on_disk.rows(ids), memory.rows(ids))
    with torch.inference_mode():
        torch.testing.assert_close(on_disk.rows.all(), memory.rows.all())
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(ITEMS - 1)])
    with torch.no_grad():
        torch.testing.assert_close(on_disk.rows.exchanged("text", order), memory.rows.exchanged("text", order))
    torch.testing.assert_close(on_disk.rows.new(content), memory.rows.new(content))
    rows, candidates = batch(torch.tensor([[1, 2, 3], [4, 3, PAD]])), torch.tensor([2, 7, 4])
    with torch.no_grad():
        torch.testing.assert_close(Frozen(on_disk).scores(rows, candidates), Frozen(memory).scores(rows, candidates))
    assert all(0 < t.most <= 8 for n, t in tables.items() if n in settings["items"]), "never more than a block"


@pytest.mark.parametrize("case", sorted(SETTINGS))
def test_exact_training_reads_block_by_block_on_both_ways(disk, monkeypatch, case):
    name, settings = SETTINGS[case]
    content, grads = features(ITEMS, text=6, image=6, missing=(3,)), []
    memory, on_disk, tables = both(monkeypatch, name, content, **settings)
    before = tables["text"].all
    for model in (memory, on_disk):
        weight = torch.linspace(-1, 1, ITEMS)[:, None]
        (model.rows.all() * weight).square().sum().backward()
        grads.append({n: p.grad for n, p in model.rows.named_parameters() if p.grad is not None})
    torch.testing.assert_close(grads[1], grads[0])
    assert tables["text"].all - before == 2 * ITEMS, "once forth and once back"
    assert tables["text"].most <= 8


def test_a_sampled_step_reads_its_own_rows_alone(disk, monkeypatch):
    content, found = features(ITEMS, text=6, image=6), []
    monkeypatch.setattr("medleyrec.models.on_disk.BLOCK_BYTES", 1 << 20)
    memory, on_disk, tables = both(monkeypatch, "sasrec", content, items=("id", "text"))
    rows = taught(torch.tensor([[1, 2, 3], [4, 3, PAD]]), torch.tensor([[2, 3, 5], [3, 9, PAD]]))
    before = tables["text"].all
    for model in (memory, on_disk):
        module = TrainingModule(model, classes=ITEMS, chunk=8, sampler=Sampler(np.ones(ITEMS - 1, np.int64), 4)).train()
        torch.manual_seed(3)
        loss = module(rows)["loss"]
        loss.backward()
        found.append((loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(found[1], found[0])
    assert tables["text"].all - before <= 1 + 6 + 4, "padding, items and targets, draws"


def test_views_are_compared_without_reading_a_table_whole(disk, monkeypatch):
    rng = np.random.default_rng(0)
    vectors = {n: rng.normal(size=(ITEMS, 6)).astype(np.float16) for n in (TEXT, ATTRIBUTES)}
    content = Features(vectors=vectors, present=dict.fromkeys(vectors, np.arange(ITEMS) > 0))
    memory, on_disk, tables = both(monkeypatch, "dmesr", content, items=(TEXT, ATTRIBUTES))
    recall = [retrieval_recall(model.rows, TEXT, ATTRIBUTES, k=5) for model in (memory, on_disk)]
    assert recall[0] == recall[1]
    assert tables["text"].most <= 8


def test_small_tables_stay_in_memory():
    assert not is_large(np.zeros((1000, 8), np.float16))
    assert is_large(np.broadcast_to(np.float16(0), (1 << 20, 257)))
    assert not is_large(np.broadcast_to(np.float16(0), (1 << 20, 256)))
    part = ContentPart("text", features(ITEMS), 4, train_items=None)
    assert part.disk is None
    assert part.vectors is not None


def test_a_mapped_file_is_mapped_anew_before_it_adds_up(tmp_path, monkeypatch):
    monkeypatch.setattr("medleyrec.models.on_disk.MAPPED_BYTES", 100 * 12)
    vectors = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float16)
    storage.save_array(tmp_path / "v.npy", vectors)
    table = TableOnDisk(storage.open_array(tmp_path / "v.npy"))
    first = table._vectors
    assert np.array_equal(table.rows(slice(0, 90)).numpy(), vectors[:90].astype(np.float32))
    assert table._vectors is first
    assert np.array_equal(table.rows(slice(90, 200)).numpy(), vectors[90:].astype(np.float32))
    assert table._vectors is not first
    ids = np.array([5, 199, 5, 0])
    assert np.array_equal(table.rows(ids).numpy(), vectors[ids].astype(np.float32)), "the new map shows the same rows"


def test_a_table_of_another_height_is_one_sentence(disk):
    with pytest.raises(InputError, match="the text features have 40 rows, the item table has 41"):
        ItemRows(41, 4, parts=("text",), features=features(40))


def test_means_are_summed_over_known_rows_alone(disk):
    vectors = np.random.default_rng(0).normal(5, 2, size=(ITEMS, 6)).astype(np.float16)
    known = np.arange(ITEMS) % 3 > 0
    mean, deviation = TableOnDisk(vectors).moments(known)
    some = vectors[known].astype(np.float64)
    np.testing.assert_allclose(mean, some.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation, some.std(0), rtol=1e-6)
