"""Test vectors of commands and their answers: what a unit says to each, and which are its own."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from contract import cast
from contract.unit import NOON, SteadyKey, Unit, ids
from edge.contract.authority import OrderRejectReason, Role, register
from edge.contract.commands import COMMAND_TYP, MAX_BYTES, CommandName, CommandResult
from edge.contract.envelope import TYP
from edge.contract.events import timestamp
from edge.contract.jose import b64url, from_b64url
from edge.contract.topics import COMMAND, REPLY, TopicKind, UnitName

OBEYED: Final = "obeyed"
GENUINE: Final = "genuine"
REFUSED: Final = "refused"
ED25519: Final = SteadyKey("authority")
ES256: Final = SteadyKey("authority, ES256", "ES256")
ROSTERS: Final = SteadyKey("authority of rosters")
ELSEWHERE: Final = SteadyKey("authority of another site")
ENDED: Final = SteadyKey("authority until 2026")
STRANGER: Final = SteadyKey("nobody's authority")
_UNIT: Final = cast.DOOR_1
_UNITS: Final = ("urn:senyum:example:office:*",)
_2026: Final = datetime(2026, 1, 1, tzinfo=UTC)
_LAST: Final = 41  # the highest number that the unit obeyed of each authority
_NUMBER: Final = 42
_DEEP: Final = b"[" * 6000 + b"]" * 6000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """A command, how it came, and what the unit answers."""

    name: str
    message: str
    verdict: str = OBEYED
    about: str
    to: str = "ping"  # the last level of the topic
    retained: bool = False
    clock: bool = True  # whether the unit knows the time, which is NOON

    @property
    def topic(self) -> str:
        return _UNIT.subtopic(COMMAND, self.to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer as it came to whoever sent the command of the topic."""

    name: str
    message: str
    verdict: str = GENUINE
    about: str

    @property
    def topic(self) -> str:
        return _UNIT.subtopic(REPLY, _ID)


_ID: Final = next(ids(900))


def authorities() -> Json:
    """Return the file of authorities of the unit of every vector."""
    every = [
        register(ED25519, [Role.COMMAND], _UNITS),
        register(ES256, [Role.COMMAND, Role.ROSTER], [_UNIT.source]),
        register(ROSTERS, [Role.ROSTER], _UNITS),
        register(ELSEWHERE, [Role.COMMAND], ["urn:senyum:example:warehouse:*"]),
        register(ENDED, [Role.COMMAND], _UNITS, not_after=_2026),
    ]
    return {"keys": every}


def private_keys() -> Json:
    """Return the private halves; worthless, for they are public."""
    keys = (ED25519, ES256, ROSTERS, ELSEWHERE, ENDED, STRANGER)
    return {
        "warning": "TEST ONLY. Everybody has these keys: never register them anywhere.",
        "keys": [{**key.private, "kid": key.kid, "alg": key.alg} for key in keys],
    }


def _claims(name: str = "ping", data: Json | None = None, **changes: Any) -> Json:
    content = {
        "id": _ID,
        "aud": _UNIT.source,
        "name": name,
        "number": _NUMBER,
        "iat": timestamp((NOON - 60) * 10**9),
        "exp": timestamp((NOON + 3600) * 10**9),
        "data": data or {},
        **changes,
    }
    return {name: value for name, value in content.items() if value is not None}


def _signed(claims: Json | bytes, key: SteadyKey = ED25519, **header: Any) -> str:
    content = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    whole = {"alg": key.alg, "kid": key.kid, "typ": COMMAND_TYP, **header}
    kept = {name: value for name, value in whole.items() if value is not None}
    return key.close(f"{b64url(json.dumps(kept).encode())}.{b64url(content)}")


def commands() -> Iterator[Ordered]:
    """Yield them all."""
    yield from _good()
    yield from _unproven()
    yield from _untimely()
    yield from _wrong()


