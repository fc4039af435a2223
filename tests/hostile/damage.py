"""Well-formed bytes -> bytes that went through a bad disk, a broken copy, a wrong editor."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Damage = Callable[[Random, bytes], bytes]


def cut(random: Random, content: bytes) -> bytes:
    """Truncated at any byte."""
    return content[: random.randrange(len(content))] if content else content


def beheaded(random: Random, content: bytes) -> bytes:
    return content[random.randrange(len(content)) :] if content else content


def flipped(random: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 8]) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwritten(random: Random, content: bytes) -> bytes:
    """A run of bytes is zero, 0xff or noise."""
    start, length = random.randrange(len(content) + 1), random.choice([1, 2, 4, 16, 64])
    filling = random.choice([b"\0" * length, b"\xff" * length, random.randbytes(length)])
    return content[:start] + filling + content[start + length :]


def inserted(random: Random, content: bytes) -> bytes:
    start = random.randrange(len(content) + 1)
    return content[:start] + random.choice(_SPLINTERS) + content[start:]


def lost(random: Random, content: bytes) -> bytes:
    start = random.randrange(len(content) + 1)
    return content[:start] + content[start + random.choice([1, 2, 7, 30]) :]


def doubled(random: Random, content: bytes) -> bytes:
    start = random.randrange(len(content) + 1)
    length = random.choice([1, 10, 100, len(content)])
    return content[:start] + content[start : start + length] + content[start:]


def swapped(random: Random, content: bytes) -> bytes:
    middle = random.randrange(len(content) + 1)
    return content[middle:] + content[:middle]


def padded(random: Random, content: bytes) -> bytes:
    return content + random.choice([b"\0" * 512, b"\n" * 50, b"\x1a", random.randbytes(40), b"<html>404</html>"])


_SPLINTERS = (
    *(b'"', b'""', b"'", b",", b"\t", b"\n", b"\r", b"\r\n", b"\n\r", b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf"),
    *(
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"null",
        b"NaN",
        b"-",
        b"1e999",
        b"\x1b[2J",
        b"\xe2\x80\xae",
        b"\xed\xa0\x80",
    ),
    *(b"a,b,c,d,e\n", b'"a,b\n', b"\xc3", b"\xf0\x9f", b" " * 100, b"0" * 400, b"x" * 5000, b"{" * 300, b"[" * 3000),
)

DAMAGES: tuple[Damage, ...] = (cut, beheaded, flipped, overwritten, inserted, lost, doubled, swapped, padded)


def damaged(random: Random, content: bytes) -> bytes:
    """One to three damages, one after another."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        content = random.choice(DAMAGES)(random, content)
    return content
