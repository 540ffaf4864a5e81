"""Values at the limits of the contract, and messages that two readers may read in two ways."""

import json
from collections.abc import Iterator
from typing import Any, Final

from contract import cast
from contract.spoiling import (
    CONTENT,
    HEADER,
    PAYLOAD,
    TOKEN,
    Json,
    changed,
    header,
    packed,
    parsed,
    put,
    signed,
)
from contract.unit import SetClock
from contract.vector import EMPTY, GENUINE, UNSIGNED, Vector
from edge.contract import events as payload
from edge.contract.envelope import MAX_BYTES, TYP, RejectReason
from edge.contract.events import timestamp
from edge.contract.jose import b64url, from_b64url
from edge.contract.limits import MAX_DEPTH, MAX_NUMBER, MAX_SEQUENCE, MAX_TEXT
from edge.contract.topics import TopicKind
from edge.outbox.event_signer import ChainHead
from edge.types import AuditCode, Outcome, Reason

Made = Iterator[tuple[str, str, str | bytes, str]]  # name, verdict, message, about
BOM: Final = b"\xef\xbb\xbf"
DEEP: Final = 20_000


def vectors() -> Iterator[Vector]:
    """Yield them all."""
    topic = cast.unit().topic()
    for group in (_numbers, _texts, _json, _depths, _types, _orders, _times, _anchors, _reasons):
        for name, verdict, message, about in group():
            yield Vector(
                name=name, topic=topic, message=_bytes(message), verdict=verdict, about=about
            )
    yield from _sequences()
    yield from _unbounded()
    for leaf, group in ((TopicKind.HEALTH, _heads), (TopicKind.STATE, _wills)):
        for name, verdict, message, about in group():
            yield Vector(
                name=name,
                topic=cast.unit().topic(leaf),
                message=_bytes(message),
                verdict=verdict,
                about=about,
            )
    will = b'{"status":"offline","session":3}'
    about = "a Last Will on event"
    yield Vector(
        name="will-on-event", topic=topic, message=will, verdict=RejectReason.MALFORMED, about=about
    )


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def _replaced(field: str, text: str) -> str:
    """Sign the good event with another text in the place of a field's value, spelt as it is."""
    value = json.dumps(_found(parsed(PAYLOAD), field), separators=(",", ":"))
    name = f'"{field.rpartition(".")[2]}":'
    return signed(CONTENT.replace(f"{name}{value}".encode(), f"{name}{text}".encode(), 1))


def _found(content: Any, path: str) -> Any:
    for name in path.split("."):
        content = content[name]
    return content


def _numbers() -> Made:
    bad = RejectReason.MALFORMED
    frames, smile = "data.thresholds.unknown_frames", "data.smile"
    for name, verdict, field, text, about in (
        ("one-point-zero", GENUINE, frames, "12.0", "an integer written as 12.0 is 12"),
        ("exponent", GENUINE, frames, "1.2e1", "an integer written as 1.2e1"),
        ("over-by-a-hair", GENUINE, smile, "100.0000000000000001", "the double is 100"),
        ("minus-zero", GENUINE, smile, "-0", "minus zero is zero"),
        ("largest", GENUINE, frames, f"{MAX_NUMBER}", "2^53 - 1"),
        ("too-large", bad, frames, f"{MAX_NUMBER + 1}", "2^53"),
        ("too-small", bad, frames, f"-{MAX_NUMBER + 1}", "-2^53"),
        ("rounded-up", bad, frames, f"{MAX_NUMBER}.5", "2^53 - 1/2, of which the double is 2^53"),
        ("int64", bad, frames, f"{MAX_SEQUENCE}", "2^63 - 1 as a number"),
        ("1e300", bad, smile, "1e300", "a number of 300 digits"),
        ("1e400", bad, smile, "1e400", "more than a double holds"),
        ("5000-digits", bad, frames, "9" * 5000, "5,000 digits"),
        ("leading-zero", bad, frames, "012", "no JSON: 012"),
        ("plus", bad, frames, "+12", "no JSON: +12"),
        ("bare-point", bad, smile, ".5", "no JSON: .5"),
        ("open-point", bad, smile, "50.", "no JSON: 50."),
        ("infinity", bad, smile, "Infinity", "no JSON: Infinity"),
    ):
        yield f"num-{name}", verdict, _replaced(field, text), f"number: {about}"


