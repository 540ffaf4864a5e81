"""Messages signed by registered keys: vectors of the contract with up to three faults each.

Message `number` of a seed is always the same, except for its position in the chain.
"""

import copy
import csv
import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.contract.jose import REGISTRY, b64url, digest, from_b64url, normalize_low_s
from edge.contract.keys import SigningKey
from senyum_lab.fuzzing.values import NUMBERS, STRINGS, Raw, of_field, written

CONTRACT = Path(__file__).parents[3] / "docs" / "contract"
TYP = {
    "event": "senyum-event+jws",
    "state": "senyum-state+jws",
    "health": "senyum-health+jws",
    "reply": "senyum-reply+jws",
}
KINDS = {"event": 50, "anchor": 8, "moved": 6, "state": 11, "health": 11, "reply": 10, "will": 4}
_UNTOUCHED = 0.2  # messages without a fault
_HEADER = 0.06  # with a changed header
_TOPIC = 0.03  # on another topic
_TEXT = 0.10  # whose JSON text is changed
_LATER = "senyum.attendance.corrected.v1"
_NESTED = (16, 28, 29, 30, 31, 32, 33, 100, 5000)


@dataclass(slots=True)
class FuzzUnit:
    """A unit that signs any content."""

    source: str
    key: SigningKey
    next: int = 1
    head: str | None = None

    @property
    def topic(self) -> str:
        return "senyum/v1/" + self.source.removeprefix("urn:senyum:").replace(":", "/")

    def accepted(self, token: str, number: int) -> None:
        """Advance the chain after a valid event."""
        if number == self.next:
            self.next += 1
            self.head = digest(token)


@dataclass(frozen=True, slots=True)
class FuzzMessage:
    """A message and its parts."""

    number: int
    kind: str  # event, state, health, reply or will
    unit: FuzzUnit
    topic: str
    payload: bytes
    header: str = ""  # JSON text
    body: str = ""  # JSON text


