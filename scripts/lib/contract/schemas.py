"""JSON Schema 2020-12 of every message, from the models that the code checks them with.

What a model's Python says and its fields do not stands in RULES; a test holds both against many
events, good and spoilt.
"""

import inspect
from collections.abc import Iterator
from enum import StrEnum
from types import NoneType
from typing import Any, Final, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from contract import words
from edge.contract import commands as command
from edge.contract import events as payload
from edge.contract import roster_manifest as manifest
from edge.contract.algorithms import ALGORITHMS, REFUSED_POINTS, Algorithm
from edge.contract.authority import ROLES, UNITS, Role
from edge.contract.encryption import ALG, USE
from edge.contract.envelope import CTY, TYP
from edge.contract.jose import b64url
from edge.contract.limits import EARLIEST, LATEST
from edge.contract.topics import TopicKind
from edge.system import clock
from edge.types import AuditCode, Direction, Outcome, Reason

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DIGEST: Final = "^[A-Za-z0-9_-]{43}$"  # base64url of 32 bytes
COORDINATE: Final = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"  # in its one canonical spelling
# Whatever is null where no smile was asked; nothing else among the limits may be.
SMILE: Final = tuple(
    name
    for name, field in payload.Thresholds.model_fields.items()
    if NoneType in get_args(field.annotation)
)

MESSAGES: Final[dict[str, tuple[Any, str]]] = {
    TopicKind.EVENT: (
        payload.AttendanceEvent | payload.AuditEvent,
        "Payload of the JWS on `event`: an attempt, or something about the unit, in one chain.",
    ),
    TopicKind.STATE: (payload.StateEvent, "Payload of the JWS on `state`."),
    TopicKind.HEALTH: (payload.HealthEvent, "Payload of the JWS on `health`."),
    "will": (payload.Will, "The Last Will on `state`: plain JSON, the only unsigned message."),
}

ORDERS: Final[dict[str, tuple[Any, str]]] = {
    "command": (command.Command, "Payload of the JWS on `command/{name}`."),
    "command-replay": (command.ReplayData, "`data` of the command replay."),
    "command-settings": (command.SettingsData, "`data` of the command settings."),
    "reply": (command.Reply, "Payload of the JWS on `reply/{id}`."),
    "roster": (
        manifest.RosterManifest,
        (
            "Payload of the JWS on `roster`: which roster, in which chunks, for which unit. Beyond "
            "this schema, no two chunks have one name, and their sizes, less 28 bytes each, come "
            "to `size`."
        ),
    ),
}

_FIRST: Final = {"properties": {"sequence": {"const": f"{1:020d}"}}}
_CHAIN: Final = {
    "if": _FIRST,
    "then": {"properties": {"previous": {"type": "null"}}},
    "else": {"required": ["previous"], "properties": {"previous": {"type": "string"}}},
}


_POSITION: Final = {
    "if": {"properties": {"sequence": {"const": 0}}},
    "then": {"properties": {"head": {"type": "null"}}},
    "else": {"properties": {"head": {"type": "string"}}},
}
_ANCHOR: Final = {
    "if": {"properties": {"code": {"const": AuditCode.CLOCK_ANCHOR.value}}},
    "then": {
        "properties": {
            "detail": {
                "type": "object",
                "properties": {
                    name: {"type": "string", **kind.json_schema()}
                    for name, kind in payload.OF_ANCHOR.items()
                },
            }
        }
    },
}


def _outcome(outcome: Outcome) -> Schema:
    return {"data": {"type": "object", "properties": {"outcome": {"const": outcome.value}}}}


def _recorded() -> Schema:
    live = {"type": "object", "properties": {"live": {"enum": [True, None]}}}
    outcome = _outcome(Outcome.RECORDED)
    outcome["data"]["properties"]["liveness"] = live
    return outcome


def _reasons(outcome: Outcome) -> Schema:
    return {
        "if": {"properties": {"outcome": {"const": outcome.value}}},
        "then": {"properties": {"reason": {"enum": sorted(payload.REASONS[outcome])}}},
    }


def _liveness(judged: bool, *, any_frames: bool) -> Schema:
    """Return one of the ways in which what was judged and what came of it go together."""
    frames: Schema = {"type": "integer", "minimum": 1} if any_frames else {"const": 0}
    return {
        "properties": {
            "judged": {"const": judged},
            "live": {"type": "boolean" if judged else "null"},
            "frames": frames,
            "score": {"type": "number" if any_frames else "null"},
        }
    }


def _given(*names: str) -> Schema:
    others = command.ReplayData.model_fields.keys() - names
    properties = {name: {"type": "null"} for name in sorted(others)}
    return {"required": list(names), "properties": properties}


