"""Every code that a unit or its doctor can say stands in the page, once, and no other does."""

import re
from collections import Counter
from pathlib import Path

from edge.appliance.doctor.diagnostics import DiagnosticCode
from edge.errors import ErrorCode

PAGE = Path(__file__).parent.parent / "docs" / "troubleshooting.md"
ROW = re.compile(r"^\| `([a-z-]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def test_every_code_is_explained_once() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    codes = Counter(code for code, *_ in rows)
    assert {code for code, count in codes.items() if count > 1} == set()
    assert set(codes) == set(ErrorCode) | set(DiagnosticCode)
    assert all(cell.strip() for row in rows for cell in row)


def test_what_health_and_doctor_both_say_means_the_same() -> None:
    assert set(ErrorCode) & set(DiagnosticCode) == {"under-voltage", "too-hot"}
