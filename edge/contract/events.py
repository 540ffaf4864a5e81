"""What a unit says: CloudEvents 1.0 and the `data` of each type, checked at both ends.

Strict: a field that is missing, unknown, of another type or out of range is an error. New
fields come with a new version in `type`, so that nobody reads half of what was signed.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from edge.contract import limits
from edge.contract.authority import OrderRejectReason
from edge.contract.limits import MAX_NUMBER
from edge.contract.topics import UnitName
from edge.system.clock import ClockState
from edge.system.text import describe_validation_error
from edge.types import AuditCode, Direction, Outcome, Reason

RECORDED: Final = "senyum.attendance.recorded.v1"
REFUSED: Final = "senyum.attendance.refused.v1"
AUDIT: Final = "senyum.unit.audit.v1"
STATE: Final = "senyum.unit.state.v1"
HEALTH: Final = "senyum.unit.health.v1"

# Which reason goes with which outcome: the models and the schemas are made of this table.
REASONS: Final[Mapping[Outcome, frozenset[Reason]]] = {
    Outcome.RECORDED: frozenset({Reason.ACCEPTED}),
    Outcome.REFUSED: frozenset({Reason.NOT_KNOWN, Reason.NO_SMILE, Reason.SPOOF}),
}


Whole = BeforeValidator(limits.whole)
Integer = Annotated[int, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Count = Annotated[int, Field(ge=0, le=MAX_NUMBER), Whole]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$", description="base64url SHA-256")]
# 128 bits of HMAC; an 18-digit person number can never pass for one.
PersonId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
Text = Annotated[str, Field(max_length=limits.MAX_TEXT, pattern=limits.TEXT)]
Cosine = Annotated[float, Field(ge=-1.0, le=1.0)]
Score = Annotated[float, Field(ge=0.0, le=100.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Annotated[float, Field(ge=0.0, le=MAX_NUMBER)]
Figure = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]


# What a pattern can say is said by it, and not by code: the schemas of docs/contract take it over.
UuidV7 = Annotated[
    str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
]
UnitUrn = Annotated[str, Field(pattern=r"^urn:senyum(:[a-z0-9-]{1,32}){3}$")]
Moment = Annotated[str, Field(pattern=limits.MOMENT)]
Nanoseconds = Annotated[str, Field(pattern=limits.NANOSECONDS)]


class StrictEventModel(BaseModel):
    """A part of an event that accepts no other type and no other field."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


# --- parts of `data` -------------------------------------------------------------------------


class ClockData(StrictEventModel):
    """How sure the unit is of `time`, and the same instant on a clock that nobody can set."""

    state: ClockState
    boot_id: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")]
    # CLOCK_MONOTONIC since that boot; a string because it outgrows the 2^53 of a JSON number.
    monotonic_ns: Nanoseconds


class Place(StrictEventModel):
    """Where the unit hangs."""

    latitude: Annotated[float, Field(ge=-90.0, le=90.0)]  # degrees, WGS 84
    longitude: Annotated[float, Field(ge=-180.0, le=180.0)]
    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")]  # IANA


class MatchData(StrictEventModel):
    """The nearest person in the roster, named only by the event's `subject`."""

    similarity: Cosine
    margin: Annotated[float, Field(ge=0.0, le=2.0)] | None  # None: the roster has no second


_OF_THE_SMILE = ("smile", "smile_rise", "smile_timeout", "motion", "reaction", "prompt_delay")


