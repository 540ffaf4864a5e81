"""The targets of fuzzing, and mutations of valid input: bytes, JSON, JWS and lines."""

import base64
import binascii
import copy
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from senyum_lab.fuzzing.values import NUMBERS, STRINGS, near, written

LARGEST = 80_000  # bytes; more than any reader accepts
_INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\n",
    b'"',
    b"\\",
    b"{",
    b"[",
    b"=",
    b".",
    b"/",
    b"\x80",
)
_NESTED = 20_000  # levels: more than the stack of Python allows

_VALUES: tuple[Any, ...] = (
    *(None, True, False, *NUMBERS, *STRINGS),
    *("0", "../../etc/passwd", "urn:senyum:a:b:c", "9" * 5000, "A" * 5000),
    *([], {}, [[]], {"": None}),
)


Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """A reader, valid input for it, and the mutations of that input.

    `read` returns whether the input was accepted. It catches the documented exceptions of the
    reader; any other exception is a fault. If `strict`, accepting input that is not in `good` is a
    fault; otherwise `read` decides what may be accepted.
    """

    name: str
    share: float  # of all tries
    good: Sequence[bytes]
    mutations: Sequence[Mutation]
    read: Callable[[bytes], bool]
    strict: bool = True


def by_bytes(chance: random.Random, good: bytes, others: Sequence[bytes]) -> bytes:
    """Change one to four places."""
    content = bytearray(good)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(content) + 1)
        size = min(chance.choice((1, 1, 2, 4, 16, 64, 1024)), len(content) - at)
        way = chance.randrange(9)
        if way == 0 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif way == 1 and at < len(content):
            content[at] = chance.randrange(256)
        elif way == 2:
            del content[at : at + size]
        elif way == 3:
            del content[at:]
        elif way == 4:
            content[at:at] = content[at : at + size] * chance.choice((1, 2, 50))
        elif way == 5:
            content[at:at] = chance.choice(_INTERESTING) * chance.choice((1, 1, 2, 1000))
        elif way == 6:
            content[at : at + size] = chance.randbytes(size)
        elif way == 7:
            other = chance.choice(others)
            begin = chance.randrange(len(other) + 1)
            content[at:] = other[begin:]
        else:
            to = chance.randrange(len(content) + 1)
            piece = content[at : at + size]
            del content[at : at + size]
            content[to:to] = piece
    return bytes(content[:LARGEST])


def by_json(chance: random.Random, good: bytes, others: Sequence[bytes]) -> bytes:
    """Change one to three values of a JSON text, or its syntax."""
    try:
        tree = json.loads(good)
    except (ValueError, RecursionError):
        return by_bytes(chance, good, others)
    for _ in range(chance.choice((1, 1, 2, 3))):
        tree = _altered(chance, tree)
    text = written(tree)
    way = chance.randrange(12)
    if way == 0:  # a duplicate name
        text = text.replace("{", '{"id":1,"id":2,' if "id" in text else '{"a":1,"a":2,', 1)
    elif way == 1:
        text = text[:-1] + chance.choice((",}", "}}", "]", "", "} ", "}\n", "}\x00"))
    elif way == 2:
        text = text.replace("null", "[" * _NESTED + "]" * _NESTED, 1)
    elif way == 3:
        text = "[" * chance.choice((1, 100, _NESTED)) + text
    return text.encode("utf-8", "surrogatepass")[:LARGEST]


def _altered(chance: random.Random, tree: Any) -> Any:
    """Return the tree with one node replaced, removed, renamed or duplicated."""
    if not isinstance(tree, dict | list) or not tree or chance.random() < 0.05:
        return chance.choice((_value(chance), *list(near(tree))[:3], tree))
    key = chance.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
    if chance.random() < 0.6:
        tree[key] = _altered(chance, tree[key])
    elif isinstance(tree, list):
        way = chance.randrange(3)
        if way == 0:
            del tree[key]
        else:
            tree.insert(key, copy.deepcopy(tree[key]) if way == 1 else _value(chance))
    else:
        way = chance.randrange(4)
        value = tree.pop(key)
        if way == 1:
            tree[key.upper()] = value
        elif way == 2:
            tree[key] = value
            tree[chance.choice(("crit", "jwk", "b64", "x", "__class__", ""))] = copy.deepcopy(value)
        elif way == 3:
            tree[key] = [value]
    return tree


def _value(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(_VALUES))  # the copy may be changed later


def by_jws(chance: random.Random, good: bytes, others: Sequence[bytes]) -> bytes:
    """Change one part of a compact JWS, encoded or decoded, or replace it by that of another."""
    parts = good.split(b".")
    if len(parts) != 3:
        return by_bytes(chance, good, others)
    at = chance.choice((0, 1, 1, 1, 2))
    way = chance.randrange(8)
    if way <= 3:
        how = by_bytes if at == 2 or way == 3 else by_json
        parts[at] = _encoded(how(chance, _decoded(parts[at]), [_decoded(part) for part in parts]))
    elif way == 4:
        other = chance.choice(others).split(b".")
        parts[at] = other[at] if len(other) == 3 else b""
    elif way == 5:
        parts[at] = chance.choice((b"", parts[at] + b"=", parts[at] + b"A", b" " + parts[at]))
    elif way == 6:
        chance.shuffle(parts)
    else:
        parts.insert(at, parts[at])
    return b".".join(parts)[:LARGEST]


def _decoded(part: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except (ValueError, binascii.Error):
        return part


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def by_lines(chance: random.Random, good: bytes, others: Sequence[bytes]) -> bytes:
    """Change a text of lines NAME = VALUE."""
    lines = good.split(b"\n")
    at = chance.randrange(len(lines))
    way = chance.randrange(6)
    if way == 0:
        lines.insert(at, chance.choice(lines))
    elif way == 1:
        del lines[at]
    elif way == 2 and b"=" in lines[at]:
        name = lines[at].partition(b"=")[0]
        value = written(chance.choice(_VALUES)).encode()
        nested = b"[" * _NESTED + b"]" * _NESTED
        lines[at] = name + b"= " + (nested if chance.random() < 0.1 else value)
    elif way == 3:
        lines[at] = b"[" * chance.choice((1, 2, _NESTED)) + lines[at]
    elif way == 4 and b"=" in lines[at]:
        lines[at] += b"." + lines[at]
    else:
        return by_bytes(chance, good, others)
    return b"\n".join(lines)[:LARGEST]