def _texts() -> Made:
    bad, software = RejectReason.MALFORMED, "data.software"
    for name, verdict, text, about in (
        ("lone-surrogate", bad, r"\ud800", "half of a surrogate pair, escaped"),
        ("surrogates-turned", bad, r"\udc00\ud800", "a surrogate pair, the wrong way round"),
        ("surrogates-apart", bad, r"\ud83d \ude00", "the halves of a pair with a space between"),
        ("surrogate-pair", GENUINE, r"\ud83d\uDE00", "a pair, escaped: one character"),
        ("nul", bad, r"a\u0000b", "U+0000, escaped"),
        ("escape", bad, r"\u001B[31m", "U+001B, escaped"),
        ("line-end", bad, r"a\nb", "a line end, escaped"),
        ("raw-line-end", bad, "a\nb", "a line end as it is"),
        ("escaped-backslash", GENUINE, r"\\u0000\\n", "backslashes, escaped; no escape follows"),
        ("c1-and-bidi", GENUINE, r"\u0085\u009b\u202e", "allowed: escape it where it is shown"),
        ("200-astral", GENUINE, r"\ud83d\ude00" * MAX_TEXT, "200 characters, 400 UTF-16 units"),
        (
            "200-combined",
            RejectReason.PAYLOAD,
            "e\N{COMBINING ACUTE ACCENT}" * 150,
            "300 characters",
        ),
        ("201", RejectReason.PAYLOAD, "x" * (MAX_TEXT + 1), "201 characters"),
        ("brackets", GENUINE, "[{" * 40, "brackets in a text nest nothing"),
    ):
        yield f"text-{name}", verdict, _replaced(software, f'"{text}"'), f"text: {about}"
    audit = from_b64url(
        cast.unit().audit(AuditCode.CAMERA_LOST, why="a test").decode().split(".")[1]
    )
    named = audit.replace(b'"why"', rb'"w\u0000y"', 1)
    yield "text-name-nul", bad, signed(named), "the name of a member holds U+0000"
    proto = CONTENT.replace(b'"data":{', b'"data":{"__proto__":{"x":1},', 1)
    yield "name-proto", RejectReason.PAYLOAD, signed(proto), "a member __proto__ too many"
    for name, kid in (("constructor", "constructor"), ("proto", "__proto__"), ("empty", "")):
        token = cast.ED25519.close(f"{packed(header(kid=kid))}.{PAYLOAD}")
        yield f"kid-{name}", RejectReason.UNKNOWN_KEY, token, f"kid is {kid or 'an empty text'}"


def _json() -> Made:
    bad, head = RejectReason.MALFORMED, from_b64url(HEADER)
    for name, content, about in (
        ("escaped-twice", head.replace(b"{", rb'{"\u0061lg":"Ed25519",', 1), "alg twice, escaped"),
        ("bom", BOM + head, "a byte order mark"),
    ):
        token = cast.ED25519.close(f"{b64url(content)}.{PAYLOAD}")
        yield f"header-{name}", bad, token, f"header: {about}"
    for name, content, about in (
        (
            "escaped-twice",
            CONTENT.replace(b'"smile":', rb'"smil\u0065":77.7,"smile":', 1),
            "a name twice, once escaped",
        ),
        ("bom", BOM + CONTENT, "a byte order mark before it"),
        ("vt", CONTENT + b"\v", "a vertical tab behind it"),
        ("nul", CONTENT + b"\0", "a NUL behind it"),
        ("nbsp", CONTENT + "\N{NO-BREAK SPACE}".encode(), "a no-break space behind it"),
        ("comment", CONTENT + b"/* */", "a comment behind it"),
        ("comma", CONTENT.replace(b"}", b",}", 1), "a comma before a brace"),
        ("single-quotes", CONTENT.replace(b'"1.0"', b"'1.0'", 1), "single quotes"),
        (
            "surrogate-bytes",
            CONTENT.replace(b'"software":"', b'"software":"\xed\xa0\x80', 1),
            "a surrogate as UTF-8 has none",
        ),
    ):
        yield f"payload-{name}", bad, signed(content), f"payload: {about}"


