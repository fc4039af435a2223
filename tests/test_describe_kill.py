"""A describing process may die at any moment: what was answered is kept and not asked for again."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medleyrec.features.describe.log import NAME, AnswerLog, encoded
from medleyrec.recipes.describe import descriptions_folder, report
from medleyrec.schema import InputError
from tests.describing import Hostile, ask, hostile, make_shop

CONCURRENCY = 4
OPTIONS = {"tries": 20, "first_wait": 0.02, "longest_wait": 0.02, "timeout": 20, "concurrency": CONCURRENCY}


def start(project: Path, url: str) -> subprocess.Popen[str]:
    options = [part for name, value in OPTIONS.items() for part in ("--set", f"describe.{name}={value}")]
    command = [sys.executable, "-m", "medleyrec.cli", "describe", str(project), "--url", url, "--model", "m", *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def wait_for_calls(server: Hostile, number: int) -> None:
    began = time.monotonic()
    while len(server.calls()) < number:
        assert time.monotonic() - began < 120, "the process asks nothing"
        time.sleep(0.005)


def stored(project: Path) -> dict[int, str]:
    """Answer number -> its text."""
    log = AnswerLog(descriptions_folder(project))
    texts = [text for text in log.texts(list(log.index)) if text is not None]
    return {int(re.findall(r"\d+", text)[0]): text for text in texts}


def killed_at_random(tmp_path: Path, *, kills: int, items: int, seed: int) -> None:
    draws = random.Random(seed)
    project = make_shop(tmp_path, [f"chair {i}" for i in range(items)])
    with hostile(tmp_path / "calls.jsonl", seed) as server:
        before: dict[int, str] = {}
        for _ in range(kills):
            asked_before = len(server.calls())
            process = start(project, server.url)
            wait_for_calls(server, asked_before + draws.randint(1, items // (2 * kills)))
            time.sleep(draws.random() * 0.03)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            check(server, before, stored(project), asked_before)
            before = stored(project)
        asked_before = len(server.calls())
        process = start(project, server.url)
        told = process.communicate()[0]
        assert process.returncode == 0, told
        after = stored(project)
        check(server, before, after, asked_before)
        assert len(after) == items
        answered = [call for call in server.calls() if call["manner"] == "good"]
        assert len({call["asked"] for call in answered}) == items
        assert len(answered) <= items + kills * CONCURRENCY


def check(server: Hostile, before: dict[int, str], after: dict[int, str], asked_before: int) -> None:
    """Nothing stored is lost, or asked again; at most the calls in flight came back without being stored."""
    assert before.items() <= after.items()
    calls = server.calls()
    asked = {call["number"]: call["asked"] for call in calls}
    known = {asked[number] for number in before}
    assert not known & {call["asked"] for call in calls[asked_before:]}
    answered = {call["number"] for call in calls[asked_before:] if call["manner"] == "good"}
    assert len(answered - after.keys()) <= CONCURRENCY


def test_nothing_is_lost_or_asked_again_after_three_kills(tmp_path):
    killed_at_random(tmp_path, kills=3, items=90, seed=1)


@pytest.mark.slow
def test_nothing_is_lost_or_asked_again_after_twenty_kills(tmp_path):
    killed_at_random(tmp_path, kills=20, items=800, seed=2)


def test_a_torn_tail_is_not_seen_and_cut_off(tmp_path):
    project = make_shop(tmp_path, ["a chair", "a table", "a lamp"])
    with hostile(tmp_path / "calls.jsonl") as server:
        ask(project, server.url, limit=2)
        path = descriptions_folder(project) / NAME
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        for tail in (lines[-1][:1], lines[-1][:-1], lines[-1][:30] + b"\n", b"ffffffff {}\n", b"\0" * 5000):
            path.write_bytes(whole + tail)
            assert len(AnswerLog(path.parent)) == 2
            assert AnswerLog(path.parent).damaged == 0
        ask(project, server.url)
        assert len(server.calls()) == 3
        assert path.read_bytes().startswith(whole)
        assert path.read_bytes().count(b"\n") == len(lines) + 1
        assert b"\0" not in path.read_bytes(), "the tail is gone"


def test_whole_lines_of_a_later_version_are_not_cut_off(tmp_path):
    project = make_shop(tmp_path, ["a chair", "a table"])
    with hostile(tmp_path / "calls.jsonl") as server:
        ask(project, server.url, limit=1)
        path = descriptions_folder(project) / NAME
        later = encoded({"key": "k", "status": "kept", "text": "paid"}) + encoded({"note": "x"})
        path.write_bytes(path.read_bytes() + later)
        ask(project, server.url)
        assert later in path.read_bytes()
        assert (len(AnswerLog(path.parent)), AnswerLog(path.parent).damaged) == (2, 0)


def test_damage_in_the_middle_costs_that_answer_alone_and_is_said(tmp_path):
    project = make_shop(tmp_path, ["a chair", "a table", "a lamp"])
    with hostile(tmp_path / "calls.jsonl") as server:
        ask(project, server.url, concurrency=1, order="catalogue")
        path = descriptions_folder(project) / NAME
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"Description", b"description"), *lines[3:]]))
        assert "1 damaged lines" in " ".join(report(project))
        ask(project, server.url)
        assert len(server.calls()) == 4


def test_one_process_writes_at_a_time(tmp_path):
    folder = tmp_path / "descriptions"
    refused = pytest.raises(InputError, match="being written by another process")
    with AnswerLog(folder).writing(), refused, AnswerLog(folder).writing():
        pass


def test_ctrl_c_keeps_what_is_in_flight_and_the_same_command_goes_on(tmp_path):
    project = make_shop(tmp_path, [f"chair {i}" for i in range(60)])
    with hostile(tmp_path / "calls.jsonl", seed=3) as server:
        process = start(project, server.url)
        wait_for_calls(server, 10)
        process.send_signal(signal.SIGINT)
        told = process.communicate()[0]
        assert process.returncode == 130, told
        assert "Waiting for the calls in flight" in told
        assert "Ended before all was asked: interrupted" in told
        assert "The same command goes on" in told
        answered = {call["number"] for call in server.calls() if call["manner"] == "good"}
        assert answered == stored(project).keys(), "no answer was dropped"
        process = start(project, server.url)
        told = process.communicate()[0]
        assert process.returncode == 0, told
        asked = [call["asked"] for call in server.calls() if call["manner"] == "good"]
        assert len(asked) == len(set(asked)) == 60