RULES: Final[dict[type[BaseModel], list[Schema]]] = {
    payload.AttendanceEvent: [
        _CHAIN,
        {
            "if": {"properties": {"type": {"const": payload.RECORDED}}},
            "then": {
                "required": ["subject"],
                "properties": {"subject": {"type": "string"}, **_recorded()},
            },
            "else": {"properties": _outcome(Outcome.REFUSED)},
        },
    ],
    payload.AuditEvent: [_CHAIN],
    payload.AttendanceData: [_reasons(outcome) for outcome in Outcome],
    payload.AuditData: [_ANCHOR],
    payload.StateData: [_POSITION],
    payload.HealthData: [_POSITION],
    command.ReplayData: [{"anyOf": [_given("first", "last"), _given("begin", "end")]}],
    command.Reply: [
        {
            "if": {"properties": {"ok": {"const": True}}},
            "then": {"properties": {"reason": {"type": "null"}}},
            "else": {"properties": {"reason": {"type": "string"}}},
        }
    ],
    payload.LivenessData: [
        {
            "anyOf": [
                _liveness(judged=True, any_frames=True),
                _liveness(judged=False, any_frames=True),
                _liveness(judged=False, any_frames=False),
            ]
        }
    ],
    payload.Thresholds: [
        {
            "anyOf": [
                {"properties": {name: {"type": kind} for name in SMILE}}
                for kind in ("null", "number")
            ]
        }
    ],
}