def _nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * levels + b"1" + closing * levels


def _depths() -> Made:
    bad = RejectReason.MALFORMED
    for name, content in (
        ("header-deep-20000", _nested(DEEP)),
        ("header-deep-33", b'{"alg":' + _nested(MAX_DEPTH) + b"}"),
        ("header-deep-32", b'{"alg":' + _nested(MAX_DEPTH - 1) + b"}"),
    ):
        token = cast.ED25519.close(f"{b64url(content)}.{PAYLOAD}")
        yield name, bad, token, "header: nested, and no text either"
    unsigned = f"{HEADER}.{b64url(_nested(DEEP))}.{b64url(bytes(64))}"
    yield "payload-deep-unsigned", bad, unsigned, "payload: nested 20,000 deep, before a signature"
    for levels, verdict in ((MAX_DEPTH, RejectReason.PAYLOAD), (MAX_DEPTH + 1, bad)):
        for name, opening, closing in (("lists", b"[", b"]"), ("objects", b'{"a":', b"}")):
            part = _nested(levels - 1, opening, closing)
            content = CONTENT.replace(b"{", b'{"x":' + part + b",", 1)
            about = f"payload: {name} nested {levels} deep in a member too many"
            yield f"payload-deep-{levels}-{name}", verdict, signed(content), about
    content = CONTENT.replace(b"{", b'{"x":' + _nested(DEEP) + b",", 1)
    yield "payload-deep-20000", bad, signed(content), "payload: nested 20,000 deep"


def _types() -> Made:
    for name, value in (("list", []), ("null", None), ("object", {}), ("number", 1)):
        token = changed(lambda e, v=value: e.update(type=v))  # type: ignore[misc]
        yield f"type-{name}", RejectReason.PAYLOAD, token, f"type is a {name}"
    for name, kind in (("state", payload.STATE), ("health", payload.HEALTH)):
        token = changed(lambda e, k=kind: e.update(type=k))  # type: ignore[misc]
        about = f"an attempt that calls itself {name}: the type is judged before the rest"
        yield f"type-of-{name}-in-event", RejectReason.TYPE, token, about
    token = changed(lambda e: e.update(previous=None))
    yield "anew-previous-null", GENUINE, token, "event 1 with previous null, which is as absent"


def _orders() -> Made:
    """Break two rules at once: the first of the list is the verdict."""
    forged, wrong = f"{PAYLOAD}.{b64url(bytes(64))}", cast.UNREGISTERED
    extra = packed(header(typ="JWT", note="x"))
    yield "order-header-type", RejectReason.MALFORMED, f"{extra}.{forged}", "a member too many; typ"
    deep = f"{packed(header(typ='JWT'))}.{b64url(_nested(DEEP))}.{b64url(bytes(64))}"
    yield "order-depth-type", RejectReason.MALFORMED, deep, "a payload nested too deep; typ"
    token = f"{packed(header(typ='JWT', alg='none'))}.{forged}"
    yield "order-type-algorithm", RejectReason.TYPE, token, "typ; alg none"
    token = f"{packed(header(alg='none', kid=wrong.kid))}.{forged}"
    yield "order-algorithm-unknown", RejectReason.ALGORITHM, token, "alg none; nobody's key"
    token = f"{packed(header(kid=wrong.kid, alg='ES256'))}.{forged}"
    yield (
        "order-unknown-registered",
        RejectReason.UNKNOWN_KEY,
        token,
        "nobody's key; another algorithm",
    )
    token = signed(CONTENT, cast.ES256, alg="Ed25519")
    about = "another unit's key; not the algorithm that it is registered with"
    yield "foreign-and-algorithm", RejectReason.FOREIGN_KEY, token, about
    token = f"{packed(header(kid=cast.NEIGHBOUR.kid))}.{forged}"
    yield "order-foreign-signature", RejectReason.FOREIGN_KEY, token, "another unit's key; forged"
    token = f"{packed(header(alg='ES256'))}.{forged}"
    yield "order-registered-signature", RejectReason.ALGORITHM, token, "another algorithm; forged"
    nan = b64url(CONTENT.replace(b'"smile":77.7', b'"smile":NaN', 1))
    token = f"{HEADER}.{nan}.{b64url(bytes(64))}"
    yield "order-signature-json", RejectReason.BAD_SIGNATURE, token, "forged; no JSON"
    twice = CONTENT.replace(b'"type":', b'"type":"senyum.unit.state.v1","type":', 1)
    yield (
        "order-json-type",
        RejectReason.MALFORMED,
        signed(twice),
        "a name twice; the first type a state's",
    )
    token = changed(lambda e: e.update(source=cast.DOOR_3.source, time="yesterday"))
    yield "source-other-and-payload", RejectReason.PAYLOAD, token, "no time; source of another unit"
    token = changed(lambda e: e.update(source=cast.DOOR_3.source, time=_at(2027, "000001")))
    about = "source of another unit; outside the validity of the key"
    yield "source-other-and-validity", RejectReason.TOPIC, token, about
    yield "empty", EMPTY, b"", "nothing: it removes a retained message and says no more"


