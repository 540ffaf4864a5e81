"""The schemas accept exactly what the models accept."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from contract import good, schemas
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from pydantic import ValidationError as ModelError

from edge.contract.envelope import TYP, EnvelopeRejected, parse_will
from edge.contract.events import ANY_EVENT, timestamp
from edge.contract.jose import from_b64url
from edge.contract.keys import KeySet, SigningKey
from edge.contract.topics import TopicKind, UnitName

Json = dict[str, Any]
Place = tuple[str | int, ...]


def by_ecma(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    """Read `$` as ECMA-262 does, which JSON Schema names: Python's is also before a line end."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


Validator = extend(Draft202012Validator, {"pattern": by_ecma})
EVERY = schemas.every()
SIGNED = [kind.value for kind in TopicKind]
CHECKS = {name: Validator(schema) for name, schema in EVERY.items()}


def payload_of(token: bytes) -> Json:
    content: Json = json.loads(from_b64url(token.decode().split(".")[1]))
    return content


GOOD = [payload_of(vector.message) for vector in good.vectors() if vector.verdict == "genuine"]


def of_schema(event: Any) -> bool:
    return any(CHECKS[name].is_valid(event) for name in SIGNED)


def of_model(event: Any) -> bool:
    try:
        ANY_EVENT.validate_json(json.dumps(event))
    except ModelError:
        return False
    return True


def places(content: Any, at: Place = ()) -> Iterator[Place]:
    yield at
    if isinstance(content, dict | list):
        names = content.items() if isinstance(content, dict) else enumerate(content)
        for name, part in names:
            yield from places(part, (*at, name))


def parts(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        for part in content.values():
            yield from parts(part)
    else:
        yield content


TIMES = [
    "2024-02-29T23:59:59.999999Z", "2025-02-29T00:00:00.000000Z", "2100-01-01T00:00:00.000000Z",
    "2019-12-31T23:59:59.999999Z", "2100-01-01T00:00:00.000001Z", "2000-02-29T00:00:00.000000Z",
    "2100-02-29T00:00:00.000000Z", "2026-04-31T00:00:00.000000Z", "2026-12-31T24:00:00.000000Z",
    "2026-00-01T00:00:00.000000Z", "0999-01-01T00:00:00.000000Z", "2026-01-01T00:00:00Z",
]  # fmt: skip
ODD = [
    None, True, False, 0, 1, -1, 2, 1.0, -0.0, 2.0**53, 1e300, 2**53 - 1, 2**53, -(2**53), 0.5,
    -0.5, 1.5, 90.5, 100.5, 180.5, 2**63 - 1, 10**6, "", "x", "offline", "recorded", "refused",
    "started", "holdover", "accepted", [], {}, ["x"], ["X"], {"x": 1}, {"X": 1}, {"x": "a" * 64},
    "a" * 32, "a" * 32 + "\n", "a" * 64, "A" * 43, "x" * 200, "x" * 201, "\x00", "\x1f", "\u2028",
    "\U0001f600" * 200, "a\u0301" * 150, "0" * 20, f"{1:020d}", f"{2:020d}", "1" * 20,
    "urn:senyum:a:b:c", "urn:senyum:a:b", "1.0", "application/json",
    "senyum.attendance.recorded.v1", "senyum.attendance.refused.v1", "senyum.unit.audit.v1",
    "senyum.unit.state.v1", "senyum.unit.health.v1", *TIMES,
]  # fmt: skip
NAMES = sorted({str(place[-1]) for event in GOOD for place in places(event) if place})
VALUES = st.sampled_from(ODD) | st.sampled_from([part for event in GOOD for part in parts(event)])
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 10_000), st.sampled_from(["put", "take", "add"]), VALUES,
        st.sampled_from([*NAMES, "note", "No Name"]),
    ),
    max_size=3,
)  # fmt: skip


def change(event: Json, where: int, how: str, value: Any, name: str) -> None:
    """Put, take or add something at one of the event's places."""
    every = [place for place in places(event) if place]
    if not every:
        return
    *path, last = every[where % len(every)]
    value = deepcopy(value)
    parent: Any = event
    for step in path:
        parent = parent[step]
    if how == "take":
        del parent[last]
    elif how == "put" or not isinstance(parent, dict):
        parent[last] = value
    else:
        parent[name] = value


