"""The events a unit sends: CloudEvents 1.0 with `data` validated by sender and receiver.

The models are strict: a field that is missing, unknown, of the wrong type or out of range is an
error. New fields come with a new version in `type`, so that no reader silently drops a part of what
was signed. docs/contract/schema is generated from the models and their descriptions.
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

# The reasons possible for each outcome. The models and the schemas are built from this table.
REASONS: Final[Mapping[Outcome, frozenset[Reason]]] = {
    Outcome.RECORDED: frozenset({Reason.ACCEPTED}),
    Outcome.REFUSED: frozenset({Reason.NOT_KNOWN, Reason.NO_SMILE, Reason.SPOOF}),
}


Whole = BeforeValidator(limits.whole)
Integer = Annotated[int, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Count = Annotated[int, Field(ge=0, le=MAX_NUMBER), Whole]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]  # base64url SHA-256
# 128 bits of HMAC; an 18-digit person number never matches.
PersonId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
Text = Annotated[str, Field(max_length=limits.MAX_TEXT, pattern=limits.TEXT)]
Cosine = Annotated[float, Field(ge=-1.0, le=1.0)]
Margin = Annotated[float, Field(ge=0.0, le=2.0)]
Score = Annotated[float, Field(ge=0.0, le=100.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Annotated[float, Field(ge=0.0, le=MAX_NUMBER)]
Figure = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]


# A pattern rather than code expresses each of these, so that the schemas can state it.
UuidV7 = Annotated[
    str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
]
UnitUrn = Annotated[str, Field(pattern=r"^urn:senyum(:[a-z0-9-]{1,32}){3}$")]
Moment = Annotated[str, Field(pattern=limits.MOMENT)]
Nanoseconds = Annotated[str, Field(pattern=limits.NANOSECONDS)]

_NO_OTHER_NAMES = {"additionalProperties": False}  # pydantic checks the names; its schema does not


class StrictModel(BaseModel):
    """A part of a message that accepts no other type and no other field."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


# --- parts of `data` -------------------------------------------------------------------------


class ClockData(StrictModel):
    """How reliable `time` is, and the same instant on a clock that cannot be set."""

    state: ClockState = Field(description="How reliable `time` is.")
    boot_id: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")] = Field(
        description="Identifies the boot that monotonic_ns counts from."
    )
    monotonic_ns: Nanoseconds = Field(
        description="The same instant on CLOCK_MONOTONIC, in nanoseconds; this clock cannot be "
        "set. A string, because it can exceed the 2^53 of a JSON number."
    )


class Place(StrictModel):
    """A geographic location and its time zone."""

    latitude: Annotated[float, Field(ge=-90.0, le=90.0)] = Field(
        description="Degrees, WGS 84, north positive."
    )
    longitude: Annotated[float, Field(ge=-180.0, le=180.0)] = Field(
        description="Degrees, WGS 84, east positive."
    )
    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = Field(
        description="IANA time zone that determines the local day."
    )


class MatchData(StrictModel):
    """The nearest person in the roster, identified only by the event's `subject`."""

    similarity: Cosine = Field(
        description="Cosine similarity of the two templates, truncated to four decimals."
    )
    margin: Margin | None = Field(
        description="How far the nearest person is ahead of the second nearest; null if the "
        "roster has only one person."
    )


_OF_THE_SMILE = ("smile", "smile_rise", "smile_timeout", "motion", "reaction", "prompt_delay")


class Thresholds(StrictModel):
    """Every limit used in the decision. Those of the smile are null if no smile was requested."""

    match: Cosine = Field(description="Minimum similarity of a known person.")
    margin: Margin = Field(description="Minimum margin of a known person.")
    agreeing_frames: Count = Field(
        description="Frames that must agree on an identity before it is accepted."
    )
    unknown_frames: Count = Field(
        description="Frames without an identity before the person is considered unknown."
    )
    liveness: Share = Field(description="Minimum mean liveness of the judged frames.")
    liveness_frames: Count = Field(
        description="Frames judged before the person is considered alive; twice as many refuse."
    )
    smile: Score | None = Field(
        description="Minimum smile score. Null, with all other smile limits, if no smile was "
        "requested."
    )
    smile_rise: Score | None = Field(
        description="Points by which the smile must exceed the score at the prompt."
    )
    smile_timeout: Annotated[float, Field(gt=0.0, le=MAX_NUMBER)] | None = Field(
        description="Seconds allowed for the smile."
    )
    motion: Size | None = Field(
        description="Minimum mouth movement, in units of the distance between the eyes."
    )
    reaction: Size | None = Field(
        description="Seconds after the prompt during which a smile is not accepted."
    )
    prompt_delay: Size | None = Field(description="Maximum random delay of the prompt, in seconds.")

    @model_validator(mode="after")
    def _smile_whole_or_not_at_all(self) -> Self:
        if len({getattr(self, name) is None for name in _OF_THE_SMILE}) > 1:
            raise ValueError(f"{', '.join(_OF_THE_SMILE)} are null together or not at all")
        return self


