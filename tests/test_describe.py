"""Descriptions of a project: given, by a template, chosen among several origins, told and shown."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medleyrec.cli.app import app
from medleyrec.features.describe.answers import Answer
from medleyrec.features.describe.log import AnswerLog
from medleyrec.features.describe.prompts import read_prompts
from medleyrec.features.describe.series import AnswerSettings, Series
from medleyrec.recipes.describe import (
    descriptions_folder,
    report,
    run_choice,
    run_given,
    run_template,
)
from medleyrec.recipes.prepare import open_dataset
from medleyrec.schema import DESCRIPTIONS, InputError
from tests.describing import Told, described_origins, described_texts, make_shop

ROWS = [
    {"item_id": "000", "view": "described_text", "text": "A chair."},
    {"item_id": "001", "view": "text", "text": "A table,\n  of wood."},
    {"item_id": "001", "view": "image", "text": "Brown."},
    {"item_id": "002", "view": "both", "text": ""},
    {"item_id": "999", "view": "both", "text": "Of another shop."},
]


@pytest.fixture
def project(tmp_path):
    return make_shop(tmp_path, ["a chair", "a table", "a lamp"])


def write(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        import csv

        with path.open("w", newline="") as file:
            out = csv.DictWriter(file, ["item_id", "view", "text"])
            out.writeheader()
            out.writerows(rows)
    return path


def test_a_project_without_descriptions_has_none(project):
    assert described_texts(project) == {}
    assert described_origins(project) == {}
    (told,) = report(project)
    assert told.startswith("Nothing is described yet: give --url and --model")
    assert not descriptions_folder(project).exists(), "looking writes nothing"


@pytest.mark.parametrize("name", ["given.parquet", "given.csv", "given.jsonl"])
def test_answers_of_a_file_are_rows_of_the_dataset(tmp_path, project, name):
    told = Told()
    run_given(project, write(tmp_path / name, ROWS), told)
    assert described_texts(project) == {
        "described_image": [None, "Brown.", None],
        "described_text": ["A chair.", "A table, of wood.", None],
    }
    assert described_origins(project) == dict.fromkeys(("described_image", "described_text"), f"file: {name}")
    assert f"{name}: 5 answers, 5 of them new." in str(told)
    assert "1 of its item ids, such as '999', are not in the dataset" in str(told)
    size = (descriptions_folder(project) / "answers.log").stat().st_size
    run_given(project, tmp_path / name, told)
    assert "5 answers, 0 of them new." in str(told)
    assert (descriptions_folder(project) / "answers.log").stat().st_size == size
    run_given(project, write(tmp_path / name, [{**ROWS[0], "text": "A stool."}]), told)
    assert described_texts(project)["described_text"][0] == "A stool."
    assert "1 were empty" in " ".join(report(project))


def test_answers_outlive_a_dataset(tmp_path, project):
    run_given(project, write(tmp_path / "given.csv", ROWS), Told())
    make_shop(tmp_path, ["a chair", "a table"])
    assert described_texts(project)["described_text"] == ["A chair.", "A table, of wood."]
    make_shop(tmp_path, ["a chair", "a table", "a lamp"])
    assert described_texts(project)["described_text"] == ["A chair.", "A table, of wood.", None]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "item_id,view\n1,text\n", "lacks text"),
        ("a.csv", "item_id,view,text\n1,sound,x\n", "row 1: the view 'sound' is none of"),
        ("a.csv", "item_id,view,text\n,text,x\n", "row 1: the item_id is empty"),
        ("a.csv", b"item_id,view,text\n1,text,\xff\n", "cannot be read as UTF-8 CSV"),
        ("a.csv", "item_id,view,text\n000,text,a, b\n", "row 1: it has not as many fields as the header"),
        ("a.csv", "item_id,view,text\n000,text\n", "row 1: it has not as many fields as the header"),
        ("a.csv", "item_id,view,text\n000,text,a\n000,text,b\n", "row 2: item_id '000' has an answer for"),
        ("a.csv", "item_id,view,text\n", "it has no row; nothing was kept"),
        ("a.csv", "item_id,view,text\nX7,text,a\n", "none of its item ids, such as 'X7', is in"),
        ("a.jsonl", '{"item_id": 1}', "lacks view, text"),
        ("a.jsonl", '{"item_id": 1, "view": "text", "text": "x"}\n{', "line 2: not JSON"),
        ("a.jsonl", "[1]", "lacks"),
        (
            "a.jsonl",
            '{"item_id": "000", "view": "text", "text": {"a": 1}}',
            "row 1: the text {'a': 1} is no text; write",
        ),
        ("a.jsonl", '{"item_id": ["000"], "view": "text", "text": "x"}', "row 1: the item_id ['000'] is no text"),
        ("a.jsonl", '{"item_id": ' + "9" * 5000 + ', "view": "text", "text": "x"}', "line 1: not JSON"),
        ("a.parquet", "PAR1", "cannot be read as Parquet"),
        ("a.xlsx", "", "does not end in"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence_and_leaves_nothing(tmp_path, project, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        run_given(project, path, Told())
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert described_texts(project) == {}


def test_answers_of_an_earlier_file_of_the_same_name_are_told(tmp_path, project):
    told = Told()
    for folder, items in (("first", ("000", "001")), ("second", ("001",))):
        (tmp_path / folder).mkdir()
        rows = [{"item_id": item, "view": "described_text", "text": f"{folder} of {item}"} for item in items]
        path = write(tmp_path / folder / "answers.jsonl", rows)
        run_given(project, path, told)
    assert described_texts(project)["described_text"][:2] == ["first of 000", "second of 001"]
    assert "1 answers of an earlier file of this name are not in this one and still count" in str(told)
    assert str(told).count("earlier file") == 1


def test_the_template_is_never_called_a_model(project):
    told = Told()
    run_template(project, DESCRIPTIONS, told)
    assert list(described_texts(project)) == list(DESCRIPTIONS)
    assert set(described_origins(project).values()) == {"template (stand-in)"}
    said = f"{told}{' '.join(report(project))}"
    assert "stand-in for a model" in said
    assert "LLM" not in said
    run_template(project, DESCRIPTIONS, told)
    assert "0 new sentences" in str(told)


def answer(project, name, count, *, views=DESCRIPTIONS):
    """As if a model by that name had answered the first `count` questions."""
    from medleyrec.features.describe.items import Items

    series = Series(kind="endpoint", name=name, prompts=read_prompts(), settings=AnswerSettings())
    items = Items(open_dataset(project))
    with AnswerLog(descriptions_folder(project)).writing() as writer:
        writer.begin(series)
        for row in range(1, count + 1):
            for question in series.questions(items, row, views):
                writer.add(series, question, Answer(status="ok", text=f"{name} {row}"), items[row].id)


def test_one_origin_speaks_for_all_and_which_is_no_accident(tmp_path, project):
    answer(project, "first", 3)
    answer(project, "second", 2)
    assert described_texts(project)["described_text"] == ["first 1", "first 2", "first 3"], "the complete one"
    answer(project, "second", 3)
    assert described_texts(project)["described_text"][0] == "second 1", "of complete ones the most recent"
    run_template(project, DESCRIPTIONS, Told())
    assert set(described_origins(project).values()) == {"template (stand-in)"}, "it has more complete views"
    assert described_texts(project, use="first") == {"described_text": ["first 1", "first 2", "first 3"]}
    run_choice(project, "second")
    assert described_origins(project) == {"described_text": "second via endpoint"}
    assert described_texts(project, use="template").keys() == set(DESCRIPTIONS)
    with pytest.raises(InputError) as caught:
        run_choice(project, "third")
    assert "no descriptions of 'third'" in str(caught.value)
    assert "'first via endpoint'" in str(caught.value)
    with pytest.raises(InputError, match="no descriptions of ''"):
        run_choice(project, "")
    assert described_origins(project) == {"described_text": "second via endpoint"}
    (descriptions_folder(project) / "choice.json").write_text('{"use": ""}')
    assert set(described_origins(project).values()) == {"template (stand-in)"}, "no name is no choice"


def test_without_a_complete_one_the_most_answers_win(project):
    answer(project, "most", 2)
    answer(project, "few", 1)
    assert described_texts(project)["described_text"] == ["most 1", "most 2", None]
    told = " ".join(report(project))
    assert "described_text: 2 of 3 items described, 66.7%." in told
    assert "no item has a picture" in told


def test_what_a_file_lacks_is_mended_in_the_file(tmp_path, project):
    run_given(project, write(tmp_path / "mine.csv", ROWS), Told())
    told = " ".join(report(project))
    assert "1 were empty; what cannot be used is replaced by mending that file and giving it again." in told
    assert "--retry" not in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--template", "--limit", "2"], "--limit is about asking a model; give --url or --local with it"),
        (["--template", "--budget", "0"], "--budget is about asking a model"),
        (["--answers", "a.csv", "--prompts", "nofile.toml"], "--prompts is about asking a model"),
        (["--template", "--model", "m"], "--model is about asking a model"),
        (["--local", "m", "--model", "n"], "--model is about an endpoint; give --url with it"),
        (["--answers", "a.csv", "--views", "text"], "--views is not for answers that you have"),
    ],
)
def test_options_that_nothing_would_read_are_refused(project, options, sentence):
    with pytest.raises(InputError) as caught:
        app([*("describe", str(project)), *options], standalone_mode=False)
    assert sentence in str(caught.value)
    assert not descriptions_folder(project).exists()


def medley(*args):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    command = [sys.executable, "-m", "medleyrec.cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_the_command_line(tmp_path, project):
    done = medley("describe", project, "--template", "--show", "2")
    assert done.returncode == 0, done.stderr
    assert "described_text (template (stand-in)): chairs by Acme." in done.stdout
    assert "described_text: 3 of 3 items described, 100.0%." in done.stdout
    assert "In use from now on: template (stand-in)." in done.stdout
    assert f"Next: medley encode {project}" in done.stdout
    mine = [{"item_id": i, "view": v, "text": "words"} for i in ("000", "001", "002") for v in DESCRIPTIONS]
    done = medley("describe", project, "--answers", write(tmp_path / "mine.csv", mine))
    assert "Origin: file: mine.csv." in done.stdout
    assert "In use from now on: file: mine.csv (before: template (stand-in); --use goes back)." in done.stdout
    done = medley("describe", project, "--retry", "failed")
    assert done.returncode == 2
    assert "--retry is about asking a model; give --url or --local with it" in done.stderr
    done = medley("describe", project, "--template", "--local", "x")
    assert done.returncode == 2
    assert "one of --url, --local, --answers and --template" in done.stderr
    done = medley("describe", project, "--write-prompts", tmp_path / "my.toml")
    assert done.returncode == 0
    assert (tmp_path / "my.toml").exists()