def _good() -> Iterator[Ordered]:
    period = {"begin": timestamp((NOON - 3600) * 10**9), "end": timestamp(NOON * 10**9)}
    every: dict[str, tuple[CommandName, Json]] = {
        "ping": (CommandName.PING, {}),
        "identify": (CommandName.IDENTIFY, {}),
        "replay-numbers": (CommandName.REPLAY, {"first": 1, "last": 3}),
        "replay-period": (CommandName.REPLAY, period),
        "reload": (CommandName.RELOAD, {}),
        "settings": (CommandName.SETTINGS, {"set": {"gpio.volume": 0.5}}),
        "settings-reset": (CommandName.SETTINGS, {"reset": ["gpio.volume"]}),
    }
    for key in (ED25519, ES256):
        for name, (command, data) in every.items():
            yield Ordered(
                name=f"command-{key.alg.lower()}-{name}",
                message=_signed(_claims(command, data), key),
                about=f"{command}, signed with {key.alg}",
                to=command,
            )


def _unproven() -> Iterator[Ordered]:
    good = _signed(_claims())
    first, payload, signature = good.split(".")
    flipped = signature[:9] + ("A" if signature[9] != "A" else "B") + signature[10:]
    for name, flaw, message, about in (
        (
            "oversized",
            OrderRejectReason.TOO_LARGE,
            _signed(_claims(data={"a": "x" * MAX_BYTES})),
            "too long",
        ),
        ("two-parts", OrderRejectReason.MALFORMED, f"{first}.{payload}", "no signature"),
        ("padded", OrderRejectReason.MALFORMED, f"{first}=.{payload}.{signature}", "padding"),
        (
            "typ",
            OrderRejectReason.MALFORMED,
            _signed(_claims(), typ="senyum-roster+jws"),
            "typ of a roster",
        ),
        ("typ-missing", OrderRejectReason.MALFORMED, _signed(_claims(), typ=None), "no typ"),
        (
            "jku",
            OrderRejectReason.MALFORMED,
            _signed(_claims(), jku="x"),
            "a header with more in it",
        ),
        ("unsigned", OrderRejectReason.MALFORMED, json.dumps(_claims()), "plain JSON"),
        (
            "stranger",
            OrderRejectReason.UNKNOWN_KEY,
            _signed(_claims(), STRANGER),
            "a key that is not listed",
        ),
        ("ended", OrderRejectReason.UNKNOWN_KEY, _signed(_claims(), ENDED), "a key past its exp"),
        (
            "alg",
            OrderRejectReason.UNKNOWN_KEY,
            _signed(_claims(), alg="ES256"),
            "not the key's algorithm",
        ),
        ("flipped", OrderRejectReason.FORGED, f"{first}.{payload}.{flipped}", "another signature"),
        (
            "forged",
            OrderRejectReason.FORGED,
            _signed(_claims(), STRANGER, kid=ED25519.kid),
            "another's key",
        ),
        (
            "swapped",
            OrderRejectReason.FORGED,
            f"{first}.{b64url(b'{}')}.{signature}",
            "another payload",
        ),
        ("array", OrderRejectReason.MALFORMED, _signed(b"[]"), "no object"),
        (
            "deep",
            OrderRejectReason.MALFORMED,
            f"{first}.{b64url(_DEEP)}.{signature}",
            "nested 6,000 deep",
        ),
        ("bom", OrderRejectReason.MALFORMED, _signed(b"\xef\xbb\xbf{}"), "a byte order mark"),
        ("nul", OrderRejectReason.MALFORMED, _signed(_claims(data={"a": "\0"})), "U+0000, escaped"),
        (
            "surrogate",
            OrderRejectReason.MALFORMED,
            _signed(_claims(data={"a": "\ud800"})),
            "half a pair",
        ),
        ("twice", OrderRejectReason.MALFORMED, _signed(b'{"id":1,"id":2}'), "a name given twice"),
        (
            "role",
            OrderRejectReason.WRONG_ROLE,
            _signed(_claims(), ROSTERS),
            "a key for rosters alone",
        ),
        (
            "elsewhere",
            OrderRejectReason.FOREIGN,
            _signed(_claims(), ELSEWHERE),
            "a key for another site",
        ),
        (
            "aud",
            OrderRejectReason.FOREIGN,
            _signed(_claims(aud=cast.DOOR_2.source)),
            "aud is another unit",
        ),
    ):
        yield Ordered(name=f"command-{name}", message=message, verdict=flaw, about=about)


