"""Any OpenAI-compatible chat endpoint: one question, one answer, whatever the endpoint does in between.

What is repeated: 408, 409, 425, 429, 5xx, hangs, closed sockets, answers that are no chat answer. What is not: 400, 413
and 422 concern one question, all other statuses concern every question and end the run.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from types import ModuleType
from typing import Any

from medleyrec.features.describe.answers import Reply
from medleyrec.features.describe.ask import AgainError, CallError, GivenUpError, Prompt, RejectedError
from medleyrec.features.describe.budget import Call, Gate
from medleyrec.features.describe.picture import data_url
from medleyrec.features.describe.reply import error_code, error_message, read_reply
from medleyrec.features.describe.retry import Retry, retry_after
from medleyrec.features.describe.secret import WRONG_URL, Access
from medleyrec.features.describe.series import AnswerSettings
from medleyrec.schema import InputError

REPEATED, REJECTED = frozenset((408, 409, 425, 429)), frozenset((400, 413, 422))
LARGEST = 4 << 20
"""Bytes of an answer; a description has some hundred."""


class Endpoint:
    """Calls go through `gate`; `timeout` (s) bounds a whole call, however slowly its bytes drip."""

    def __init__(
        self, access: Access, model: str, settings: AnswerSettings, *, gate: Gate, retry: Retry, timeout: float
    ) -> None:
        self.access, self.model, self.settings = access, model, settings
        self.gate, self.retry, self.timeout = gate, retry, timeout
        self.httpx = _httpx()
        try:
            self.client = self.httpx.AsyncClient(
                timeout=None,  # asyncio's, over the whole call
                follow_redirects=False,  # a key goes to the address that was given and to no other
                trust_env=not access.loopback,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                limits=self.httpx.Limits(max_connections=None),
            )
        except (ValueError, ImportError, OSError) as error:
            raise InputError(
                f"the environment's proxy or certificate settings cannot be used ({type(error).__name__}); mend them"
            ) from None
        try:
            self.httpx.URL(access.address).host  # noqa: B018 (read for what it raises)
        except (ValueError, self.httpx.InvalidURL):  # the message might quote a secret
            raise InputError(WRONG_URL) from None

    def __repr__(self) -> str:
        return f"Endpoint({self.model} at {self.access.shown})"

    async def close(self) -> None:
        await self.client.aclose()

    async def ask(self, prompt: Prompt) -> Reply:
        """Raises RejectedError, GivenUpError, StoppedError, or InputError where the endpoint answers nobody."""
        for failures in range(1, self.retry.tries + 1):
            try:
                async with self.gate.call(prompt) as call:
                    return await self._call(prompt, call)
            except RejectedError as error:
                raise RejectedError(self.access.scrub(str(error))) from None
            except AgainError as error:
                reason, wait = self.access.scrub(str(error)), self.retry.wait(failures, error.wait)
                if error.wait is not None:
                    self.gate.pace.hold(wait)
            if failures < self.retry.tries:
                await self.gate.pace.clock.sleep(wait)
        raise GivenUpError(reason)

    async def _call(self, prompt: Prompt, call: Call) -> Reply:
        try:
            status, headers, content = await self._sent(prompt)
            if not 200 <= status < 300:
                self._refused(status, headers, content)
            reply = read_reply(content, headers.get("content-type", ""), self.access.scrub)
        except CallError as error:
            if error.free:
                call.tokens_in = call.tokens_out = 0
            raise
        call.tokens_in = call.tokens_in if reply.tokens_in is None else reply.tokens_in
        call.tokens_out = call.tokens_out if reply.tokens_out is None else reply.tokens_out
        scrub = self.access.scrub
        return replace(reply, text=scrub(reply.text), refusal=scrub(reply.refusal), finish=scrub(reply.finish))

    async def _sent(self, prompt: Prompt) -> tuple[int, Any, bytes]:
        """Status, headers, content. Raises AgainError where the network fails."""
        headers = {"Authorization": self.access.header} if self.access.header else {}
        body, url = self._body(prompt), self.access.address
        try:
            async with (
                asyncio.timeout(self.timeout),
                self.client.stream("POST", url, json=body, headers=headers) as response,
            ):
                return response.status_code, response.headers, await _limited(response)
        except TimeoutError:
            raise AgainError(f"no answer within {self.timeout:g} s") from None
        except self.httpx.ConnectError:
            raise AgainError("no connection", free=True) from None
        except self.httpx.RequestError as error:
            raise AgainError(f"a broken connection ({type(error).__name__})") from None

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        asked: Any = prompt.text
        if prompt.picture is not None:
            asked = [  # the picture first: as these models were trained, and as a model in this process is asked
                {"type": "image_url", "image_url": {"url": data_url(prompt.picture)}},
                {"type": "text", "text": prompt.text},
            ]
        messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
        body = {
            "model": self.model,
            "messages": [*messages, {"role": "user", "content": asked}],
            "max_tokens": self.settings.max_tokens,
            "temperature": self.settings.temperature,
        }
        if "max_completion_tokens" in self.settings.body:  # the newer name; endpoints refuse both together
            del body["max_tokens"]
        return {**body, **self.settings.body}

    def _refused(self, status: int, headers: Any, content: bytes) -> None:
        """Raises what the status means."""
        message = error_message(content, self.access.scrub)
        said = f" ({message})" if message else ""
        if status in REPEATED or status >= 500:
            if error_code(content) == "insufficient_quota":
                raise self._ending(f"says that the quota is used up{said}; raise it there")
            wait = retry_after(headers.get("retry-after"), self.gate.pace.clock.today())
            raise AgainError(f"status {status}{said}", wait=wait, free=True)
        if status in REJECTED:
            raise RejectedError(f"status {status}{said}", free=True)
        if status in (401, 403):
            raise self._ending(f"refuses us (status {status}{said}); set the key in the variable --key-env names")
        if status == 404:
            raise self._ending(
                f"knows neither this address nor the model {self.model!r} (404{said}); mend --url, --model"
            )
        raise self._ending(f"answers with status {status}{said}; mend --url or the settings")

    def _ending(self, told: str) -> InputError:
        return InputError(self.access.scrub(f"{self.access.shown} {told}"))


async def _limited(response: Any) -> bytes:
    """Raises RejectedError where the answer is too large: it was paid for, and would be as large again."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LARGEST:
            raise RejectedError(f"an answer of more than {LARGEST >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _httpx() -> ModuleType:
    try:
        import httpx
    except ImportError:
        raise InputError("calling an endpoint needs httpx; install it: pip install 'medleyrec[describe]'") from None
    for name in ("httpx", "httpcore"):  # they log whole addresses, and a key may be part of one
        logging.getLogger(name).setLevel(logging.WARNING)
    return httpx
