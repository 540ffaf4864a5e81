"""Check that every row of docs/security.md names tests that exist, or a remaining risk."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
COLUMNS = ("attempt", "protection", "proven by", "open")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ATTACKERS = {
    "An employee",
    "A technician with physical access, possibly root",
    "A compromised device",
    "The broker operator",
    "A thief of the card or the device",
    "Server staff",
    "A network attacker",
    "The supply chain",
}


def rows() -> list[tuple[str, ...]]:
    """Return the cells of every row, without the header rows."""
    tables = [line for line in PAGE.splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in tables]
    return [row for row in cells if row != COLUMNS and not set("".join(row)) <= {"-"}]


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_attacker_has_a_section() -> None:
    assert set(re.findall(r"(?m)^## (.+)$", PAGE)) == ATTACKERS | {"Personal data"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_a_row_names_a_test_or_a_remaining_risk(row: tuple[str, ...]) -> None:
    assert len(row) == len(COLUMNS)
    _attempt, protection, proven, left = row
    assert protection
    assert left == "-" or left.startswith("open: ")
    assert TEST.search(proven) or left.startswith("open: ")


@pytest.mark.parametrize(("path", "name"), sorted(set(TEST.findall(PAGE))))
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert name in functions(path)


def test_every_mention_of_a_test_is_checked() -> None:
    """A misspelt path would not match the pattern above."""
    assert PAGE.count("tests/") == len(TEST.findall(PAGE))
