"""Provisioning changes values in senyum.toml and keeps everything else of it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from desk import Desk, claim
from hypothesis import given
from hypothesis import strategies as st

from edge.appliance.provision.current_config import CurrentConfig

KEYS = st.text("abcdefgh-_. \"'#\\é", min_size=1, max_size=6)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
VALUES = SCALARS | st.lists(SCALARS, max_size=3)
TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=4),
    lambda inner: st.dictionaries(
        KEYS, VALUES | inner | st.lists(inner, min_size=1, max_size=2), max_size=4
    ),
    max_leaves=8,
)


def updated(text: str, content: dict[str, Any]) -> str:
    return CurrentConfig(Path("senyum.toml"), tomllib.loads(text), text).updated(content)[0]


@given(TABLES, TABLES)
def test_the_new_values_are_read_back(before: dict[str, Any], after: dict[str, Any]) -> None:
    text = updated(tomlkit.dumps(before), after)
    assert tomllib.loads(text) == after


@pytest.mark.parametrize(
    "before",
    [
        'gpio.green = 17\nbroker.host = "a"\n',
        'gpio = { green = 17, red = 27 }\nbroker = { host = "a" }\n',
        '[gpio]\ngreen = 17\n[broker]\nhost = "a"\n[gpio.extra]\nx = 1\n',
        '[broker.others.x]\na = 1\n[gpio]\n[broker]\nhost = "a"\n[broker.more]\nb = 2\n',
        '[[broker.others]]\nhost = "b"\n[gpio]\ngreen = 17\n',
    ],
)
def test_any_layout_is_updated(before: str) -> None:
    after = {
        "gpio": {"green": 5, "red": 6},
        "broker": {"host": "c", "others": [{"host": "d"}, {"host": "e", "port": 1}]},
        "unit": {"org": "x", "place": {"latitude": 1.5}},
    }
    assert tomllib.loads(updated(before, after)) == after


def test_a_layout_that_tomlkit_cannot_update_loses_its_comments() -> None:
    before = """
[broker.camera]
b.b = [1, 2]  # two
[unit.unit]
camera.broker = "x"
[[b.gpio]]
a = 1
"""
    after = {
        "broker": {
            "camera": {"b": {"b": [1, 2], "broker": {"a": 1}}, "camera": 1},
            "gpio": [{"a": 1}, {"b": 2}],
        },
        "b": True,
    }
    config = CurrentConfig(Path("senyum.toml"), tomllib.loads(before), before)
    text, remarks = config.updated(after)
    assert tomllib.loads(text) == after
    assert remarks == (
        "senyum.toml: written without its comments, because its layout is too unusual",
    )


def test_comments_and_order_survive(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    before = f"""# Door 3, beside the lift.
[gpio]
red = 27
green = 17  # moved for the fan

# Slow visitors.
[attendance]
smile_threshold = 60.0  # agreed with the office

[outbox]
file = "{desk.state / "outbox.db"}"
signing_key = "{desk.state / "signing.key"}"

[roster]
key = "{desk.etc / "roster.key"}"
"""
    desk.config.write_text(before)
    desk.provision(claim(gpio={"green": 5}))
    text = desk.config.read_text()
    assert text.startswith(before.replace("green = 17", "green = 5"))
    assert desk.settings.unit.name == "lobby-1"
    assert desk.settings.broker.host == "broker.example.go.id"
