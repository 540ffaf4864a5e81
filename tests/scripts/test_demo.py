"""The checks of the demo must be able to fail: each cue passes only its own check."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.contract.keys import KeySet, SigningKey, add_registration
from edge.contract.topics import TopicKind, UnitName
from edge.gpio.patterns import timeline
from edge.inference.models import liveness_rules
from edge.outbox.event_signer import ChainHead, EventSigner, SigningContext
from edge.settings import GpioSettings, Settings, UnitSettings
from edge.system.clock import SystemClock
from edge.types import Attempt, Audit, AuditCode, Cue, CueName, Event, Outcome, Reason
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message, ReceivedAt
from senyum_central.store.event_store import Store
from senyum_lab.demo.__main__ import main
from senyum_lab.demo.pins import observed_board
from senyum_lab.demo.proof import (
    EXPECTED,
    DemoEvidence,
    DemoFinding,
    SceneWindow,
    findings,
    stored_events,
)
from senyum_lab.demo.recording import (
    DemoRecorder,
    DemoRecording,
    PinLevels,
    PinSample,
    ReceivedNotice,
    ShownCue,
    note_name,
    notes,
)

S = 1_000_000_000
SCENE_S = 10
PERSON = "0123456789abcdef0123456789abcdef"
UNIT = UnitSettings(org="contoh", site="demo", name="pintu-1")
SCENES = list(EXPECTED)


def window(scene: str) -> SceneWindow:
    start = (100 + SCENES.index(scene) * SCENE_S) * S
    return SceneWindow(start, start + SCENE_S * S)


def shown(name: CueName, at_ns: int) -> list[PinSample]:
    return [
        PinSample(at_ns + round(seconds * S), PinLevels(light.green, light.red, light.pitch or 0.0))
        for seconds, light in timeline(Cue(name), 5.0)
    ]


def attempt(scene: str, reason: Reason, person: str | None) -> Attempt:
    recorded = reason is Reason.ACCEPTED
    return Attempt(
        ref=1,
        outcome=Outcome.RECORDED if recorded else Outcome.REFUSED,
        reason=reason,
        captured_ns=window(scene).start_ns + 3 * S,
        person=person,
        smile=None if person is None else 80.0 if recorded else 10.0,
        smile_threshold=None if person is None else 50.0,
    )


def audit(code: AuditCode, at_s: int) -> Audit:
    return Audit(ref=-1, code=code, captured_ns=at_s * S)


def expected_events() -> list[Event]:
    """What the unit signs when everything goes as it should."""
    return [
        audit(AuditCode.STARTED, 99),
        attempt("no-smile", Reason.NO_SMILE, PERSON),
        attempt("print", Reason.SPOOF, PERSON),
        attempt("smile", Reason.ACCEPTED, PERSON),
        attempt("stranger", Reason.NOT_KNOWN, None),
        attempt("away", Reason.ACCEPTED, PERSON),
        audit(AuditCode.STOPPED, 200),
    ]


@pytest.fixture
def sign_and_receive(tmp_path: Path) -> Any:
    """Return what signs, receives and stores events as unit and central server do."""

    def run(events: list[Event]) -> DemoEvidence:
        key = SigningKey.load_or_create(tmp_path / "signing.key")
        name = UnitName.of(UNIT)
        add_registration(tmp_path / "keys.json", key.registration(name))
        context = SigningContext(
            UNIT, "0", {}, None, Settings().thresholds(liveness_rules(Settings()))
        )
        sealer = EventSigner(context, key, SystemClock())
        store = Store(tmp_path / "events.db")
        desk = Ingestor(store, KeySet.load(tmp_path / "keys.json"), 1.0, ReceivedAt.now())
        head = ChainHead()
        recording = DemoRecording()
        away = window("away")
        outage = SceneWindow(away.start_ns + 1 * S, away.start_ns + 5 * S)
        for event in events:
            token = sealer.event(event, head).token
            head = head.followed_by(token)
            topic = name.topic(TopicKind.EVENT)
            (notice,) = desk.ingest([Message(topic, token.encode())], ReceivedAt.now())
            assert notice.event is not None
            dumped = notice.event.model_dump(mode="json")
            late = outage.start_ns < event.captured_ns < outage.end_ns
            at = outage.end_ns + 1 if late else event.captured_ns
            recording.notices.append(ReceivedNotice(at, {"kind": notice.kind, "event": dumped}))
        store.close()
        for scene, expected in EXPECTED.items():
            at = window(scene).start_ns + 3 * S
            recording.cues.append(ShownCue(at, expected.cue))
            recording.samples += shown(expected.cue, at)
        return DemoEvidence(
            recording=recording,
            windows={scene: window(scene) for scene in SCENES},
            events=stored_events(tmp_path / "events.db", tmp_path / "keys.json", name),
            people={"first": PERSON},
            outage=outage,
            judged=True,
        )

    return run


def failed(found: list[DemoFinding]) -> Mapping[str, str]:
    return {finding.name: finding.text for finding in found if not finding.ok}


def test_a_correct_run_passes(sign_and_receive: Any) -> None:
    found = findings(sign_and_receive(expected_events()))
    assert failed(found) == {}
    assert len(found) == len(SCENES) + 2


@pytest.mark.parametrize(
    ("number", "scene"), [(1, "no-smile"), (2, "print"), (3, "smile"), (4, "stranger"), (5, "away")]
)
def test_an_event_that_is_missing_fails_its_scene_only(
    sign_and_receive: Any, number: int, scene: str
) -> None:
    events = expected_events()
    del events[number]
    assert set(failed(findings(sign_and_receive(events)))) == {scene}


@pytest.mark.parametrize("scene", ["empty", "again", "two"])
def test_an_unexpected_event_fails_its_scene(sign_and_receive: Any, scene: str) -> None:
    events = expected_events()
    events.insert(5, attempt(scene, Reason.ACCEPTED, PERSON))
    assert failed(findings(sign_and_receive(events)))[scene] == "1 event"


def test_without_a_liveness_network_a_print_is_refused_because_it_does_not_smile(
    sign_and_receive: Any,
) -> None:
    events = expected_events()
    unjudged = dataclasses.replace(sign_and_receive(events), judged=False)
    assert set(failed(findings(unjudged))) == {"print"}
    at = window("print").start_ns + 3 * S
    recording = unjudged.recording
    recording.cues[:] = [c for c in recording.cues if c.name is not CueName.SPOOF]
    recording.cues.append(ShownCue(at, CueName.NO_SMILE))
    recording.cues.sort(key=lambda cue: cue.at_ns)
    inside = window("print")
    kept = [s for s in recording.samples if not inside.start_ns <= s.at_ns < inside.end_ns]
    recording.samples[:] = sorted([*kept, *shown(CueName.NO_SMILE, at)], key=lambda s: s.at_ns)
    found = failed(findings(unjudged))
    assert found == {"print": "refused, spoof-suspected"}


def test_another_person_fails(sign_and_receive: Any) -> None:
    events = expected_events()
    events[3] = attempt("smile", Reason.ACCEPTED, PERSON[::-1])
    assert set(failed(findings(sign_and_receive(events)))) == {"smile"}


def test_a_chain_without_its_end_fails(sign_and_receive: Any) -> None:
    assert set(failed(findings(sign_and_receive(expected_events()[:-1])))) == {"chain"}


def test_an_alarm_of_the_receiver_fails(sign_and_receive: Any) -> None:
    evidence = sign_and_receive(expected_events())
    evidence.recording.notices.append(
        ReceivedNotice(0, {"kind": "gap", "text": "event 7 is missing"})
    )
    assert failed(findings(evidence)) == {"alarms": "1 gap"}


def test_delivery_before_the_broker_was_back_fails(sign_and_receive: Any) -> None:
    evidence = sign_and_receive(expected_events())
    late = SceneWindow(evidence.outage.start_ns, evidence.outage.end_ns + 2 * S)
    assert "away" in failed(findings(dataclasses.replace(evidence, outage=late)))


@pytest.mark.parametrize("scene", [name for name in SCENES if name != "empty"])
@pytest.mark.parametrize("other", [c for c in CueName if c is not CueName.IDLE])
def test_no_other_cue_on_the_pins_passes(sign_and_receive: Any, scene: str, other: CueName) -> None:
    evidence = sign_and_receive(expected_events())
    at = window(scene).start_ns + 3 * S
    inside = window(scene)
    kept = [s for s in evidence.recording.samples if not inside.start_ns <= s.at_ns < inside.end_ns]
    evidence.recording.samples[:] = sorted([*kept, *shown(other, at)], key=lambda s: s.at_ns)
    assert (scene in failed(findings(evidence))) == (other is not EXPECTED[scene].cue)


def test_a_light_in_an_empty_scene_fails(sign_and_receive: Any) -> None:
    evidence = sign_and_receive(expected_events())
    evidence.recording.samples.insert(
        0, PinSample(window("empty").start_ns + S, PinLevels(red=1.0))
    )
    assert "empty" in failed(findings(evidence))


def test_notes_are_named() -> None:
    assert [note_name(hertz) for hertz in (440.0, 261.63, 659.26, 2093.0)] == [
        "A4", "C4", "E5", "C7",
    ]  # fmt: skip


def test_a_pause_separates_two_notes_of_the_same_pitch() -> None:
    ms = 1_000_000
    a = PinLevels(pitch=440.0)
    pause = PinLevels()
    separated = notes([(0, 100 * ms, a), (100 * ms, 150 * ms, pause), (150 * ms, 300 * ms, a)])
    assert separated == [440.0, 440.0]
    assert notes([(0, 100 * ms, a), (100 * ms, 300 * ms, PinLevels(1.0, pitch=440.0))]) == [440.0]


def test_the_lights_are_those_of_the_pins() -> None:
    recorder = DemoRecorder()
    settings = GpioSettings(factory="mock", red_active_high=False, volume=1.0)
    with observed_board(settings, recorder.record_pins) as board:
        for _, light in timeline(Cue(CueName.ALREADY_RECORDED)):
            board.set(light)
            time.sleep(0.006)
        board.close()
    tune = [sample.lights.pitch for sample in recorder.recording.samples]
    assert max(sample.lights.green for sample in recorder.recording.samples) == 1.0
    assert {round(pitch) for pitch in tune if pitch} == {659}
    assert all(sample.lights.red == 0.0 for sample in recorder.recording.samples[:-1])


@pytest.mark.parametrize(
    "words", [["--camera"], ["--people", "people.csv"], ["--keep", "."], ["--wrong"]]
)
def test_wrong_options_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert words[0] in capsys.readouterr().err
