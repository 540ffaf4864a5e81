"""Words for people."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.wording import counted, escaped


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
    assert counted(number, one) == said


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
