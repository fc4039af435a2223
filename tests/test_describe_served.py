"""Describing through a real OpenAI-compatible server: `transformers serve` with a tiny LLaVA.

It needs transformers[serving]; MEDLEY_SERVING_PYTHON names a Python that has it, where this one has not.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from medleyrec.features.describe.asking import Asking
from medleyrec.features.describe.log import AnswerLog
from medleyrec.recipes.describe import descriptions_folder, run_describe
from medleyrec.recipes.experiment import load_experiment
from tests.describing import Told, ask, make_shop
from tests.tiny_mllm import save_llava

PYTHON = os.environ.get("MEDLEY_SERVING_PYTHON", sys.executable)
PATIENCE = 240  # seconds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(url, folder of the model)"""
    needs = subprocess.run([PYTHON, "-c", "import fastapi, uvicorn, openai"], capture_output=True, check=False)
    if needs.returncode:
        pytest.skip("transformers[serving] is not installed (MEDLEY_SERVING_PYTHON may name a Python that has it)")
    home = tmp_path_factory.mktemp("served")
    model = save_llava(home / "llava")
    (home / "hf" / "hub").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [PYTHON, "-c", "from transformers.cli.transformers import main; main()", "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
    try:
        if not up(port, process):
            pytest.fail(f"the server does not start: {(home / 'server.log').read_text()[-500:]}")
        yield f"http://127.0.0.1:{port}/v1", model
    finally:
        process.terminate()
        process.wait(60)


def up(port: int, process: subprocess.Popen[bytes]) -> bool:
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            time.sleep(0.5)
    return False


def answers(project: Path) -> dict[tuple[str, str, str], tuple[str, int]]:
    log = AnswerLog(descriptions_folder(project))
    found = [log.answer(key) for key in log.index]
    return {(log.series[r["series"]].kind, r["item"], r["view"]): (r["text"], r["tokens_in"]) for r in found if r}


def test_a_served_model_says_what_the_same_model_says_in_this_process(tmp_path, served):
    """Word for word, and of as many tokens: texts and pictures arrive as they were sent."""
    url, model = served
    project = make_shop(tmp_path, ["a chair", "a table", "a lamp"], pictures=[0, 1])
    settings = {"max_tokens": 12, "side": 56, "timeout": 120.0}
    told = Told()
    described = ask(project, url, told, model=str(model), **settings)
    assert described is not None
    assert described.outcome.answers == 7, str(told)
    assert described.complete
    run_describe(load_experiment(project, flags={"describe": settings}), Asking(local=str(model), offline=True), told)
    found = answers(project)
    assert len(found) == 14
    assert len({text for text, _ in found.values()}) > 1
    for (kind, item, view), (text, tokens_in) in found.items():
        if kind == "endpoint":
            there = found["local", item, view]
            assert text == there[0], (item, view)
            assert tokens_in == there[1], (item, view)
    again = ask(project, url, told, model=str(model), **settings)
    assert again is not None
    assert again.outcome.answers == 0
