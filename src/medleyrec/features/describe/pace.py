"""When the next call may be sent: evenly spaced under limits per minute, and after the pause an endpoint asked for."""

from __future__ import annotations

import asyncio
import time

from medleyrec.features.describe.ask import StoppedError


class Clock:
    """Time, and waiting that ends when the run is told to stop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()

    def now(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def today(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Raises StoppedError when the run stops."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self.stop.wait()
        except TimeoutError:
            return
        raise StoppedError


class Pace:
    """Letters of the limits: requests and tokens per minute; None is no limit."""

    def __init__(self, clock: Clock, requests: float | None = None, tokens: float | None = None) -> None:
        self.clock = clock
        self._per_request = 60 / requests if requests else 0.0
        self._per_token = 60 / tokens if tokens else 0.0
        self._next = self._held = 0.0

    async def turn(self, tokens: int) -> None:
        """Returns when a call of so many tokens may be sent."""
        while True:
            now = self.clock.now()
            at = max(now, self._next, self._held)
            self._next = at + max(self._per_request, self._per_token * tokens)
            if at > now:
                await self.clock.sleep(at - now)
            if self._held <= at:  # else a pause was asked for meanwhile: all take their turns anew after it
                return

    def hold(self, seconds: float) -> None:
        """No call for so long: the endpoint asked for it."""
        self._held = max(self._held, self.clock.now() + seconds)
