"""Holds docs/security.md to its word: every row names tests that exist, or says what is open."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
COLUMNS = ("tries", "stops or shows it", "proven by", "open")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
WHO = {
    "An employee",
    "A technician, who has the unit open and may be root on it",
    "A unit that somebody has taken over",
    "Who runs the broker",
    "A thief of the card, or of the whole unit",
    "Who works at the centre",
    "Somebody on the network",
    "The supply chain",
}


def rows() -> list[tuple[str, ...]]:
    """Return the cells of every row, the columns' names and lines under them left out."""
    tables = [line for line in PAGE.splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in tables]
    return [row for row in cells if row != COLUMNS and not set("".join(row)) <= {"-"}]


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_everybody_is_there() -> None:
    assert set(re.findall(r"(?m)^## (.+)$", PAGE)) == WHO | {"People's data"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_a_row_is_proven_or_says_that_it_is_open(row: tuple[str, ...]) -> None:
    assert len(row) == len(COLUMNS)
    _tries, stops, proven, left = row
    assert stops
    assert left == "-" or left.startswith("open: ")
    assert TEST.search(proven) or left.startswith("open: ")


@pytest.mark.parametrize(("path", "name"), sorted(set(TEST.findall(PAGE))))
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert name in functions(path)


def test_each_mention_of_a_test_is_one_that_was_looked_for() -> None:
    """A name that is misspelt as a whole would be passed over by the test above."""
    assert PAGE.count("tests/") == len(TEST.findall(PAGE))