class _Plain(GenerateJsonSchema):
    """Titles that only repeat the name of a field help nobody."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _classes(base: type) -> Iterator[tuple[str, Any]]:
    for module in (payload, clock, command, manifest):
        yield from inspect.getmembers(module, lambda x: inspect.isclass(x) and issubclass(x, base))


MODELS: Final[dict[str, type[BaseModel]]] = dict(_classes(BaseModel))
ENUMS: Final[dict[str, type[StrEnum]]] = {
    **dict(_classes(StrEnum)),
    **{kind.__name__: kind for kind in (AuditCode, Direction, Outcome, Reason)},
}


def described(model: type[BaseModel], field: str) -> str:
    """Return what a field means; LookupError says where to write it."""
    own = model.model_fields[field].description
    if own is not None:
        return own
    for base in model.__mro__:
        if (text := words.FIELDS.get(base.__name__, {}).get(field)) is not None:
            return text
    raise LookupError(
        f"{model.__name__}.{field} has no description; give the field one, or add it to "
        "scripts/lib/contract/words.py"
    )


def _values(kind: type[StrEnum]) -> str:
    """Return the meaning of each value; LookupError says where to write it."""
    known = words.VALUES.get(kind.__name__, {})
    if missing := [value for value in kind if value.value not in known]:
        raise LookupError(
            f"{kind.__name__} {missing[0].value!r} has no description; add it to "
            "scripts/lib/contract/words.py"
        )
    return "\n".join(f"`{value.value}`: {known[value.value]}." for value in kind)


def _swept(schema: Any) -> Any:
    """Drop what is no JSON Schema or means nothing here, and close what pydantic leaves open."""
    if isinstance(schema, list):
        return [_swept(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    swept: Schema = {}
    for word, part in schema.items():
        if word in {"properties", "patternProperties", "$defs"}:
            swept[word] = {name: _swept(content) for name, content in part.items()}
        elif word not in {"discriminator", "default"}:
            swept["anyOf" if word == "oneOf" else word] = _swept(part)
    if "patternProperties" in swept:
        swept.setdefault("additionalProperties", False)
    return swept


def _explain(name: str, schema: Schema) -> Schema:
    """Add to the schema of one class its words and its rules."""
    if name in ENUMS:
        return {**schema, "description": f"{schema['description']}\n{_values(ENUMS[name])}"}
    model = MODELS[name]
    properties = {
        field: {"description": described(model, field), **part}
        for field, part in schema["properties"].items()
    }
    rules = RULES.get(model)
    return {**schema, "properties": properties, **({"allOf": rules} if rules else {})}


def message(name: str) -> Schema:
    """Return the schema of one kind of message by its name in MESSAGES or ORDERS."""
    source, description = {**MESSAGES, **ORDERS}[name]
    swept = _swept(TypeAdapter(source).json_schema(schema_generator=_Plain))
    parts = {part: _explain(part, content) for part, content in swept.pop("$defs", {}).items()}
    if swept.get("title") in MODELS:
        parts[swept["title"]] = _explain(swept["title"], swept)
        swept = {"$ref": f"#/$defs/{swept['title']}"}
    return {
        **_head(name, description),
        **swept,
        "$defs": dict(sorted(parts.items())),
    }


def _head(name: str, description: str) -> Schema:
    return {
        "$schema": DIALECT,
        "$id": f"urn:senyum:contract:1:schema:{name}",
        "description": description,
    }


def header() -> Schema:
    """Return the schema of the protected header, by topic."""
    parts: Schema = {
        leaf.value: {
            "type": "object",
            "properties": {
                "alg": {
                    "enum": list(ALGORITHMS),
                    "description": "The registered key's own, never only the header's word.",
                },
                "kid": {
                    "type": "string",
                    "pattern": DIGEST,
                    "description": "RFC 7638 thumbprint of the key, registered for this unit.",
                },
                "typ": {"const": typ, "description": "What a message on this topic is."},
                "cty": {"const": CTY, "description": "What the payload is."},
            },
            "required": ["alg", "kid", "typ", "cty"],
            "additionalProperties": False,
        }
        for leaf, typ in TYP.items()
    }
    for name, typ, whose in (
        ("command", command.COMMAND_TYP, "authority's"),
        ("reply", command.REPLY_TYP, "unit's"),
    ):
        meaning = "What a message on this topic is."
        properties = {**parts[TopicKind.EVENT]["properties"]}
        properties["typ"] = {"const": typ, "description": meaning}
        del properties["cty"]
        properties["kid"] = {
            "type": "string",
            "pattern": DIGEST,
            "description": f"RFC 7638 thumbprint of the {whose} key.",
        }
        parts[name] = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    return {
        **_head("header", "Protected header of the compact JWS, one definition a topic."),
        "anyOf": [{"$ref": f"#/$defs/{leaf}"} for leaf in parts],
        "$defs": parts,
    }


def _kinds() -> list[Schema]:
    return [
        {
            "properties": {
                "use": {"const": "sig"},
                "kty": {"const": kind.kty},
                "crv": {"const": kind.crv},
                "alg": {"const": alg},
                **{
                    member: {"type": "string", "pattern": COORDINATE, **_refused(kind)}
                    for member in kind.members
                },
            },
            "required": ["kty", "crv", "alg", *kind.members],
        }
        for alg, kind in ALGORITHMS.items()
    ]


def _refused(kind: Algorithm) -> Schema:
    """Return what no coordinate of a key is: a point of small order, or one spelt otherwise."""
    if kind.crv != "Ed25519":
        return {}
    return {"not": {"enum": sorted(map(b64url, REFUSED_POINTS))}}


def keys() -> Schema:
    """Return the schema of the key set that a central server trusts."""
    unit = {
        **_swept(TypeAdapter(payload.UnitUrn).json_schema()),
        "description": "The one unit that this key may speak for.",
    }
    text = "JWK set of the units' public keys, with whose each is and when."
    return _key_set("keys", text, {"unit": unit}, [*_kinds(), _encrypting()])


def _encrypting() -> Schema:
    fixed = {"kty": "OKP", "crv": "X25519", "alg": ALG, "use": USE}
    return {
        "description": "What rosters are encrypted to; it verifies nothing.",
        "properties": {
            **{member: {"const": value} for member, value in fixed.items()},
            "x": {"type": "string", "pattern": COORDINATE},
        },
        "required": [*fixed, "x"],
    }


def authorities() -> Schema:
    """Return the schema of a unit's file of authorities."""
    own = {
        ROLES: {
            "type": "array",
            "items": {"enum": list(Role)},
            "minItems": 1,
            "description": "What the key may order.",
        },
        UNITS: {
            "type": "array",
            "items": {"type": "string", "pattern": r"^urn:senyum(:([a-z0-9-]{1,32}|\*)){3}$"},
            "minItems": 1,
            "description": "Of which units; a name may be `*`.",
        },
    }
    text = "JWK set of those whom a unit obeys, with what each may order and of whom."
    return _key_set("authorities", text, own, _kinds())


def _key_set(name: str, description: str, own: Schema, kinds: list[Schema]) -> Schema:
    bounds = {
        "type": "integer",
        "minimum": int(EARLIEST.timestamp()),
        "maximum": int(LATEST.timestamp()),
    }
    seconds = "seconds since 1970, inclusive; absent: no bound"
    key = {
        "type": "object",
        "properties": {
            "kid": {"type": "string", "pattern": DIGEST, "description": "RFC 7638 thumbprint."},
            **own,
            "nbf": {**bounds, "description": f"Not valid before: {seconds}."},
            "exp": {**bounds, "description": f"Not valid after: {seconds}."},
            "d": False,  # a private key has no business here
        },
        "required": ["kid", *own],
        "anyOf": kinds,
    }
    return {
        **_head(name, description),
        "type": "object",
        "properties": {"keys": {"type": "array", "items": key}},
        "required": ["keys"],
    }


def every() -> dict[str, Schema]:
    """Return each schema by the name of its file, without the ending."""
    messages = {name: message(name) for name in (*MESSAGES, *ORDERS)}
    return {**messages, "header": header(), "keys": keys(), "authorities": authorities()}
