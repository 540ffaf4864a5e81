"""What happens during a demo, recorded for the screen and for the checks."""

import math
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from edge.attendance.session import StepResult
from edge.attendance.table import State
from edge.types import CueName, Frame, FrameResult, LinkChanged, Stimulus

_SILENT_NS = 25_000_000  # a pause of this length separates two notes of the same pitch
SHORTEST_NOTE_NS = 5_000_000  # shorter sounds are transitions: the pins are written in turn


@dataclass(frozen=True, slots=True)
class PinLevels:
    """The levels of the three pins."""

    green: float = 0.0  # 0 to 1
    red: float = 0.0
    pitch: float = 0.0  # hertz; 0 is silence


@dataclass(frozen=True, slots=True)
class PinSample:
    """The levels from `at_ns` (CLOCK_MONOTONIC) until the next sample."""

    at_ns: int
    lights: PinLevels


@dataclass(frozen=True, slots=True)
class ShownCue:
    """A cue that the session started."""

    at_ns: int
    name: CueName


@dataclass(frozen=True, slots=True)
class ReceivedNotice:
    """A notice that the receiver printed."""

    at_ns: int
    notice: dict[str, Any]

    @property
    def event(self) -> dict[str, Any] | None:
        """The verified event, or None if the notice is not an event."""
        event: dict[str, Any] | None = self.notice.get("event")
        return event if self.notice["kind"] == "event" else None


@dataclass(slots=True)
class DemoRecording:
    """Everything recorded so far. The lists only grow, so readers need no lock."""

    samples: list[PinSample] = field(default_factory=list)
    cues: list[ShownCue] = field(default_factory=list)
    notices: list[ReceivedNotice] = field(default_factory=list)
    links: list[tuple[int, bool]] = field(default_factory=list)
    log: list[tuple[int, str]] = field(default_factory=list)


class DemoRecorder:
    """Records a demo and holds its current state."""

    def __init__(self, console: Console | None = None) -> None:
        """Create a recorder; it prints each line of the log on `console`."""
        self.recording = DemoRecording()
        self.frame: Frame | None = None
        self.state = State.NOBODY
        self.smile: float | None = None
        self.link_up = False
        self.lights = PinLevels()
        self._console = console
        self._writing = threading.Lock()

    def log(self, line: str) -> None:
        """Append a line to the log."""
        with self._writing:
            self.recording.log.append((time.monotonic_ns(), line))
            if self._console is not None:
                stamp = f"{datetime.now():%H:%M:%S.%f}"[:-5]  # noqa: DTZ005 - the local time
                self._console.print(Text(f"{stamp}  {line}"), highlight=False, soft_wrap=True)

    def record_frame(self, frame: Frame) -> None:
        """Record a frame that the camera delivered."""
        self.frame = frame

    def record_step(self, stimulus: Stimulus, step: StepResult, state: State) -> None:
        """Record one iteration of the daemon's main loop."""
        now = time.monotonic_ns()
        if isinstance(stimulus, FrameResult):
            lead = stimulus.sightings[0] if stimulus.sightings else None
            self.smile = lead.smile if lead else None
        elif isinstance(stimulus, LinkChanged) and stimulus.up != self.link_up:
            self.link_up = stimulus.up
            self.recording.links.append((now, stimulus.up))
            self.log("unit: broker connected" if stimulus.up else "unit: broker lost")
        for cue in step.cues:
            # The prompt and the idle blip repeat; one line is enough.
            if not self.recording.cues or cue.name is not self.recording.cues[-1].name:
                self.log(f"unit: {cue.name}")
                self.recording.cues.append(ShownCue(now, cue.name))
        self.state = state

    def record_notice(self, notice: dict[str, Any]) -> None:
        """Record a notice of the receiver."""
        heard = ReceivedNotice(time.monotonic_ns(), notice)
        self.recording.notices.append(heard)
        self.log(f"central: {describe(notice)}")

    def record_pins(self, lights: PinLevels) -> None:
        """Record the current levels of the pins."""
        if lights != self.lights:
            self.lights = lights
            self.recording.samples.append(PinSample(time.monotonic_ns(), lights))


def describe(notice: dict[str, Any]) -> str:
    """Describe a notice of the receiver in one line."""
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


def stretches_between(
    samples: list[PinSample], start_ns: int, end_ns: int
) -> list[tuple[int, int, PinLevels]]:
    """Return the stretches of constant levels between two times: start, end, levels."""
    ends = [sample.at_ns for sample in samples[1:]] + [end_ns]
    return [
        (max(sample.at_ns, start_ns), min(until, end_ns), sample.lights)
        for sample, until in zip(samples, ends, strict=False)
        if until > start_ns and sample.at_ns < end_ns
    ]


def notes(stretches: list[tuple[int, int, PinLevels]]) -> list[float]:
    """Return the pitches that sounded, in hertz; a pause separates notes of the same pitch."""
    heard: list[float] = []
    silent_since: int | None = stretches[0][0] - _SILENT_NS if stretches else None
    for start, end, lights in stretches:
        if not lights.pitch:
            silent_since = start if silent_since is None else silent_since
            continue
        if end - start < SHORTEST_NOTE_NS:
            continue
        separated = silent_since is not None and start - silent_since >= _SILENT_NS
        if not heard or separated or not math.isclose(lights.pitch, heard[-1], rel_tol=0.01):
            heard.append(lights.pitch)
        silent_since = None
    return heard


_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


def note_name(hertz: float) -> str:
    """Return the nearest note of the equal temperament, A4 = 440 Hz: `C6`."""
    number = round(69 + 12 * math.log2(hertz / 440.0))
    return f"{_NAMES[number % 12]}{number // 12 - 1}"