class LivenessData(StrictModel):
    """Whether a living person was present, as far as the unit judged it, and the evidence."""

    judged: bool = Field(
        description="Whether enough frames were compared with the liveness threshold."
    )
    live: bool | None = Field(description="The result; null if not judged.")
    score: Share | None = Field(
        description="Mean of the judged frames, 0 to 1; null if no frame was judged."
    )
    frames: Count = Field(description="How many frames were judged.")
    cues: Annotated[
        dict[Name, Share | None], Field(max_length=32, json_schema_extra=_NO_OTHER_NAMES)
    ] = Field(
        description="The vote of each cue, 0 (a photo or a screen) to 1; null if the cue had none."
    )

    @model_validator(mode="after")
    def _judged_has_a_score(self) -> Self:
        if self.judged != (self.live is not None) or (self.frames == 0) != (self.score is None):
            raise ValueError("judged and live, frames and score contradict each other")
        if self.judged and self.score is None:
            raise ValueError("judged without a score")
        return self


class _Versions(StrictModel):
    """The program, the models and the roster in use."""

    software: Text = Field(description="Version of the unit's program.")
    models: Annotated[
        dict[Name, Sha256], Field(max_length=32, json_schema_extra=_NO_OTHER_NAMES)
    ] = Field(description="The models in use: name to SHA-256 of the file, hexadecimal.")
    roster: Sha256 | None = Field(
        description="SHA-256 of the content of the active roster, hexadecimal, the same as "
        "`digest` of its manifest; null if no roster is loaded."
    )


# --- data ------------------------------------------------------------------------------------


class AttendanceData(_Versions):
    """One person's attempt, with what they need to appeal."""

    outcome: Outcome = Field(description="How the attempt ended.")
    reason: Reason = Field(
        description="Why it ended so: `accepted` if and only if outcome is `recorded`."
    )
    direction: Direction = Field(
        description="The direction in which people pass this unit, as configured."
    )
    smile: Score | None = Field(
        description="Smile score, 0 to 100, truncated to one decimal. Null if no smile was "
        "requested: the same for exempt people and for units that request no smile, so that the "
        "two cannot be distinguished."
    )
    match: MatchData | None = Field(
        description="The nearest person in the roster, whether near enough or not; null if the "
        "face was not compared."
    )
    liveness: LivenessData = Field(description="The liveness decision.")
    thresholds: Thresholds = Field(description="Every limit used in the decision.")
    place: Place = Field(description="Where the unit is mounted.")
    clock: ClockData = Field(description="The clock at the instant of `time`.")

    @model_validator(mode="after")
    def _reason_is_of_the_outcome(self) -> Self:
        if self.reason not in REASONS[self.outcome]:
            raise ValueError("outcome and reason contradict each other")
        return self


class AuditData(_Versions):
    """Something about the unit itself, in the same chain."""

    code: AuditCode = Field(description="What happened.")
    detail: Annotated[
        dict[Name, Text | Integer | Figure | bool | None],
        Field(max_length=32, json_schema_extra=_NO_OTHER_NAMES),
    ] = Field(
        description="Details by name. Contains nothing about people except the opaque id of an "
        "erased person."
    )
    place: Place = Field(description="Where the unit is mounted.")
    clock: ClockData = Field(description="The clock at the instant of `time`.")

    @model_validator(mode="after")
    def _anchor_is_a_moment(self) -> Self:
        if self.code is AuditCode.CLOCK_ANCHOR:
            for name, kind in OF_ANCHOR.items():
                if name in self.detail:
                    kind.validate_python(self.detail[name])
        return self


# The detail of a clock-anchor: one instant on the boot's monotonic clock and in UTC.
OF_ANCHOR: Final[Mapping[str, TypeAdapter[str]]] = {
    "monotonic_ns": TypeAdapter(Nanoseconds),
    "utc": TypeAdapter(Moment),
}


class OnlineStatus(StrEnum):
    """Whether a unit is connected.

    `online`: it is connected.
    `offline`: it is not.
    """

    ONLINE = "online"
    OFFLINE = "offline"


class _Position(StrictModel):
    """The newest event of a unit's chain."""

    session: Count = Field(description="Counts the starts of the unit's outbox, from 1.")
    sequence: Count = Field(
        description="Number of the unit's newest event; 0 if it has no event yet."
    )
    head: Digest | None = Field(
        description="Digest of that event, which the next event carries as `previous`; null if "
        "and only if sequence is 0. Reveals missing events at the end of the chain."
    )

    @model_validator(mode="after")
    def _an_event_has_a_digest(self) -> Self:
        if (self.sequence == 0) != (self.head is None):
            raise ValueError("head is null exactly where sequence is 0")
        return self


