"""Ways to be wrong, each with the one rule that it breaks."""

import hmac
import json
from collections.abc import Iterator
from typing import Final

from contract import cast
from contract.spoiling import (
    CONTENT,
    HEADER,
    PAYLOAD,
    SIGNATURE,
    TOKEN,
    changed,
    flipped,
    header,
    packed,
    parsed,
    put,
    signed,
)
from contract.unit import NOON, P256_ORDER, PERSON, SetClock
from contract.vector import Vector
from edge.contract import events as payload
from edge.contract.envelope import MAX_BYTES, TYP, RejectReason
from edge.contract.jose import b64url, from_b64url
from edge.contract.topics import ROOT, TopicKind
from edge.system.clock import ClockState
from edge.types import Reason

Made = Iterator[tuple[str, RejectReason, str | bytes, str]]  # name, verdict, message, about

_ES256_TOKEN: Final = cast.unit(cast.ES256).recorded().decode()


def vectors() -> Iterator[Vector]:
    """Yield them all."""
    topic = cast.unit().topic()
    for group in (_sizes_and_shapes, _headers, _keys, _signatures, _not_json, _payloads, _data):
        for name, flaw, message, about in group():
            content = message.encode() if isinstance(message, str) else message
            yield Vector(name=name, topic=topic, message=content, verdict=flaw, about=about)
    yield from _topics()
    yield from _es256()
    yield from _unsynchronized()
    yield from _wills()


def _sizes_and_shapes() -> Made:
    bad = RejectReason.MALFORMED
    long = changed(lambda e: e["data"].update(software="x" * MAX_BYTES))
    yield "oversized", RejectReason.OVERSIZED, long, f"more than {MAX_BYTES} bytes"
    yield "two-parts", bad, f"{HEADER}.{PAYLOAD}", "the signature is missing"
    yield "four-parts", bad, f"{TOKEN}.{SIGNATURE}", "one part too many"
    yield "truncated", bad, TOKEN[: len(HEADER) + 100], "cut off in the payload"
    yield "padded", bad, f"{TOKEN}==", "padded base64url"
    standard = SIGNATURE.replace("-", "+").replace("_", "/")
    yield "base64", bad, f"{HEADER}.{PAYLOAD}.{standard}", "base64, not base64url"
    yield "not-canonical", bad, flipped(TOKEN, -1), "unused bits of the last character are set"
    yield "line-end", bad, f"{TOKEN}\n", "a line end behind it"
    yield "space", bad, f" {TOKEN}", "a space before it"
    yield "not-utf8", bad, b"\xff\xfe" + TOKEN.encode(), "bytes that are no UTF-8"
    entry = {"protected": HEADER, "signature": SIGNATURE}
    flat = json.dumps({"payload": PAYLOAD, **entry})
    yield "json-serialization", bad, flat, "the JSON serialization of the same JWS"
    general = json.dumps({"payload": PAYLOAD, "signatures": [entry, entry]})
    yield "two-signatures", bad, general, "the JSON serialization with two signatures"
    yield "plain-event", bad, CONTENT, "the event without an envelope"


def _headers() -> Made:
    for name, content, about in (
        ("no-object", b"[]", "a JSON array"),
        ("not-json", b"{", "cut off"),
        (
            "duplicate",
            from_b64url(HEADER).replace(b"{", b'{"alg":"none",', 1),
            "alg twice: readers differ in which they take",
        ),
    ):
        token = cast.ED25519.close(f"{b64url(content)}.{PAYLOAD}")
        yield f"header-{name}", RejectReason.MALFORMED, token, f"header: {about}"
    jwk = {name: cast.UNREGISTERED.private[name] for name in ("kty", "crv", "x")}
    for name, extra in (
        ("jku", {"jku": "https://example.org/keys"}),
        ("jwk", {"jwk": jwk}),
        ("crit", {"crit": ["b64"], "b64": False}),
        ("kid-number", {"kid": 1}),
    ):
        token = cast.ED25519.close(f"{packed(header(**extra))}.{PAYLOAD}")
        yield f"header-{name}", RejectReason.MALFORMED, token, "header: other than four strings"
    for name, change in (
        ("typ-other", {"typ": "JWT"}),
        ("typ-missing", {"typ": None}),
        ("typ-of-state", {"typ": TYP[TopicKind.STATE]}),
        ("cty-other", {"cty": "json"}),
        ("cty-missing", {"cty": None}),
    ):
        token = cast.ED25519.close(f"{packed(header(**change))}.{PAYLOAD}")
        yield name, RejectReason.TYPE, token, "typ or cty is not that of this topic"
    none = packed(header(alg="none"))
    yield "alg-none", RejectReason.ALGORITHM, f"{none}.{PAYLOAD}.", "not signed at all"
    yield "alg-none-signed", RejectReason.ALGORITHM, f"{none}.{PAYLOAD}.{SIGNATURE}", "alg none"
    signed = f"{packed(header(alg='HS256'))}.{PAYLOAD}"
    secret = from_b64url(cast.ED25519.private["x"])
    mac = b64url(hmac.digest(secret, signed.encode(), "sha256"))
    yield "alg-hs256", RejectReason.ALGORITHM, f"{signed}.{mac}", "a MAC made with the public key"
    for alg in ("EdDSA", "ES256", "ed25519", None):
        token = cast.ED25519.close(f"{packed(header(alg=alg))}.{PAYLOAD}")
        name = f"alg-{alg or 'missing'}".replace("ed25519", "lower-case").lower()
        yield (
            name,
            RejectReason.ALGORITHM,
            token,
            f"alg {alg} with a key that is registered for Ed25519",
        )


