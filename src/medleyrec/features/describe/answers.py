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

OK, CUT, REFUSED, EMPTY, FAILED = "ok", "cut", "refused", "empty", "failed"
STATUSES = (OK, CUT, REFUSED, EMPTY, FAILED)
USABLE = frozenset((OK, CUT))
CHARACTERS = 10
"""A token is seldom longer than so many characters: what is longer than max_tokens of these ignored the limit."""

_THOUGHT = re.compile(r"^\s*<(think|thinking)>.*?(</\1>|\Z)", re.DOTALL)
_SHORT = 400
"""Characters. A refusal is short; a long text that begins with an apology describes something after it."""
_REFUSAL = re.compile(
    r"^\W*((i'?m|i am|we'?re) (very |really |truly )?(sorry|afraid|unable)\b|sorry\b|(i|we) apologi[sz]e\b|"
    r"(i|we) (can'?t|cannot|can ?not|won'?t|will not|am not able|'?m not able|must decline|do not feel comfortable)"
    r" *(to )?(help|assist|provide|describe|identify|comply|continue|do|fulfil+|answer|view|see|process|create|"
    r"generate|discuss|engage|complete|support|with)?\b|as an? (ai|artificial|language|large)\b|"
    r"unfortunately,? (i|we) (can'?t|cannot|am unable)\b|i'?m not able to\b|i am not able to\b)",
    re.IGNORECASE,
)


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
    elif len(text) <= _SHORT and _REFUSAL.match(text.replace("\u2019", "'")):
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
