"""Describing against an endpoint that misbehaves in every way it knows."""

import base64
import json
import os
import subprocess
import sys
import traceback
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medleyrec.features.describe.log import AnswerLog
from medleyrec.features.describe.pace import Pace
from medleyrec.features.describe.prompts import read_prompts
from medleyrec.features.describe.secret import access
from medleyrec.recipes.describe import descriptions_folder, report, shown
from medleyrec.recipes.prepare import open_dataset
from medleyrec.schema import DESCRIBED_TEXT, DESCRIPTIONS, InputError
from tests.describing import Told, ask, described_origins, described_texts, hostile, make_shop

ONCE = ("status500", "limit429", "cutjson", "short", "html", "close", "nochoice", "errorbody")
ANSWERED = {
    "refuse": ("refused", "I'm sorry"),
    "refusal": ("refused", "against the rules"),
    "filter": ("refused", "content filter"),
    "empty": ("empty", "no text"),
    "null": ("empty", "no text"),
    "long": ("cut", "token limit"),
    "verbose": ("cut", "longer than the limit allows"),
    "huge": ("failed", "more than 4 MiB"),
    "reject400": ("failed", "status 400 (bad picture"),
    "odd": ("ok", ""),
}
KEY, PASSWORD, USER = "sk-very-secret-1234567890", "pa55 wo/rd", "sk-in-place-of-a-user-42"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with hostile(tmp_path_factory.mktemp("endpoint") / "calls.jsonl") as found:
        yield found


@pytest.fixture
def count(server):
    """How many calls came since the test began."""
    before = len(server.calls())
    return lambda: len(server.calls()) - before


def records(project: Path) -> dict[tuple[str, str], dict[str, object]]:
    log = AnswerLog(descriptions_folder(project))
    found = [log.answer(key) for key in log.index]
    return {(r["item"], r["view"]): r for r in found if r is not None}


def test_what_goes_wrong_once_is_asked_again_and_then_never(tmp_path, server, count):
    project = make_shop(tmp_path, [f"manner: {m} once" for m in ONCE])
    described = ask(project, server.url)
    assert described is not None
    assert described.outcome.statuses == {"ok": len(ONCE)}
    assert not described.outcome.given_up
    assert count() == 2 * len(ONCE)
    assert described.complete
    ask(project, server.url)
    assert count() == 2 * len(ONCE), "all is answered"
    texts = described_texts(project)
    assert list(texts) == [DESCRIBED_TEXT], "there are no pictures"
    assert all(t is not None and t.startswith("Description number") for t in texts[DESCRIBED_TEXT])
    assert described_origins(project) == {DESCRIBED_TEXT: "tiny-vlm via endpoint"}


def test_what_failed_says_why_where_it_is_shown(tmp_path, server):
    project = make_shop(tmp_path, ["a chair", "manner: reject400", "manner: refuse"])
    described = ask(project, server.url)
    assert described is not None
    assert "2 answers came, 1 of them descriptions. 1 questions failed for good." in described.outcome.told()
    texts = [item.texts["described_text"] for item in shown(project, 3)[1]]
    assert texts[0].startswith("Description number")
    assert texts[1].startswith("[failed: status 400 (bad picture")
    assert texts[2].startswith("[refused: I'm sorry")


def test_what_never_works_is_left_for_the_next_run_and_counted(tmp_path, server, count):
    project = make_shop(tmp_path, ["manner: status500", "manner: hang", "manner: drip", "a chair"])
    described = ask(project, server.url, tries=2, timeout=0.4)
    assert described is not None
    assert described.outcome.statuses == {"ok": 1}
    assert described.outcome.given_up == {"status 500 (no)": 1, "no answer within 0.4 s": 2}
    assert not described.complete
    assert count() == 7, "two tries for each of three, one for the chair"
    assert len(AnswerLog(descriptions_folder(project))) == 1, "what got no answer is not stored as answered"
    ask(project, server.url, tries=1, timeout=0.4)
    assert count() == 10