def _keys() -> Made:
    unknown = signed(CONTENT, cast.UNREGISTERED)
    yield "kid-unknown", RejectReason.UNKNOWN_KEY, unknown, "a key that nobody registered"
    token = cast.ED25519.close(f"{packed(header(kid=None))}.{PAYLOAD}")
    yield "kid-missing", RejectReason.UNKNOWN_KEY, token, "no kid"
    neighbour = signed(CONTENT, cast.NEIGHBOUR)
    yield (
        "kid-of-another-unit",
        RejectReason.FOREIGN_KEY,
        neighbour,
        "a key of door 3 on door 1's topic",
    )
    for name, key, about in (
        ("key-expired", cast.RETIRED, "a key of this unit whose time was over"),
        ("key-not-yet-valid", cast.COMING, "a key of this unit whose time has not come"),
    ):
        yield name, RejectReason.OUTSIDE_VALIDITY, signed(CONTENT, key), about


def _signatures() -> Made:
    bad = RejectReason.BAD_SIGNATURE
    place = len(HEADER) + 1 + len(PAYLOAD) // 2
    yield "flip-payload", bad, flipped(TOKEN, place), "one bit of the payload"
    yield "flip-signature", bad, flipped(TOKEN, len(TOKEN) - 40), "one bit of the signature"
    turned = packed(dict(reversed(header().items())))
    yield "changed-header", bad, f"{turned}.{PAYLOAD}.{SIGNATURE}", "header in another order"
    # Its last character but four is of `kid`; the header stays JSON and names no key.
    kid = from_b64url(HEADER).replace(
        cast.ED25519.kid.encode(), flipped(cast.ED25519.kid, 9).encode()
    )
    flip = f"{b64url(kid)}.{PAYLOAD}.{SIGNATURE}"
    yield "flip-kid", RejectReason.UNKNOWN_KEY, flip, "one bit of the header, in kid"
    forged = cast.UNREGISTERED.close(f"{HEADER}.{PAYLOAD}")
    yield "forged", bad, forged, "another key under the unit's kid"
    yield "cut-signature", bad, TOKEN[:-2], "the signature's last byte is missing"
    yield "no-signature", bad, f"{HEADER}.{PAYLOAD}.", "an empty signature under alg Ed25519"
    other = cast.unit()
    other.recorded()
    stolen = other.recorded().decode().rpartition(".")[2]
    yield "signature-of-another", bad, f"{HEADER}.{PAYLOAD}.{stolen}", "the signature of event 2"


def _not_json() -> Made:
    bad = RejectReason.MALFORMED
    for name, content, about in (
        ("empty", b"", "nothing"),
        ("array", b"[]", "an array"),
        ("cut", CONTENT[:-1], "cut off"),
        ("nan", CONTENT.replace(b'"smile":77.7', b'"smile":NaN', 1), "NaN is no JSON"),
        ("not-utf8", CONTENT.replace(b"Asia", b"\xff\xfe\xfd\xfc"), "signed, and no UTF-8"),
        ("duplicate", CONTENT.replace(b"{", b'{"id":"x",', 1), "a name twice"),
        (
            "duplicate-inside",
            CONTENT.replace(b'"smile":77.7', b'"smile":10,"smile":77.7', 1),
            "a name twice, further in",
        ),
        ("two", CONTENT + CONTENT, "two objects"),
    ):
        yield f"payload-{name}", bad, signed(content), f"payload: {about}"