def _untimely() -> Iterator[Ordered]:
    past = timestamp((NOON - 30) * 10**9)
    late = _signed(_claims(exp=past))
    yield Ordered(
        name="command-expired",
        message=late,
        verdict=OrderRejectReason.EXPIRED,
        about="exp is past",
    )
    yield Ordered(
        name="command-expired-clock-unknown",
        message=late,
        about="the same for a unit that does not know the time",
        clock=False,
    )
    for name in (CommandName.RELOAD, CommandName.SETTINGS):
        yield Ordered(
            name=f"command-{name}-clock-unknown",
            message=_signed(_claims(name)),
            verdict=OrderRejectReason.CLOCK_UNKNOWN,
            about="waits for the time to be known",
            to=name,
            clock=False,
        )
    for number in (_LAST, 1):
        yield Ordered(
            name=f"command-number-{number}",
            message=_signed(_claims(number=number)),
            verdict=OrderRejectReason.STALE,
            about="not above the last number of this key",
        )


def _wrong() -> Iterator[Ordered]:
    retained = Ordered(
        name="command-retained",
        message=_signed(_claims()),
        verdict=OrderRejectReason.RETAINED,
        about="good, and published retained",
        retained=True,
    )
    yield retained
    yield replace(
        retained,
        name="command-topic",
        verdict=OrderRejectReason.MALFORMED,
        about="name and topic differ",
        to="reload",
        retained=False,
    )
    wrong: dict[str, Json] = {
        "no-id": {"id": None},
        "id": {"id": "42"},
        "no-number": {"number": None},
        "number-0": {"number": 0},
        "number-text": {"number": "42"},
        "number-53": {"number": 2**53},
        "number-half": {"number": 42.5},
        "exp-9999": {"exp": "9999-12-31T23:59:59.999999Z"},
        "exp": {"exp": "2026-08-17"},
        "backward": {"exp": timestamp((NOON - 61) * 10**9)},
        "more": {"more": True},
        "aud-pattern": {"aud": "urn:senyum:example:office:*"},
    }
    for name, changes in wrong.items():
        yield Ordered(
            name=f"command-claims-{name}",
            message=_signed(_claims(**changes)),
            verdict=OrderRejectReason.MALFORMED,
            about=f"wrong claims: {name}",
        )
    yield Ordered(
        name="command-unknown",
        message=_signed(_claims("open-the-door")),
        verdict=OrderRejectReason.UNKNOWN_COMMAND,
        about="a command of another version",
        to="open-the-door",
    )
    bad: dict[str, tuple[str, Json]] = {
        "ping": ("ping", {"a": 1}),
        "replay-empty": ("replay", {}),
        "replay-half": ("replay", {"first": 1}),
        "replay-backward": ("replay", {"first": 3, "last": 1}),
        "settings-name": ("settings", {"set": {"broker.host": 1}}),
        "settings-text": ("settings", {"set": {"gpio.volume": "loud"}}),
        "settings-bound": ("settings", {"set": {"gpio.volume": 1.5}}),
    }
    for name, (command, data) in bad.items():
        yield Ordered(
            name=f"command-data-{name}",
            message=_signed(_claims(command, data)),
            verdict=OrderRejectReason.BAD_DATA,
            about=f"wrong data: {name}",
            to=command,
        )


def replies() -> Iterator[Answered]:
    """Yield answers to one command, and what is none."""
    done = _answer(ok=True, reason=None, text="runs senyum 1.0.0", data={"sequence": 9})
    refused = _answer(ok=False, reason=OrderRejectReason.EXPIRED, text="expired", data={})
    good = _reply(done)
    yield Answered(name="reply-done", message=good, about="obeyed")
    yield Answered(name="reply-refused", message=_reply(refused), about="refused, with a reason")
    first, payload, _ = good.split(".")
    other = _answer(ok=True, reason=None, text="", data={}, to=next(ids(901)))
    for name, message, about in (
        ("other-command", _reply(other), "to another command"),
        ("other-unit", _reply(done, cast.NEIGHBOUR, cast.DOOR_3), "of another unit"),
        ("stranger", _reply(done, STRANGER), "signed by nobody known"),
        ("no-signature", f"{first}.{payload}.", "not signed"),
        ("typ", _as_event(payload), "signed as an event is"),
    ):
        yield Answered(name=f"reply-{name}", message=message, verdict=REFUSED, about=about)
    yield from _wrong_replies(good)


