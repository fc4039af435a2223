"""The parts of a description run, each alone, with a clock that is told the time."""

import asyncio
import json
import math
from base64 import b64encode
from datetime import date
from email.utils import formatdate

import pytest

from medleyrec.features.describe.answers import Reply, judged
from medleyrec.features.describe.ask import AgainError, Prompt, StoppedError
from medleyrec.features.describe.budget import Budget, Call, Gate, Limits, SpentError
from medleyrec.features.describe.config import DescribeConfig
from medleyrec.features.describe.estimate import Prices, amount, call_tokens, measured, text_tokens
from medleyrec.features.describe.items import Item
from medleyrec.features.describe.log import Stored
from medleyrec.features.describe.pace import Clock, Pace
from medleyrec.features.describe.prompts import PACKAGED, read_prompts, write_prompts
from medleyrec.features.describe.reply import error_message, read_reply
from medleyrec.features.describe.retry import Retry, retry_after
from medleyrec.features.describe.secret import access
from medleyrec.features.describe.standin import stand_in
from medleyrec.schema import DESCRIPTIONS, InputError

JSON = "application/json; charset=utf-8"


class ToldClock(Clock):
    """Sleeping takes no time and moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def today(self) -> float:
        return 1_600_000_000.0

    async def sleep(self, seconds: float) -> None:
        if self.stop.is_set():
            raise StoppedError
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


def prompt(tokens: int = 10) -> Prompt:
    return Prompt(view="described_text", system="", text="?", picture=None, tokens_in=tokens)


def test_waits_double_up_to_a_limit_with_a_random_half():
    least, most = Retry(draw=lambda: 0.0), Retry(draw=lambda: 1.0)
    assert [most.wait(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [least.wait(n) for n in (1, 2, 3)] == [0.5, 1, 2]
    assert most.wait(10_000) == 60
    assert most.wait(1, 7.0) == 7, "as the endpoint asks"
    assert most.wait(1, 1e9) == 300, "within reason"
    assert most.wait(3, 0.0) == 4, "never sooner than without its word"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        (formatdate(1_600_000_090, usegmt=True), 90),
        (formatdate(1_500_000_000, usegmt=True), 0),
        ("Sun, 13 Sep 2020 12:28:10", 90),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("99 99 99 99 99", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after(header, 1_600_000_000) == seconds


def test_calls_keep_to_the_limits_per_minute():
    clock = ToldClock()
    starts = []

    async def run(pace: Pace, tokens: int, calls: int) -> None:
        for _ in range(calls):
            await pace.turn(tokens)
            starts.append(clock.now() - 1000)

    asyncio.run(run(Pace(clock, requests=30), 100, 4))
    assert starts == [0, 2, 4, 6]
    clock.time, starts[:] = 1000, []
    asyncio.run(run(Pace(clock, requests=600, tokens=6000), 500, 3))
    assert starts == [0, 5, 10], "the tokens are the tighter limit"
    clock.time, starts[:] = 1000, []
    asyncio.run(run(Pace(clock), 10**9, 3))
    assert starts == [0, 0, 0]


def test_one_who_was_told_to_wait_holds_up_all():
    clock = ToldClock()
    pace = Pace(clock)
    pace.hold(30)
    pace.hold(10)
    asyncio.run(pace.turn(1))
    assert clock.now() == 1030


def test_after_a_pause_calls_keep_to_the_limits_too():
    """Not all at once, though the turns of all had come meanwhile."""
    starts = []

    async def run() -> None:
        clock = Clock()
        pace = Pace(clock, requests=60 / 0.02)

        async def one() -> None:
            await pace.turn(1)
            starts.append(clock.now())

        asked = [asyncio.create_task(one()) for _ in range(5)]
        await asyncio.sleep(0)
        pace.hold(0.2)
        await asyncio.gather(*asked)

    asyncio.run(run())
    assert starts[1] - starts[0] > 0.15
    assert starts[4] - starts[1] > 0.04, "three times 0.02 s"


def test_a_clock_that_is_stopped_lets_nobody_sleep():
    async def run() -> None:
        clock = Clock()
        asyncio.get_running_loop().call_later(0.01, clock.stop.set)
        await clock.sleep(1000)

    with pytest.raises(StoppedError):
        asyncio.run(run())


def budget_of(prices: Prices | None = None, **limits: float) -> Budget:
    return Budget(Limits(**limits), prices or Prices(into=1.0, out=2.0), asyncio.Event())


def test_what_is_in_flight_counts_at_its_most_and_then_as_it_was():
    async def run() -> list[str]:
        budget, told = budget_of(money=600e-6), []
        first, second = Call(100, 100), Call(100, 100)  # 300 of the 600 each
        await budget.take(first)
        await budget.take(second)
        third = asyncio.create_task(budget.take(Call(100, 100)))
        await asyncio.sleep(0)
        told.append(f"waits {not third.done()}")
        first.tokens_in, first.tokens_out = 50, 0
        budget.settle(first)
        await asyncio.sleep(0)
        told.append(f"still waits {not third.done()}")
        second.tokens_in, second.tokens_out = 50, 0
        budget.settle(second)
        await third
        told.append(f"{budget.money * 1e6:.0f} spent, {len(budget.in_flight)} in flight, {budget.calls} calls")
        return told

    assert asyncio.run(run()) == ["waits True", "still waits True", "100 spent, 1 in flight, 3 calls"]


@pytest.mark.parametrize(
    ("limits", "fits", "sentence"),
    [
        ({"money": 599e-6}, 1, "a budget of 0.000599"),
        ({"money": 600e-6}, 2, "a budget"),
        ({"calls": 3}, 3, "3 calls"),
        ({"tokens": 599}, 2, "599 tokens"),
        ({"tokens": 0}, 0, "0 tokens"),
    ],
)
def test_a_limit_is_never_passed(limits, fits, sentence):
    async def run() -> int:
        budget, done = budget_of(**limits), 0
        with pytest.raises(SpentError, match=sentence):
            for _ in range(10):
                call = Call(100, 100)
                await budget.take(call)
                budget.settle(call)
                done += 1
        return done

    assert asyncio.run(run()) == fits


def test_a_call_that_proves_larger_than_its_estimate_makes_the_next_estimates_larger():
    async def run() -> Call:
        clock = ToldClock()
        gate = Gate(budget_of(), Pace(clock), 5)
        async with gate.call(prompt(10)) as call:
            assert (call.tokens_in, call.tokens_out) == (10, 5)
            call.tokens_in, call.tokens_out = 30, 2
        assert (gate.budget.tokens_in, gate.budget.tokens_out) == (30, 2)
        async with gate.call(prompt(20)) as call:
            return call

    assert asyncio.run(run()).tokens_in == 60


def test_what_a_call_taught_holds_for_those_that_wait_for_their_turn():
    async def run() -> Call:
        gate = Gate(budget_of(), Pace(ToldClock(), requests=60), 5)
        async with gate.call(prompt(10)) as first:
            second = gate.call(prompt(10))
            waiting = asyncio.create_task(second.__aenter__())
            await asyncio.sleep(0)
            first.tokens_in = 30
        found = await waiting
        await second.__aexit__(None, None, None)
        return found

    assert asyncio.run(run()).tokens_in == 30


@pytest.mark.parametrize(
    ("body", "most"), [({}, 160), ({"max_completion_tokens": 4000}, 4000), ({"max_tokens": 7, "seed": 1}, 7)]
)
def test_the_most_of_an_answer_is_what_is_sent(body, most):
    assert DescribeConfig(body=body).most_out == most


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"model": "other"}, "model is no further field"),
        ({"n": 4}, "n is no further field"),
        ({"max_tokens": "7"}, "max_tokens is a whole number of tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens is a whole number"),
        ({"seed": math.nan}, "it holds what JSON has not"),
        ({"day": date(2020, 1, 1)}, "it holds what JSON has not"),
    ],
)
def test_fields_of_a_request_that_cannot_be_reckoned_with(body, sentence):
    with pytest.raises(ValueError, match=sentence):
        DescribeConfig(body=body)


def test_no_call_is_sent_after_the_end():
    async def run() -> None:
        budget = budget_of()
        budget.stop.set()
        with pytest.raises(StoppedError):
            await budget.take(Call(1, 1))
        assert budget.calls == 0

    asyncio.run(run())


def test_tokens_are_estimated_from_characters_and_pixels():
    assert text_tokens("abcdefgh") == 2
    assert text_tokens("漢字") == 2
    assert call_tokens(["abcd"], None) == 17
    assert call_tokens(["abcd"], 56) == 17 + 4
    few = [Stored("ok", "v", "s", 0, 0, 100, 20)] * 19
    assert measured(few) is None
    mean = measured([*few, Stored("ok", "v", "s", 0, 0, 300, 40), Stored("ok", "v", "s", 0, 0, None, None)])
    assert mean is not None
    assert (mean.tokens_in, mean.tokens_out) == (110, 21)
    assert math.isclose(Prices(into=2.0, out=6.0).of(500_000, 250_000), 2.5)


@pytest.mark.parametrize(
    ("reply", "status", "text"),
    [
        (Reply(text="A red chair."), "ok", "A red chair."),
        (Reply(text="<think>hm</think>\n A chair."), "ok", "A chair."),
        (Reply(text="Hm, the user wants ...\n</think>\n\nA chair."), "ok", "A chair."),
        (Reply(text="<thinking>hm</thinking><think>no</think> A chair."), "ok", "A chair."),
        (Reply(text="<think>hm and hm", finish="length"), "empty", ""),
        (Reply(text="A chair which", finish="length"), "cut", "A chair which"),
        (Reply(text=""), "empty", ""),
        (Reply(text="\u200b \x00"), "empty", ""),
        (Reply(text="I'm sorry, but I can't assist with that."), "refused", None),
        (Reply(text="I\u2019m unable to view the picture."), "refused", None),
        (Reply(text="As an AI language model, I have no eyes."), "refused", None),
        (Reply(text="Unfortunately I cannot describe it."), "refused", None),
        (Reply(text="I cannot identify people in images."), "refused", None),
        (Reply(text="Sorry, no."), "refused", None),
        (Reply(text="fine", refusal="no"), "refused", None),
        (Reply(text="fine", finish="content_filter"), "refused", None),
        (Reply(text="I can see a chair."), "ok", "I can see a chair."),
        (Reply(text="A sorry sight: an old chair."), "ok", None),
        (Reply(text="Image of a chair for those who cannot stand."), "ok", None),
        (Reply(text="I'm sorry to say it is red. " + "It is a chair for the garden. " * 15), "ok", None),
    ],
)
def test_refused_empty_and_overlong_answers_are_told_apart(reply, status, text):
    answer = judged(reply, 160)
    assert answer.status == status
    assert text is None or answer.text == text
    assert answer.usable == (status in ("ok", "cut"))


DECLINED = [
    "I'm sorry, but I can't assist with that.",
    "I\u2019m unable to view the picture.",
    "As an AI language model, I have no eyes.",
    "Unfortunately I cannot describe it.",
    "I cannot identify people in images.",
    "Sorry, no.",
    "There is no image provided. Please upload the picture you would like described.",
    "I don't see an image attached. Could you please share it?",
    "No image was provided.",
    "Unable to view the image.",
    "My apologies, but I can't help with that.",
    "I'm an AI and cannot see pictures.",
    "I'm not comfortable describing this image.",
    "Sorry, I can't help with that.",
    "I can't help with that request.",
    "I cannot see any image in our conversation.",
    "It seems that the image did not load. Please try again.",
    "It looks like you mentioned an image, but no image is attached. Please upload the image.",
    "As a text-based AI model, I cannot view images.",
    "As a large language model I do not have eyes.",
    "I am a language model and have no access to pictures.",
    "I won't describe this.",
    "I couldn't view the picture.",
    "I'm afraid I can't do that.",
    "We are unable to process the request.",
    "I must decline.",
    "I'm not able to help.",
    "Please provide the image so that I can describe it.",
    "Your image was not uploaded.",
    "I apologize, but I can't do this.",
    "I'm sorry. No.",
    "Unfortunately, no image was included.",
]
DESCRIBED = [
    "Sorry! is a classic board game for two to four players that sends pawns back home.",
    "As a large capacity travel backpack, this bag suits weekends away.",
    "As an artificial Christmas tree, it suits small rooms.",
    "I can't believe it's not butter spray is a light spread for cooking.",
    "A red chair for gardens.",
    "Sorry I'm Late, I Didn't Want to Come is a memoir about introverts.",
    "As an AI-powered speaker, it answers questions at home.",
    "As an AI camera for runners, it follows the athlete.",
    "I can't help falling in love with you is a song by Elvis.",
    "I Am Legend is a novel by Richard Matheson.",
    "Unfortunately for the villains, Batman is back in this comic.",
    "No picture frame is as light as this one of aluminium.",
    "Please Please Me is the first album of the Beatles.",
    "There are no image noise problems with this lens.",
    "This kit comes without batteries. Please provide the measurements when ordering.",
    "We Are Unstoppable is a poster for teams.",
    "The image is not very detailed but shows a red chair.",
    "Cannot be washed in a machine; a silk scarf for evenings.",
    "I'm Afraid of Men is a memoir.",
    "A lens for photographers. No photo editing is needed.",
    "Can't Stop Press is a card game about headlines.",
    "As a language learner's companion, this book teaches Spanish.",
    "Could Not Be Sweeter is a candle that smells of sugar.",
    "I, Robot is a collection of stories.",
    "An AI assistant for the kitchen, it reads recipes aloud.",
    "As an assistant chef's knife, it cuts my vegetables",
]


@pytest.mark.parametrize("text", DECLINED)
def test_what_declines_is_no_description(text):
    assert judged(Reply(text=text)).status == "refused"


@pytest.mark.parametrize("text", DESCRIBED)
def test_what_begins_like_a_refusal_may_describe(text):
    assert judged(Reply(text=text)).status == "ok"


def test_an_answer_longer_than_its_tokens_is_cut():
    assert judged(Reply(text="x" * 41), 4).status == "cut"
    assert judged(Reply(text="x" * 41), 4).text == "x" * 40
    assert judged(Reply(text="x" * 40), 4).status == "ok"


def chat(message: object, **more: object) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], **more}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"nothing",
        b"\xff\xfe",
        b'{"choices": 3}',
        b'{"choices": [4]}',
        b'{"choices": [{"message": 5}]}',
        b'{"error": "x", "choices": [{"message": {"content": "A"}}]}',
        b'{"choices": [{"message": {"content": "A"}}]',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_is_asked_again(content):
    with pytest.raises(AgainError):
        read_reply(content, JSON)


def test_an_answer_is_read_whatever_its_shape():
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    assert read_reply(chat({"content": "A"}, usage=usage), JSON) == Reply(
        text="A", finish="stop", tokens_in=7, tokens_out=3
    )
    assert read_reply(chat({"content": [{"type": "text", "text": "A"}, 3]}), JSON).text == "A"
    assert read_reply(chat({"content": None, "refusal": "no"}), JSON).refusal == "no"
    assert read_reply(chat({"content": "A"}, usage={"prompt_tokens": "7"}), JSON).tokens_in is None
    with pytest.raises(AgainError, match="text/html"):
        read_reply(chat({"content": "A"}), "text/html")


def test_what_an_endpoint_says_of_an_error_is_one_short_line():
    assert error_message(b'{"error": {"message": "a\\n\\u001b[31mb"}}') == "a [31mb"
    assert error_message(b'{"detail": "no"}') == "no"
    assert error_message(b'{"error": "plain"}') == "plain"
    assert len(error_message(json.dumps({"error": "x" * 10_000}).encode())) == 200
    assert error_message(b"<html>") == ""


def test_small_amounts_are_not_told_as_nothing():
    assert [amount(m) for m in (0.0, 0.0045, 0.0132, 0.5, 1.0, 1234.5)] == [
        "0.00",
        "0.0045",
        "0.013",
        "0.50",
        "1.00",
        "1,234.50",
    ]


def test_no_part_of_a_key_is_left_where_a_message_is_cut():
    found = access("http://h/v1", None, {"OPENAI_API_KEY": "sk-abcdefghijkl"})
    echo = json.dumps({"error": {"message": "x" * 190 + "sk-abcdefghijkl"}}).encode()
    assert "sk-" not in error_message(echo, found.scrub)
    with pytest.raises(AgainError) as inside:
        read_reply(echo, JSON, found.scrub)
    with pytest.raises(AgainError) as kind:
        read_reply(b"", "x" * 30 + "sk-abcdefghijkl", found.scrub)
    assert "sk-" not in f"{inside.value}{kind.value}"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://x/v1",
        "http://",
        "http://x:99999/",
        "http://x y/",
        "file:///etc/passwd",
        "",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_one_sentence(url):
    with pytest.raises(InputError, match="--url is not an address"):
        access(url, None, {})


def test_an_address_is_called_without_its_password_and_shown_without_its_query():
    found = access("https://me:p%40ss@host:1/api/v1/?api-version=2&key=abcdef#x", None, {"OPENAI_API_KEY": "sk-1"})
    assert found.address == "https://host:1/api/v1/chat/completions?api-version=2&key=abcdef"
    assert found.shown == "https://host:1/api/v1/"
    assert found.header.startswith("Basic "), "what the address says wins"
    assert "sk-1" not in repr(found)
    assert found.scrub("p@ss p%40ss abcdef sk-1 2") == "[hidden] [hidden] [hidden] [hidden] 2"
    assert found.scrub(b64encode(b"abcdef").decode()) == "[hidden]"
    assert access("http://h/v1/chat/completions", None, {}).address == "http://h/v1/chat/completions"
    assert access("http://h/v1", None, {"OPENAI_API_KEY": " k3y\n"}).header == "Bearer k3y"
    assert access("http://h/v1", None, {"OPENAI_API_KEY": "k3yk3y"}).open
    assert not access("http://127.0.0.1/v1", None, {"OPENAI_API_KEY": "k3yk3y"}).open
    assert not access("https://h/v1", None, {"OPENAI_API_KEY": "k3yk3y"}).open
    assert not access("http://h/v1", None, {}).open


def test_the_packaged_prompts_ask_what_they_should():
    prompts = read_prompts()
    item = Item(id="1", title="a {title} " + "x" * 200, categories=("shop", "chairs"), brand="Acme", price="9.5")
    image, text, both = (prompts.rendered(view, item) for view in DESCRIPTIONS)
    assert "Acme" not in image
    told = "The item has these attributes: title is "
    told += f"{item.title[:100]}; categories are shop, chairs; brand is Acme; price is 9.5."
    assert text.startswith(told)
    assert both.startswith(told)
    assert "picture" in both
    assert "picture" not in text


def test_prompts_are_a_file_to_be_edited(tmp_path):
    path = tmp_path / "my.toml"
    write_prompts(path)
    assert path.read_bytes() == PACKAGED.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        write_prompts(path)
    views = [f'{view} = "{{title}}|{{brand}}|{{{{x}}}}"' for view in DESCRIPTIONS]
    path.write_text("longest_value = 3\n" + "\n".join(views))
    assert read_prompts(path).rendered("described_text", Item(id="1", title="a chair")) == "a c||{x}"
    for broken, sentence in [
        ("{colour}", "'{colour}' in described_text is no place"),
        ("{title", "'{' in described_text is no place"),
        ("{title.x}", "is no place"),
    ]:
        path.write_text("\n".join(f'{view} = "{broken if view == "described_text" else "x"}"' for view in DESCRIPTIONS))
        with pytest.raises(InputError) as caught:
            read_prompts(path)
        assert sentence in str(caught.value)
        assert str(path) in str(caught.value)
    path.write_text('described_text = "x"')
    with pytest.raises(InputError, match="is missing"):
        read_prompts(path)


def test_the_stand_in_knows_neither_title_nor_picture():
    item = Item(id="1", title="SECRET", description="SECRET", categories=("shop", "chairs"), brand="Acme", price="9")
    said = [stand_in(view, item) for view in DESCRIPTIONS]
    assert len(set(said)) == 3
    assert all("chairs" in text and "SECRET" not in text for text in said)
    assert stand_in("described_text", Item(id="1", title="SECRET")) == ""
    assert "Acme" in stand_in("described_text", Item(id="1", brand="Acme"))
