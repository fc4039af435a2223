"""The data commands as a user meets them: published forms, a cut in time, the audit, an append."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

import medleyrec as medley
from medleyrec.schema import InputError
from tests.test_cli import good, run_of
from tests.test_cli import medley as command

DAY = 86_400
LOOSE = ["--set", "prepare.min_user_events=1", "--set", "prepare.min_item_events=1"]
QUICK = ["--set", "train.epochs=2", "--set", "model.settings.width=8"]


def log(users=range(12), days=range(20)):
    return [(f"u{u:02d}", f"i{(u + t) % 9}", 1_600_000_000 + DAY * t) for u in users for t in days]


def write(path: Path, events, sep=","):
    path.write_text(
        "\n".join([sep.join(("user_id", "item_id", "timestamp")), *(sep.join(map(str, e)) for e in events)])
    )


def same_dataset(a: Path, b: Path):
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file() and p.name != "origin.json")
    assert files == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file() and p.name != "origin.json")
    return [str(f) for f in files if (a / f).read_bytes() != (b / f).read_bytes()]


def test_a_published_form_is_named_by_its_kind(tmp_path):
    (tmp_path / "ml").mkdir()
    rows = "\n".join(f"{u}::{1 + (u + t) % 5}::4::{978_300_000 + t * DAY}" for u in range(1, 8) for t in range(6))
    (tmp_path / "ml" / "ratings.dat").write_text(rows)
    titles = "\n".join(f"{i}::Café {i} (199{i})::Drama|War" for i in range(1, 6))
    (tmp_path / "ml" / "movies.dat").write_text(titles, encoding="latin-1")
    told = good("prepare", "films", "--kind", "movielens", "--folder", "ml", *LOOSE, folder=tmp_path)
    assert "7 users, 5 items and 42 events" in told
    assert medley.Project(tmp_path / "films").dataset.catalogue.column("title")[0].as_py().startswith("Café 1")
    wrong = command("prepare", "x", "--kind", "movielenz", "--folder", "ml", folder=tmp_path)
    assert wrong.returncode == 2
    assert "movielens" in wrong.stderr


def test_a_project_cut_in_time_stays_cut_in_time(tmp_path):
    write(tmp_path / "log.csv", log())
    good("prepare", "shop", "--interactions", "log.csv", "--split", "time", *LOOSE, folder=tmp_path)
    good("train", "shop", *QUICK, folder=tmp_path)
    told = good("evaluate", "shop", folder=tmp_path)
    assert "time cut (validation from 2020-09-29, test from 2020-10-01; successive targets)" in told
    assert json.loads((run_of(tmp_path) / "run.json").read_text())["split"]["kind"] == "time"
    found = json.loads(good("audit", "shop", "--json", "--quick", folder=tmp_path))
    leak = next(f for f in found["findings"] if f["name"] == "training_after_test")
    assert set(leak["values"].values()) == {0.0} or leak["level"] == "fact"
    assert "time cut" in (tmp_path / "shop" / "report.html").read_text()


def test_the_audit_says_sentences_with_the_cautions_first(tmp_path):
    write(tmp_path / "log.csv", [(u, i, t // DAY * DAY) for u, i, t in log()])
    good("prepare", "shop", "--interactions", "log.csv", *LOOSE, folder=tmp_path)
    lines = good("audit", "shop", "--quick", folder=tmp_path).splitlines()
    cautions = [line.startswith("Caution: ") for line in lines[1:]]
    assert any(cautions)
    assert cautions == sorted(cautions, reverse=True)
    assert any("whole days" in line for line in lines)
    assert command("audit", "nowhere", folder=tmp_path).returncode == 2


def test_an_append_gives_what_everything_at_once_gives(tmp_path):
    first, more = log(days=range(12)), log(users=range(3, 15), days=range(12, 20))
    write(tmp_path / "a.csv", first)
    write(tmp_path / "b.csv", more)
    (tmp_path / "both").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "both" / name).write_bytes((tmp_path / name).read_bytes())
    good("prepare", "grown", "--interactions", "a.csv", folder=tmp_path)
    (tmp_path / "a.csv").unlink()
    assert "15 users" in good("append", "grown", "--interactions", "b.csv", folder=tmp_path)
    good("prepare", "whole", "--interactions", "both", folder=tmp_path)
    assert same_dataset(tmp_path / "grown" / "dataset", tmp_path / "whole" / "dataset") == []
    twice = command("append", "grown", "--interactions", "b.csv", folder=tmp_path)
    assert twice.returncode == 2
    assert "b.csv" in twice.stderr
    assert command("append", "grown", folder=tmp_path).returncode == 2


def test_frames_from_python_equal_files(tmp_path):
    events = log()
    write(tmp_path / "log.csv", events)
    columns = dict(zip(("user_id", "item_id", "timestamp"), map(list, zip(*events, strict=True)), strict=True))
    options = {"min_user_events": 1, "min_item_events": 1}
    medley.Project(tmp_path / "a").prepare(tmp_path / "log.csv", prepare=options)
    medley.Project(tmp_path / "b").prepare(pa.table(columns), prepare=options)
    assert same_dataset(tmp_path / "a" / "dataset", tmp_path / "b" / "dataset") == []


def test_under_a_time_cut_the_past_alone_decides_what_is_rare(tmp_path):
    options = {"min_user_events": 3, "min_item_events": 3}
    shop = medley.Project(tmp_path / "shop")
    write(tmp_path / "log.csv", [*log(), ("new", "i1", 1_600_000_000 + DAY * 19), ("rare", "i1", 1_600_000_000)])
    data = shop.prepare(tmp_path / "log.csv", prepare=options, split={"kind": "time"})
    assert data.manifest["filter_until"] == 1_600_000_000 + DAY * 16
    assert "new" in data.user_rows, "who comes after the cut stays"
    assert "rare" not in data.user_rows, "who was rare before it goes"
    with pytest.raises(InputError, match='duplicates = "last"'):
        shop.prepare(tmp_path / "log.csv", prepare={**options, "duplicates": "last"}, split={"kind": "time"})


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["prepare", "x", "--kind", "movielens"], "give --folder with the place of the movielens data set"),
        (["prepare", "x", "--folder", "abc"], "add --kind movielens"),
        (["prepare", "x", "--interactions", "log.csv", "--split", "weekly"], "'leave-one-out' or 'time'"),
        (["prepare", "x", "--interactions", "log.csv", "--memory-limit", "lots"], "write a size such as 2GB"),
        (["download", "nosuch"], "no data set is known by the name 'nosuch'"),
        (["verify", "hm4sr", "log.csv"], "is not a torch file"),
        (["verify", "sasrec", "log.csv"], "no published weights"),
        (["inspect", "."], "is not a run folder"),
        (["append", ".", "--interactions", "log.csv"], "is not a prepared dataset"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, args, told):
    write(tmp_path / "log.csv", log(users=range(2), days=range(2)))
    done = command(*args, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