def test_answers_of_each_kind_are_kept_apart_and_not_asked_again(tmp_path, server, count):
    project = make_shop(tmp_path, ["a chair", *(f"manner: {m}" for m in ANSWERED)])
    ask(project, server.url)
    kept = records(project)
    for item, (status, reason) in enumerate(ANSWERED.values(), 1):
        record = kept[f"{item:03d}", DESCRIBED_TEXT]
        assert record["status"] == status, record
        assert reason in str(record["reason"])
    odd = kept[f"{len(ANSWERED):03d}", DESCRIBED_TEXT]
    assert str(odd["text"]).startswith("A ? [31mred thing")
    assert odd["tokens_in"] is None
    assert odd["tokens_out"] is None
    texts = described_texts(project)[DESCRIBED_TEXT]
    usable = [status in ("ok", "cut") for status, _ in ANSWERED.values()]
    assert [text is not None for text in texts] == [True, *usable]
    assert len(texts[list(ANSWERED).index("verbose") + 1]) == 10 * 160
    told = " ".join(report(project))
    assert "described_text: 4 of 11 items described, 36.4%." in told
    assert "2 were cut at the token limit" in told
    assert "3 were refused, 2 were empty, 2 failed for good" in told
    before = count()
    ask(project, server.url)
    assert count() == before
    ask(project, server.url, retry=("refused", "empty"))
    assert count() == before + 5


@pytest.mark.parametrize(
    ("manner", "sentence"),
    [
        ("status401", "refuses us (status 401"),
        ("status404", "knows neither this address nor the model 'tiny-vlm'"),
        ("status402", "answers with status 402"),
        ("redirect", "answers with status 302"),
        ("quota", "the quota is used up"),
    ],
)
def test_what_concerns_every_question_ends_the_run_at_once(tmp_path, server, count, manner, sentence):
    project = make_shop(tmp_path, [f"manner: {manner}"] * 3 + ["a chair"])
    with pytest.raises(InputError) as caught:
        ask(project, server.url, concurrency=1, order="catalogue")
    assert sentence in str(caught.value)
    assert "0 answers of this run are kept" in str(caught.value)
    assert count() == 1


def test_an_endpoint_that_is_not_there_ends_the_run(tmp_path):
    project = make_shop(tmp_path, [f"chair {i}" for i in range(30)])
    told = Told()
    described = ask(project, "http://127.0.0.1:9/v1", told, tries=1)
    assert described is not None
    assert "12 questions in a row got no answer, the last for no connection" in described.outcome.ended
    assert described.outcome.given_up.total() < 20
    assert "asked again next time" in str(told)


def test_an_endpoint_that_fails_now_and_then_is_not_given_up(tmp_path, server, count):
    project = make_shop(tmp_path, [f"{i} manner: {'status500' if i % 2 else 'good'}" for i in range(30)])
    described = ask(project, server.url, tries=1, concurrency=1, order="catalogue")
    assert described is not None
    assert not described.outcome.ended
    assert (described.outcome.answers, described.outcome.given_up.total()) == (15, 15)


def test_an_endpoint_that_rejects_everything_ends_the_run(tmp_path, server, count):
    project = make_shop(tmp_path, [f"{i} manner: reject400" for i in range(30)])
    described = ask(project, server.url, concurrency=1)
    assert described is not None
    assert "8 questions in a row were rejected" in described.outcome.ended
    assert count() == 8


def test_an_endpoint_that_begins_to_reject_ends_the_run_too(tmp_path, server, count):
    titles = [f"{i} manner: reject400" if i % 10 else f"chair {i}" for i in range(20)]
    titles[3:6] = ["a table", "a lamp", "a bed"]
    project = make_shop(tmp_path, titles)
    first = ask(project, server.url, concurrency=1, order="catalogue")
    assert first is not None
    assert "8 questions in a row were rejected, the last for status 400" in first.outcome.ended
    assert first.outcome.statuses == {"ok": 5, "failed": 14}, "the eight in a row begin behind item 10"
    again = ask(project, server.url, concurrency=1, order="catalogue")
    assert again is not None
    assert again.outcome.statuses == {"failed": 1}
    assert count() == 20


def test_calls_in_flight_are_kept_when_a_run_ends(tmp_path, server, count):
    """They are paid for: nothing of them is asked again."""
    project = make_shop(tmp_path, [*(f"{i} manner: later" for i in range(7)), "manner: quota"])
    for answers in (7, 0):
        with pytest.raises(InputError, match=f"the quota is used up.*{answers} answers of this run are kept"):
            ask(project, server.url, concurrency=8, order="catalogue")
    assert len(records(project)) == 7
    assert count() == 8 + 1


def test_as_many_calls_are_in_flight_as_were_asked_for(tmp_path, server):
    project = make_shop(tmp_path, [f"{i} manner: together" for i in range(4)])
    described = ask(project, server.url, concurrency=4)
    assert described is not None
    assert described.outcome.statuses == {"ok": 4}


