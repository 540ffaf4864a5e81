"""Check the outcome of each scene against the central store and the pins."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.contract.envelope import verify
from edge.contract.events import AttendanceData, AttendanceEvent, AuditEvent
from edge.contract.keys import KeySet
from edge.contract.topics import TopicKind, UnitName
from edge.errors import EnvelopeError
from edge.system.text import pluralize
from edge.types import CueName, Outcome, Reason
from senyum_central.store.event_store import Store
from senyum_lab.demo.recording import DemoRecording, PinLevels, note_name, notes, stretches_between

_LIT = 0.12  # above the blip of an idle unit, below every other light
_FULL = 0.9
_SHOWN_NS = 4_000_000_000  # longer than the longest cue
_EDGE_NS = 10_000_000  # until the pins show a new cue

Stretches = Sequence[tuple[int, int, PinLevels]]


@dataclass(frozen=True, slots=True)
class SceneWindow:
    """The time of a scene, CLOCK_MONOTONIC."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected outcome of a scene."""

    cue: CueName
    reason: Reason | None = None  # of the only event; None: no event
    person: str | None = None  # the person that the event names; None: nobody
    offline: bool = False  # while the broker is offline


EXPECTED: Mapping[str, Expectation] = {
    "empty": Expectation(CueName.IDLE),
    "no-smile": Expectation(CueName.NO_SMILE, Reason.NO_SMILE, "first"),
    "print": Expectation(CueName.SPOOF, Reason.SPOOF, "first"),
    "smile": Expectation(CueName.RECORDED, Reason.ACCEPTED, "first"),
    "again": Expectation(CueName.ALREADY_RECORDED),
    "stranger": Expectation(CueName.NOT_KNOWN, Reason.NOT_KNOWN),
    "two": Expectation(CueName.SEVERAL),
    "away": Expectation(CueName.RECORDED_OFFLINE, Reason.ACCEPTED, "first", offline=True),
}


# Of a print if the models have no liveness network: a print cannot smile.
_UNJUDGED = Expectation(CueName.NO_SMILE, Reason.NO_SMILE, "first")


