"""Words for people."""

import json
import os
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.system.text import ascii_json, escaped, pluralize


@pytest.mark.parametrize(
    ("number", "one", "said"),
    [
        (0, "gap", "0 gaps"),
        (1, "unit", "1 unit"),
        (2, "unit", "2 units"),
        (1, "person", "1 person"),
        (7000, "person", "7000 people"),
        (2, "process", "2 processes"),
    ],
)
def test_one_is_one_and_more_are_more(number: int, one: str, said: str) -> None:
    assert pluralize(number, one) == said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Foto André.jpg", "Foto André.jpg"),
        (os.fsdecode(b"Foto Andr\xe9.jpg"), r"Foto Andr\xe9.jpg"),
        ("a\x1b[2Jb\nALARM", r"a\x1b[2Jb\x0aALARM"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\ud800", r"\ud800"),
        ("\x9b0m", r"\x9b0m"),
        ("\U000e0041", r"\U000e0041"),
        ("a\u00a0b\u2028c\u200bd", r"a\xa0b\u2028c\u200bd"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text(st.characters()) | st.binary().map(os.fsdecode))
def test_whatever_is_escaped_is_one_printable_line(text: str) -> None:
    shown = escaped(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode() == shown
    assert escaped(shown) == shown
    assert not any(
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl"} for character in shown
    )


def test_no_code_point_of_all_that_there_are_hides_or_steers() -> None:
    """Unicode's Default_Ignorable_Code_Point, and every category that is not shown."""
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    left = {c for c in escaped(every) if c > "~"}
    shown = {"L", "M", "N", "P", "S"}
    assert {unicodedata.category(c)[0] for c in left} <= shown
    invisible = (
        "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\ufe00\ufe0f\uffa0"
    )
    assert not left & {*invisible, *map(chr, range(0xE0000, 0xE1000))}
    assert {"é", "ñ", "字", "…", "–", "😀"} <= left  # noqa: RUF001


@given(st.recursive(st.text(st.characters()), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_in_ascii_is_the_same_json(value: object) -> None:
    text = ascii_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == json.loads(json.dumps(value))
    assert all(" " <= character <= "~" for character in text)
