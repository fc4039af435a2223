"""What is appended gives what everything at once gives, byte by byte; and equal content is equal bytes."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medleyrec import storage
from medleyrec.dataset import Dataset, PrepareConfig, prepare
from medleyrec.dataset.journal import InputFile, Inputs, Journal, open_parts
from medleyrec.dataset.prepare import append
from medleyrec.dataset.sql import connect
from medleyrec.schema import CanonicalTables, InputError
from tests.worlds import circle, tables

LOOSE = PrepareConfig(min_user_events=1, min_item_events=1)
ROW_BITS = 33
LOG = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("timestamp", pa.int64()),
        ("order", pa.int64()),
        ("rating", pa.float64()),
        ("event", pa.string()),
    ]
)
GOODS = pa.schema(
    [
        *((name, pa.string()) for name in ("item_id", "title", "description")),
        ("categories", pa.list_(pa.list_(pa.string()))),
        ("brand", pa.string()),
        ("price", pa.float64()),
        ("image", pa.string()),
        ("file", pa.int32()),
    ]
)


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_sync", lambda path: None)
        yield


def bytes_of(folder, but=("origin.json",)):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in but}


def read(log, goods=None, pictures=None):
    """Canonical tables of files {name: [(user, item, second, nanosecond, rating, event)]}, as a source would read them.

    goods: {name: [entry]}, None where there is no catalogue; pictures: {item: bytes}.
    """
    files = sorted(log)
    events = [event for name in files for event in log[name]]
    columns = list(zip(*(e for e in events), strict=True)) or [()] * 6
    order = [(nanos << ROW_BITS) + row for row, nanos in enumerate(columns[3])]
    connection = connect(threads=1)
    given_log = pa.Table.from_arrays(
        [pa.array(c, t) for c, t in zip((*columns[:3], order, *columns[4:]), LOG.types, strict=True)], schema=LOG
    )
    connection.register("given_log", given_log)
    inputs = Inputs(
        log=tuple(InputFile(name=name, rows=len(log[name])) for name in files),
        items=tuple(InputFile(name=name) for name in sorted(goods or ())),
        images=(InputFile(name=f"{files[0]}.pictures"),) if pictures and files else (),
    )
    listed = [{**entry, "file": n} for n, name in enumerate(sorted(goods or ())) for entry in goods[name]]
    rows = [{column: entry.get(column) for column in GOODS.names} for entry in listed]
    connection.register("given_items", pa.Table.from_pylist(rows, GOODS))
    made = CanonicalTables(connection, connection.sql("FROM given_log"), connection.sql("FROM given_items"))
    if pictures is not None:
        connection.register("shown", pa.table({"item_id": list(pictures), "bytes": list(pictures.values())}))
        made = replace(made, images=connection.sql("FROM shown"))
    return made, inputs


def at_once(folder, config, log, goods=None, pictures=None):
    made, inputs = read(log, goods, pictures)
    return prepare(made, folder / "dataset", config, log=folder / "log", inputs=inputs)[0]


def more(folder, log, goods=None, pictures=None):
    made, inputs = read(log, goods, pictures)
    return append(made, folder / "dataset", log=folder / "log", inputs=inputs)


events = st.tuples(
    st.sampled_from("abcdefgh"),
    st.sampled_from("pqrstuvw"),
    st.integers(100, 130),
    st.sampled_from([0, 0, 7, 500]),
    st.sampled_from([1.0, 3.0, 5.0, None]),
    st.sampled_from(["buy", "view", None]),
)
entries = st.fixed_dictionaries(
    {"item_id": st.sampled_from("pqrstuvwxyz")},
    optional={"title": st.sampled_from(["one", "two"]), "categories": st.sampled_from([[["m", "k"]], [["k", "l"]]])},
)
options = st.builds(
    PrepareConfig,
    min_user_events=st.integers(1, 3),
    min_item_events=st.integers(1, 3),
    duplicates=st.sampled_from(["all", "first"]),
    min_rating=st.sampled_from([None, 3.0]),
    events=st.sampled_from([(), ("buy",)]),
    whole_catalogue=st.booleans(),
    filter_until=st.sampled_from([None, "60%", "115"]),
) | st.builds(PrepareConfig, min_user_events=st.just(2), duplicates=st.just("last"), whole_catalogue=st.booleans())
CORE = [(u, i, 90 + t, 0, 5.0, "buy") for u in "mn" for t, i in enumerate("pqrs")]  # so that something is always left


parted = given(
    st.lists(st.lists(events, max_size=14), min_size=2, max_size=5),
    st.lists(st.lists(entries, max_size=5), max_size=3),
    options,
    st.randoms(use_true_random=False),
)


@parted
@settings(max_examples=20, deadline=None)
def test_parts_in_any_order_give_the_bytes_of_everything_at_once(tmp_path_factory, logs, shelves, config, random):
    check_parts(tmp_path_factory.mktemp("parts"), logs, shelves, config, random)


@pytest.mark.slow
@parted
@settings(max_examples=1_000, deadline=None)
def test_parts_in_any_order_thoroughly(tmp_path_factory, logs, shelves, config, random):
    check_parts(tmp_path_factory.mktemp("parts"), logs, shelves, config, random)


def check_parts(home, logs, shelves, config, random):
    logs[random.randrange(len(logs))] += CORE * 3
    names = random.sample("abcdefghij", len(logs))
    log = dict(zip(names, logs, strict=True))
    goods = dict(zip(random.sample("klmno", len(shelves)), shelves, strict=True))
    pictures = {"p": b"red", "x": b"blue"} if random.random() < 0.5 else None
    try:
        whole = at_once(home / "whole", config, log, goods, pictures)
        grown(home / "grown", config, log, goods, pictures, random)
    except InputError as error:
        assume("no event is left" not in str(error) and " already" not in str(error))
        raise
    assert bytes_of(home / "grown" / "dataset") == bytes_of(whole.folder)
    shutil.rmtree(home)


def grown(folder, config, log, goods, pictures, random):
    """The same files, in parts, in some order."""
    files = [("log", name) for name in log] + [("goods", name) for name in goods]
    random.shuffle(files)
    first = next(n for n, (kind, name) in enumerate(files) if kind == "log" and CORE[0] in log[name])
    files.insert(0, files.pop(first))
    cuts = sorted(random.sample(range(1, len(files) + 1), random.randint(1, len(files))))
    for part in np.split(np.arange(len(files)), cuts):
        chosen = [files[n] for n in part]
        some = {name: log[name] for kind, name in chosen if kind == "log"}
        shelves = {name: goods[name] for kind, name in chosen if kind == "goods"}
        shown = pictures if 0 in part else None
        if 0 in part:
            at_once(folder, config, some, shelves, shown)
        elif some or shelves:
            more(folder, some, shelves)


def log_of(rows, *, start=100):
    return [(u, i, start + t, 0, None, None) for t, (u, i) in enumerate(rows)]


def test_an_earlier_name_goes_before_what_is_there(tmp_path):
    tie = [("u", "x", 5, 0, None, None)]
    at_once(tmp_path, LOOSE, {"b.csv": tie})
    data = more(tmp_path, {"a.csv": [("u", "w", 5, 0, None, None)], "c.csv": [("u", "y", 5, 0, None, None)]})
    assert [data.item_ids[i] for i in data.history(0)] == ["w", "x", "y"]


def test_nanoseconds_order_events_of_one_second_before_their_files_do(tmp_path):
    at_once(tmp_path, LOOSE, {"a": [("u", "late", 5, 900, None, None), ("u", "first", 4, 950, None, None)]})
    data = more(tmp_path, {"b": [("u", "early", 5, 100, None, None)]})
    assert [data.item_ids[i] for i in data.history(0)] == ["first", "early", "late"]


def test_the_first_entry_of_an_item_wins_in_the_order_of_names(tmp_path):
    log = {"a": log_of([("u", "x"), ("u", "y")])}
    at_once(tmp_path, LOOSE, log, {"k": [{"item_id": "x", "title": "k"}]})
    more(tmp_path, {}, {"m": [{"item_id": "x", "title": "m"}, {"item_id": "y", "title": "m"}]})
    data = more(tmp_path, {}, {"b": [{"item_id": "x", "title": "b"}]})
    assert data.catalogue.column("title").to_pylist() == ["b", "m"]


def test_the_rest_of_the_catalogue_grows(tmp_path):
    config = LOOSE.model_copy(update={"whole_catalogue": True})
    data = at_once(tmp_path, config, {"a": log_of([("u", "x")])}, {"k": [{"item_id": "z"}]})
    assert data.item_ids == ["", "x", "z"]
    data = more(tmp_path, {"b": log_of([("v", "z")])}, {"l": [{"item_id": "n"}]})
    assert data.item_ids == ["", "x", "z", "n"]
    assert data.first_seen.tolist()[1:] == [100, 100, np.iinfo(np.int64).max]


def test_pictures_of_later_items_come_from_the_journal(tmp_path):
    strict = PrepareConfig(min_user_events=1, min_item_events=2)
    log = {"a": log_of([("u", "x"), ("v", "x"), ("u", "y")])}
    data = at_once(tmp_path, strict, log, {"k": []}, {"x": b"red", "y": b"green", "none": b"-"})
    assert (data.item_ids, data.picture(1)) == (["", "x"], b"red")
    data = more(tmp_path, {"b": log_of([("w", "y"), ("w", "z"), ("v", "z")])}, {}, {"z": b"blue", "x": b"other"})
    assert data.item_ids == ["", "x", "y", "z"]
    assert [data.picture(row) for row in (1, 2, 3)] == [b"red", b"green", b"blue"]


def test_the_same_events_twice_are_refused_and_change_nothing(tmp_path):
    rows = log_of([("u", "x"), ("v", "y")])
    at_once(tmp_path, LOOSE, {"jan.csv": rows})
    before = bytes_of(tmp_path, but=())
    with pytest.raises(InputError, match=r"2 events of feb.csv are in .* already, as jan.csv; leave this file out"):
        more(tmp_path, {"mar.csv": log_of([("w", "x")]), "feb.csv": rows})
    assert bytes_of(tmp_path, but=()) == before
    assert len(more(tmp_path, {"feb.csv": [(*rows[0][:4], 3.0, None), rows[1]]}).items) == 4, "another rating is news"


def test_without_a_kept_log_an_append_is_refused(tmp_path):
    config = LOOSE.model_copy(update={"keep_log": False})
    data = at_once(tmp_path, config, {"a": log_of([("u", "x")])})
    assert not (tmp_path / "log").exists()
    assert "keep_log" not in data.manifest["options"]
    with pytest.raises(InputError, match=r"prepared with keep_log = false.* --set prepare.keep_log=true"):
        more(tmp_path, {"b": log_of([("u", "y")])})
    kept = at_once(tmp_path, LOOSE, {"a": log_of([("u", "x")])})
    assert kept.manifest == data.manifest
    assert len(more(tmp_path, {"b": log_of([("u", "y")])}).items) == 2


def test_a_lost_part_is_one_sentence(tmp_path):
    at_once(tmp_path, LOOSE, {"a": log_of([("u", "x")])})
    shutil.rmtree(tmp_path / "log" / "part-0001")
    with pytest.raises(InputError, match=r"log lacks part-0001.* `medley prepare` again with all input files"):
        more(tmp_path, {"b": log_of([("u", "y")])})


def test_a_killed_append_leaves_the_dataset_and_can_be_repeated(tmp_path):
    at_once(tmp_path, LOOSE, {"a": log_of([("u", "x")])})
    before = bytes_of(tmp_path / "dataset", but=())
    code = (
        "import importlib, os, signal, sys\nfrom pathlib import Path\n"
        "p = importlib.import_module('medleyrec.dataset.build')\n"
        "from tests.test_dataset_journal import log_of, more\n"
        "p.save_categories = lambda folder: os.kill(os.getpid(), signal.SIGKILL)\n"
        "more(Path(sys.argv[1]), {'b': log_of([('u', 'y')])})"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert bytes_of(tmp_path / "dataset", but=()) == before
    assert len(Dataset.open(tmp_path / "dataset").items) == 1
    data = more(tmp_path, {"b": log_of([("u", "y")])})
    assert len(data.items) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset", "log"]
    assert sorted(p.name for p in (tmp_path / "log").iterdir()) == data.origin["parts"]


def test_a_failed_preparation_leaves_what_was_there(tmp_path):
    at_once(tmp_path, LOOSE, {"a": log_of([("u", "x")])})
    before = bytes_of(tmp_path, but=())
    with pytest.raises(InputError, match="no event is left"):
        at_once(tmp_path, PrepareConfig(), {"b": log_of([("u", "y")])})
    assert bytes_of(tmp_path, but=()) == before


def test_preparing_anew_puts_a_new_log_in_the_place_of_the_old_one(tmp_path):
    at_once(tmp_path, LOOSE, {"a": log_of([("u", "x")])})
    more(tmp_path, {"b": log_of([("u", "y")])})
    data = at_once(tmp_path, LOOSE, {"c": log_of([("u", "z")])})
    assert data.item_ids == ["", "z"]
    assert [p.name for p in (tmp_path / "log").iterdir()] == data.origin["parts"]


def test_other_options_are_applied_to_what_was_appended_too(tmp_path):
    first = tables(circle(), fingerprint="first")
    prepare(first, tmp_path / "dataset", LOOSE, log=tmp_path / "log")
    more(tmp_path, {"b": log_of([("new", "i00")])})
    same, done = prepare(tables(circle(), fingerprint="first"), tmp_path / "dataset", LOOSE, log=tmp_path / "log")
    assert not done
    assert "new" in same.user_ids
    twice = LOOSE.model_copy(update={"min_user_events": 2})
    data, done = prepare(tables(circle(), fingerprint="first"), tmp_path / "dataset", twice, log=tmp_path / "log")
    assert done
    assert data.manifest["raw_counts"]["users"] == 41
    assert "new" not in data.user_ids


def test_content_is_the_identity_and_origin_is_not(tmp_path):
    log = circle()
    one, _ = prepare(tables(log, fingerprint="one"), tmp_path / "one", LOOSE)
    two, _ = prepare(replace(tables(log, fingerprint="two"), notes=("read otherwise",)), tmp_path / "two", LOOSE)
    assert bytes_of(one.folder) == bytes_of(two.folder)
    assert (one.origin["notes"], two.origin["notes"]) == ([], ["read otherwise"])
    other, _ = prepare(tables([*log[:-1], (*log[-1][:2], 5)]), tmp_path / "other", LOOSE)
    assert other.manifest["identity"] != one.manifest["identity"]
    goods = [{"item_id": i, "title": "new"} for i in sorted({e[1] for e in log})]
    titled, _ = prepare(tables(log, goods), tmp_path / "titled", LOOSE)
    assert titled.manifest["identity"] != one.manifest["identity"]


@pytest.mark.parametrize(
    "order", [[7, 7, 7, 3], [0, 0, 2, 3], [-1, -2, -3, -4], [0, 2, 4, 6], [3, 2, 1, 0], [1 << 40] * 4]
)
def test_an_order_that_numbers_no_rows_still_orders(tmp_path, order):
    log = [("u", i, 5) for i in "abcd"]
    made = tables(log, extra={"order": order})
    data, _ = prepare(made, tmp_path / "d", LOOSE)
    wanted = [i for _, i in sorted(zip(order, "abcd", strict=True))]
    assert [data.item_ids[i] for i in data.history(0)] == wanted
    assert data.times.tolist() == [5] * 4


def test_events_of_files_without_ratings_or_types_have_none(tmp_path):
    bare, inputs = tables([("u", "y", 7), ("v", "y", 8)]), Inputs(log=(InputFile(name="b"),))
    for name, options in (("rated", {"min_rating": 3.0}), ("typed", {"events": ("buy",)}), ("all", {})):
        folder, config = tmp_path / name, LOOSE.model_copy(update=options)
        at_once(folder, config, {"a": [("u", "x", 7, 9, 5.0, "buy"), ("u", "z", 7, 1, 1.0, "view")]})
        data = append(bare, folder / "dataset", log=folder / "log", inputs=inputs)
        found = ["".join(data.item_ids[i] for i in data.history(u)) for u in range(len(data))]
        assert found == (["x"] if options else ["yzx", "y"]), name


def test_the_journal_holds_what_was_read(tmp_path):
    log = {"a": [("u", "x", 5, 7, 2.5, "buy")], "b": [("v", "x", 6, 0, None, "view"), ("u", "y", 2, 0, 4.0, None)]}
    data = at_once(tmp_path, LOOSE, log)
    journal = Journal(open_parts(tmp_path / "log", data.origin["parts"]))
    found = list(journal.blocks())
    assert [block.times.tolist() for block in found] == [[5], [6, 2]]
    assert np.concatenate([b.nanos for b in found]).tolist() == [7, 0, 0]
    assert np.nan_to_num(np.concatenate([b.ratings for b in found]), nan=-1).tolist() == [2.5, -1, 4]
    names = [*journal.event_names, None]
    assert [names[k] for b in found for k in b.kinds] == ["buy", "view", None]


def test_steps_are_told_to_their_end(tmp_path):
    told = []
    prepare(tables(circle()), tmp_path / "d", LOOSE, step=lambda *step: told.append(step))
    assert all(0 <= done <= total for _, done, total in told)
    last = {name: (done, total) for name, done, total in told}
    assert all(done == total for done, total in last.values()), last
    assert {"coding events", "ordering events", "writing the log"} <= set(last)
