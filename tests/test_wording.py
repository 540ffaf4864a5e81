"""Words for people."""

import pytest

from edge.wording import counted


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
