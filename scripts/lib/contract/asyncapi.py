"""The AsyncAPI 3.0 document: where a unit sends what, and how."""

from typing import Any, Final

from contract.schemas import MODELS
from edge.contract import events as payload
from edge.contract import roster_manifest as manifest
from edge.contract.algorithms import ALGORITHMS
from edge.contract.commands import COMMAND_TYP, MAX_REPLY_BYTES, REPLY_TYP, CommandName
from edge.contract.commands import MAX_BYTES as MAX_COMMAND_BYTES
from edge.contract.envelope import CONTENT_TYPE, CTY, MAX_BYTES, TYP
from edge.contract.topics import COMMAND, REPLY, ROOT, TopicKind, subscription

Part = dict[str, Any]

_BYTES: Final = "application/octet-stream"
_BINDING: Final = "0.2.0"  # version of the MQTT bindings

QOS: Final = {TopicKind.EVENT: 1, TopicKind.STATE: 1, TopicKind.HEALTH: 0}
RETAINED: Final = {TopicKind.EVENT: False, TopicKind.STATE: True, TopicKind.HEALTH: True}

# Message: topic, CloudEvents type, model, title.
_SIGNED: Final = {
    "attendanceRecorded": (
        TopicKind.EVENT,
        payload.RECORDED,
        "AttendanceEvent",
        "Attendance recorded",
    ),
    "attendanceRefused": (TopicKind.EVENT, payload.REFUSED, "AttendanceEvent", "Attempt refused"),
    "audit": (TopicKind.EVENT, payload.AUDIT, "AuditEvent", "About the unit itself"),
    "state": (TopicKind.STATE, payload.STATE, "StateEvent", "Session begun or ended"),
    "health": (TopicKind.HEALTH, payload.HEALTH, "HealthEvent", "How the unit is"),
}
_ABOUT: Final = {
    TopicKind.EVENT: "Numbered, chained events. Never expire; sent until the broker has taken them "
    "for a subscriber. Receivers that share the load: "
    f"`{subscription(TopicKind.EVENT, 'your-group')}`.",
    TopicKind.STATE: "The present session, retained. The Last Will takes its place after a loss.",
    TopicKind.HEALTH: "How the unit is, once a minute, the newest retained.",
}
_INTRODUCTION: Final = f"""\
What a Senyum attendance unit sends. The document takes the unit's side: what it sends, you receive.

Every message but the Last Will is a compact JWS (RFC 7515) of a CloudEvents 1.0 JSON object, at
most {MAX_BYTES} bytes. `x-jws` of a payload names the schemas of its protected header and its
payload. `alg` is {" or ".join(ALGORITHMS)}, `cty` is {CTY}, `typ` goes by the topic, `kid` is the
RFC 7638 thumbprint of a key that is registered for the unit that the topic names. How to verify,
in order, and what each verdict means: README.md beside this document.
"""


def _mqtt(**content: Any) -> Part:
    return {"mqtt": {**content, "bindingVersion": _BINDING}}


def _schema(leaf: str, model: str) -> str:
    return f"schema/{leaf}.json#/$defs/{model}"


def _signed(leaf: TopicKind, kind: str, model: str, title: str) -> Part:
    return {
        "name": kind,
        "title": title,
        "summary": MODELS[model].__doc__,
        "contentType": CONTENT_TYPE,
        "payload": {
            "type": "string",
            "description": f"Compact JWS of typ {TYP[leaf]}; its payload has type {kind}.",
            "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
            "maxLength": MAX_BYTES,
            "x-jws": {
                "header": {"$ref": _schema("header", leaf)},
                "payload": {"$ref": _schema(leaf, model)},
            },
        },
        "bindings": _mqtt(contentType=CONTENT_TYPE),
    }


def _order(name: str, title: str, typ: str, most: int) -> Part:
    model = name.capitalize()
    return {
        "name": name,
        "title": title,
        "summary": MODELS[model].__doc__,
        "contentType": CONTENT_TYPE,
        "payload": {
            "type": "string",
            "description": f"Compact JWS of typ {typ}.",
            "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
            "maxLength": most,
            "x-jws": {
                "header": {"$ref": _schema("header", name)},
                "payload": {"$ref": _schema(name, model)},
            },
        },
        "bindings": _mqtt(contentType=CONTENT_TYPE),
    }


def _order_channel(name: str, last: str, description: str) -> Part:
    levels = ("org", "site", "unit", last)
    address = [ROOT, *(f"{{{level}}}" for level in levels[:3]), name, f"{{{last}}}"]
    return {
        "address": "/".join(address),
        "title": name,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "parameters": {level: {"$ref": f"#/components/parameters/{level}"} for level in levels},
    }


def _order_operation(action: str, name: str, summary: str) -> Part:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "bindings": _mqtt(qos=1, retain=False) if action == "send" else _mqtt(qos=1),
    }


def _will() -> Part:
    return {
        "name": "lastWill",
        "title": "Unit lost",
        "summary": "What the broker says of a unit that went away; unsigned: conclude nothing.",
        "contentType": "application/json",
        "payload": {"$ref": "schema/will.json"},
        "bindings": _mqtt(),
    }