def _wrong_replies(good: str) -> Iterator[Answered]:
    """Yield what the unit signed and no reader takes."""
    whole = json.loads(from_b64url(good.split(".")[1]))
    changes: dict[str, Json] = {
        "reason-list": {"ok": False, "reason": []},
        "reason-unknown": {"ok": False, "reason": "no-mood"},
        "reason-missing": {"ok": False},
        "reason-of-success": {"reason": "failed"},
        "text-surrogate": {"text": "\ud800"},
        "text-nul": {"text": "\0"},
        "text-escape": {"text": "\x1b[2J"},
        "text-201": {"text": "x" * 201},
        "text-object": {"text": {}},
        "number-53": {"number": 2**53},
        "data-null": {"data": None},
        "time-9999": {"time": "9999-12-31T23:59:59.000000Z"},
        "more": {"more": 1},
    }
    contents = {name: json.dumps({**whole, **change}) for name, change in changes.items()}
    text = json.dumps(whole)
    contents["twice"] = text.replace("{", '{"ok":false,', 1)
    contents["bom"] = "\ufeff" + text
    contents["data-deep"] = text.replace('"data": {', '"data": {"a":' + _DEEP.decode() + ",", 1)
    header = good.split(".", maxsplit=1)[0]
    for name, content in contents.items():
        message = cast.ED25519.close(f"{header}.{b64url(content.encode())}")
        yield Answered(
            name=f"reply-{name}", message=message, verdict=REFUSED, about=f"wrong: {name}"
        )


def _answer(**content: Any) -> CommandResult:
    return CommandResult.model_validate({"to": _ID, "name": "ping", "number": _NUMBER, **content})


def _reply(answer: CommandResult, key: SteadyKey = cast.ED25519, name: UnitName = _UNIT) -> str:
    return Unit(name, key).sealer.reply(answer)


def _as_event(payload: str) -> str:
    key = cast.ED25519
    header = {"alg": key.alg, "kid": key.kid, "typ": TYP[TopicKind.EVENT]}
    content = b64url(json.dumps(header, separators=(",", ":")).encode())
    return key.close(f"{content}.{payload}")


def files() -> dict[str, bytes]:
    """Return every file of these vectors by its path in docs/contract."""
    ordered, answered = list(commands()), list(replies())
    table = [
        (
            each.name,
            each.topic,
            str(NOON) if each.clock else "-",
            str(_LAST),
            "yes" if each.retained else "no",
            f"messages/{each.name}",
            each.verdict,
            each.about,
        )
        for each in ordered
    ]
    head = ("name", "topic", "clock", "last", "retained", "message", "verdict", "about")
    answers = [
        (each.name, each.topic, str(NOON), f"messages/{each.name}", each.verdict, each.about)
        for each in answered
    ]
    reply_head = ("name", "topic", "received", "message", "verdict", "about")
    keys = {"authorities.json": authorities(), "private-authorities-for-tests.json": private_keys()}
    return {
        "vectors/commands.tsv": _tsv([head, *table]),
        "vectors/replies.tsv": _tsv([reply_head, *answers]),
        **{
            f"vectors/{name}": (json.dumps(content, indent=2) + "\n").encode()
            for name, content in keys.items()
        },
        **{f"vectors/messages/{each.name}": each.message.encode() for each in ordered},
        **{f"vectors/messages/{each.name}": each.message.encode() for each in answered},
    }


def _tsv(lines: list[tuple[str, ...]]) -> bytes:
    table = io.StringIO()
    csv.writer(table, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE).writerows(lines)
    return table.getvalue().encode("ascii")
