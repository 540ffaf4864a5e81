"""JSON Schema 2020-12 of every message, generated from the models that validate it.

RULES expresses what the validators of a model check across fields; a test compares models and
schemas on many valid and invalid events.
"""

from types import NoneType
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from edge.contract import commands as command
from edge.contract import events as payload
from edge.contract import roster_manifest as manifest
from edge.contract.authority import ROLES, UNITS, Role
from edge.contract.encryption import ALG, USE
from edge.contract.envelope import CTY, TYP
from edge.contract.jose import b64url
from edge.contract.keys import ALGORITHMS, REFUSED_POINTS, Algorithm
from edge.contract.limits import EARLIEST, LATEST
from edge.contract.topics import TopicKind
from edge.types import AuditCode, Outcome

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DIGEST: Final = "^[A-Za-z0-9_-]{43}$"  # base64url of 32 bytes
COORDINATE: Final = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"  # in its one canonical spelling
# The limits that are null if no smile was requested; the others never are.
SMILE: Final = tuple(
    name
    for name, field in payload.Thresholds.model_fields.items()
    if NoneType in get_args(field.annotation)
)

MESSAGES: Final[dict[str, tuple[tuple[type[BaseModel], ...], str]]] = {
    TopicKind.EVENT: (
        (payload.AttendanceEvent, payload.AuditEvent),
        "Payload of the JWS on `event`: an attempt, or an audit record of the unit, in one chain.",
    ),
    TopicKind.STATE: ((payload.StateEvent,), "Payload of the JWS on `state`."),
    TopicKind.HEALTH: ((payload.HealthEvent,), "Payload of the JWS on `health`."),
    "will": ((payload.Will,), "The Last Will on `state`: plain JSON, the only unsigned message."),
    "command": ((command.Command,), "Payload of the JWS on `command/{name}`."),
    "command-replay": ((command.ReplayData,), "`data` of the command replay."),
    "command-settings": ((command.SettingsData,), "`data` of the command settings."),
    "reply": ((command.Reply,), "Payload of the JWS on `reply/{id}`."),
    "roster": (
        (manifest.RosterManifest,),
        (
            "Payload of the JWS on `roster`: which roster, in which chunks, for which unit. Beyond "
            "this schema, chunk names are unique, and the chunk sizes, less 28 bytes each, add up "
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
    """Return one of the valid combinations of a liveness judgement and its result."""
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


class _MessageSchema(GenerateJsonSchema):
    """Adds RULES; omits titles that repeat a field's name, and keywords JSON Schema lacks."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def default_schema(self, schema: Any) -> Schema:
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: Any) -> Schema:
        rules = RULES.get(schema["cls"])
        return {**super().model_schema(schema), **({"allOf": rules} if rules else {})}


def message(name: str) -> Schema:
    """Return the schema of one kind of message by its name in MESSAGES."""
    models, description = MESSAGES[name]
    inputs: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (model, "validation") for model in models
    ]
    references, parts = models_json_schema(inputs, schema_generator=_MessageSchema)
    kinds = list(references.values())
    return {
        **_head(name, description),
        **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds}),
        **parts,
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
                    "description": "Must be that of the registered key.",
                },
                "kid": {
                    "type": "string",
                    "pattern": DIGEST,
                    "description": "RFC 7638 thumbprint of the key, registered for this unit.",
                },
                "typ": {"const": typ, "description": "Type of a message on this topic."},
                "cty": {"const": CTY, "description": "Type of the payload."},
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
        meaning = "Type of a message on this topic."
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
        **_head("header", "Protected header of the compact JWS, one definition per topic."),
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
    """Return the coordinates no key may have: points of small order, non-canonical encodings."""
    if kind.crv != "Ed25519":
        return {}
    return {"not": {"enum": sorted(map(b64url, REFUSED_POINTS))}}


def keys() -> Schema:
    """Return the schema of the key set a central server trusts."""
    unit = {
        **TypeAdapter(payload.UnitUrn).json_schema(),
        "description": "The one unit that this key may speak for.",
    }
    text = "JWK set of the units' public keys, with the owner and validity of each."
    return _key_set("keys", text, {"unit": unit}, [*_kinds(), _encrypting()])


def _encrypting() -> Schema:
    fixed = {"kty": "OKP", "crv": "X25519", "alg": ALG, "use": USE}
    return {
        "description": "A key that rosters are encrypted to; it verifies no signature.",
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
            "description": "The units it may order; a name may be `*`.",
        },
    }
    text = "JWK set of a unit's authorities, with the orders each may give and to which units."
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
    messages = {name: message(name) for name in MESSAGES}
    return {**messages, "header": header(), "keys": keys(), "authorities": authorities()}
