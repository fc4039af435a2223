"""What a run may spend. A call is counted at its most before it is sent and at its true size when it is answered, so
that the calls in flight never carry a run over its limit (but for what an endpoint charges beyond the estimate).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from medleyrec.features.describe.ask import Prompt, StoppedError
from medleyrec.features.describe.estimate import Prices, amount
from medleyrec.features.describe.pace import Pace


class SpentError(StoppedError):
    """The next call could pass a limit; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one run. calls: requests sent, repeated ones too. tokens: in and out together."""

    money: float = math.inf
    calls: float = math.inf
    tokens: float = math.inf


@dataclass(slots=True)
class Call:
    """A call in flight: what it may take, and what it took, once that is known."""

    tokens_in: int
    tokens_out: int


@dataclass(slots=True)
class Budget:
    limits: Limits
    prices: Prices
    stop: asyncio.Event
    """No call is sent once this is set."""
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    in_flight: list[Call] = field(default_factory=list)
    _settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def money(self) -> float:
        return self.prices.of(self.tokens_in, self.tokens_out)

    def told(self) -> str:
        """For a reader, after a run."""
        money = "" if self.prices == Prices() else f", about {amount(self.money)} at the prices given"
        return f"{self.calls:,} calls took {self.tokens_in:,} tokens in and {self.tokens_out:,} out{money}."

    def lacking(self, call: Call) -> str | None:
        """What would not suffice for `call` beside those in flight."""
        flying = [*self.in_flight, call]
        tokens_in = self.tokens_in + sum(c.tokens_in for c in flying)
        tokens_out = self.tokens_out + sum(c.tokens_out for c in flying)
        if self.calls + 1 > self.limits.calls:
            return f"{self.limits.calls:,.0f} calls"
        if tokens_in + tokens_out > self.limits.tokens:
            return f"{self.limits.tokens:,.0f} tokens"
        if self.prices.of(tokens_in, tokens_out) > self.limits.money:
            return f"a budget of {self.limits.money:g}"
        return None

    async def take(self, call: Call) -> None:
        """Waits while calls in flight may yet turn out smaller. Raises SpentError where `call` does not fit."""
        while (lack := self.lacking(call)) is not None:
            if not self.in_flight:
                raise SpentError(lack)
            self._settled.clear()
            await self._settled.wait()
        if self.stop.is_set():
            raise StoppedError
        self.calls += 1
        self.in_flight.append(call)

    def settle(self, call: Call) -> None:
        self.in_flight = [c for c in self.in_flight if c is not call]
        self.tokens_in += call.tokens_in
        self.tokens_out += call.tokens_out
        self._settled.set()


class Gate:
    """Every call passes here: first its turn, then its money."""

    def __init__(self, budget: Budget, pace: Pace, most_out: int) -> None:
        self.budget, self.pace, self.most_out = budget, pace, most_out
        self._ratio: dict[str, float] = {}  # by view, how much larger than their estimates calls have been at most

    @asynccontextmanager
    async def call(self, prompt: Prompt) -> AsyncIterator[Call]:
        """A call whose counts are its most; the caller puts what it took in their place."""
        await self.pace.turn(self._expected(prompt) + self.most_out)
        call = Call(self._expected(prompt), self.most_out)  # others may have taught more while this one waited
        await self.budget.take(call)
        try:
            yield call
        finally:
            ratio = call.tokens_in / max(1, prompt.tokens_in)
            self._ratio[prompt.view] = max(ratio, self._ratio.get(prompt.view, 1.0))
            self.budget.settle(call)

    def _expected(self, prompt: Prompt) -> int:
        return math.ceil(prompt.tokens_in * self._ratio.get(prompt.view, 1.0))
