"""The data that the packages of `edge` pass to each other: frozen, with no other behaviour.

Times named `*_ns` are CLOCK_MONOTONIC nanoseconds of this machine unless they say otherwise.
"""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edge.errors import ErrorCode, ReplayError

Bytes2D = NDArray[np.uint8]
Floats = NDArray[np.float32]

# --- camera -> inference ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Yuv:
    """A YUV 4:2:0 picture in the JPEG convention (BT.601, full range).

    `y` is (height, width) uint8, `u` and `v` are (height / 2, width / 2) uint8; both sides even.
    """

    y: Bytes2D
    u: Bytes2D
    v: Bytes2D

    @property
    def width(self) -> int:
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        return int(self.y.shape[0])


@dataclass(frozen=True, slots=True)
class Frame:
    """One exposure: the large picture for crops and the small one for detection, of one request."""

    number: int  # counts exposures, so a jump is a dropped frame
    captured_ns: int  # when the sensor began the exposure
    main: Yuv
    lores: Yuv  # the same field of view as `main`


# --- roster -> inference ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Match:
    """The nearest person in the roster, whether or not they are near enough."""

    person: str  # opaque person id
    similarity: float  # cosine, -1 to 1
    runner_up: float | None  # cosine of the second nearest person; None if there is no second
    frames: int = 1  # of the same face, joined in the template that was searched
    # How near the face and the person are to others in the roster, -2 to 2: the sum of the mean
    # cosines of the second and the third nearest of each; None in a roster of four people or fewer.
    likeness: float | None = None

    @property
    def margin(self) -> float | None:
        """How far the best is ahead of the runner-up."""
        return None if self.runner_up is None else self.similarity - self.runner_up


# --- inference -> attendance -----------------------------------------------------------------

ANCHORS = 30  # the first points of a FaceObservation are those that a smile moves least


class QualityProblem(StrEnum):
    """Why a face cannot be judged; a hint to the person, never a refusal."""

    TOO_FAR = "too-far"
    TOO_DARK = "too-dark"
    TOO_BRIGHT = "too-bright"
    BACKLIT = "backlit"
    COVERED = "covered"
    BLURRED = "blurred"
    TURNED = "turned"
    CUT_OFF = "cut-off"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the main picture; may reach past its edges."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a face can be judged."""

    face_px: float  # distance between the eyes' outer sides times two, about the face's width
    sharpness: float  # variance of the Laplacian of the aligned grey crop, 0 and up
    luma: float  # mean of the aligned grey crop, 0 to 255
    contrast: float  # standard deviation of the same
    yaw: float  # degrees, positive to the person's left
    pitch: float  # degrees, positive upward
    roll: float  # degrees, positive clockwise in the picture
    problem: QualityProblem | None  # the first limit that is missed


@dataclass(frozen=True, slots=True)
class PassiveLivenessScore:
    """How much one frame of a face looks like a living person: 0 (an attack) to 1 (alive)."""

    score: float  # of all cues together; 0.5 is the calibrated threshold
    cues: Mapping[str, float]  # each cue's own vote by name, 0 (an attack) to 1


@dataclass(frozen=True, slots=True)
class FaceObservation:
    """One face in one frame. The fields after `score` are judged for the leading face only."""

    track: int  # the face's place followed between frames; never used again in this process
    box: Box
    score: float  # the detector's confidence, 0 to 1
    quality: Quality | None = None
    match: Match | None = None  # None also where the roster is empty or the face has a problem
    smile: float | None = None  # 0 to 100, smoothed in time, 50 is the calibrated threshold
    liveness: PassiveLivenessScore | None = (
        None  # of this frame alone; None in the frames it is not judged in
    )
    # (ANCHORS + 6, 2) mesh points in pixels of the main picture: those that a smile moves least,
    # then the mouth's (`attendance.motion`).
    points: Floats | None = None


