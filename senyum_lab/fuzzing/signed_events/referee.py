"""Decides which messages the contract allows, independently of the models of the product.

It has its own JSON reader, and checks the published JSON Schemas with the package jsonschema.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import jsonschema

from senyum_lab.fuzzing.signed_events.generate import CONTRACT, TYP, FuzzMessage

MAX_BYTES = 65_536
MAX_DEPTH = 32
MAX_NUMBER = 2**53 - 1
_TOPIC = re.compile(
    r"senyum/v1/([a-z0-9-]{1,32})/([a-z0-9-]{1,32})/([a-z0-9-]{1,32})/(event|state|health|reply/.*)"
)
_LATER = re.compile(r"[a-z0-9.-]{1,100}")


class Ruling(StrEnum):
    """What a receiver must do with a message."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    KEEP = "keep"  # an event of a later contract: kept for later, or refused


class _NotAllowed(Exception):
    pass


def _pattern(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[jsonschema.ValidationError]:
    r"""Match as in ECMA-262, where `$` is the end of the text (`\Z` in Python)."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError("does not match")


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


class Referee:
    """Judges the messages of units that are registered with their keys."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        """Create a referee with the entries of the key set of the receiver."""
        self._keys = {entry["kid"]: entry for entry in entries}
        self._schemas = {
            name: _Validator(json.loads((CONTRACT / "schema" / f"{name}.json").read_text("utf-8")))
            for name in (*TYP, "will", "header")
        }

    def judge(self, made: FuzzMessage) -> Ruling:
        """Return the ruling of the contract."""
        try:
            return self._judge(made)
        except _NotAllowed:
            return Ruling.REFUSE

    def _judge(self, made: FuzzMessage) -> Ruling:
        found = _TOPIC.fullmatch(made.topic)
        _need(found is not None and len(made.payload) <= MAX_BYTES)
        assert found is not None
        source = "urn:senyum:" + ":".join(found.groups()[:3])
        leaf, _, to = found[4].partition("/")
        if made.kind == "will":
            # The first byte and the topic identify a Last Will.
            _need(leaf == "state" and made.body.startswith("{"))
            _need(self._schemas["will"].is_valid(_read(made.body)))
            return Ruling.ACCEPT
        header = _read(made.header)
        key = self._header(header, leaf, source)
        body = _read(made.body)
        later = leaf == "event" and body.get("type") not in ("", None) and _is_later(body, source)
        if later:
            return Ruling.KEEP
        _need(self._schemas[leaf].is_valid(body))
        _need(body["source"] == source)
        _need(leaf != "reply" or body["to"] == to)
        clock = body.get("data", {}).get("clock", {}) if leaf != "reply" else {}
        if leaf != "reply" and clock["state"] != "unsynchronized":
            moment = datetime.fromisoformat(body["time"]).timestamp()
            _need(key.get("nbf", moment) <= moment <= key.get("exp", moment))
        return Ruling.ACCEPT

    def _header(self, header: dict[str, Any], leaf: str, source: str) -> dict[str, Any]:
        """Return the key that a header names. Raises _NotAllowed."""
        wanted = {"alg", "kid", "typ", *(() if leaf == "reply" else ("cty",))}
        _need(header.keys() == wanted and header["typ"] == TYP[leaf])
        _need(leaf == "reply" or header["cty"] == "cloudevents+json")
        _need(isinstance(header["kid"], str) and header["kid"] in self._keys)
        key = self._keys[header["kid"]]
        _need(key["alg"] == header["alg"] and key["unit"] == source)
        return key


def _need(holds: bool) -> None:
    if not holds:
        raise _NotAllowed


def _is_later(body: Mapping[str, Any], source: str) -> bool:
    type_ = body["type"]
    known = ("senyum.attendance.", "senyum.unit.")
    return (
        isinstance(type_, str)
        and _LATER.fullmatch(type_) is not None
        and body.get("source") == source
        and not (type_.startswith(known) and type_ in _KNOWN)
    )


_KNOWN = {
    "senyum.attendance.recorded.v1",
    "senyum.attendance.refused.v1",
    "senyum.unit.audit.v1",
    "senyum.unit.state.v1",
    "senyum.unit.health.v1",
}


def _read(text: str) -> dict[str, Any]:
    """Read a JSON object within the limits that the contract sets for every reader."""
    try:
        text.encode("utf-8")  # a surrogate in the bytes is not UTF-8
    except UnicodeEncodeError:
        raise _NotAllowed from None
    _need(_depth(text) <= MAX_DEPTH)
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_constant)
    except ValueError:
        raise _NotAllowed from None
    _need(isinstance(value, dict))
    _need(all(_allowed(node) for node in _nodes(value)))
    return dict(value)


def _depth(text: str) -> int:
    deepest = level = 0
    for piece in re.findall(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', text, re.DOTALL):
        level += (piece in "[{") - (piece in "]}")
        deepest = max(deepest, level)
    return deepest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _need(len({name for name, _ in pairs}) == len(pairs))
    return dict(pairs)


def _constant(_name: str) -> None:
    raise _NotAllowed


def _nodes(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _allowed(node: Any) -> bool:
    if isinstance(node, str):
        return not re.search(r"[\x00-\x1f\ud800-\udfff]", node)
    if isinstance(node, int | float) and not isinstance(node, bool):
        return -MAX_NUMBER <= node <= MAX_NUMBER
    return True
