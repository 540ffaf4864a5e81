"""From what happened to what is signed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import uuid6

from edge.contract import events as payload
from edge.contract.authority import OrderRejectReason
from edge.contract.commands import REPLY_TYP, CommandResult, Reply
from edge.contract.envelope import sign
from edge.contract.jose import digest
from edge.contract.keys import SigningKey
from edge.contract.limits import as_text
from edge.errors import ErrorCode
from edge.settings import UnitSettings
from edge.system.clock import Clock, ClockReading, ClockState, utc_if_known
from edge.types import Attempt, Event, LivenessResult, Match, Outcome


@dataclass(frozen=True, slots=True)
class SigningContext:
    """What stays the same from event to event, until the roster or the settings change."""

    unit: UnitSettings
    software: str  # version
    models: Mapping[str, str]  # name to SHA-256, hex
    roster: str | None  # SHA-256 of the roster file, hex
    thresholds: Mapping[str, float]  # as `Settings.thresholds` gives them


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What only the rest of the unit knows about its health; None where it does not."""

    temperature_c: float | None = None
    disk_free_bytes: int | None = None
    frame_rate: float | None = None
    last_error: ErrorCode | None = None
    refused_commands: int = 0
    last_refusal: OrderRejectReason | None = None


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest event of a chain."""

    sequence: int = 0  # 0: the chain is empty
    digest: str | None = None

    def followed_by(self, token: str) -> "ChainHead":
        """Return the head once `token` was added."""
        return ChainHead(self.sequence + 1, digest(token))


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """A signed event."""

    id: str
    token: str


class EventSigner:
    """Numbers, dates and signs what a unit has to say. Several threads may use one."""

    def __init__(
        self,
        context: SigningContext,
        key: SigningKey,
        clock: Clock,
        new_id: Callable[[], str] = lambda: str(uuid6.uuid7()),
    ) -> None:
        self.context = context  # replaced whole when the roster changes
        self._common = _Common(context)
        self._key = key
        self._clock = clock
        self._new_id = new_id

    def event(self, event: Event, previous: ChainHead) -> SignedEvent:
        """Sign the event that follows `previous`.

        `time` is the instant of the frame that decided, on the clock as it stands now.
        """
        common = self._common
        if common.context is not self.context:
            self._common = common = _Common(self.context)
        reading = self._clock.read()
        age_ns = max(reading.monotonic_ns - event.captured_ns, 0)
        attributes = {
            **self._attributes(reading.utc_ns - age_ns),
            "sequence": f"{previous.sequence + 1:020d}",
            "previous": previous.digest,
        }
        clock = _clock(reading, reading.monotonic_ns - age_ns)
        signed: payload.ChainedEvent
        if isinstance(event, Attempt):
            recorded = event.outcome is Outcome.RECORDED
            signed = payload.AttendanceEvent(
                **attributes,
                type=payload.RECORDED if recorded else payload.REFUSED,
                subject=event.person,
                data=_attendance(event, common, clock),
            )
        else:
            data = payload.AuditData(
                code=event.code, detail=_detail(event.detail), clock=clock, **common.situation
            )
            signed = payload.AuditEvent(**attributes, type=payload.AUDIT, data=data)
        return SignedEvent(signed.id, sign(signed, self._key))

    def state(self, status: payload.OnlineStatus, session: int, head: ChainHead) -> str:
        """Sign the birth of a session, or its orderly end."""
        reading = self._clock.read()
        data = payload.StateData(
            status=status,
            session=session,
            sequence=head.sequence,
            head=head.digest,
            **_versions(self.context),
            clock=_clock(reading, reading.monotonic_ns),
        )
        event = payload.StateEvent(
            **self._attributes(reading.utc_ns), type=payload.STATE, data=data
        )
        return sign(event, self._key)

    def health(self, vitals: HealthReport, session: int, head: ChainHead, depth: int) -> str:
        """Sign how the unit is; `depth` counts the events that wait for the broker."""
        reading = self._clock.read()
        data = payload.HealthData(
            session=session,
            sequence=head.sequence,
            head=head.digest,
            outbox_depth=depth,
            temperature_c=vitals.temperature_c,
            disk_free_bytes=vitals.disk_free_bytes,
            frame_rate=vitals.frame_rate,
            last_error=vitals.last_error,
            refused_commands=vitals.refused_commands,
            last_refusal=vitals.last_refusal,
            clock=_clock(reading, reading.monotonic_ns),
        )
        event = payload.HealthEvent(
            **self._attributes(reading.utc_ns), type=payload.HEALTH, data=data
        )
        return sign(event, self._key)

    def use(self, roster: str | None, thresholds: Mapping[str, float]) -> None:
        """Take another roster (its digest) and other thresholds for what is signed from now on."""
        self.context = replace(self.context, roster=roster, thresholds=thresholds)

    def reply(self, answer: CommandResult) -> str:
        """Sign the answer to a command."""
        reply = Reply(
            **answer.model_dump(),
            id=self._new_id(),
            source=self.context.unit.source,
            time=payload.timestamp(self._clock.read().utc_ns),
        )
        header = {"alg": self._key.alg, "kid": self._key.kid, "typ": REPLY_TYP}
        return self._key.sign(header, reply.model_dump_json().encode())

    def now_if_known(self) -> datetime | None:
        """Return UTC, or None while no time source has confirmed the clock since the start."""
        return utc_if_known(self._clock)

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC, as events are dated with it."""
        return self._clock.read().monotonic_ns

    def now_if_synchronized(self) -> datetime | None:
        """UTC, or None while nobody disciplines the clock."""
        reading = self._clock.read()
        if reading.state is not ClockState.SYNCHRONIZED:
            return None
        return datetime.fromtimestamp(reading.utc_ns / 1e9, UTC)

    def _attributes(self, utc_ns: int) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": self._new_id(),
            "source": self.context.unit.source,
            "time": payload.timestamp(utc_ns),
            "datacontenttype": "application/json",
        }