def _payloads() -> Made:
    second = cast.unit()
    second.recorded()
    follower = second.recorded().decode()
    unknown = cast.unit().refused(Reason.NOT_KNOWN, person=None, match=None).decode()
    for name, changes, about in (
        ("specversion", {"specversion": "0.3"}, "another version of CloudEvents"),
        ("id-v4", {"id": "0198c0de-0000-4000-8000-000000000000"}, "a UUID of version 4"),
        ("id-upper", {"id": "0198C0DE-0000-7000-8000-000000000000"}, "an id in upper case"),
        ("source", {"source": "urn:senyum:example:office"}, "no URN of a unit"),
        ("type-v2", {"type": "senyum.attendance.recorded.v2"}, "a type of another version"),
        ("type-contradicts", {"type": payload.REFUSED}, "type and outcome contradict"),
        ("time-zone", {"time": "2026-08-17T12:00:00.000000+07:00"}, "time is not UTC"),
        ("time-30-february", {"time": "2026-02-30T12:00:00.000000Z"}, "no such day"),
        ("time-no-leap-year", {"time": "2100-02-29T12:00:00.000000Z"}, "no such day"),
        ("subject-number", {"subject": "198001012005011001"}, "a person number in the open"),
        ("sequence-0", {"sequence": f"{0:020d}"}, "sequence begins at 1"),
        ("sequence-short", {"sequence": "1"}, "sequence without its zeros"),
        ("sequence-number", {"sequence": 1}, "sequence as a number"),
        ("previous-on-first", {"previous": "A" * 43}, "the first event follows another"),
        ("extra", {"note": "x"}, "an attribute too many"),
        ("data-null", {"data": None}, "no data"),
    ):
        added = changed(lambda e, c=changes: e.update(c))  # type: ignore[misc] # mypy knows no default of a lambda
        yield f"event-{name}", RejectReason.PAYLOAD, added, about
    for name in ("specversion", "id", "source", "type", "time", "subject", "sequence", "data"):
        missing = changed(lambda e, n=name: e.pop(n))  # type: ignore[misc]
        yield f"event-no-{name}", RejectReason.PAYLOAD, missing, f"{name} is missing"
    headless = changed(lambda e: e.pop("previous"), follower)
    yield "event-no-previous", RejectReason.PAYLOAD, headless, "event 2 without previous"
    nobody = changed(lambda e: e.update(type=payload.RECORDED), unknown)
    yield "event-nobody-recorded", RejectReason.PAYLOAD, nobody, "recorded, and nobody is"


def _data() -> Made:
    for name, path, value, about in (
        ("extra", "late", True, "the unit never judges lateness"),
        ("smile-high", "smile", 100.1, "a score above 100"),
        ("smile-low", "smile", -0.1, "a score below 0"),
        ("smile-text", "smile", "77", "a score as text"),
        ("smile-true", "smile", True, "a score as a truth value"),
        ("outcome", "outcome", "maybe", "no such outcome"),
        ("similarity", "match.similarity", 1.1, "a cosine above 1"),
        ("match-extra", "match.person", PERSON, "the runner-up's name has no place"),
        ("latitude", "place.latitude", 90.1, "north of the pole"),
        ("clock", "clock.state", "probably", "no such state"),
        ("monotonic-number", "clock.monotonic_ns", 3_600_000_000_000, "a number for a string"),
        ("smile-half-asked", "thresholds.smile_rise", None, "of the smile's limits one is null"),
        ("models-name", "models.No Name", "a" * 64, "no name of a network"),
        ("roster-short", "roster", "abc", "no SHA-256"),
        ("photo-recorded", "liveness.live", False, "recorded, and judged a photo"),
        ("live-not-judged", "liveness.judged", False, "live, and not judged"),
        ("frames-half", "thresholds.agreeing_frames", 2.5, "half a picture"),
    ):
        token = changed(lambda e, p=path, v=value: put(e["data"], p, v))  # type: ignore[misc]
        yield f"data-{name}", RejectReason.PAYLOAD, token, about
    for name in ("smile", "thresholds", "clock", "place", "models", "software"):
        token = changed(lambda e, n=name: e["data"].pop(n))  # type: ignore[misc]
        yield f"data-no-{name}", RejectReason.PAYLOAD, token, f"data.{name} is missing"