def test_the_limits_per_minute_are_those_of_the_settings(tmp_path, server, monkeypatch):
    from medleyrec.features.describe import asking

    told = []
    monkeypatch.setattr(asking, "Pace", lambda clock, *limits: told.append(limits) or Pace(clock))
    ask(make_shop(tmp_path, ["a chair"]), server.url, requests_per_minute=30, tokens_per_minute=9000)
    assert told == [(30, 9000)]


@pytest.mark.parametrize(("answers", "forced"), [(3, 1), (40, 3)])
def test_answers_are_forced_to_disk(tmp_path, server, monkeypatch, answers, forced):
    """Sixteen together, and the last ones at the end."""
    project, calls, sync = make_shop(tmp_path, [f"chair {i}" for i in range(answers)]), [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: calls.append(handle) or sync(handle))
    ask(project, server.url)
    assert len(calls) >= forced


def test_changed_content_is_asked_anew_and_what_comes_back_is_known(tmp_path, server, count):
    titles = ["a chair", "a table", "a lamp"]
    project = make_shop(tmp_path, titles, pictures=[0, 1])
    ask(project, server.url)
    assert count() == 3 + 2 + 2
    make_shop(tmp_path, ["a chair", "a desk", "a lamp"], pictures=[0, 1])
    ask(project, server.url)
    assert count() == 7 + 2, "the new title: its text, and text with picture"
    make_shop(tmp_path, ["a chair", "a desk"], pictures=[0])
    make_shop(tmp_path, ["a chair", "a desk", "a lamp"], pictures=[0, 1])
    (tmp_path / "pics" / "000.png").write_bytes((tmp_path / "pics" / "001.png").read_bytes())
    ask(project, server.url)
    assert count() == 9 + 1, "the other picture alone is known, of another item; with this text it is not"


def test_other_settings_or_prompts_are_other_questions(tmp_path, server, count):
    project = make_shop(tmp_path, ["a chair"], pictures=[0])
    ask(project, server.url)
    assert count() == 3
    ask(project, server.url, side=64)
    assert count() == 3 + 2, "the text alone does not depend on the size of the picture"
    ask(project, server.url, model="another")
    assert count() == 5 + 3
    ask(project, server.url, temperature=0.5)
    assert count() == 8 + 3
    prompts = tmp_path / "my.toml"
    packaged = Path(__file__).parents[1] / "src/medleyrec/features/describe/prompts.toml"
    prompts.write_text(packaged.read_text().replace("This is the picture", "Here is the picture"))
    ask(project, server.url, prompts=prompts)
    assert count() == 11 + 1


def bodies(project: Path, **more: object) -> list[dict[str, object]]:
    """The requests of a run, answered by nobody's model."""
    import httpx

    sent, original = [], httpx.AsyncClient.__init__

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, json={"choices": [{"message": {"content": "A chair."}, "finish_reason": "stop"}]})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            httpx.AsyncClient,
            "__init__",
            lambda self, **options: original(self, **{**options, "transport": httpx.MockTransport(answer)}),
        )
        ask(project, "http://127.0.0.1:9/v1", concurrency=1, **more)
    return sent