class _Common:
    """What the events of one context share, made once: to make it takes as long as the rest."""

    def __init__(self, context: SigningContext) -> None:
        self.context = context
        place = payload.Place(**context.unit.place.model_dump())
        self.situation = {**_versions(context), "place": place}
        self._thresholds: dict[float | None, payload.Thresholds] = {}

    def thresholds(self, smile: float | None, match: float | None) -> payload.Thresholds:
        """Return all limits in force; `smile` is None where none was asked.

        `match`: of the person who was matched, None where nobody is enrolled.
        """
        if smile not in self._thresholds:
            self._thresholds[smile] = _thresholds(smile, self.context.thresholds)
        common = self._thresholds[smile]
        return common if match is None else common.model_copy(update={"match": match})


def _versions(context: SigningContext) -> dict[str, Any]:
    return {
        "software": as_text(context.software),
        "models": dict(context.models),
        "roster": context.roster,
    }


def _detail(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader takes: a text may come from a file, a device or another program."""
    return {
        name: as_text(value) if isinstance(value, str) else value for name, value in detail.items()
    }


def _clock(reading: ClockReading, monotonic_ns: int) -> payload.ClockData:
    return payload.ClockData(
        state=reading.state, boot_id=reading.boot_id, monotonic_ns=str(monotonic_ns)
    )


def _attendance(
    attempt: Attempt, common: _Common, clock: payload.ClockData
) -> payload.AttendanceData:
    return payload.AttendanceData(
        outcome=attempt.outcome,
        reason=attempt.reason,
        direction=common.context.unit.direction,
        smile=None if attempt.smile is None else _floor(attempt.smile, 1),
        match=_match(attempt.match),
        liveness=_liveness(attempt.life),
        thresholds=common.thresholds(attempt.smile_threshold, attempt.match_threshold),
        clock=clock,
        **common.situation,
    )


def _thresholds(smile: float | None, limits: Mapping[str, float]) -> payload.Thresholds:
    """Write all limits, but of the smile only where one was asked.

    An exempt person's event must look like one of a unit that asks nobody.
    """
    asked = smile is not None
    return payload.Thresholds(
        match=limits["match"],
        margin=limits["margin"],
        agreeing_frames=int(limits["agreeing_frames"]),
        unknown_frames=int(limits["unknown_frames"]),
        liveness=limits["liveness"],
        liveness_frames=int(limits["liveness_frames"]),
        smile=smile,
        smile_rise=limits["smile_rise"] if asked else None,
        smile_timeout=limits["smile_timeout"] if asked else None,
        motion=limits["motion"] if asked else None,
        reaction=limits["reaction"] if asked else None,
        prompt_delay=limits["prompt_delay"] if asked else None,
    )


def _liveness(life: LivenessResult) -> payload.LivenessData:
    return payload.LivenessData(
        judged=life.live is not None,
        live=life.live,
        score=_share(life.score),
        frames=life.frames,
        cues={name: _share(vote) for name, vote in life.cues.items()},
    )


def _share(value: float | None) -> float | None:
    return None if value is None else _floor(max(0.0, min(1.0, value)), 3)


def _match(match: Match | None) -> payload.MatchData | None:
    if match is None:
        return None
    similarity = max(-1.0, min(1.0, match.similarity))  # a float32 product may pass 1 by a hair
    margin = None if match.margin is None else _floor(max(match.margin, 0.0), 4)
    return payload.MatchData(similarity=_floor(similarity, 4), margin=margin)


def _floor(value: float, digits: int) -> float:
    """Cut, never round up: a figure below its threshold must not come to read as having met it."""
    scale = 10.0**digits
    return math.floor(value * scale) / scale