def _vectors() -> dict[str, list[dict[str, Any]]]:
    """Return the payloads of the valid vectors of the contract, by topic."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in TYP}
    for file in ("vectors.tsv", "replies.tsv"):
        with (CONTRACT / "vectors" / file).open(encoding="utf-8", newline="") as table:
            for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
                if row["verdict"] != "genuine":
                    continue
                token = (CONTRACT / "vectors" / row["message"]).read_text("ascii").strip()
                kind = row["topic"].split("/")[5]
                found[kind].append(json.loads(from_b64url(token.split(".")[1])))
    return found


@dataclass(slots=True)
class MessageGenerator:
    """Creates the messages of a seed."""

    seed: int
    units: list[FuzzUnit]
    _good: dict[str, list[dict[str, Any]]] = field(default_factory=_vectors)
    _schemas: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            name: json.loads((CONTRACT / "schema" / f"{name}.json").read_text("utf-8"))
            for name in (*TYP, "will")
        }
    )

    def make(self, number: int) -> FuzzMessage:
        """Return message `number`."""
        chance = random.Random(f"{self.seed} {number}")  # noqa: S311 - to be repeated
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        unit = chance.choice(self.units)
        body, leaf = self._body(chance, kind, unit)
        to = body.get("to", "")
        if chance.random() >= _UNTOUCHED:
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                self._alter(chance, body, self._schemas[leaf])
        text = written(body)
        if chance.random() < _TEXT:
            text = _altered_text(chance, text)
        topic = f"{unit.topic}/reply/{to}" if leaf == "reply" else f"{unit.topic}/{leaf}"
        if leaf == "will":
            topic = f"{unit.topic}/state"
        if chance.random() < _TOPIC:
            topic = self._other_topic(chance, topic)
        content = text.encode("utf-8", "surrogatepass")
        if leaf == "will":
            return FuzzMessage(number, "will", unit, topic, content, body=text)
        header = written(self._header(chance, unit, leaf))
        start = f"{b64url(header.encode('utf-8', 'surrogatepass'))}.{b64url(content)}"
        token = _signed(start, unit.key)
        return FuzzMessage(number, leaf, unit, topic, token.encode("ascii"), header, text)

    # --- valid messages ---------------------------------------------------------------------

    def _body(self, chance: random.Random, kind: str, unit: FuzzUnit) -> tuple[dict[str, Any], str]:
        """Return a valid payload and its topic."""
        if kind == "will":
            return {"status": "offline", "session": chance.randrange(1, 9)}, "will"
        leaf = kind if kind in TYP else "event"
        body: dict[str, Any] = copy.deepcopy(chance.choice(self._good[leaf]))
        second = chance.randrange(0, 86_400)
        body |= {"id": _uuid(chance), "source": unit.source}
        clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        body["time"] = f"2026-03-02T{clock}.000000Z"
        if leaf == "reply":
            body["to"] = _uuid(chance)
        elif leaf == "event":
            self._chain(chance, body, unit, kind)
        else:
            named = {"sequence": unit.next - 1, "head": unit.head}
            body["data"] |= named
        return body, leaf

    def _chain(
        self, chance: random.Random, body: dict[str, Any], unit: FuzzUnit, kind: str
    ) -> None:
        body["sequence"] = f"{unit.next:020d}"
        body.pop("previous", None)
        if unit.head is not None:
            body["previous"] = unit.head
        if kind == "event":
            return
        audits = [each for each in self._good["event"] if each["type"] == "senyum.unit.audit.v1"]
        body |= {
            "type": "senyum.unit.audit.v1",
            "data": copy.deepcopy(chance.choice(audits))["data"],
        }
        body.pop("subject", None)
        data, clock = body["data"], body["data"]["clock"]
        clock["boot_id"] = f"{chance.randrange(3):08d}-0000-4000-8000-000000000000"
        if kind == "anchor":
            data["code"], clock["state"] = "clock-anchor", "synchronized"
            data["detail"] = {
                "boot_id": clock["boot_id"],
                "monotonic_ns": clock["monotonic_ns"],
                "utc": body["time"],
            }
        else:
            data["code"] = "moved"
            other = chance.choice(self.units).source
            data["detail"] = {"from": other, "last": unit.next - 1}

    # --- faults -----------------------------------------------------------------------------

    def _alter(self, chance: random.Random, body: dict[str, Any], schema: dict[str, Any]) -> None:
        """Change one value or name."""
        node: Any = body
        schemas = [schema]
        root = schema
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            if not keys:
                return
            key = chance.choice(keys)
            schemas = [inner for each in schemas for inner in _below(root, each, key)]
            value = node[key]
            if not isinstance(value, dict | list) or not value or chance.random() < 0.1:
                break
            node = value
        way = chance.randrange(12)
        if way == 0 and isinstance(node, dict):
            del node[key]
        elif way == 1 and isinstance(node, dict):
            node[chance.choice(("x", "", "__class__", "constructor", "\ud800", "a\0"))] = value
        elif way == 2:
            node[key] = Raw("[" * (depth := chance.choice(_NESTED)) + "]" * depth)
        elif way == 3 and "type" in body and chance.random() < 0.3:
            body["type"] = chance.choice((_LATER, "senyum.unit.state.v1", "x" * 101, "", 1))
        else:
            merged = {name: bound for each in schemas for name, bound in each.items()}
            node[key] = of_field(chance, str(key), value, merged)

    def _header(self, chance: random.Random, unit: FuzzUnit, leaf: str) -> dict[str, Any]:
        header: dict[str, Any] = {"alg": unit.key.alg, "kid": unit.key.kid, "typ": TYP[leaf]}
        if leaf != "reply":
            header["cty"] = "cloudevents+json"
        if chance.random() >= _HEADER:
            return header
        name = chance.choice(list(header))
        way = chance.randrange(5)
        if way == 0:
            del header[name]
        elif way == 1:
            header[name] = chance.choice((*STRINGS, *NUMBERS, None, ["x"], {}))
        elif way == 2:
            header["kid"] = chance.choice(self.units).key.kid
        elif way == 3:
            header[chance.choice(("crit", "jwk", "b64", "x5c", ""))] = chance.choice(STRINGS)
        else:
            header["alg"] = chance.choice(("none", "EdDSA", "ES256", "Ed25519", "HS256"))
        return header

    def _other_topic(self, chance: random.Random, topic: str) -> str:
        levels = topic.split("/")
        at = chance.randrange(2, 5)
        names = ("UPPER", "a b", "\u202ex", "x" * 33, "gate-9", "é", "$x", "reply", "command")
        levels[at] = chance.choice(names)
        if chance.random() < 0.3:
            return chance.choice(self.units).topic + "/" + "/".join(levels[5:])
        return "/".join(levels)


def _signed(content: str, key: SigningKey) -> str:
    """Sign an arbitrary header; `SigningKey.sign` would create its own."""
    algorithm = REGISTRY.get_alg(key.alg)
    signature = algorithm.sign(content.encode("ascii"), key._key)  # noqa: SLF001
    token = f"{content}.{b64url(signature)}"
    return normalize_low_s(token) if key.alg == "ES256" else token


def _uuid(chance: random.Random) -> str:
    bits = chance.getrandbits(128) & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62)
    return str(uuid.UUID(int=bits))


def _below(root: Mapping[str, Any], schema: Mapping[str, Any], key: object) -> list[dict[str, Any]]:
    """Return the schemas of one member, from all branches of a schema."""
    found: list[dict[str, Any]] = []
    if "$ref" in schema:
        found += _below(root, root["$defs"][schema["$ref"].rpartition("/")[2]], key)
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        found += _below(root, branch, key)
    inner = schema.get("properties", {}).get(key)
    several = [inner] if inner else list(schema.get("patternProperties", {}).values())
    several += [schema["items"]] if isinstance(schema.get("items"), dict) else []
    for each in several:
        found += [each, *each.get("anyOf", ())]
        if "$ref" in each:
            found.append(root["$defs"][each["$ref"].rpartition("/")[2]])
    return found


def _altered_text(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text))
    return chance.choice(
        (
            "\ufeff" + text,
            text + chance.choice(("\n", " ", "\0", "}", ",", "\x1e")),
            text.replace("{", '{"id":1,', 1),
            text.replace('"data":{', '"data":{"clock":1,', 1),
            text.replace('"time"', '"\\u0074ime"', 1),
            text.replace("{", "{ \t\r\n", 1),
            text.replace('"', "'", 2),
            text.replace("null", "nul", 1),
            text[:at] + chance.choice('\x00\x7f\u2028,:]}"\\') + text[at:],
            chance.choice(("[]", "null", "1", '"x"', "{}", "[" * 20_000)),
        )
    )
