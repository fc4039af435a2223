"""What came back for one question, and whether it can be used.

status   ok         a description
         cut        a description that ended at the token limit, or was longer than that allows; used, and counted
         refused    the model declined; not used
         empty      nothing was said; not used
         failed     the endpoint rejected this question, or the picture cannot be read; not used
All of these are answers: they are kept and not asked for again unless told to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medleyrec.features.describe.refusals import declines

OK, CUT, REFUSED, EMPTY, FAILED = "ok", "cut", "refused", "empty", "failed"
STATUSES = (OK, CUT, REFUSED, EMPTY, FAILED)
USABLE = frozenset((OK, CUT))
CHARACTERS = 10
"""A token is seldom longer than so many characters: what is longer than max_tokens of these ignored the limit."""

_THOUGHT = re.compile(r"^.*</(think|thinking)>|^\s*<(think|thinking)>.*\Z", re.DOTALL)
"""All up to the last end of a thought: servers often keep its beginning to themselves. Or one that never ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model said. Token counts are None where it did not tell them."""

    text: str
    finish: str = ""
    refusal: str = ""
    """What the server says of a refusal of its own."""
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: str
    text: str = ""
    reason: str = ""
    finish: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None

    @property
    def usable(self) -> bool:
        return self.status in USABLE


def judged(reply: Reply, max_tokens: int | None = None) -> Answer:
    """A reply as an answer: cleaned, cut where it is longer than `max_tokens` can be, and its status."""
    text, reason = clean(_THOUGHT.sub("", reply.text)), ""
    limit = None if max_tokens is None else CHARACTERS * max_tokens
    if reply.refusal or reply.finish == "content_filter":
        status, reason = REFUSED, clean(reply.refusal)[:200] or "content filter"
    elif not text:
        status, reason = EMPTY, "spent on thinking" if reply.text.strip() else "no text"
    elif declines(text):
        status, reason = REFUSED, text[:200]
    elif limit is not None and len(text) > limit:
        status, text, reason = CUT, text[:limit], "longer than the limit allows"
    elif reply.finish == "length":
        status, reason = CUT, "token limit"
    else:
        status = OK
    return Answer(
        status=status,
        text=text,
        reason=reason,
        finish=clean(reply.finish)[:40],
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
    )


def clean(text: str) -> str:
    """One paragraph of valid Unicode without control characters."""
    valid = text.encode("utf-8", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in valid).split())
