"""What passes between those who plan questions and those who answer them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from medleyrec.features.describe.answers import Reply


class CallError(Exception):
    """A call that brought no answer; the message is the reason. `free`: surely nothing was charged for it."""

    def __init__(self, reason: str, *, free: bool = False) -> None:
        super().__init__(reason)
        self.free = free


class RejectedError(CallError):
    """This question cannot be answered, however often it is asked."""


class AgainError(CallError):
    """An answer may come later. `wait`: the seconds that were asked for."""

    def __init__(self, reason: str, *, free: bool = False, wait: float | None = None) -> None:
        super().__init__(reason, free=free)
        self.wait = wait


class GivenUpError(Exception):
    """No answer after all tries; the question is left for the next run."""


class StoppedError(Exception):
    """The run ends before this question is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One call. picture: JPEG. tokens_in is an estimate."""

    view: str
    system: str
    text: str
    picture: bytes | None
    tokens_in: int

    def __repr__(self) -> str:
        return f"Prompt({self.view}, {len(self.text)} characters, {len(self.picture or b'')} bytes of picture)"


class Asker(Protocol):
    """Raises RejectedError, GivenUpError, StoppedError, or InputError where no question can be answered."""

    async def ask(self, prompt: Prompt) -> Reply: ...

    async def close(self) -> None: ...