class Thresholds(StrictEventModel):
    """Every limit that decided. Those of the smile are None exactly where none was asked."""

    match: Cosine
    margin: Annotated[float, Field(ge=0.0, le=2.0)]
    agreeing_frames: Count  # of one identity, before it counts
    unknown_frames: Count  # without an identity, before somebody is unknown
    liveness: Share  # mean score of the judged frames
    liveness_frames: Count  # judged, before somebody counts as alive; twice as many refuse
    smile: Score | None
    smile_rise: Score | None  # points above the face before the smile
    smile_timeout: Annotated[float, Field(gt=0.0, le=MAX_NUMBER)] | None  # seconds
    motion: Size | None  # of the mouth, distances between the eyes
    reaction: Size | None  # seconds after the prompt, before which no answer counts
    prompt_delay: Size | None  # seconds; the prompt came a random time up to this later

    @model_validator(mode="after")
    def _smile_whole_or_not_at_all(self) -> Self:
        if len({getattr(self, name) is None for name in _OF_THE_SMILE}) > 1:
            raise ValueError(f"{', '.join(_OF_THE_SMILE)} are null together or not at all")
        return self


class LivenessData(StrictEventModel):
    """Whether a living person stood there, as far as the unit judged it, and what spoke."""

    judged: bool  # whether frames enough were held against the threshold
    live: bool | None  # None where not judged
    score: Share | None  # mean of the judged frames; None where none was
    frames: Count  # how many frames were judged
    # The vote of each cue, 0 (a photo or a screen) to 1; None where it did not speak.
    cues: Annotated[dict[Name, Share | None], Field(max_length=32)]

    @model_validator(mode="after")
    def _judged_has_a_score(self) -> Self:
        if self.judged != (self.live is not None) or (self.frames == 0) != (self.score is None):
            raise ValueError("judged and live, frames and score contradict each other")
        if self.judged and self.score is None:
            raise ValueError("judged without a score")
        return self


class _Versions(StrictEventModel):
    """What decided: the program, its networks and its roster."""

    software: Text
    models: Annotated[dict[Name, Sha256], Field(max_length=32)]
    roster: Sha256 | None  # None: no roster is loaded


# --- data ------------------------------------------------------------------------------------


class AttendanceData(_Versions):
    """One person's attempt, with what they need to appeal."""

    outcome: Outcome
    reason: Reason
    direction: Direction
    smile: Score | None  # None where no smile is asked, of anybody or of this person
    match: MatchData | None
    liveness: LivenessData
    thresholds: Thresholds
    place: Place
    clock: ClockData

    @model_validator(mode="after")
    def _reason_is_of_the_outcome(self) -> Self:
        if self.reason not in REASONS[self.outcome]:
            raise ValueError("outcome and reason contradict each other")
        return self


class AuditData(_Versions):
    """Something about the unit itself, in the same chain."""

    code: AuditCode
    detail: Annotated[dict[Name, Text | Integer | Figure | bool | None], Field(max_length=32)]
    place: Place
    clock: ClockData

    @model_validator(mode="after")
    def _anchor_is_a_moment(self) -> Self:
        if self.code is AuditCode.CLOCK_ANCHOR:
            for name, kind in OF_ANCHOR.items():
                if name in self.detail:
                    kind.validate_python(self.detail[name])
        return self


# What a clock-anchor says of one moment, on the clock of the boot and in UTC.
OF_ANCHOR: Final[Mapping[str, TypeAdapter[str]]] = {
    "monotonic_ns": TypeAdapter(Nanoseconds),
    "utc": TypeAdapter(Moment),
}


class Status(StrEnum):
    """Whether a unit is there."""

    ONLINE = "online"
    OFFLINE = "offline"


class _Position(StrictEventModel):
    """Where a unit's chain stands."""

    session: Count  # counts the starts of this outbox, from 1
    sequence: Count  # of the newest event; 0 where there is none
    head: Digest | None  # its digest

    @model_validator(mode="after")
    def _an_event_has_a_digest(self) -> Self:
        if (self.sequence == 0) != (self.head is None):
            raise ValueError("head is null exactly where sequence is 0")
        return self


class StateData(_Position, _Versions):
    """Birth of a session, or its orderly end."""

    status: Status
    clock: ClockData


