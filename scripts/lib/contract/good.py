"""Every kind of message as a unit sends it, under both algorithms."""

import json
from collections.abc import Iterator
from typing import Any

from contract import cast
from contract.unit import SetClock, SteadyKey
from contract.vector import UNSIGNED, Vector
from edge.contract.authority import OrderRejectReason
from edge.contract.events import OnlineStatus, Will, timestamp
from edge.contract.jose import b64url, from_b64url
from edge.contract.topics import TopicKind
from edge.errors import ErrorCode
from edge.outbox.event_signer import HealthReport
from edge.system.clock import ClockState
from edge.types import AuditCode, LivenessResult, Reason

VITALS = HealthReport(
    temperature_c=51.5,
    disk_free_bytes=9_876_543_210,
    frame_rate=12.5,
    last_error=ErrorCode.NO_RECEIVER,
    refused_commands=2,
    last_refusal=OrderRejectReason.STALE,
)


def vectors() -> Iterator[Vector]:
    """Yield them all."""
    for key in (cast.ED25519, cast.ES256):
        yield from _events(key)
        yield from _others(key)
    yield from _clocks()
    yield _spaced()
    will = Will(status=OnlineStatus.OFFLINE, session=3).model_dump_json().encode()
    topic = cast.unit().topic(TopicKind.STATE)
    about = "the Last Will, unsigned by nature: it may be shown, and proves nothing"
    yield Vector(name="last-will", topic=topic, message=will, verdict=UNSIGNED, about=about)


def _events(key: SteadyKey) -> Iterator[Vector]:
    nobody = {"person": None, "match": None, "smile": None, "smile_threshold": None}
    photo = {"life": LivenessResult(live=False, score=0.12, frames=18, cues={"texture": 0.12})}
    changes: dict[Reason, dict[str, Any]] = {Reason.NOT_KNOWN: nobody, Reason.SPOOF: photo}
    reading = SetClock().read()
    details: dict[AuditCode, dict[str, Any]] = {
        AuditCode.CLOCK_ANCHOR: {
            "boot_id": reading.boot_id,
            "monotonic_ns": str(reading.monotonic_ns),
            "utc": timestamp(reading.utc_ns),
        }
    }
    events = {
        "recorded": (cast.unit(key).recorded(), "recorded after a smile"),
        "recorded-no-smile-asked": (
            cast.unit(key).recorded(smile=None, smile_threshold=None),
            "recorded where no smile was asked: smile and its limits are null",
        ),
        **{
            f"refused-{reason}": (
                cast.unit(key).refused(reason, **changes.get(reason, {})),
                f"refused: {reason}",
            )
            for reason in Reason
            if reason is not Reason.ACCEPTED
        },
        **{
            f"audit-{code}": (
                cast.unit(key).audit(code, **details.get(code, {"count": 2, "why": "a test"})),
                f"audit: {code}",
            )
            for code in AuditCode
        },
    }
    for name, (message, about) in events.items():
        yield Vector(
            name=f"{key.alg.lower()}-{name}",
            topic=cast.unit(key).topic(),
            message=message,
            about=f"{key.alg}, {about}",
        )


def _others(key: SteadyKey) -> Iterator[Vector]:
    unit = cast.unit(key)
    for name, leaf, message in (
        ("state-online", TopicKind.STATE, unit.state()),
        ("state-offline", TopicKind.STATE, unit.state(OnlineStatus.OFFLINE)),
        ("health", TopicKind.HEALTH, unit.health(VITALS)),
        ("health-nothing-known", TopicKind.HEALTH, unit.health()),
    ):
        yield Vector(
            name=f"{key.alg.lower()}-{name}",
            topic=unit.topic(leaf),
            message=message,
            about=f"{key.alg}, {name.replace('-', ', ', 1).replace('-', ' ')}",
        )


def _clocks() -> Iterator[Vector]:
    holdover = cast.unit(clock=SetClock(state=ClockState.HOLDOVER))
    yield Vector(
        name="clock-holdover",
        topic=holdover.topic(),
        message=holdover.recorded(),
        about="the clock is no longer disciplined; time still decides about the key",
    )
    lost = cast.unit(clock=SetClock(utc_s=86_400, state=ClockState.UNSYNCHRONIZED))
    yield Vector(
        name="clock-unsynchronized",
        topic=lost.topic(),
        message=lost.recorded(),
        about="the clock says 1970, so time is the earliest there is; nobody vouches for it: "
        "the time of receipt decides about the key",
    )


def _spaced() -> Vector:
    """Write header and payload as another JSON library might."""
    unit = cast.unit()
    header, payload, _ = unit.recorded().decode().split(".")
    parts = [json.loads(from_b64url(part)) for part in (header, payload)]
    turned = [dict(reversed(part.items())) for part in parts]
    first, second = (json.dumps(part, indent=1).encode() for part in turned)
    signed = f"{b64url(first)}.{b64url(second)}"
    about = "members in another order and with spaces: what is signed is the bytes"
    return Vector(
        name="spaced", topic=unit.topic(), message=unit.key.close(signed).encode(), about=about
    )
