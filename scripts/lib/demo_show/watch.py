"""What happens, gathered from all sides for the screen and for the proof."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge.attendance.session import StepResult
from edge.attendance.table import State
from edge.types import CueName, Frame, FrameResult, LinkChanged, Stimulus

_SILENT_NS = 25_000_000  # a pause that parts two notes of the same pitch
HEARD_NS = 5_000_000  # the pins are written one after another: what is shorter is no note


@dataclass(frozen=True, slots=True)
class Lights:
    """What the three pins carry."""

    green: float = 0.0  # 0 to 1
    red: float = 0.0
    pitch: float = 0.0  # hertz; 0 is silence


@dataclass(frozen=True, slots=True)
class Sample:
    """The pins from `at_ns` (CLOCK_MONOTONIC) until the next sample."""

    at_ns: int
    lights: Lights


@dataclass(frozen=True, slots=True)
class Given:
    """A cue that the session gave."""

    at_ns: int
    name: CueName


@dataclass(frozen=True, slots=True)
class Heard:
    """A notice of the receiver, as it came."""

    at_ns: int
    notice: dict[str, Any]

    @property
    def event(self) -> dict[str, Any] | None:
        """The verified event, where it is one."""
        event: dict[str, Any] | None = self.notice.get("event")
        return event if self.notice["kind"] == "event" else None


@dataclass(slots=True)
class Memory:
    """Everything so far. Only ever grows, so readers need no lock."""

    samples: list[Sample] = field(default_factory=list)
    cues: list[Given] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    links: list[tuple[int, bool]] = field(default_factory=list)
    lines: list[tuple[int, str]] = field(default_factory=list)


class Watch:
    """The demo's memory, and the present moment of it."""

    def __init__(self, told: Callable[[int, str], None] = lambda _at, _line: None) -> None:
        """`told` is given each line of the log as it is written."""
        self.memory = Memory()
        self.frame: Frame | None = None
        self.state = State.NOBODY
        self.smile: float | None = None
        self.link_up = False
        self.lights = Lights()
        self._told = told
        self._writing = threading.Lock()

    def say(self, line: str) -> None:
        """Write a line into the log."""
        now = time.monotonic_ns()
        with self._writing:
            self.memory.lines.append((now, line))
            self._told(now, line)

    def saw(self, frame: Frame) -> None:
        """Take note of a frame that the camera delivered."""
        self.frame = frame

    def observe(self, stimulus: Stimulus, step: StepResult, state: State) -> None:
        """Take note of one turn of the unit's main loop."""
        now = time.monotonic_ns()
        if isinstance(stimulus, FrameResult):
            lead = stimulus.sightings[0] if stimulus.sightings else None
            self.smile = lead.smile if lead else None
        elif isinstance(stimulus, LinkChanged) and stimulus.up != self.link_up:
            self.link_up = stimulus.up
            self.memory.links.append((now, stimulus.up))
            self.say("unit: broker reached" if stimulus.up else "unit: broker lost")
        for cue in step.cues:
            # The prompt and the idle blip are given again and again; one mention is enough.
            if not self.memory.cues or cue.name is not self.memory.cues[-1].name:
                self.say(f"unit: {cue.name}")
                self.memory.cues.append(Given(now, cue.name))
        self.state = state

    def heard(self, notice: dict[str, Any]) -> None:
        """Take note of what the receiver says."""
        heard = Heard(time.monotonic_ns(), notice)
        self.memory.heard.append(heard)
        self.say(f"central: {in_words(notice)}")

    def lit(self, lights: Lights) -> None:
        """Take note of what the pins carry now."""
        if lights != self.lights:
            self.lights = lights
            self.memory.samples.append(Sample(time.monotonic_ns(), lights))


def in_words(notice: dict[str, Any]) -> str:
    """Say a receiver's notice in one line."""
    event = notice.get("event")
    if notice["kind"] != "event" or event is None:
        return f"{notice['kind']}: {notice.get('text', '')}"
    data = event["data"]
    number = f"#{int(event['sequence'])}"
    if "outcome" not in data:
        return f"{number} {data['code']}"
    words = [number, data["outcome"]]
    if data["outcome"] == "refused":
        words.append(data["reason"])
    if event["subject"]:
        words.append(f"person {event['subject'][:4]}…")
    if data["smile"] is not None:
        words.append(f"smile {data['smile']:.0f}")
    if data["match"]:
        words.append(f"match {data['match']['similarity']:.2f}")
    return " ".join(words)


def between(samples: list[Sample], start_ns: int, end_ns: int) -> list[tuple[int, int, Lights]]:
    """Return the stretches of unchanged pins inside a window: from, to, lights."""
    ends = [sample.at_ns for sample in samples[1:]] + [end_ns]
    return [
        (max(sample.at_ns, start_ns), min(until, end_ns), sample.lights)
        for sample, until in zip(samples, ends, strict=False)
        if until > start_ns and sample.at_ns < end_ns
    ]


def notes(stretches: list[tuple[int, int, Lights]]) -> list[float]:
    """Return the pitches that sounded, in hertz; the same one twice where silence parted them."""
    heard: list[float] = []
    silent_since: int | None = stretches[0][0] - _SILENT_NS if stretches else None
    for start, end, lights in stretches:
        if not lights.pitch:
            silent_since = start if silent_since is None else silent_since
            continue
        if end - start < HEARD_NS:
            continue
        parted = silent_since is not None and start - silent_since >= _SILENT_NS
        if not heard or parted or not math.isclose(lights.pitch, heard[-1], rel_tol=0.01):
            heard.append(lights.pitch)
        silent_since = None
    return heard


_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


def note_name(hertz: float) -> str:
    """Return the nearest note of the equal temperament, A4 = 440 Hz: `C6`."""
    number = round(69 + 12 * math.log2(hertz / 440.0))
    return f"{_NAMES[number % 12]}{number // 12 - 1}"