@dataclass(frozen=True, slots=True)
class FrameResult:
    """Everything seen in one frame; the leading (largest, so nearest) face comes first."""

    captured_ns: int
    sightings: tuple[FaceObservation, ...] = ()
    # A face too distant to be judged, which wakes the unit and is shown nothing else; None also
    # where a nearer face is among the sightings.
    distant: Box | None = None


# --- attendance -> outbox ----------------------------------------------------------------------


class Direction(StrEnum):
    """The direction in which people pass a unit.

    `in`: people enter here.
    `out`: people leave here.
    `unspecified`: either way.
    """

    IN = "in"
    OUT = "out"
    UNSPECIFIED = "unspecified"


class Outcome(StrEnum):
    """How an attempt ended.

    `recorded`: the person's attendance is recorded.
    `refused`: no attendance is recorded.
    """

    RECORDED = "recorded"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why an attempt ended as it did.

    `accepted`: the person is known, and every rule was met.
    `not-known`: no person in the roster is near enough.
    `no-smile-in-time`: the person is known, and no smile was seen in time.
    `spoof-suspected`: possibly a picture and not a person.
    """

    ACCEPTED = "accepted"
    NOT_KNOWN = "not-known"
    NO_SMILE = "no-smile-in-time"
    SPOOF = "spoof-suspected"


@dataclass(frozen=True, slots=True)
class LivenessRules:
    """What an attempt must show of a living person (docs/session.md)."""

    threshold: float  # minimum mean score of the judged frames, 0 to 1
    frames: int  # judged frames that are required
    motion: float  # minimum motion of the mouth in a smile, in eye distances; 0: any
    reaction: float  # seconds; a smile that starts sooner after the prompt does not count
    prompt_delay: float  # seconds; maximum of the random delay before the prompt


@dataclass(frozen=True, slots=True)
class LivenessResult:
    """What the frames of one attempt showed of a living person, joined."""

    live: bool | None = None  # held against the threshold; None where too few frames were judged
    score: float | None = None  # mean of the judged frames, 0 to 1; None where none was
    frames: int = 0  # how many were judged
    # The vote of each cue, 0 (an attack) to 1; None where it did not speak.
    cues: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The end of one person's attempt, before it is numbered and signed."""

    ref: int  # ties Stored and StoreFailed to this attempt; unique in this process
    outcome: Outcome
    reason: Reason
    captured_ns: int  # of the frame that decided
    person: str | None = None  # opaque id; None for an unknown person
    smile: float | None = None  # 0 to 100; None for exempt people and if no smile is requested
    smile_threshold: float | None = None  # None exactly if no smile was requested
    match: Match | None = None
    match_threshold: float | None = None  # cosine that `match` had to reach; None without a match
    life: LivenessResult = field(default_factory=LivenessResult)


class AuditCode(StrEnum):
    """What a unit records about itself in the same signed chain as attendance.

    `started`: the unit's program started.
    `stopped`: the unit's program shut down cleanly.
    `restarted`: the previous run did not shut down cleanly: `why` and `status` as systemd names
    them (`watchdog`, `signal`, `timeout`, `exit-code`…), the last of `times` in a row.
    `rebooted`: the machine was rebooted because restarting the program did not help.
    `reboot-refused`: such a reboot was requested and denied, because there had been too many:
    operator action required.
    `moved`: the unit has another name from here on (`source`) and was `from` before: the numbers
    up to `last` are events of that name, and none of them is missing under this one.
    `camera-lost`: the camera delivers no frames.
    `camera-back`: the camera delivers frames again.
    `pins-lost`: lights and buzzer are unavailable, and attendance is not recorded.
    `pins-back`: lights and buzzer are available again.
    `store-failed`: events could not be made durable for a while; the people affected were shown so.
    `outbox-renewed`: a damaged outbox was set aside, and the chain continues in a new one; numbers
    before this event may be unused.
    `roster-installed`: another version of the roster is active: `version`, `digest`, `people`.
    `person-erased`: the receipt: `person` (opaque id) is no longer in the active roster or in
    anything before it, since `version`.
    `clock-stepped`: the clock was set by a step.
    `clock-anchor`: dates the events of this boot whose time was uncertain.
    `command-done`: a command was executed: `command`, `number`, `by` (the kid), and its changes.
    `commands-refused`: how many commands were refused since the last such record, in total and by
    reason; recorded at the first refusal, then at most once an hour.
    """

    STARTED = "started"
    STOPPED = "stopped"
    RESTARTED = "restarted"
    REBOOTED = "rebooted"
    REBOOT_REFUSED = "reboot-refused"
    MOVED = "moved"
    CAMERA_LOST = "camera-lost"
    CAMERA_BACK = "camera-back"
    PINS_LOST = "pins-lost"
    PINS_BACK = "pins-back"
    STORE_FAILED = "store-failed"
    OUTBOX_RENEWED = "outbox-renewed"
    ROSTER_INSTALLED = "roster-installed"
    PERSON_ERASED = "person-erased"
    CLOCK_STEPPED = "clock-stepped"
    CLOCK_ANCHOR = "clock-anchor"
    COMMAND_DONE = "command-done"
    COMMANDS_REFUSED = "commands-refused"