def _channel(leaf: TopicKind, messages: list[str]) -> Part:
    levels = ("org", "site", "unit")
    return {
        "address": "/".join([ROOT, *(f"{{{level}}}" for level in levels), leaf]),
        "title": leaf.value,
        "description": _ABOUT[leaf],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "parameters": {level: {"$ref": f"#/components/parameters/{level}"} for level in levels},
    }


def _operation(leaf: TopicKind, summary: str, messages: list[str]) -> Part:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{leaf}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{leaf}/messages/{name}"} for name in messages],
        "bindings": _mqtt(qos=QOS[leaf], retain=RETAINED[leaf]),
    }


def _rosters() -> dict[str, Part]:
    """Return what a unit receives: the manifest of its roster, and the chunks that it names."""
    address = f"{ROOT}/{{org}}/{{site}}/{{unit}}/{manifest.LEAF}"
    about = {
        "roster": (address, "The manifest of the unit's roster, retained.", "org site unit"),
        "rosterChunk": (
            f"{address}/{{chunk}}",
            "An encrypted chunk, retained; site and unit are those of the manifest's `at`.",
            "org site unit chunk",
        ),
    }
    signed = {
        "type": "string",
        "description": f"Compact JWS of typ {manifest.TYP}; header alg, kid, typ and no more.",
        "maxLength": manifest.MANIFEST_BYTES,
        "x-jws": {"payload": {"$ref": _schema("roster", "Manifest")}},
    }
    sealed = {
        "type": "string",
        "format": "binary",
        "description": "Nonce (12 bytes), ciphertext, tag (16 bytes) of AES-256-GCM.",
        "maxLength": manifest.CHUNK_BYTES,
    }
    contents = {"roster": (CONTENT_TYPE, signed), "rosterChunk": (_BYTES, sealed)}
    return {
        "channels": {
            name: {
                "address": topic,
                "title": name,
                "description": text,
                "messages": {name: {"$ref": f"#/components/messages/{name}"}},
                "parameters": {
                    level: {"$ref": f"#/components/parameters/{level}"} for level in levels.split()
                },
            }
            for name, (topic, text, levels) in about.items()
        },
        "operations": {
            f"receive{name[0].upper()}{name[1:]}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": text,
                "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
                "bindings": _mqtt(qos=1),
            }
            for name, (_, text, _) in about.items()
        },
        "messages": {
            name: {"name": name, "contentType": kind, "payload": payload_schema}
            for name, (kind, payload_schema) in contents.items()
        },
    }


def document() -> Part:
    """Return the whole document."""
    of = {leaf: [name for name, (at, *_) in _SIGNED.items() if at is leaf] for leaf in _ABOUT}
    with_will = {**of, TopicKind.STATE: [*of[TopicKind.STATE], "lastWill"]}
    level = "1 to 32 of a-z, 0-9 and -; the same name as in the unit's URN"
    rosters = _rosters()
    return {
        "asyncapi": "3.0.0",
        "id": "urn:senyum:contract:1:asyncapi",
        "info": {
            "title": "Senyum, wire contract",
            "version": "1",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "attendance"}],
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            **{leaf.value: _channel(leaf, with_will[leaf]) for leaf in _ABOUT},
            COMMAND: _order_channel(
                COMMAND,
                "command",
                "What an authority asks of the unit. Never retained; the last level is its name.",
            ),
            REPLY: _order_channel(
                REPLY, "id", "What became of a command; the last level is the command's id."
            ),
            **rosters["channels"],
        },
        "operations": {
            "sendEvent": _operation(
                TopicKind.EVENT, "Say what happened, once and for all.", of[TopicKind.EVENT]
            ),
            "sendState": _operation(
                TopicKind.STATE, "Begin or end a session.", of[TopicKind.STATE]
            ),
            "sendHealth": _operation(
                TopicKind.HEALTH, "Say how the unit is.", of[TopicKind.HEALTH]
            ),
            "leaveWill": _operation(
                TopicKind.STATE, "Left with the broker; sent by it after a loss.", ["lastWill"]
            ),
            "receiveCommand": _order_operation("receive", COMMAND, "Hear what is asked."),
            "sendReply": _order_operation("send", REPLY, "Answer what a known key asked."),
            **rosters["operations"],
        },
        "components": {
            "parameters": {
                "org": {"description": f"The organisation: {level}."},
                "site": {"description": f"Its place: {level}."},
                "unit": {"description": f"The unit: {level}."},
                "command": {"description": "Name of the command.", "enum": list(CommandName)},
                "id": {"description": "`id` of the command."},
                "chunk": {"description": "Name of a chunk, from the manifest."},
            },
            "messages": {
                **{name: _signed(*about) for name, about in _SIGNED.items()},
                "lastWill": _will(),
                COMMAND: _order(COMMAND, "Something asked", COMMAND_TYP, MAX_COMMAND_BYTES),
                REPLY: _order(REPLY, "Answer", REPLY_TYP, MAX_REPLY_BYTES),
                **rosters["messages"],
            },
        },
    }
