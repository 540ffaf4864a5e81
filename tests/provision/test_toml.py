"""What is written reads back as it was."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.appliance.provision.toml import dumps

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
VALUES = SCALARS | st.lists(SCALARS, max_size=3)
TABLES = st.recursive(
    st.dictionaries(TEXT, VALUES, max_size=4),
    lambda inner: st.dictionaries(
        TEXT, VALUES | inner | st.lists(inner, min_size=1, max_size=2), max_size=4
    ),
    max_leaves=8,
)


@given(TABLES)
def test_it_reads_back(content: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(content)) == content


def test_what_is_none_is_left_out_and_what_is_no_setting_refused() -> None:
    assert dumps({"a": None, "b": 1}) == "b = 1\n"
    with pytest.raises(TypeError, match="bytes"):
        dumps({"a": b"x"})
