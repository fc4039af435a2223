"""An endpoint's bytes -> what the model said. Nothing in them is trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from medleyrec.features.describe.answers import Reply, clean
from medleyrec.features.describe.ask import AgainError

MOST_TOKENS = 10**8
Scrub = Callable[[str], str]


def read_reply(content: bytes, content_type: str, scrub: Scrub = str) -> Reply:
    """Raises AgainError where this is no answer of a chat endpoint, with what `scrub` leaves of its words."""
    if "json" not in content_type.lower():
        raise AgainError(f"an answer of type {clean(scrub(content_type))[:40] or 'unknown'}, not JSON")
    body = _parsed(content)
    if body is None:
        raise AgainError("broken JSON")
    if body.get("error"):
        raise AgainError(f"an error inside an answer{_said(error_message(content, scrub))}")
    choice = _first(body.get("choices"))
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, dict):
        raise AgainError("an answer without a choice")
    told = body.get("usage")
    usage = told if isinstance(told, dict) else {}
    return Reply(
        text=_text(message.get("content")),
        finish=_word(choice.get("finish_reason")),
        refusal=_text(message.get("refusal")),
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=_count(usage.get("completion_tokens")),
    )


def error_message(content: bytes, scrub: Scrub = str) -> str:
    """What an endpoint says of an error, on one line; empty where it says nothing that can be read.

    `scrub` comes first: half a secret, at the place where a line is cut, would not be known as one.
    """
    body = _parsed(content) or {}
    found: Any = body.get("error") or body.get("message") or body.get("detail")
    if isinstance(found, dict):
        found = found.get("message")
    return clean(scrub(found))[:200] if isinstance(found, str) else ""


def error_code(content: bytes) -> str:
    error = (_parsed(content) or {}).get("error")
    return _word(error.get("code")) if isinstance(error, dict) else ""


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):  # UnicodeDecodeError, and integers of thousands of digits, are ValueErrors
        return None
    return body if isinstance(body, dict) else None


def _first(choices: Any) -> dict[str, Any] | None:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _text(content: Any) -> str:
    """Plain, or as a list of parts."""
    if isinstance(content, list):
        return " ".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS else None


def _said(message: str) -> str:
    return f" ({message})" if message else ""
