"""The AsyncAPI 3.0 document: what a unit sends and receives, on which topics."""

from typing import Any, Final

from pydantic import BaseModel

from edge.contract import commands
from edge.contract import events as payload
from edge.contract import roster_manifest as manifest
from edge.contract.envelope import CONTENT_TYPE, CTY, MAX_BYTES, TYP
from edge.contract.keys import ALGORITHMS
from edge.contract.topics import COMMAND, REPLY, ROOT, TopicKind, subscription

Part = dict[str, Any]

_BYTES: Final = "application/octet-stream"
_BINDING: Final = "0.2.0"  # version of the MQTT bindings

QOS: Final = {TopicKind.EVENT: 1, TopicKind.STATE: 1, TopicKind.HEALTH: 0}
RETAINED: Final = {TopicKind.EVENT: False, TopicKind.STATE: True, TopicKind.HEALTH: True}

# Message: topic, CloudEvents type, model, title.
_SIGNED: Final[dict[str, tuple[TopicKind, str, type[BaseModel], str]]] = {
    "attendanceRecorded": (
        TopicKind.EVENT,
        payload.RECORDED,
        payload.AttendanceEvent,
        "Attendance recorded",
    ),
    "attendanceRefused": (
        TopicKind.EVENT,
        payload.REFUSED,
        payload.AttendanceEvent,
        "Attempt refused",
    ),
    "audit": (TopicKind.EVENT, payload.AUDIT, payload.AuditEvent, "Audit record of the unit"),
    "state": (TopicKind.STATE, payload.STATE, payload.StateEvent, "Session started or ended"),
    "health": (TopicKind.HEALTH, payload.HEALTH, payload.HealthEvent, "Unit health"),
}
_ABOUT: Final = {
    TopicKind.EVENT: "Numbered, chained events. They never expire, and are sent until the broker "
    "acknowledges them for a subscriber. Receivers that share the load subscribe to "
    f"`{subscription(TopicKind.EVENT, 'your-group')}`.",
    TopicKind.STATE: "The current session, retained. The Last Will replaces it if a unit is lost.",
    TopicKind.HEALTH: "The unit's health, once a minute, the newest retained.",
}
_INTRODUCTION: Final = f"""\
What a Senyum attendance unit sends and receives, from the unit's point of view: you receive what it
sends.

Every message but the Last Will is a compact JWS (RFC 7515) of a CloudEvents 1.0 JSON object, at
most {MAX_BYTES} bytes. `x-jws` of a payload names the schemas of its protected header and its
payload. `alg` is {" or ".join(ALGORITHMS)}, `cty` is {CTY}, `typ` depends on the topic, `kid` is
the RFC 7638 thumbprint of a key that is registered for the unit in the topic. README.md next to
this document lists the verification steps in order, and the meaning of each verdict.
"""


def _mqtt(**content: Any) -> Part:
    return {"mqtt": {**content, "bindingVersion": _BINDING}}


def _schema(leaf: str, model: type[BaseModel]) -> str:
    return f"schema/{leaf}.json#/$defs/{model.__name__}"


def _signed(leaf: TopicKind, kind: str, model: type[BaseModel], title: str) -> Part:
    return {
        "name": kind,
        "title": title,
        "summary": model.__doc__,
        "contentType": CONTENT_TYPE,
        "payload": {
            "type": "string",
            "description": f"Compact JWS of typ {TYP[leaf]}; its payload has type {kind}.",
            "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
            "maxLength": MAX_BYTES,
            "x-jws": {
                "header": {"$ref": f"schema/header.json#/$defs/{leaf}"},
                "payload": {"$ref": _schema(leaf, model)},
            },
        },
        "bindings": _mqtt(contentType=CONTENT_TYPE),
    }


def _order(name: str, model: type[BaseModel], typ: str, most: int) -> Part:
    return {
        "name": name,
        "title": model.__name__,
        "summary": model.__doc__,
        "contentType": CONTENT_TYPE,
        "payload": {
            "type": "string",
            "description": f"Compact JWS of typ {typ}.",
            "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
            "maxLength": most,
            "x-jws": {
                "header": {"$ref": f"schema/header.json#/$defs/{name}"},
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
        "summary": "Published by the broker when a unit is lost. Unsigned: not evidence.",
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
    """Return the parts about rosters: the manifest a unit receives, and its chunks."""
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
        "description": f"Compact JWS of typ {manifest.TYP}; header exactly alg, kid and typ.",
        "maxLength": manifest.MANIFEST_BYTES,
        "x-jws": {"payload": {"$ref": _schema("roster", manifest.RosterManifest)}},
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
                "Commands to the unit. Never retained; the last level is the command's name.",
            ),
            REPLY: _order_channel(
                REPLY, "id", "The result of a command; the last level is the command's id."
            ),
            **rosters["channels"],
        },
        "operations": {
            "sendEvent": _operation(
                TopicKind.EVENT, "Publish an attempt or an audit record.", of[TopicKind.EVENT]
            ),
            "sendState": _operation(
                TopicKind.STATE, "Start or end a session.", of[TopicKind.STATE]
            ),
            "sendHealth": _operation(
                TopicKind.HEALTH, "Report the unit's health.", of[TopicKind.HEALTH]
            ),
            "leaveWill": _operation(
                TopicKind.STATE,
                "Published by the broker when the unit is lost.",
                ["lastWill"],
            ),
            "receiveCommand": _order_operation("receive", COMMAND, "Receive a command."),
            "sendReply": _order_operation("send", REPLY, "Reply to a command of a known key."),
            **rosters["operations"],
        },
        "components": {
            "parameters": {
                "org": {"description": f"The organisation: {level}."},
                "site": {"description": f"The site: {level}."},
                "unit": {"description": f"The unit: {level}."},
                "command": {
                    "description": "Name of the command.",
                    "enum": list(commands.CommandName),
                },
                "id": {"description": "`id` of the command."},
                "chunk": {"description": "Name of a chunk, from the manifest."},
            },
            "messages": {
                **{name: _signed(*about) for name, about in _SIGNED.items()},
                "lastWill": _will(),
                COMMAND: _order(
                    COMMAND, commands.Command, commands.COMMAND_TYP, commands.MAX_BYTES
                ),
                REPLY: _order(REPLY, commands.Reply, commands.REPLY_TYP, commands.MAX_REPLY_BYTES),
                **rosters["messages"],
            },
        },
    }
