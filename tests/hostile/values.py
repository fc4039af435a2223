"""Values that are legal but nasty, and values that no log may hold. What must come of them is known by thought."""

from __future__ import annotations

from random import Random

NASTY_IDS = (
    *("a", "0", "00", "007", "-1", "1.0", "1e5", "0x1f", "1_000", "NaN", "inf", "null", "NULL", "None", "\\N", "true"),
    *(" lead", "trail ", "two words", "tab\tinside", "new\nline", "cr\rinside", "crlf\r\ninside", "a,b", "a;b", "a|b"),
    *('"', '""', 'say "x"', "'", "it's", "`", "\\", "\\n", "c:\\temp\\x", "a\\", "{}", "[1]", '{"a": 1}', "#x", "//x"),
    *("../../etc/passwd", "/dev/zero", "C:/x", "http://x/y", "%s%n", "{0}", "${HOME}", "$(id)", "; DROP TABLE x; --"),
    *("' OR '1'='1", "=1+1", "@x", "user_id", "item_id", "timestamp", "c0", "file_row_number", "2024-01-01", "12:00"),
    *(
        "é",
        "e\u0301",
        "ß",
        "Ä",
        "日本",
        "עברית",
        "\u202egnp.exe",
        "\u200f",
        "\u200bx",
        "\ufeffx",
        "😀",
        "👩‍👩‍👧",
        "\U0010ffff",
    ),
    *("\x7f", "\x01", "\x1b[31m", "\u2028x", "x\u0085", "\u00a0x", "\ufffd", "ﬀ", "İ", "a" * 300, "é" * 500, "😀" * 99),
)
BLANK_IDS = ("", " ", "    ", "\t", "\n", " \r\n ", "\t \t", "\u00a0", "\u3000 ")
FIRST, LAST = 0, 253_402_300_799
NASTY_TIMES = (FIRST, 1, 59, 1_400_000_000, 2_147_483_647, 2_147_483_648, 4_294_967_296, 99_999_999_999)
"""Seconds; the last is the largest that is still recognised as seconds."""
NUMBER_FAULTS = (
    *("", " ", "x", "-1", "-0.5", "nan", "NaN", "inf", "-inf", "Infinity", "1e400", "1e19", "9223372036854775808"),
    *("99999999999999999999999999", "170141183460469231731687303715884105728", "1" * 400, "12:30", "1,000", "1_000x"),
    *("0x10", "--5", "1e", "1.2.3", "٣x", "½", "null", "None", "true", "2024-05-01", "May 1 2024", "1;2", "\0", "😀"),
)
"""What a column of whole seconds may not hold."""
ISO_FAULTS = (
    *("", " ", "yesterday", "2024-13-01", "2024-02-30", "2024-05-01T25:00:00", "0000-00-00", "1969-12-31T23:59:59Z"),
    *(
        "-2024-05-01",
        "2024-05",
        "24-05-01",
        "2024-05-01T12:00:00+99",
        "1700000000",
        "10000-01-01",
        "2024-05-01 12",
        "∞",
    ),
)
NASTY_TEXTS = (
    *NASTY_IDS,
    *("<script>alert(1)</script>", "{{ 7 * 7 }}", "{% raw %}", "]]>", "a" * 20_000, "\n\n\n", "x\0y", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙"),
)


def nasty_id(random: Random) -> str:
    kind = random.random()
    if kind < 0.6:
        return random.choice(NASTY_IDS)
    if kind < 0.8:
        return f"{random.choice(NASTY_IDS)}{random.choice(NASTY_IDS)}"
    return "u" + "".join(chr(_scalar(random)) for _ in range(random.randrange(1, 8)))


def _scalar(random: Random) -> int:
    """A Unicode scalar value; surrogates and NUL are none that a text file can hold."""
    while True:
        number = random.choice([random.randrange(1, 0x80), random.randrange(1, 0x3000), random.randrange(1, 0x110000)])
        if not 0xD800 <= number < 0xE000:
            return number


def plain_events(random: Random, count: int) -> list[tuple[str, str, int]]:
    return [
        (f"u{random.randrange(6)}", f"i{random.randrange(8)}", 1_400_000_000 + random.randrange(10**7))
        for _ in range(count)
    ]
