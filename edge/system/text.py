"""Words for people: what is wrong with a value, how many there are, and foreign text made safe."""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# By the type of the error, where the library's own sentence speaks to programmers.
_PLAIN = {
    "extra_forbidden": "is not known here; remove it or correct its spelling",
    "missing": "is missing; add it",
}
_PATTERNS = {"^[a-z0-9-]{1,32}$": "must be 1 to 32 lower case letters, digits and hyphens"}


_MANY = {"person": "people", "process": "processes"}  # what ends otherwise than in s


def pluralize(number: int, one: str) -> str:
    """Return `1 unit`, `2 units`, `2 people`."""
    return f"{number} {one if number == 1 else _MANY.get(one, one + 's')}"


def describe_validation_error(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, without the value; `error` is one of `errors()`.

    It follows the name of the value, or that and "is" and the value, as in "camera.fps is 99: must
    be less than or equal to 60".
    """
    pattern = error.get("ctx", {}).get("pattern")
    message = _PLAIN.get(error["type"]) or _PATTERNS.get(pattern) or str(error["msg"])
    return message.removeprefix("Value error, ").replace("Input should", "must", 1)


_BEYOND_ASCII_JSON = re.compile(r"[^\n -\x7f]")
_BEYOND_ASCII_TEXT = re.compile(r"[^ -~]")
# Printable in the eyes of Python, and shown as nothing (Default_Ignorable_Code_Point) or a blank.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def escaped(text: object) -> str:
    r"""Return foreign text (a file name, a cell, a message) as one line that is safe to display.

    Every character that is invisible or not printable becomes `\xNN`, `\uNNNN` or `\UNNNNNNNN`. So
    does a byte of a file name that is not UTF-8, which Python keeps as half a surrogate pair.
    """
    return _BEYOND_ASCII_TEXT.sub(lambda found: _stand_in(found[0]), str(text))


def ascii_json(text: str) -> str:
    r"""Return the same JSON text in printable ASCII and line breaks, which is safe to display."""
    return _BEYOND_ASCII_JSON.sub(lambda found: json.dumps(found[0])[1:-1], text).replace(
        "\x7f", "\\u007f"
    )


def _stand_in(character: str) -> str:
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode: byte 0x80 to 0xFF
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


# They show nothing and change nothing of the text around them: soft hyphen, zero-width space,
# left-to-right marks as Windows puts around what it copies, and the byte order mark.
_LEFT_OUT = re.compile("[\u00ad\u200b\u200e\u202a\u202c\u2060\u2066\u2069\ufeff]")


def visible(text: str) -> str:
    """Return text without characters that show nothing, its white space as single spaces."""
    return " ".join(_LEFT_OUT.sub("", text).split())


def named(character: str) -> str:
    """Return a character as `U+200B ZERO WIDTH SPACE`."""
    name = unicodedata.name(character, "")
    if not name:
        is_control = unicodedata.category(character) == "Cc"
        name = "(control character)" if is_control else "(character without a name)"
    return f"U+{ord(character):04X} {name}"