@pytest.mark.parametrize("name", EVERY)
def test_a_schema_is_of_2020_12_and_says_what_everything_means(name: str) -> None:
    Draft202012Validator.check_schema(EVERY[name])
    assert EVERY[name]["$id"] == f"urn:senyum:contract:1:schema:{name}"
    for part in EVERY[name].get("$defs", {}).values() if name != "keys" else []:
        for field in part.get("properties", {}).values():
            assert field["description"]


def test_the_description_of_an_enumeration_explains_each_value() -> None:
    for schema in EVERY.values():
        for part in schema.get("$defs", {}).values():
            if "enum" in part:
                for value in part["enum"]:
                    assert f"`{value}`: " in part["description"]


def test_what_a_unit_signs_is_of_its_schema() -> None:
    for event in GOOD:
        assert of_model(event)
        assert of_schema(event)


@given(event=st.sampled_from(GOOD), changes=CHANGES)
@settings(max_examples=1500, deadline=None)
def test_schema_and_model_agree_on_spoilt_events(event: Json, changes: list[Any]) -> None:
    spoilt = deepcopy(event)
    for one in changes:
        change(spoilt, *one)
    assert of_schema(spoilt) == of_model(spoilt)


@pytest.mark.parametrize("time", TIMES)
def test_time_is_of_a_real_calendar(time: str) -> None:
    event = {**GOOD[0], "time": time}
    assert of_schema(event) == of_model(event) == (time in {TIMES[0], TIMES[2]})


@given(st.integers(0, 253_402_300_799_999_999_999))
def test_every_moment_of_a_clock_is_a_time(utc_ns: int) -> None:
    assert of_schema({**GOOD[0], "time": timestamp(utc_ns)})


@pytest.mark.parametrize("one", range(len(schemas.SMILE)))
@pytest.mark.parametrize("value", [None, 5.5])
def test_the_limits_of_the_smile_go_together(one: int, value: float | None) -> None:
    for event in GOOD:
        if "thresholds" not in event["data"]:
            continue
        limits = {**event["data"]["thresholds"], schemas.SMILE[one]: value}
        spoilt = {**event, "data": {**event["data"], "thresholds": limits}}
        assert (
            of_schema(spoilt)
            == of_model(spoilt)
            == (len({limits[n] is None for n in schemas.SMILE}) == 1)
        )


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(["offline", "online", 1, None]),
            "session": st.sampled_from([0, 3, -1, 2**63 - 1, "3", None, 2.5, True]),
            "note": st.just(1),
        },
    )
)
def test_schema_and_model_agree_on_the_will(content: Json) -> None:
    try:
        parse_will(json.dumps(content).encode())
        accepted = True
    except EnvelopeRejected:
        accepted = False
    assert CHECKS["will"].is_valid(content) == accepted


def test_the_header_is_of_its_schema(tmp_path: Path) -> None:
    for alg in ("Ed25519", "ES256"):
        key = SigningKey.load_or_create(tmp_path / alg, alg)
        for typ in TYP.values():
            header = {"alg": alg, "kid": key.kid, "typ": typ, "cty": "cloudevents+json"}
            assert CHECKS["header"].is_valid(header)
            for name in header:
                assert not CHECKS["header"].is_valid({**header, name: "other"})
                assert not CHECKS["header"].is_valid({**header, "jku": "https://example.org"})


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
@pytest.mark.parametrize(
    "change",
    [
        {}, {"nbf": 1577836800}, {"exp": 4102444800}, {"exp": 1.6e9}, {"nbf": 1577836799},
        {"exp": 4102444801}, {"nbf": "1"}, {"exp": 1600000000.5}, {"d": "x"}, {"kty": "RSA"},
        {"nbf": None}, {"x": "A" * 42 + "B"},
        {"crv": "P-384"}, {"x": "AAAA"}, {"alg": "none"}, {"kid": None}, {"unit": None},
        {"unit": "urn:senyum:a:b"}, {"unit": "urn:senyum:A:b:c"},
    ],
)  # fmt: skip
def test_the_key_set_is_of_its_schema(tmp_path: Path, alg: str, change: Json) -> None:
    key = SigningKey.load_or_create(tmp_path / "key", alg)
    entry = {**key.registration(UnitName("a", "b", "c")), **change}
    try:
        KeySet.of([entry])
        accepted = True
    except ValueError:
        accepted = False
    assert CHECKS["keys"].is_valid({"keys": [entry]}) == accepted
    assert accepted == (change in ({}, {"nbf": 1577836800}, {"exp": 4102444800}, {"exp": 1.6e9}))