def _at(year: int, decimals: str = "000000") -> str:
    return f"{year}-01-01T00:00:00.{decimals}Z"


def _times() -> Made:
    for name, verdict, time, about in (
        ("leap-second", RejectReason.PAYLOAD, "2026-12-31T23:59:60.000000Z", "second 60"),
        ("exp", GENUINE, _at(2027), "at exp of the key, to the microsecond"),
        (
            "exp-plus-1us",
            RejectReason.OUTSIDE_VALIDITY,
            _at(2027, "000001"),
            "a microsecond after exp",
        ),
        ("nbf", GENUINE, _at(2026), "at nbf of the key"),
        (
            "nbf-minus-1us",
            RejectReason.OUTSIDE_VALIDITY,
            "2025-12-31T23:59:59.999999Z",
            "a microsecond before nbf",
        ),
        ("earliest", RejectReason.OUTSIDE_VALIDITY, _at(2020), "the earliest there is"),
        (
            "too-early",
            RejectReason.PAYLOAD,
            "2019-12-31T23:59:59.999999Z",
            "a microsecond too early",
        ),
        ("latest", RejectReason.OUTSIDE_VALIDITY, _at(2100), "the latest there is"),
        ("too-late", RejectReason.PAYLOAD, _at(2100, "000001"), "a microsecond too late"),
        ("9999", RejectReason.PAYLOAD, "9999-12-31T23:59:59.000000Z", "the end of many calendars"),
        (
            "year-1",
            RejectReason.PAYLOAD,
            "0001-01-01T00:00:00.000000Z",
            "the begin of many calendars",
        ),
        ("24-hours", RejectReason.PAYLOAD, "2026-08-17T24:00:00.000000Z", "hour 24"),
    ):
        token = changed(lambda e, t=time: e.update(time=t))  # type: ignore[misc]
        yield f"time-{name}", verdict, token, f"time: {about}"
    for name, verdict, number in (
        ("largest", GENUINE, MAX_SEQUENCE),
        ("too-large", RejectReason.PAYLOAD, MAX_SEQUENCE + 1),
    ):
        token = changed(lambda e, n=number: put(e["data"], "clock.monotonic_ns", str(n)))  # type: ignore[misc]
        yield f"monotonic-{name}", verdict, token, f"monotonic_ns is {number}"
    token = changed(lambda e: put(e["data"], "place.zone", "Asia/No_Such"))
    about = "a zone that no reader knows: keep the event, say so, show it in UTC"
    yield "zone-no-such", GENUINE, token, about


def _anchors() -> Made:
    reading = SetClock().read()
    detail = {
        "boot_id": reading.boot_id,
        "monotonic_ns": str(reading.monotonic_ns),
        "utc": timestamp(reading.utc_ns),
    }
    token = cast.unit().audit(AuditCode.CLOCK_ANCHOR, **detail).decode()
    for name, change in (
        ("year-1", {"utc": "0001-01-01T00:00:00.000000Z"}),
        ("9999", {"utc": "9999-12-31T23:59:59.999999Z"}),
        ("no-time", {"utc": "noon"}),
        ("number", {"utc": 1_786_942_800}),
        ("monotonic", {"monotonic_ns": str(MAX_SEQUENCE + 1)}),
    ):
        spoilt = changed(lambda e, c=change: e["data"]["detail"].update(c), token)  # type: ignore[misc]
        (field,) = change
        yield (
            f"anchor-{name}",
            RejectReason.PAYLOAD,
            spoilt,
            f"clock-anchor: {field} is {change[field]}",
        )