def _topics() -> Iterator[Vector]:
    unit, good = cast.unit(), TOKEN.encode()
    name = unit.name
    strange = (
        ("v2", f"senyum/v2/{name.org}/{name.site}/{name.name}/event", "of another version"),
        ("short", f"{ROOT}/{name.org}/{name.name}/event", "a level too few"),
        ("upper", f"{ROOT}/{name.org}/{name.site}/Door-1/event", "upper case"),
        ("kind", f"{ROOT}/{name.org}/{name.site}/{name.name}/events", "no such kind"),
    )
    for kind, topic, about in strange:
        yield Vector(
            name=f"topic-{kind}",
            topic=topic,
            message=good,
            verdict=RejectReason.TOPIC,
            about=f"topic {about}",
        )
    dressed = changed(lambda _: None, unit.state().decode())
    event_as_state = signed(CONTENT, typ=TYP[TopicKind.STATE])
    elsewhere = changed(lambda e: e.update(source=cast.DOOR_3.source))
    for kind, topic, token, flaw, about in (
        (
            "of-another-unit",
            cast.DOOR_3.topic(TopicKind.EVENT),
            TOKEN,
            RejectReason.FOREIGN_KEY,
            "of door 3",
        ),
        (
            "and-source-differ",
            unit.topic(),
            elsewhere,
            RejectReason.TOPIC,
            "of door 1, source door 3",
        ),
        (
            "state-for-event",
            unit.topic(TopicKind.STATE),
            TOKEN,
            RejectReason.TYPE,
            "state, typ of event",
        ),
        (
            "state-as-event",
            unit.topic(),
            dressed,
            RejectReason.TYPE,
            "event and its typ, type of state",
        ),
        (
            "event-as-state",
            unit.topic(TopicKind.STATE),
            event_as_state,
            RejectReason.TYPE,
            "state and its typ, type of an event",
        ),
    ):
        yield Vector(
            name=f"topic-{kind}",
            topic=topic,
            message=token.encode(),
            verdict=flaw,
            about=f"topic {about}",
        )


def _es256() -> Iterator[Vector]:
    topic = cast.unit(cast.ES256).topic()
    signed, _, signature = _ES256_TOKEN.rpartition(".")
    raw = from_b64url(signature)
    mirrored = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)
    der = cast.ES256.raw(signed.encode(), der=True)
    header = {**parsed(signed.split(".")[0]), "alg": "Ed25519"}
    other = f"{packed(header)}.{signed.split('.')[1]}.{signature}"
    for name, token, flaw, about in (
        (
            "mirrored",
            f"{signed}.{b64url(mirrored)}",
            RejectReason.BAD_SIGNATURE,
            "the greater of two s",
        ),
        ("der", f"{signed}.{b64url(der)}", RejectReason.BAD_SIGNATURE, "the signature as ASN.1"),
        ("zero", f"{signed}.{b64url(bytes(64))}", RejectReason.BAD_SIGNATURE, "r and s are 0"),
        (
            "as-ed25519",
            other,
            RejectReason.ALGORITHM,
            "alg Ed25519 with a key registered for ES256",
        ),
    ):
        yield Vector(
            name=f"es256-{name}",
            topic=topic,
            message=token.encode(),
            verdict=flaw,
            about=f"ES256: {about}",
        )


def _unsynchronized() -> Iterator[Vector]:
    clock = SetClock(state=ClockState.UNSYNCHRONIZED)
    yield Vector(
        name="key-expired-on-receipt",
        topic=cast.unit().topic(),
        message=cast.unit(clock=clock).recorded(),
        received=NOON + 366 * 86_400,
        verdict=RejectReason.OUTSIDE_VALIDITY,
        about="time is within the key's, but unsynchronized: the time of receipt decides",
    )


def _wills() -> Iterator[Vector]:
    topic = cast.unit().topic(TopicKind.STATE)
    for name, content, about in (
        ("online", b'{"status":"online","session":3}', "nobody is online without a signature"),
        ("extra", b'{"status":"offline","session":3,"sequence":9}', "a field too many"),
        ("session", b'{"status":"offline"}', "no session"),
        ("text", b'{"status":"offline","session":"3"}', "the session as text"),
    ):
        yield Vector(
            name=f"will-{name}",
            topic=topic,
            message=content,
            verdict=RejectReason.MALFORMED,
            about=f"Last Will: {about}",
        )
