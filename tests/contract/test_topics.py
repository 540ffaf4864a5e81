import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.jose import b64url
from edge.contract.topics import TopicKind, UnitName, event_topic, parse, subscription
from edge.settings import UnitSettings

names = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
units = st.builds(UnitName, names, names, names)


@given(units, st.sampled_from(TopicKind))
def test_a_topic_reads_back(unit: UnitName, leaf: TopicKind) -> None:
    assert parse(unit.topic(leaf)) == (unit, leaf)


@given(units)
def test_a_source_reads_back(unit: UnitName) -> None:
    assert UnitName.from_source(unit.source) == unit


@given(units, units)
def test_two_units_share_no_client_id(one: UnitName, other: UnitName) -> None:
    assert (one.client_id == other.client_id) == (one == other)


@given(st.text())
def test_any_text_is_a_topic_or_a_value_error(text: str) -> None:
    for topic in (text, f"senyum/v1/{text}", f"senyum/v1/a/b/{text}/event"):
        try:
            unit, leaf = parse(topic)
        except ValueError:
            continue
        assert unit.topic(leaf) == topic


def test_the_settings_give_the_same_source() -> None:
    settings = UnitSettings(org="a", site="b", name="c")
    assert UnitName.of(settings).source == settings.source == "urn:senyum:a:b:c"


@pytest.mark.parametrize(
    "topic",
    [
        "senyum/v1/a/b/c",
        "senyum/v1/a/b/c/d/event",
        "senyum/v2/a/b/c/event",
        "senyum/v1/a/b/c/roster",
        "senyum/v1/a/B/c/event",
        "senyum/v1/a//c/event",
        "senyum/v1/a/b/c/event\n",
        "senyum/v1/+/b/c/event",
        "x/senyum/v1/a/b/c/event",
        f"senyum/v1/a/{'b' * 33}/c/event",
        "senyum/v1/a/b/\u0661/event",
    ],
)
def test_what_is_no_topic_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        parse(topic)


@pytest.mark.parametrize(
    "urn", ["urn:senyum:a:b", "urn:senyum:a:b:c:d", "a:b:c", "urn:senyum:a:b:C"]
)
def test_what_is_no_source_is_refused(urn: str) -> None:
    with pytest.raises(ValueError, match=r"urn:senyum|no name"):
        UnitName.from_source(urn)


def test_subscriptions() -> None:
    assert subscription(TopicKind.EVENT) == "senyum/v1/+/+/+/event"
    assert subscription(TopicKind.STATE, "central") == "$share/central/senyum/v1/+/+/+/state"
    with pytest.raises(ValueError, match="group"):
        subscription(TopicKind.EVENT, "a/b")


@given(units, units)
def test_an_event_belongs_under_the_name_it_was_signed_with(one: UnitName, other: UnitName) -> None:
    opening = {"specversion": "1.0", "id": "0" * 36, "source": one.source, "data": "x" * 200}
    content = json.dumps(opening, separators=(",", ":")).encode()
    assert event_topic(f"e30.{b64url(content)}.AA", other) == one.topic(TopicKind.EVENT)


@pytest.mark.parametrize("token", ["", "a", "e30.e30.AA", "..", "e30.\u00e4\u00f6.AA"])
def test_what_says_nothing_of_its_name_is_taken_for_the_unit_s_own(token: str) -> None:
    unit = UnitName("a", "b", "c")
    assert event_topic(token, unit) == unit.topic(TopicKind.EVENT)