class StateData(_Position, _Versions):
    """The start of a session, or its orderly end."""

    status: OnlineStatus = Field(
        description="Whether the unit is connected. A signed `offline` is an orderly end; after a "
        "lost connection the broker sends the unsigned Last Will instead."
    )
    clock: ClockData = Field(description="The clock at the instant of `time`.")


class HealthData(_Position):
    """The unit's health, once a minute."""

    outbox_depth: Count = Field(description="Events that no broker has acknowledged yet.")
    temperature_c: Figure | None = Field(
        description="Temperature of the processor, degrees Celsius; null if unknown."
    )
    disk_free_bytes: Count | None = Field(
        description="Free bytes on the disk that stores the events; null if unknown."
    )
    frame_rate: Size | None = Field(description="Frames processed per second; null if unknown.")
    last_error: Text | None = Field(
        description="The present fault, or the reason the last connection ended, reported once; "
        "null if there was none. A word of the list in docs/link.md, which may grow: treat an "
        "unknown word as another kind of fault."
    )
    refused_commands: Count = Field(
        description="Commands refused since the unit's program started."
    )
    last_refusal: OrderRejectReason | None = Field(
        description="Why the last of them was refused; null if none was."
    )
    clock: ClockData = Field(description="The clock at the instant of `time`.")


class Will(StrictModel):
    """The Last Will, which the broker publishes when a unit disappears. It is not signed."""

    status: Literal[OnlineStatus.OFFLINE] = Field(description="Always offline.")
    session: Count = Field(description="The session that was lost, as in `state`.")


# --- CloudEvents -----------------------------------------------------------------------------


class CloudEvent(StrictModel):
    """The attributes that every message has."""

    specversion: Literal["1.0"] = Field(description="Version of CloudEvents.")
    id: UuidV7 = Field(description="UUIDv7, in lower case. The idempotency key: store an id once.")
    source: UnitUrn = Field(
        description="URN of the unit that signed the message. The topic names the same unit."
    )
    time: Moment = Field(
        description="When it happened, UTC, RFC 3339 with six decimals. For an attempt, the "
        "exposure of the deciding frame. `data.clock.state` says how reliable it is."
    )
    datacontenttype: Literal["application/json"] = Field(description="Media type of data.")

    @property
    def unit(self) -> UnitName:
        return UnitName.from_source(self.source)

    @property
    def moment(self) -> datetime:
        """`time` as an aware datetime, UTC."""
        return datetime.fromisoformat(self.time)


class ChainedEvent(CloudEvent):
    """An event of the unit's numbered chain."""

    sequence: Annotated[str, Field(pattern=limits.SEQUENCE, min_length=20, max_length=20)] = Field(
        description="Number of the event in the unit's chain, from 1, never used twice. "
        "Zero-padded to 20 digits, so that it sorts as text."
    )
    previous: Digest | None = Field(
        default=None,
        description="SHA-256, base64url without padding, of the unit's preceding event as it was "
        "sent: of the ASCII bytes of its compact JWS. Absent only in event 1. A reader treats "
        "null as absent; a unit never writes null.",
    )

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

    type: Literal["senyum.attendance.recorded.v1", "senyum.attendance.refused.v1"] = Field(
        description="Whether the attempt was recorded or refused; the same as data.outcome."
    )
    subject: PersonId | None = Field(
        default=None,
        description="Opaque id of the person: 128 bits of an HMAC-SHA-256 of the person number "
        "under a key that is kept only where people are enrolled. Absent for an unknown person. "
        "A reader treats null as absent; a unit never writes null.",
    )
    data: AttendanceData = Field(description="What the person needs to appeal.")

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
    """An audit record of the unit itself."""

    type: Literal["senyum.unit.audit.v1"] = Field(description="Type of the event.")
    data: AuditData = Field(description="What happened to the unit.")


class StateEvent(CloudEvent):
    """The session, retained on `state`."""

    type: Literal["senyum.unit.state.v1"] = Field(description="Type of the message.")
    data: StateData = Field(description="The session, and the versions running in it.")


class HealthEvent(CloudEvent):
    """The unit's health, retained on `health`."""

    type: Literal["senyum.unit.health.v1"] = Field(description="Type of the message.")
    data: HealthData = Field(description="The unit's health.")


AnyEvent = Annotated[
    AttendanceEvent | AuditEvent | StateEvent | HealthEvent, Field(discriminator="type")
]
ANY_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def describe_errors(error: ValidationError) -> str:
    """Return where the first error is and what it is, without quoting what was sent."""
    first = error.errors(include_url=False, include_input=False)[0]
    # The names of unknown members were chosen by the sender, too.
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
    """Return the JSON that is signed; absent attributes are left out rather than null."""
    absent = {name for name in _MAY_BE_ABSENT if getattr(event, name, "") is None}
    return event.model_dump_json(exclude=absent).encode("utf-8")


def timestamp(utc_ns: int) -> str:
    """Return RFC 3339 text, UTC with microseconds, clamped to the limits of the contract."""
    moment = limits.as_moment(utc_ns).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"