_AUDIT_REFS = itertools.count(-1, -1)  # the session numbers attempts upward from 1
_DETAIL_CHARACTERS = 200  # of a text; what a library reports may be longer than the contract allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Something a reader of the log a year later wants to know about the unit itself."""

    ref: int = field(default_factory=_AUDIT_REFS.__next__)
    code: AuditCode
    captured_ns: int = field(default_factory=time.monotonic_ns)
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def now(cls, code: AuditCode, **detail: Any) -> Self:
        """Build one that happens now, with a `ref` of its own; long texts are cut."""
        cut = {k: v[:_DETAIL_CHARACTERS] if isinstance(v, str) else v for k, v in detail.items()}
        return cls(code=code, detail=cut)


Event = Attempt | Audit

# --- stimuli of the session ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventStored:
    """The event is durable on disk."""

    ref: int


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The event could not be made durable; nothing of it was kept."""

    ref: int
    why: str
    trouble: ErrorCode = ErrorCode.STORE_FAILED


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The broker was reached or lost."""

    up: bool


@dataclass(frozen=True, slots=True)
class CameraFault:
    """The unit cannot do its work (`why` says what is missing), or can again (`why` is None)."""

    why: str | None


@dataclass(frozen=True, slots=True)
class TimerTick:
    """Time passed and nothing else happened."""


# --- camera -> main loop -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplayEnded:
    """The replay is over, or cannot be played (`error`); the camera thread has ended."""

    error: ReplayError | None = None


# --- broker -> main loop -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message that the broker delivered."""

    topic: str
    payload: bytes
    retained: bool  # kept by the broker and sent because of the subscription
    delivery: int = 0  # what the link acknowledges to the broker; 0: nothing


class CommandReceived(MessageReceived):
    """A message on a command topic of the unit."""


class RosterReceived(MessageReceived):
    """A roster manifest, or a chunk that was fetched."""


Stimulus = FrameResult | EventStored | StoreFailed | LinkChanged | CameraFault | TimerTick

# --- attendance -> gpio ----------------------------------------------------------------------


class CueName(StrEnum):
    """What the panel can show: each can be recognised by rhythm alone and by sound alone."""

    IDLE = "idle"
    NOTICED = "noticed"
    SMILE_ASKED = "smile-asked"
    RECORDED = "recorded"
    RECORDED_OFFLINE = "recorded-away"  # recorded while the broker is away
    ALREADY_RECORDED = "already-recorded"
    NOT_KNOWN = "not-known"
    NO_SMILE = "no-smile"
    SPOOF = "spoof"
    HINT = "hint"
    SEVERAL = "several"
    OUT_OF_ORDER = "out-of-order"
    IDENTIFY = "identify"  # which of them is it?


@dataclass(frozen=True, slots=True)
class Cue:
    """One thing to show and sound.

    `level` is the smile score over 100 for SMILE_ASKED; above 0, OUT_OF_ORDER also sounds, and IDLE
    shows that somebody approaches.
    """

    name: CueName
    level: float = 0.0