class HealthData(_Position):
    """How the unit is, once a minute."""

    outbox_depth: Count  # events that the broker has not acknowledged
    temperature_c: Figure | None
    disk_free_bytes: Count | None
    frame_rate: Size | None  # frames a second
    last_error: Text | None
    refused_commands: Count  # since the start
    last_refusal: OrderRejectReason | None  # why the last one was
    clock: ClockData


class Will(StrictEventModel):
    """What the broker says of a unit that went away; unsigned by nature."""

    status: Literal[Status.OFFLINE]
    session: Count


# --- CloudEvents -----------------------------------------------------------------------------


class CloudEvent(StrictEventModel):
    """The attributes that every message has."""

    specversion: Literal["1.0"]
    id: UuidV7
    source: UnitUrn
    time: Moment
    datacontenttype: Literal["application/json"]

    @property
    def unit(self) -> UnitName:
        return UnitName.from_source(self.source)

    @property
    def moment(self) -> datetime:
        """`time` as an aware datetime, UTC."""
        return datetime.fromisoformat(self.time)


class ChainedEvent(CloudEvent):
    """An event of the unit's numbered chain."""

    # Zero-padded so that it sorts as text.
    sequence: Annotated[str, Field(pattern=limits.SEQUENCE, min_length=20, max_length=20)]
    previous: Digest | None = None

    @model_validator(mode="after")
    def _first_has_no_previous(self) -> Self:
        if (self.number == 1) != (self.previous is None):
            raise ValueError("previous is absent exactly on sequence 1, the first")
        return self

    @property
    def number(self) -> int:
        """`sequence` as a number, from 1."""
        return int(self.sequence)


class AttendanceEvent(ChainedEvent):
    """An attempt, recorded or refused."""

    type: Literal["senyum.attendance.recorded.v1", "senyum.attendance.refused.v1"]
    subject: PersonId | None = None  # absent for an unknown person
    data: AttendanceData

    @model_validator(mode="after")
    def _type_is_the_outcome(self) -> Self:
        if (self.type == RECORDED) != (self.data.outcome is Outcome.RECORDED):
            raise ValueError("type and data.outcome contradict each other")
        if self.type == RECORDED and self.subject is None:
            raise ValueError("subject is missing: nobody was recorded")
        if self.type == RECORDED and self.data.liveness.live is False:
            raise ValueError("a photo or a screen was recorded")
        return self


class AuditEvent(ChainedEvent):
    """The unit about itself."""

    type: Literal["senyum.unit.audit.v1"]
    data: AuditData


class StateEvent(CloudEvent):
    """Retained on `state`."""

    type: Literal["senyum.unit.state.v1"]
    data: StateData


class HealthEvent(CloudEvent):
    """Retained on `health`."""

    type: Literal["senyum.unit.health.v1"]
    data: HealthData


AnyEvent = Annotated[
    AttendanceEvent | AuditEvent | StateEvent | HealthEvent, Field(discriminator="type")
]
ANY_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def describe_errors(error: ValidationError) -> str:
    """Say where the first fault is and what; quotes nothing of what was sent."""
    first = error.errors(include_url=False, include_input=False)[0]
    # The names of unknown members are the sender's words, too.
    known = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
    safe = takewhile(_NAME.fullmatch, map(str, known))
    where = ".".join(safe)
    return (
        f"{where}: {describe_validation_error(first)}"
        if where
        else describe_validation_error(first)
    )


_MAY_BE_ABSENT = ("previous", "subject")


def encode(event: CloudEvent) -> bytes:
    """Write the JSON that is signed as it stands; absent attributes are left out, not null."""
    absent = {name for name in _MAY_BE_ABSENT if getattr(event, name, "") is None}
    return event.model_dump_json(exclude=absent).encode("utf-8")


def timestamp(utc_ns: int) -> str:
    """RFC 3339, UTC, microseconds; the nearest limit of the contract if it is outside."""
    moment = limits.as_moment(utc_ns).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"
