"""Random values, and random changes of bytes, text and JSON values.

All of it is drawn from a `Random`, so that a seed and a number give the same input again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any

LONGEST = 96 * 1024
INTERESTING_NUMBERS = (
    *(0, 1, -1, 2, 7, 100, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, -(2**31), 2**32),
    *(2**53, 2**62, -(2**62), 2**63 - 1, 2**63, -(2**63), 2**64, 10**18, 10**19, 10**40, 10**400),
    *(0.0, -0.0, 0.1, -1.5, 1e-320, 5e-324, 1e16, 1e300, 1e308, -1e308),
    *(math.nan, math.inf, -math.inf),
)
INTERESTING_TEXTS = (
    *("", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\ufeff", "\u2028", "\x85", "\r", "\n"),
    *("NaN", "Infinity", "-Infinity", "nan", "null", "None", "true", "1", "01", "1e5", "-0"),
    *("1_000", "٣", "²", "½", "0x10", "1e400", "9" * 400, "9" * 5000, "-" + "9" * 5000),
    *("../../secret", "../../../secret", "/etc/passwd", "~", ".", "..", "a/b", "a\\b", "C:\\x"),
    *("__proto__", "__class__", "constructor", "%s", "%(x)s", "{0.__class__}", "{{7*7}}"),
    *("'", '"', "''", "\\", "`", "--", ";", "$1", "%", "_", "<script>", "=1+1", "k" * 300),
    *("x" * 70_000, "é" * 3000, "\u202e", "🏳️‍🌈", "İ", "ß", "a\u0301" * 50, "(" * 2000, "[" * 3000),
)
BYTES = (
    *(b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x80", b"\n", b"\r\n", b"\r", b'"', b"'", b",", b";"),
    *(b"[", b"]", b"{", b"}", b":", b"\\", b"\\u0000", b"\\ud800", b"\xef\xbb\xbf", b"\xff\xfe"),
    *(b"NaN", b"1e999", b"-", b".", b"9" * 400, b"null", b"true", b"\xc3\x28", b"\xed\xa0\x80"),
    *(b"../", b"..\\", b"/etc/passwd", b"%00", b"%s", b"*", b"&", b"#", b"|", b"\t", b" "),
)


def value(random: Random, depth: int = 3) -> Any:
    """A JSON value of any kind, with NaN and halves of surrogate pairs."""
    kind = random.randrange(12 if depth else 8)
    if kind < 3:
        return number(random)
    if kind < 6:
        return text(random)
    if kind < 8:
        return random.choice((None, True, False))
    if kind < 10:
        return [value(random, depth - 1) for _ in range(random.randrange(5))]
    return {text(random): value(random, depth - 1) for _ in range(random.randrange(5))}


def number(random: Random) -> int | float:
    if random.random() < 0.6:
        return random.choice(INTERESTING_NUMBERS)
    if random.random() < 0.5:
        return random.randint(-20, 2000)
    return random.uniform(-10, 10) * 10 ** random.randint(-5, 5)


def text(random: Random) -> str:
    if random.random() < 0.6:
        return random.choice(INTERESTING_TEXTS)
    alphabet = random.choice(
        ("abcxyz", "ab -_./", "0123456789.e-+", "\"'\\{}[]()<>%$", "aéßİ中\u0301")
    )
    return "".join(random.choices(alphabet, k=random.randrange(1, 30)))


def places(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a JSON value."""
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [prefix, *(path for name, item in inside for path in places(item, (*prefix, name)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A JSON value with `new` at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def changed_json(random: Random, document: Any, times: int = 3) -> Any:
    """A JSON value in which some values are replaced, removed, renamed, repeated or moved."""
    for _ in range(random.randint(1, times)):
        paths = places(document)[1:]
        if not paths:
            return value(random)
        *parents, name = random.choice(paths)
        parent = document
        for step in parents:
            parent = parent[step]
        document = changed(document, tuple(parents), _changed_inside(random, parent, name))
        if random.random() < 0.1:
            moved = random.choice(places(document))
            document = changed(document, moved, at(document, random.choice(places(document))))
    return document


def at(document: Any, path: Sequence[Any]) -> Any:
    for step in path:
        document = document[step]
    return document


def _changed_inside(random: Random, parent: Any, name: Any) -> Any:
    """A list or a mapping with one change at `name`."""
    kind = random.randrange(10)
    if isinstance(parent, list):
        if kind == 0:
            return parent[:name] + parent[name + 1 :]
        if kind == 1:
            return parent[:name] + [parent[name]] * random.choice((2, 3, 50, 500)) + parent[name:]
        if kind == 2:
            return random.sample(parent, len(parent))
    elif kind == 0:
        return {key: item for key, item in parent.items() if key != name}
    elif kind == 1:
        return {text(random) if key == name else key: item for key, item in parent.items()}
    elif kind == 2:
        return {**parent, text(random): value(random)}
    return changed(parent, (name,), value(random))


def encoded(random: Random, document: Any) -> bytes:
    """A JSON value as text, in the ways in which programs write it."""
    style = random.randrange(4)
    written = json.dumps(
        document,
        ensure_ascii=style != 0,
        indent=1 if style == 1 else None,
        separators=(",", ":") if style == 2 else None,
    )
    return written.encode("utf-8", "surrogatepass")[: 4 * LONGEST]


def changed_bytes(
    random: Random, content: bytes, others: Sequence[bytes] = (), words: Sequence[bytes] = BYTES
) -> bytes:
    """The bytes after a few random changes; `others` are cut in, `words` are put in."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        content = _changed_once(random, content, others, words)[:LONGEST]
    return content


def _changed_once(
    random: Random, content: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    start = random.randint(0, len(content))
    length = random.choice((0, 1, 1, 2, 4, 8, 30, 200))
    before, inside, after = content[:start], content[start:][:length], content[start + length :]
    match random.randrange(9):
        case 0:
            return before + after
        case 1:
            return before
        case 2:
            return before + random.choice(words) + inside + after
        case 3 if others:
            other = random.choice(others)
            return before + other[random.randint(0, len(other)) :]
        case 4:
            packed = _packed(random)
            return before + packed + content[start + len(packed) :]
        case 5 if inside:
            flipped = inside[0] ^ 1 << random.randrange(8)
            return before + bytes([flipped]) + inside[1:] + after
    return before + _replacement(random, inside, words) + after


def _replacement(random: Random, inside: bytes, words: Sequence[bytes]) -> bytes:
    match random.randrange(4):
        case 0:
            return random.randbytes(len(inside) or 1)
        case 1:
            # Growth: what costs more than its length shows only in long inputs.
            return (inside or random.choice(words)) * random.choice((2, 9, 99, 4000))
        case 2:
            return json.dumps(number(random)).encode()
    return random.choice(words)


def _packed(random: Random) -> bytes:
    """A number as formats of bytes have it: a length, an offset, a float."""
    size = random.choice((1, 2, 4, 8))
    patterns = (bytes(size), b"\xff" * size, b"\x7f" * size, b"\x01" + bytes(size - 1))
    return random.choice((*patterns, patterns[3][::-1], random.randbytes(size)))