def _reasons() -> Made:
    refused = cast.unit().refused(Reason.NO_SMILE).decode()
    for outcome, token in ((Outcome.RECORDED, TOKEN), (Outcome.REFUSED, refused)):
        for reason in Reason:
            if reason in payload.REASONS[outcome]:
                continue
            spoilt = changed(lambda e, r=reason: e["data"].update(reason=r.value), token)  # type: ignore[misc]
            about = f"{outcome}, and the reason is {reason}"
            yield f"reason-{outcome}-{reason}", RejectReason.PAYLOAD, spoilt, about


def _sequences() -> Iterator[Vector]:
    unit = cast.unit(head=ChainHead(MAX_SEQUENCE - 1, "A" * 43))
    token = unit.recorded()
    yield Vector(
        name="sequence-int64-max",
        topic=unit.topic(),
        message=token,
        missing=f"1-{MAX_SEQUENCE - 1}",
        about="sequence is 2^63 - 1: nobody can go through what is missing number by number",
    )
    beyond = changed(lambda e: e.update(sequence=f"{MAX_SEQUENCE + 1:020d}"), token.decode())
    yield Vector(
        name="sequence-too-large",
        topic=unit.topic(),
        message=beyond.encode(),
        verdict=RejectReason.PAYLOAD,
        about="sequence is 2^63",
    )


def _unbounded() -> Iterator[Vector]:
    """Yield times at the limits, of a unit whose key has no bounds."""
    for name, time in (("earliest", _at(2020)), ("latest", _at(2100))):
        content = {**parsed(PAYLOAD), "source": cast.DOOR_3.source, "time": time}
        token = signed(json.dumps(content, separators=(",", ":")).encode(), cast.NEIGHBOUR)
        yield Vector(
            name=f"time-{name}-unbounded",
            topic=cast.DOOR_3.topic(TopicKind.EVENT),
            message=token.encode(),
            about=f"time: the {name} there is, by a key without nbf and exp",
        )


def _heads() -> Made:
    token = cast.unit(head=ChainHead(5, "A" * 43)).health().decode()
    for name, verdict, change, about in (
        ("null-number-5", RejectReason.PAYLOAD, {"head": None}, "number 5 and no head"),
        ("0-with-digest", RejectReason.PAYLOAD, {"sequence": 0}, "number 0 and a head"),
    ):
        spoilt = changed(lambda e, c=change: e["data"].update(c), token, typ=TYP[TopicKind.HEALTH])  # type: ignore[misc]
        yield f"head-{name}", verdict, spoilt, f"health: {about}"


def _wills() -> Made:
    good: Json = {"status": "offline", "session": 3}
    text = json.dumps(good)
    bad = RejectReason.MALFORMED
    yield "will-spaced", UNSIGNED, json.dumps(good, indent=1), "Last Will: with line ends"
    yield "will-twice", bad, text.replace("}", ', "session": 4}'), "Last Will: session twice"
    twice = text.replace("}", r', "s\u0065ssion": 4}')
    yield "will-escaped-twice", bad, twice, "Last Will: session twice, once escaped"
    yield "will-utf8", bad, b'{"status":"offline\xff","session":3}', "Last Will: no UTF-8"
    yield "will-bom", bad, BOM + text.encode(), "Last Will: a byte order mark"
    yield "will-deep-20000", bad, b'{"session":' + _nested(DEEP) + b"}", "Last Will: nested"
    large = text.replace("3", str(MAX_NUMBER + 1))
    yield "will-number-too-large", bad, large, "Last Will: session is 2^53"
    about = "Last Will: session is 2^53 - 1"
    yield "will-number-largest", UNSIGNED, text.replace("3", str(MAX_NUMBER)), about
    big = text.replace("}", " " * MAX_BYTES + "}")
    yield "will-big", RejectReason.OVERSIZED, big, "Last Will: more than 65,536 bytes"
    yield "empty-state", EMPTY, b"", "nothing on state: it removes the retained one"
