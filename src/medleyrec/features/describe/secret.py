"""The address of an endpoint and the right to use it. Keys and passwords live here and nowhere else.

They come from the environment or from the address, go into one header, and are cut out of whatever an endpoint says.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

from medleyrec.schema import InputError

DEFAULT_KEY = "OPENAI_API_KEY"
HIDDEN = "[hidden]"
WRONG_URL = "--url is not an address such as http://localhost:8000/v1; mend it"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_TELLING = re.compile(r"key|token|secret|sig|pass|auth|code", re.IGNORECASE)
_KEY_FIELD = re.compile(
    r"(?:^|[_-])(?:(?:api|access|auth|secret|private)[_-]?key|secret|password|passwd|auth|authorization|bearer"
    r"|credentials?|(?:api|access|auth)[_-]?token)$|^(?:key|token)$",
    re.IGNORECASE,
)
_SHORTEST = 4
"""Characters; what is shorter is no secret worth the name, and would be cut out of ordinary words."""


class Access:
    """address: to call, without user and password; shown: for messages; header: of the authorisation, or empty."""

    __slots__ = ("_secrets", "address", "header", "loopback", "shown")

    def __init__(self, url: str, key: str | None) -> None:
        parts = _split(url)
        host = parts.hostname or ""
        place = (f"[{host}]" if ":" in host else host) + (f":{parts.port}" if parts.port is not None else "")
        path = parts.path.rstrip("/")
        path = path if path.endswith("/chat/completions") else f"{path}/chat/completions"
        self.address = urlunsplit((parts.scheme, place, path, parts.query, ""))
        self.shown = urlunsplit((parts.scheme, place, parts.path, "", ""))
        self.loopback = host == "localhost" or host == "::1" or host.startswith("127.")
        self.header, basic = _header(parts, key)
        raw = [pair.partition("=")[::2] for pair in parts.query.split("&")]
        queried = [value for name, value in [*parse_qsl(parts.query), *raw] if _TELLING.search(name)]
        secret = parts.password or parts.username or ""  # a key often stands where the user's name would
        known = [key or "", secret, unquote(secret), basic, *queried]
        told = {form for secret in known for form in (secret, quote(secret, safe=""), _coded(secret).rstrip("="))}
        self._secrets = sorted((s for s in told if len(s) >= _SHORTEST), key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Access({self.shown})"

    @property
    def open(self) -> bool:
        """Whether a secret travels unencrypted to another machine."""
        return bool(self._secrets) and self.address.startswith("http:") and not self.loopback

    def scrub(self, text: str) -> str:
        """`text` without any secret in it."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


def key_field(value: Any) -> str | None:
    """The first field within `value` whose name says that it holds a key or a password."""
    if isinstance(value, Mapping):
        named = next((name for name in value if isinstance(name, str) and _KEY_FIELD.search(name)), None)
        return named or key_field(list(value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return next((found for one in value if (found := key_field(one))), None)
    return None


def access(url: str, key_env: str | None, environment: Mapping[str, str]) -> Access:
    """Raises InputError where address or key cannot be used; neither is quoted."""
    name = key_env or DEFAULT_KEY
    if not _NAME.match(name):
        raise InputError("--key-env takes the NAME of an environment variable, such as OPENAI_API_KEY, not the key")
    key = environment.get(name, "").strip()
    if key_env is not None and not key:
        raise InputError("the environment variable that --key-env names is not set; set it to the endpoint's key")
    if not all("!" <= c <= "~" for c in key):
        raise InputError("the key in the environment has characters that no key has, such as spaces; set it again")
    return Access(url, key or None)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise InputError(WRONG_URL) from None
    printable = all("!" <= c <= "~" for c in url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not printable:
        raise InputError(WRONG_URL)
    return parts


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _header(parts: SplitResult, key: str | None) -> tuple[str, str]:
    """(the header's value, the coded secret in it); user and password of the address win over a key."""
    if parts.username or parts.password:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        coded = _coded(pair)
        return f"Basic {coded}", coded
    return (f"Bearer {key}", "") if key else ("", "")