def test_pictures_arrive_small_and_as_what_they_are(tmp_path):
    from medleyrec.features.describe.picture import data_url, small_jpeg

    project = make_shop(tmp_path, ["a chair"], pictures=[0])
    picture = open_dataset(project).picture(1)
    assert picture is not None
    jpeg = small_jpeg(picture, 56)
    assert jpeg.startswith(b"\xff\xd8\xff")
    head, _, coded = data_url(jpeg).partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(coded) == jpeg
    noise = np.random.default_rng(0).integers(0, 256, (7, 7, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    file = BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    sent = np.asarray(Image.open(BytesIO(small_jpeg(file.getvalue(), 56))), np.int64)
    assert np.abs(sent - noise).mean() < 15, "and a model can make them out"
    contents = [body["messages"][-1]["content"] for body in bodies(project, side=56)]
    assert [type(c) for c in contents] == [list, str, list], "picture, text, both"
    assert contents[0][0]["image_url"]["url"] == data_url(jpeg)
    assert "title is a chair" not in contents[0][1]["text"]
    assert "title is a chair" in contents[1]
    assert "title is a chair" in contents[2][1]["text"]


@pytest.mark.parametrize(
    ("body", "length"),
    [({"seed": 7}, {"max_tokens": 160}), ({"max_completion_tokens": 90}, {"max_completion_tokens": 90})],
)
def test_a_request_holds_what_was_set_and_one_limit_of_its_length(tmp_path, body, length):
    project, system = make_shop(tmp_path, ["a chair"]), read_prompts(None).told_system
    (sent,) = bodies(project, temperature=0.5, body=body)
    messages = sent.pop("messages")
    assert sent == {"model": "tiny-vlm", "temperature": 0.5, **length, **body}
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[0]["content"] == system


def test_a_broken_picture_fails_without_a_call(tmp_path, server, count):
    project = make_shop(tmp_path, [f"chair {i}" for i in range(10)], pictures=range(10))
    for path in (tmp_path / "pics").iterdir():
        path.write_bytes(b"\x89PNG broken " + path.name.encode())
    described = ask(project, server.url, concurrency=1)
    assert described is not None
    assert described.outcome.statuses == {"ok": 10, "failed": 20}
    assert not described.outcome.ended, "a picture says nothing of the endpoint"
    assert count() == 10


def test_limits_stop_in_time(tmp_path, server, count):
    from medleyrec.features.describe.budget import Limits
    from medleyrec.features.describe.estimate import Prices

    project = make_shop(tmp_path, [f"chair {i}" for i in range(12)])
    described = ask(project, server.url, limits=Limits(calls=5))
    assert described is not None
    assert count() == 5
    assert "5 calls would not suffice" in described.outcome.ended
    told = Told()
    ask(project, server.url, told, limits=Limits(money=0.0011), prices=Prices(into=1.0, out=1.0))
    # a call takes 110 tokens in truth, some 300 at most before: 0.0011 is 10 calls at most, 7 are left
    spent = 110 * (count() - 5) / 1e6
    assert spent <= 0.0011
    assert count() == 12, "the true sizes count, not the most"
    assert f"about {spent:.5f} at the prices given" in str(told)
    ask(project, server.url, model="b", limits=Limits(tokens=700))
    assert 12 + 3 <= count() <= 12 + 6
    for prices in (Prices(), Prices(into=1.0), Prices(out=1.0)):  # what is left out is not free
        with pytest.raises(InputError, match="--budget needs --price-in"):
            ask(project, server.url, limits=Limits(money=1.0), prices=prices)


def test_a_dry_run_sends_nothing_and_says_what_it_would(tmp_path, server, count):
    from medleyrec.features.describe.estimate import Prices

    project = make_shop(tmp_path, ["a chair", "a chair", "a table"], pictures=[0, 2])
    told = Told()
    prices = Prices(into=1e6, out=0.0)
    assert ask(project, server.url, told, dry_run=True, prices=prices, key_env="NOT_SET_YET") is None
    assert count() == 0
    assert not descriptions_folder(project).exists()
    assert "6 calls to be made (described_image 2, described_text 2, described_both 2)" in str(told)
    assert f"at most {6 * 160:,} out (estimated). This costs about" in str(told)


def test_the_order_pays_first(tmp_path, server):
    project = make_shop(tmp_path, [f"chair {i}" for i in range(4)], events=[1, 5, 2, 9])

    def first(order: str) -> list[str]:
        ask(project, server.url, model=order, order=order, concurrency=1, limit=2)
        log = AnswerLog(descriptions_folder(project))
        found = [log.answer(key) for key, stored in log.index.items() if log.series[stored.series].name == order]
        return [str(r["item"]) for r in found if r is not None]

    assert first("frequent") == ["003", "001"]
    assert first("uncertain") == ["000", "002"]
    assert first("catalogue") == ["000", "001"]
    assert first("catalogue") == ["000", "001", "002", "003"], "the next two"


def test_keys_and_passwords_reach_nothing_that_is_written(tmp_path, server, monkeypatch):
    """Not when all goes well, not when an endpoint throws them back at us in every kind of answer."""
    told, errors = Told(), []
    shops = [make_shop(tmp_path / "kept", [f"manner: {m}" for m in ("echo", "echo500", "reject400", "good", "refuse")])]
    shops += [make_shop(tmp_path / m, [f"manner: {m}"]) for m in ("status401", "status404", "status402")]
    monkeypatch.setenv("SHOP_KEY", KEY)
    secret_url = server.url.replace("//", "//maria:pa55%20wo%2Frd@") + "?api_key=quer7secret"
    user_url = server.url.replace("//", f"//{USER}:@")
    for model, url in (("by-key", server.url), ("by-password", secret_url), ("by-user", user_url)):
        for shop in shops:
            try:
                told.say(repr(ask(shop, url, told, key_env="SHOP_KEY", tries=2, model=model)))
                told.say(" ".join(report(shop)))
            except InputError as error:
                errors.append("".join(traceback.format_exception(error)))
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    everything += (str(told) + "".join(errors)).encode()
    assert len(errors) == 9
    assert everything.count(b"[hidden]") >= 3 * 6, "the endpoint did throw them back"
    coded = base64.b64encode(f"maria:{PASSWORD}".encode()).decode()
    for secret in (KEY, PASSWORD, "pa55%20wo%2Frd", coded, "quer7secret", USER):
        assert secret.encode() not in everything


@pytest.mark.parametrize(
    "body", [{"api_key": KEY}, {"extra": [{"X-Auth-Token": KEY}]}, {"Authorization": f"Bearer {KEY}"}, {"token": KEY}]
)
def test_a_key_in_the_settings_is_refused_and_not_repeated(tmp_path, server, count, body):
    project = make_shop(tmp_path, ["a chair"])
    with pytest.raises(InputError, match=r"describe\.body holds .*looks like a key.*--key-env") as caught:
        ask(project, server.url, body=body)
    assert KEY not in str(caught.value)
    assert count() == 0
    assert not (project / "descriptions").exists()
    fine = {
        "stop_token_ids": [1],
        "guided_decoding_backend": "x",
        "logit_bias": {},
        "top_k": 1,
        "prompt_cache_key": "a",
    }
    ask(project, server.url, body=fine)
    assert count() == 1


@pytest.mark.parametrize(("name", "key"), [(KEY, ""), ("NOT_THERE", ""), (None, KEY + " \n x")])
def test_a_wrong_key_is_one_sentence_without_it(name, key):
    with pytest.raises(InputError) as caught:
        access("http://localhost/v1", name, {"OPENAI_API_KEY": key})
    assert KEY not in str(caught.value)
    assert "NOT_THERE" not in str(caught.value), "it might be the key itself"


def test_the_command_line_keeps_secrets_too(tmp_path):
    project = make_shop(tmp_path, ["a chair"])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENAI_API_KEY": KEY}
    options = ["--url", "http://me:pa55wo@127.0.0.1:9/v1?key=verysecret", "--model", "m", "--set", "describe.tries=1"]
    command = [sys.executable, "-m", "medleyrec.cli", "describe", str(project), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 2, "nobody is there"
    assert "no description came; see that the endpoint is up" in done.stderr
    assert "1 questions got no answer (1 for no connection)" in done.stdout
    assert "The same command goes on from there." in done.stdout
    for secret in (KEY, "pa55wo", "verysecret"):
        assert secret not in done.stdout + done.stderr


def test_a_longer_answer_that_was_asked_for_is_neither_cut_nor_beyond_the_limit(tmp_path, server, count):
    from medleyrec.features.describe.budget import Limits

    project = make_shop(tmp_path, ["manner: verbose"])
    ask(project, server.url, body={"max_completion_tokens": 10**6}, limits=Limits(tokens=10_000))
    assert count() == 0, "it might take a million"
    ask(project, server.url, body={"max_completion_tokens": 10**6})
    assert records(project)["000", DESCRIBED_TEXT]["status"] == "ok"


def test_what_the_network_library_logs_holds_no_key(tmp_path, server, caplog):
    project = make_shop(tmp_path, ["a chair"])
    with caplog.at_level("DEBUG"):
        ask(project, server.url + "?api_key=quer7secret")
    assert "quer7secret" not in caplog.text


def test_an_address_that_the_network_library_refuses_is_one_sentence(tmp_path):
    url = f"http://me:{PASSWORD.split()[0]}@xn--/v1"
    with pytest.raises(InputError, match="--url is not an address") as caught:
        ask(make_shop(tmp_path, ["a chair"]), url)
    assert PASSWORD.split()[0] not in "".join(traceback.format_exception(caught.value))


def test_a_dry_run_of_what_costs_nothing_writes_nothing(tmp_path):
    project = make_shop(tmp_path, ["a chair"])
    command = [sys.executable, "-m", "medleyrec.cli", "describe", str(project), "--template", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--dry-run is about asking a model; give --url or --local with it" in done.stderr
    assert not descriptions_folder(project).exists()


def test_views_can_be_chosen(tmp_path, server, count):
    project = make_shop(tmp_path, ["a chair", "a table"], pictures=[0, 1])
    ask(project, server.url, views=["described_image"])
    assert count() == 2
    assert list(described_texts(project)) == ["described_image"]
    ask(project, server.url)
    assert count() == 6
    assert list(described_texts(project)) == list(DESCRIPTIONS)
