"""Asks what a plan holds, many questions at a time, and writes down each answer as soon as it comes."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from medleyrec.features.decode import UnreadableError
from medleyrec.features.describe.answers import FAILED, USABLE, Answer, judged
from medleyrec.features.describe.ask import Asker, GivenUpError, Prompt, RejectedError, StoppedError
from medleyrec.features.describe.budget import SpentError
from medleyrec.features.describe.items import Items
from medleyrec.features.describe.log import Writer
from medleyrec.features.describe.pace import Clock
from medleyrec.features.describe.picture import small_jpeg
from medleyrec.features.describe.plan import Plan, estimated
from medleyrec.features.describe.series import Question
from medleyrec.interrupts import on_ctrl_c
from medleyrec.schema import InputError

SILENT, REJECTED = 12, 8
"""Questions in a row without an answer, or rejected, after which a run ends."""
REPORT = 60.0
"""Seconds between sentences about the rate."""


@dataclass(slots=True)
class Outcome:
    """statuses: of the answers of this run; given_up: reasons of questions left for the next run."""

    statuses: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False
    ended: str = ""
    """Why it ended before its plan did."""

    @property
    def answers(self) -> int:
        return self.statuses.total()

    @property
    def usable(self) -> int:
        return sum(self.statuses[s] for s in USABLE)

    def told(self) -> str:
        """Sentences."""
        failed = self.statuses[FAILED]
        parts = [f"{self.answers - failed:,} answers came, {self.usable:,} of them descriptions."]
        if failed:
            parts.append(f"{failed:,} questions failed for good.")
        if self.given_up:
            reasons = "; ".join(f"{n:,} for {reason}" for reason, n in self.given_up.most_common(3))
            parts.append(
                f"{self.given_up.total():,} questions got no answer ({reasons}); they are asked again next time."
            )
        if self.ended:
            parts.append(f"Ended before all was asked: {self.ended}.")
        return " ".join(parts)


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """One run of a plan."""

    plan: Plan
    items: Items
    asker: Asker
    writer: Writer
    clock: Clock
    concurrency: int
    progress: Callable[[int, int], None]
    say: Callable[[str], None]
    outcome: Outcome = field(default_factory=Outcome)
    _queue: deque[tuple[int, str]] = field(default_factory=deque)
    _silent: int = 0
    _rejected: int = 0
    _began: float = 0.0
    _said: float = 0.0

    async def run(self) -> Outcome:
        """Raises InputError where no question can be answered; what came before is kept."""
        self._queue.extend(self.plan.todo)
        self._began = self._said = self.clock.now()
        tasks = [asyncio.create_task(self._worker()) for _ in range(min(self.concurrency, len(self._queue)))]
        try:
            with self._interruptible(tasks):
                await _all(tasks, self.clock.stop)
        except InputError as error:
            raise InputError(f"{error}; {self.outcome.answers:,} answers of this run are kept") from None
        finally:
            await self.asker.close()
            self.writer.sync()
        return self.outcome

    async def _worker(self) -> None:
        while self._queue and not self.clock.stop.is_set():
            row, view = self._queue.popleft()
            question = next(iter(self.plan.series.questions(self.items, row, (view,))), None)
            if question is None:
                continue
            try:
                answer = await self._answer(question)
            except SpentError as error:
                self._end(f"{error} would not suffice for the next call")
            except StoppedError:
                return
            except GivenUpError as error:
                self._given_up(str(error))
            else:
                self._keep(question, answer)

    async def _answer(self, question: Question) -> Answer:
        series, items = self.plan.series, self.items
        assert series.prompts is not None
        assert series.settings is not None
        side, picture = series.settings.side, None
        if question.pictured:
            try:
                picture = await asyncio.to_thread(small_jpeg, items.picture(question.row) or b"", side)
            except UnreadableError as error:
                return Answer(status=FAILED, reason=f"picture: {error}")
        prompt = Prompt(
            view=question.view,
            system=series.prompts.told_system,
            text=question.text,
            picture=picture,
            tokens_in=estimated(series, question),
        )
        try:
            return judged(await self.asker.ask(prompt), series.settings.most_out)
        except RejectedError as error:
            self._rejected += 1
            return Answer(status=FAILED, reason=str(error))

    def _keep(self, question: Question, answer: Answer) -> None:
        self.writer.add(self.plan.series, question, answer, self.items.dataset.item_ids[question.row])
        self.outcome.statuses[answer.status] += 1
        self._silent = 0
        if answer.status != FAILED:
            self._rejected = 0
        if self._rejected >= REJECTED:
            self._end(
                f"{REJECTED} questions in a row were rejected, the last for {answer.reason}; mend the settings or the "
                "endpoint, then ask them again with --retry failed, or go on without them by the same command"
            )
        self._tell()

    def _given_up(self, reason: str) -> None:
        self.outcome.given_up[reason] += 1
        self._silent += 1
        if self._silent >= SILENT:
            self._end(f"{SILENT} questions in a row got no answer, the last for {reason}")
        self._tell()

    def _end(self, reason: str) -> None:
        self.outcome.ended = self.outcome.ended or reason
        self.clock.stop.set()

    def _tell(self) -> None:
        done, total = self.outcome.answers + self.outcome.given_up.total(), len(self.plan)
        self.progress(done, total)
        now = self.clock.now()
        if now - self._said >= REPORT:
            self._said = now
            rate = done / (now - self._began)
            left = (total - done) / rate / 60
            self.say(f"{done:,} of {total:,} questions, {rate:.2g} a second, about {left:,.0f} min left.")

    @contextmanager
    def _interruptible(self, tasks: list[asyncio.Task[None]]) -> Iterator[None]:
        """The first Ctrl-C lets the calls in flight end; a second one drops them."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if self.outcome.interrupted:
                for task in tasks:
                    task.cancel()
            else:
                self.say("Waiting for the calls in flight; Ctrl-C again drops them.")
                self.outcome.interrupted = True
                self._end("interrupted")

        with on_ctrl_c(lambda: loop.call_soon_threadsafe(stop)):
            yield


async def _all(tasks: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """The first error ends all, once the calls in flight are answered: they are paid for. A dropped task is none."""
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if any(_error(task) for task in done):
                stop.set()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if error := _error(task):
            raise error


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