@dataclass(frozen=True, slots=True)
class DemoFinding:
    """One line of the summary."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class VerifiedEvent:
    """An event of the central store whose signature was verified again."""

    event: AttendanceEvent | AuditEvent
    digest: str  # what the next event's `previous` must be

    @property
    def at_ns(self) -> int:
        """Capture time of the deciding frame, CLOCK_MONOTONIC."""
        return int(self.event.data.clock.monotonic_ns)


@dataclass(frozen=True, slots=True)
class DemoEvidence:
    """The data that the findings are derived from."""

    recording: DemoRecording
    windows: Mapping[str, SceneWindow]
    events: tuple[VerifiedEvent, ...]  # of the central store, in chain order
    people: Mapping[str, str]  # name -> opaque id
    outage: SceneWindow | None  # of the broker
    judged: bool  # whether the models have a liveness network


def stored_events(store: Path, keys: Path, unit: UnitName) -> tuple[VerifiedEvent, ...]:
    """Verify every event of the central store again, from the signed bytes."""
    known = KeySet.load(keys)
    with closing(Store(store)) as opened:
        tokens = opened.signed_events(unit.source)
    found = [verify(token, known, unit.topic(TopicKind.EVENT)) for token in tokens]
    return tuple(
        VerifiedEvent(one.event, one.digest)
        for one in found
        if isinstance(one.event, AttendanceEvent | AuditEvent)
    )


def findings(evidence: DemoEvidence) -> list[DemoFinding]:
    """Return one finding per scene, and the findings about the whole chain."""
    expected = dict(EXPECTED)
    if not evidence.judged:
        expected["print"] = _UNJUDGED
    found = [_scene(name, expected[name], evidence) for name in evidence.windows]
    return [*found, _chain(evidence), _alarms(evidence)]


def _scene(name: str, expected: Expectation, evidence: DemoEvidence) -> DemoFinding:
    window = evidence.windows[name]
    inside = [event for event in evidence.events if window.start_ns <= event.at_ns < window.end_ns]
    claims = [
        *_events(inside, expected, evidence.people),
        *_cue(expected.cue, window, evidence.recording),
        *(_delivery(inside, evidence) if expected.offline else ()),
    ]
    wrong = [text for ok, text in claims if not ok]
    return DemoFinding(name, not wrong, "; ".join(wrong or [text for _, text in claims]))


def _events(
    inside: list[VerifiedEvent], expected: Expectation, people: Mapping[str, str]
) -> list[tuple[bool, str]]:
    judged = [e for e in inside if isinstance(e.event.data, AttendanceData)]
    if expected.reason is None:
        return [(not judged, pluralize(len(judged), "event") if judged else "no event")]
    if len(judged) != 1:
        return [(False, f"{len(judged)} events instead of one")]
    event = judged[0].event
    data = event.data
    assert isinstance(data, AttendanceData)
    subject = getattr(event, "subject", None)
    wanted = people[expected.person] if expected.person else None
    outcome = Outcome.RECORDED if expected.reason is Reason.ACCEPTED else Outcome.REFUSED
    claims = [
        (
            data.outcome == outcome and data.reason == expected.reason,
            data.outcome + ("" if outcome is Outcome.RECORDED else f", {data.reason}"),
        ),
        (
            subject == wanted,
            f"person {subject[:6]}…, not the enrolled person" if subject != wanted and subject
            else f"person {wanted[:6]}…" if wanted else "nobody named",
        ),
    ]  # fmt: skip
    if expected.reason is Reason.ACCEPTED:
        enough = data.smile is not None and data.thresholds.smile is not None
        claims.append(
            (
                enough and data.smile >= data.thresholds.smile,  # type: ignore[operator]  # checked by enough
                f"smile {data.smile}",
            )
        )
    return claims


def _delivery(inside: list[VerifiedEvent], evidence: DemoEvidence) -> list[tuple[bool, str]]:
    """Check that the event was stored during the outage and delivered after it."""
    if evidence.outage is None or len(inside) != 1:
        return [(False, "the broker was not stopped")]
    number = inside[0].event.number
    came = [
        heard.at_ns
        for heard in evidence.recording.notices
        if heard.event and int(heard.event["sequence"]) == number
    ]
    outage = evidence.outage
    return [
        (outage.start_ns < inside[0].at_ns < outage.end_ns, "stored while the broker was offline"),
        (
            len(came) == 1 and came[0] > outage.end_ns,
            f"delivered {(came[0] - outage.end_ns) / 1e9:.1f} s after the reconnection"
            if came
            else "not delivered",
        ),
    ]


def _cue(name: CueName, window: SceneWindow, memory: DemoRecording) -> list[tuple[bool, str]]:
    """Check that the session started the cue and that the pins showed it."""
    if name is CueName.IDLE:
        shown = stretches_between(memory.samples, window.start_ns, window.end_ns)
        return [_PINS[name](shown)]
    given = [c.at_ns for c in memory.cues if c.name is name and _inside(c.at_ns, window)]
    if not given:
        return [(False, f"cue {name} was not shown")]
    following = [c.at_ns for c in memory.cues if c.at_ns > given[0]]
    until = min([given[0] + _SHOWN_NS, *following])
    return [_PINS[name](stretches_between(memory.samples, given[0] + _EDGE_NS, until))]


def _inside(at_ns: int, window: SceneWindow) -> bool:
    return window.start_ns <= at_ns < window.end_ns


# --- the pins ----------------------------------------------------------------------------------


def _lit(stretches: Stretches, pin: str, least: float = _LIT) -> list[float]:
    """Return the durations for which a pin was lit, in seconds."""
    times: list[float] = []
    lit = False
    for start, end, lights in stretches:
        now = getattr(lights, pin) >= least
        if now and lit:
            times[-1] += (end - start) / 1e9
        elif now:
            times.append((end - start) / 1e9)
        lit = now
    return times


def _tune(stretches: Stretches) -> str:
    return " ".join(note_name(pitch) for pitch in notes(list(stretches))) or "silence"


def _recorded(shown: Stretches) -> tuple[bool, str]:
    full, tune = max(_lit(shown, "green", _FULL), default=0.0), notes(list(shown))
    ok = full >= 1.8 and not _lit(shown, "red") and len(tune) == 2 and tune[0] < tune[1]
    return ok, f"green for {full:.1f} s, {_tune(shown)}"


def _recorded_away(shown: Stretches) -> tuple[bool, str]:
    full, tune = _lit(shown, "green", _LIT), notes(list(shown))
    ok = len(full) == 2 and full[0] >= 1.8 and not _lit(shown, "red")
    ok = ok and len(tune) == 3 and tune[0] < tune[1]
    return ok, f"green for {full[0] if full else 0:.1f} s and {len(full) - 1} blip, {_tune(shown)}"


def _already(shown: Stretches) -> tuple[bool, str]:
    green, tune = _lit(shown, "green"), notes(list(shown))
    ok = len(green) == 2 and not _lit(shown, "red") and len(tune) == 2 and tune[0] == tune[1]
    return ok, f"green blinked {len(green)} times, {_tune(shown)}"


def _not_known(shown: Stretches) -> tuple[bool, str]:
    red, tune = _lit(shown, "red"), notes(list(shown))
    ok = len(red) == 2 and not _lit(shown, "green") and len(tune) == 2 and tune[0] == tune[1]
    return ok, f"red blinked {len(red)} times, {_tune(shown)}"


def _no_smile(shown: Stretches) -> tuple[bool, str]:
    red, tune = _lit(shown, "red"), notes(list(shown))
    ok = len(red) == 1 and not _lit(shown, "green") and len(tune) == 2 and tune[0] > tune[1]
    return ok, f"red faded once in {sum(red):.1f} s, {_tune(shown)}"


def _spoof(shown: Stretches) -> tuple[bool, str]:
    red, tune = _lit(shown, "red"), notes(list(shown))
    long = len(red) == 3 and all(0.55 <= seconds <= 0.85 for seconds in red)
    ok = long and not _lit(shown, "green") and len(tune) == 3 and len(set(tune)) == 1
    return ok, f"red blinked {len(red)} times, {max(red, default=0.0):.1f} s each, {_tune(shown)}"


def _several(shown: Stretches) -> tuple[bool, str]:
    green, red = _lit(shown, "green"), _lit(shown, "red")
    both = any(lights.green >= _LIT and lights.red >= _LIT for _, _, lights in shown)
    ok = bool(green and red) and not both and len(notes(list(shown))) == 3
    return ok, f"green and red alternated, {_tune(shown)}"


def _idle(shown: Stretches) -> tuple[bool, str]:
    green, red = _lit(shown, "green"), _lit(shown, "red")
    faint = _lit(shown, "green", 0.01)
    ok = not red and not green and sum(faint) < 0.5 and not notes(list(shown))
    return ok, f"dark and silent except for {len(faint)} faint blip"


_PINS: Mapping[CueName, Callable[[Stretches], tuple[bool, str]]] = {
    CueName.IDLE: _idle,
    CueName.RECORDED: _recorded,
    CueName.RECORDED_OFFLINE: _recorded_away,
    CueName.ALREADY_RECORDED: _already,
    CueName.NOT_KNOWN: _not_known,
    CueName.NO_SMILE: _no_smile,
    CueName.SEVERAL: _several,
    CueName.SPOOF: _spoof,
}

# --- the chain ---------------------------------------------------------------------------------


def _chain(evidence: DemoEvidence) -> DemoFinding:
    """Check that the signed chain is complete from "started" to "stopped"."""
    events = evidence.events
    numbers = [event.event.number for event in events]
    linked = all(
        event.event.previous == before.digest for before, event in itertools.pairwise(events)
    )
    ends = [getattr(event.event.data, "code", None) for event in (*events[:1], *events[-1:])]
    ok = numbers == list(range(1, len(events) + 1)) and linked and ends == ["started", "stopped"]
    whole = f"{len(events)} signatures verified, numbers 1 to {len(events)}, all linked"
    return DemoFinding("chain", ok, whole if ok else f"broken: numbers {numbers}, ends {ends}")


def _alarms(evidence: DemoEvidence) -> DemoFinding:
    """Check that the receiver reported no gap, fork or rejected message."""
    kinds: dict[str, int] = {}
    for heard in evidence.recording.notices:
        kind: Any = heard.notice["kind"]
        kinds[kind] = kinds.get(kind, 0) + 1
    alarms = {kind: n for kind, n in kinds.items() if kind in {"gap", "fork", "refused"}}
    text = (
        ", ".join(f"{n} {kind}" for kind, n in alarms.items()) or "no gap, fork or rejected message"
    )
    return DemoFinding("alarms", not alarms, text)


def check(evidence: Callable[[], DemoEvidence]) -> list[DemoFinding]:
    """Return the findings, including one for an event that cannot be verified."""
    try:
        return findings(evidence())
    except EnvelopeError as error:
        return [DemoFinding("chain", False, str(error))]
