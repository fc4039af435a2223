"""The command line as a user meets it: a whole path on odd-looking own files, and sentences where input is wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

COLOURS = ["red", "green", "blue", "gold"]
COMMANDS = [
    "prepare",
    "append",
    "download",
    "audit",
    "describe",
    "encode",
    "vectors",
    "plan",
    "train",
    "evaluate",
    "recommend",
    "models",
    "demo",
    "ablate",
    "inspect",
    "verify",
    "import",
]
QUICK = ["--set", "train.epochs=3", "--set", "model.settings.width=16", "--set", "train.learning_rate=0.01"]


def medley(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    command = [sys.executable, "-m", "medleyrec.cli", *map(str, args)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=env)


def good(*args: str, folder: Path) -> str:
    done = medley(*args, folder=folder)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A log with unusual column names, a catalogue, a folder of pictures; prepared, encoded, trained."""
    folder = tmp_path_factory.mktemp("shop")
    with (folder / "sales.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["customer no", "article", "bought at"])
        for user in range(30):
            for t in range(8):
                out.writerow([f"K{user:03d}", f"{(user + t) % 12:03d}", f"2024-0{1 + t}-1{user % 10} 12:00:00"])
    with (folder / "goods.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["article", "name", "group"])
        for item in range(12):
            out.writerow([f"{item:03d}", f"{COLOURS[item % 4]} thing, no. {item}", f"shop|{COLOURS[item % 4]}"])
    (folder / "pics").mkdir()
    for item in range(11):
        Image.new("RGB", (24, 24), COLOURS[item % 4]).save(folder / "pics" / f"{item:03d}.png")
    columns = ["--column", "user_id=customer no", "--column", "item_id=article", "--column", "timestamp=bought at"]
    goods = ["--item-column", "item_id=article", "--item-column", "categories=group"]
    files = ["--interactions", "sales.csv", "--items", "goods.csv", "--images", "pics"]
    told = good("prepare", "shop", *files, *columns, *goods, folder=folder)
    assert "30 users, 12 items and 240 events" in told
    assert "a picture 91.7%" in told
    assert "12 encoded" in good("encode", "shop", folder=folder)
    assert "Finished" in good("train", "shop", "--items", "id,text,image", *QUICK, folder=folder)
    return folder


def run_of(shop: Path) -> Path:
    return next(p.parent for p in sorted(shop.glob("shop/runs/*/result.json")) if "refit" not in p.parent.name)


def test_the_command_on_the_path_is_the_module():
    assert (Path(sys.executable).parent / "medley").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_real_example(command, tmp_path):
    told = good(command, "--help", folder=tmp_path)
    assert "Examples" in told
    assert f"medley {command}" in told


def test_evaluation_writes_a_report_beside_the_baselines(shop):
    told = good("evaluate", "shop", folder=shop)
    assert "popularity" in told
    assert "transitions" in told
    report = json.loads((shop / "shop" / "report.json").read_text())
    names = [row["name"] for row in report["models"]]
    assert names == ["popularity", "recent-popularity", "transitions", "sasrec (id + text + image)"]
    assert report["verdict"] in told.replace("\n", " ")
    html = (shop / "shop" / "report.html").read_text()
    assert "data:image/jpeg;base64" in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_repeating_finished_steps_is_said(shop):
    files = ["--interactions", "sales.csv", "--items", "goods.csv", "--images", "pics"]
    columns = ["--column", "user_id=customer no", "--column", "item_id=article", "--column", "timestamp=bought at"]
    goods = ["--item-column", "item_id=article", "--item-column", "categories=group"]
    assert "is there already" in good("prepare", "shop", *files, *columns, *goods, folder=shop)
    assert "nothing to do" in good("encode", "shop", folder=shop)
    assert "is finished already" in good("train", "shop", "--items", "id,text,image", *QUICK, folder=shop)


def test_a_run_is_repeated_from_its_own_record_to_the_same_bits(shop):
    run = run_of(shop)
    assert "Finished" in good("train", str(run), "--again", folder=shop)
    twin = run.with_name(run.name + "-2")
    assert (twin / "best.safetensors").read_bytes() == (run / "best.safetensors").read_bytes()


def test_recommendations_for_one_history_and_for_all(shop):
    run = run_of(shop)
    told = good("recommend", str(run), "--history", "003,004,005", "-k", "3", folder=shop)
    ranked = [line.split() for line in told.strip().splitlines()]
    assert [line[0] for line in ranked] == ["1", "2", "3"]
    assert not {"003", "004", "005"} & {line[1] for line in ranked}, "repeats are rare: what was had is left out"
    told = good("recommend", str(run), "--all", "--out", "recs.parquet", folder=shop)
    assert "120 rows" in told, "30 users, of whose 12 items 4 are new to them"
    table = pq.read_table(shop / "recs.parquet")
    assert table.column_names == ["user_id", "rank", "item_id", "score"]
    first = table.slice(0, 4).to_pydict()
    assert first["user_id"] == ["K000"] * 4
    assert first["rank"] == [1, 2, 3, 4]
    assert first["score"] == sorted(first["score"], reverse=True)
    good("recommend", str(run), "--all", "--out", "recs.csv", "-k", "2", folder=shop)
    assert (shop / "recs.csv").read_text().splitlines()[1].startswith('"K000",1,"0')


def test_a_refit_trains_on_everything_for_the_epochs_that_were_best(shop):
    told = good("train", "shop", "--items", "id,text,image", *QUICK, "--refit", folder=shop)
    assert "Finished" in told
    run = run_of(shop)
    refit = run.parent.glob("*-refit")
    record = json.loads((next(iter(refit)) / "result.json").read_text())
    assert record["epochs"] == json.loads((run / "result.json").read_text())["best_epoch"]


def test_a_toml_says_the_same_as_flags(shop):
    (shop / "small.toml").write_text(
        'project = "small"\n[source]\ninteractions = "sales.csv"\n'
        '[source.columns]\nuser_id = "customer no"\nitem_id = "article"\ntimestamp = "bought at"\n'
    )
    assert "30 users" in good("prepare", "small.toml", folder=shop)
    assert "Finished" in good("train", "small.toml", *QUICK, folder=shop)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["prepare", "x", "--interactions", "none.csv"], "none.csv"),
        (["prepare", "x"], "no log was named"),
        (["train", "nowhere"], "nowhere is not a folder"),
        (["train", "shop", "--set", "train.sede=1"], "unknown key 'train.sede'; did you mean 'seed'?"),
        (["train", "shop", "--set", "train.seed=one"], "train.seed = 'one' does not fit"),
        (["train", "shop", "--model", "sasrek"], "there is no model 'sasrek'"),
        (["train", "shop", "--items", "id,sound"], "items = ['id', 'sound'] does not fit"),
        (["train", "missing.toml"], "missing.toml does not exist"),
        (["train", "shop", "--set", "model.settings.width=7"], "width (7) must be a multiple of heads (2)"),
        (["encode", "shop", "--text", "bert"], "there is no encoder 'bert'"),
        (["evaluate", "shop/runs"], "is not"),
        (["recommend", "shop", "--history", "1"], "shop is not a run folder"),
        (["prepare", "x", "--interactions", "sales.csv"], "sales.csv"),
        (["prepare", "x", "--interactions", "sales.csv", "--column", "user_id"], "not of the form name=column"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_sentence_and_exit_code_2(shop, args, sentence):
    done = medley(*args, folder=shop)
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the OpenMP library of other systems has other words")
@pytest.mark.parametrize(
    ("said", "heard"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_threads_spin_briefly_unless_the_user_says_otherwise(said, heard):
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-m", "medleyrec.cli", "models"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=kept | said | {"OMP_DISPLAY_ENV": "verbose"}
    )
    spins = [line.split("'")[1] for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    assert set(spins) == {heard}  # none found is no success either


WAITING = """
import sys, time
from medleyrec.cli import app, main

@app.command()
def wait():
    print("here", flush=True)
    time.sleep(60)

sys.argv = ["medley", "wait"]
main()
"""


def test_ctrl_c_where_no_command_makes_more_of_it_is_said():
    running = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert running.stdout.readline() == "here\n"
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told.startswith("medley: interrupted")
    assert "Traceback" not in told
