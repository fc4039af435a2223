"""Whether a text declines to describe, in English: what models say that will not, or that were shown nothing.

Descriptions may begin alike ("Sorry! is a board game", "As an AI camera, it ..."), so that an apology alone is none.
"""

from __future__ import annotations

import re

SHORT = 400
"""Characters. A refusal is short; a long text that begins with an apology describes something after it."""
_DOING = (
    r"(?:help(?! \w+ing\b)|assist|provide|describe|identify|comply|continue|do (?:that|this|so)|fulfil+|answer|view|"
    r"see|process|create|generate|discuss|engage|complete|support|access|read|analy[sz]e|offer|write|give|summari[sz]e|"
    r"share|respond|recogni[sz]e|determine|tell|display|open)\b"
)
_NOT = r"(?:can'?t|cannot|can not|could ?n[o']t|won'?t|will not|(?:am |'m |are |'re )?(?:unable to|not able to))"
_SEEN = r"(?:image|picture|photo|photograph|attachment|file)s?\b"
_MACHINE = r"(?:ai|artificial intelligence|(?:[\w-]+ ){0,2}(?:language|ai) model)"
_DECLINED = (
    r"(?:i'?m|i am|we'?re|we are) (?:very |really |truly |so )?(?:sorry|unable|not able|not comfortable|not allowed)\b",
    r"sorry, ?(?:but|i|we|no|there|this|that)\b",
    r"my apologies\b",
    r"(?:i|we) (?:must )?(?:apologi[sz]e|decline)\b",
    r"(?:i'?m|i am) afraid (?:i|we|that|there|this)\b",
    r"(?:unfortunately,? )?(?:i|we) ?" + _NOT + r" " + _DOING,
    r"unfortunately,? (?:i|we|there is no|no) ",
    r"(?:i|we) (?:do not|don'?t) feel comfortable\b",
    r"(?:unable to|cannot|can'?t) " + _DOING,
    rf"as an? (?:{_MACHINE}|[\w-]+ assistant)\b[^.]{{0,40}}\b(?:i|my)\b",
    rf"(?:i'?m|i am) (?:just |only |merely )?an? (?:{_MACHINE}|assistant)\b",
)
_NOTHING_SEEN = (
    r"(?:there (?:is|was|are|were) )?no " + _SEEN + r"(?: (?:is|was|are|were|has been|have been))? "
    r"(?:provided|attached|included|given|available|visible|shown|uploaded|to (?:describe|see|view))",
    r"(?:i|we) (?:do not|don'?t|did not|didn'?t) (?:see|find|receive|have)(?: access to)?(?: an| any| the)? " + _SEEN,
    r"(?:could you |can you )?(?:please|kindly) (?:upload|attach|provide|share|send|resend)(?: me)? "
    r"(?:the |an |a |your )?(?:" + _SEEN + r"|more (?:details|information|context))",
    r"(?:the|your) " + _SEEN + r" (?:did ?n[o']t|did not|was not|wasn'?t|has not|could not|cannot|can'?t)"
    r"(?: been| be)? (?:attach|load|provid|upload|come through|includ|display|receiv|access|open|found)",
)
_REFUSAL = re.compile(
    rf"^\W*(?:{'|'.join(_DECLINED)})|(?:^|[.!?,] +|\bthat )(?:but )?(?:{'|'.join(_NOTHING_SEEN)})", re.IGNORECASE
)
"""First what begins with declining; then what says, wherever it says so, that there was nothing to look at."""


def declines(text: str) -> bool:
    return len(text) <= SHORT and _REFUSAL.search(text.replace("\u2019", "'")) is not None
