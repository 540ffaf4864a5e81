"""The composition root with real networks, a real outbox and pins that are noted, no broker."""

import re
import resource
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scenes import SCENES, SceneRenderer
from staged import FACES, FPS, PERSON, Played, knowing

from edge.attendance.session import StepResult
from edge.attendance.table import State
from edge.camera import Camera
from edge.contract.envelope import verify
from edge.contract.jose import claim
from edge.contract.keys import KeySet, SigningKey
from edge.contract.topics import TopicKind, UnitName
from edge.daemon import Daemon
from edge.errors import CameraError, OutboxDamaged, PinBusyError, ReplayError, RosterError
from edge.gpio.cue_player import CuePlayer
from edge.gpio.reconnecting_panel import RETRY_S
from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.outbox.store import OutboxReader
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.settings import InferenceSettings, Settings
from edge.status import camera_outage
from edge.status.camera_outage import CameraOutage
from edge.status.status_file import DaemonStatus, StatusFile
from edge.system.run_log import FAILURES_PER_REBOOT
from edge.system.sd_notify import Notifier
from edge.types import CueName, Stimulus, Yuv


@pytest.fixture(scope="module")
def studio() -> SceneRenderer:
    return SceneRenderer(FACES, fps=FPS)


@pytest.fixture(scope="module")
def smile(studio: SceneRenderer) -> list[Yuv]:
    return [from_image(frame) for frame in studio.frames(SCENES["smile"])]


@pytest.fixture(scope="module")
def two(studio: SceneRenderer) -> list[Yuv]:
    return [from_image(frame) for frame in studio.frames(SCENES["two"])]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give the settings of a unit that knows the person of the scenes."""
    return knowing(tmp_path)


class Watched:
    """Every cue that the session gave, in order, without the repetitions."""

    def __init__(self) -> None:
        self.cues: list[CueName] = []

    def __call__(self, stimulus: Stimulus, step: StepResult, state: State) -> None:
        for cue in step.cues:
            if not self.cues or self.cues[-1] is not cue.name:
                self.cues.append(cue.name)


def play(settings: Settings, opener: Callable[[], Camera]) -> list[CueName]:
    watched = Watched()
    with Daemon(settings, camera=opener, observer=watched) as unit:
        unit.run()
    return watched.cues


def events(settings: Settings) -> list[tuple[str, str]]:
    """Type or code of each stored event, verified from the outbox."""
    unit = UnitName.of(settings.unit)
    key = SigningKey.load_or_create(settings.outbox.signing_key)
    keys = KeySet.of([key.registration(unit)])
    reader = OutboxReader(settings.outbox.file)
    said = []
    for row in reader.after(0, 100):
        event = verify(row.token, keys, unit.topic(TopicKind.EVENT)).event
        data = event.data.model_dump(mode="json")
        said.append((event.type.split(".")[1], data.get("code") or data["reason"]))
    reader.close()
    return said


def test_someone_known_smiles_and_is_recorded_while_the_broker_is_away(
    settings: Settings, smile: list[Yuv]
) -> None:
    cues = play(settings, lambda: Played(iter(smile)))
    wanted = [CueName.NOTICED, CueName.SMILE_ASKED, CueName.RECORDED_OFFLINE]
    assert [cue for cue in cues if cue in wanted] == wanted
    assert events(settings) == [
        ("unit", "started"),
        ("attendance", "accepted"),
        ("unit", "stopped"),
    ]


def test_two_people_are_nobody(settings: Settings, two: list[Yuv]) -> None:
    cues = play(settings, lambda: Played(iter(two)))
    assert CueName.SEVERAL in cues
    assert [what for what, _ in events(settings)] == ["unit", "unit"]


def test_a_camera_that_vanishes_is_said_audited_and_taken_back(
    settings: Settings, smile: list[Yuv]
) -> None:
    openings = iter(range(100))

    def opener() -> Camera:
        match next(openings):
            case 0:
                return Played(iter([*smile[:10], CameraError("the ribbon cable came off")]))
            case 1 | 2 | 3:
                raise CameraError("the ribbon cable came off")
            case _:
                return Played(iter(smile))

    cues = play(settings, opener)
    assert CueName.OUT_OF_ORDER in cues
    assert cues.index(CueName.OUT_OF_ORDER) < cues.index(CueName.RECORDED_OFFLINE)
    assert [reason for _, reason in events(settings)] == [
        "started",
        "camera-lost",
        "camera-back",
        "accepted",
        "stopped",
    ]


@pytest.mark.slow
def test_a_full_disk_is_out_of_order_until_an_event_can_be_stored_again(
    settings: Settings, smile: list[Yuv]
) -> None:
    """A limit on the size of files stands for the full disk: SQLite sees its write refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    seen: list[CueName] = []

    def watch(stimulus: Stimulus, step: StepResult, state: State) -> None:
        for cue in step.cues:
            if cue.name is CueName.SMILE_ASKED and CueName.SMILE_ASKED not in seen:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
            elif cue.name is CueName.OUT_OF_ORDER:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            if not seen or seen[-1] is not cue.name:
                seen.append(cue.name)

    nobody = smile[:2] * round(5.5 * FPS)
    pictures = [*smile, *nobody, *smile]
    try:
        with Daemon(settings, camera=lambda: Played(iter(pictures)), observer=watch) as unit:
            unit.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert CueName.OUT_OF_ORDER in seen
    assert seen.index(CueName.OUT_OF_ORDER) < seen.index(CueName.RECORDED_OFFLINE)
    assert [reason for _, reason in events(settings)] == [
        "started",
        "store-failed",
        "accepted",
        "stopped",
    ]


@pytest.mark.slow
def test_an_outbox_damaged_at_work_ends_the_unit_and_the_next_start_mends_it(
    settings: Settings, smile: list[Yuv]
) -> None:
    file = settings.outbox.file
    cues: list[CueName] = []

    def watch(stimulus: Stimulus, step: StepResult, state: State) -> None:
        cues.extend(cue.name for cue in step.cues)
        if CueName.SMILE_ASKED in cues and not file.with_name("kept").exists():
            reader = OutboxReader(file)
            reader.set_delivered(1)  # so that the writer trusts none of what it remembers
            reader.close()
            file.with_name("kept").touch()
            for path in (file, file.with_name(file.name + "-wal")):
                with path.open("r+b") as damaged:
                    damaged.seek(1024)
                    damaged.write(bytes(path.stat().st_size - 1024))

    with (
        pytest.raises(OutboxDamaged, match=r"outbox\.db"),
        Daemon(settings, camera=lambda: Played(iter(smile * 3)), observer=watch) as unit,
    ):
        unit.run()
    assert CueName.RECORDED_OFFLINE not in cues
    assert CueName.OUT_OF_ORDER in cues
    cues = play(settings, lambda: Played(iter(smile)))
    assert CueName.RECORDED_OFFLINE in cues
    assert [reason for _, reason in events(settings)] == [
        "outbox-renewed",
        "started",
        "accepted",
        "stopped",
    ]


def test_a_camera_library_that_raises_what_it_likes_is_a_fault_like_any_other(
    settings: Settings, smile: list[Yuv]
) -> None:
    openings = iter(range(100))

    def opener() -> Camera:
        if next(openings) < 3:
            raise ValueError("numpy.dtype size changed" + "!" * 300)
        return Played(iter(smile))

    assert CueName.RECORDED_OFFLINE in play(settings, opener)
    assert [reason for _, reason in events(settings)][:3] == [
        "started",
        "camera-lost",
        "camera-back",
    ]


@pytest.mark.slow
def test_pins_that_another_program_holds_are_waited_for(
    settings: Settings, smile: list[Yuv]
) -> None:
    openings = iter(range(100))

    def opener() -> CuePlayer:
        if next(openings) == 0:
            raise PinBusyError("gpio.green = 17: pin is not available (GPIO busy)")
        return CuePlayer(settings.gpio)

    nobody = smile[:2] * round((RETRY_S + 1) / 2 * FPS)
    watched = Watched()
    pictures = [*smile, *nobody, *smile]
    with Daemon(
        settings, camera=lambda: Played(iter(pictures)), panel=opener, observer=watched
    ) as unit:
        unit.run()
    assert watched.cues.count(CueName.RECORDED_OFFLINE) == 1  # not while nobody could see it
    assert watched.cues.index(CueName.OUT_OF_ORDER) < watched.cues.index(CueName.RECORDED_OFFLINE)
    said = [reason for _, reason in events(settings)]
    assert said == ["started", "pins-lost", "pins-back", "accepted", "stopped"]


def test_systemd_hears_ready_a_sentence_and_the_watchdog(
    settings: Settings, smile: list[Yuv], tmp_path: Path
) -> None:
    address = str(tmp_path / "notify")
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(10)

        def listen() -> None:
            while "STOPPING=1" not in heard:
                heard.append(systemd.recv(1000).decode())

        listener = threading.Thread(target=listen)
        listener.start()
        notifier = Notifier({"NOTIFY_SOCKET": address})
        camera = Played(islice(iter(smile), round(2.5 * FPS)))
        with Daemon(settings, camera=lambda: camera, notifier=notifier) as unit:
            unit.run()
        listener.join()
    assert heard.count("READY=1") == 1
    assert heard.count("WATCHDOG=1") > FPS
    assert "STATUS=Watching. 1 enrolled, broker away, events are kept, " in "\n".join(heard)


class Heartbeats(Notifier):
    """Stops the unit once it has fed the watchdog twice."""

    def __init__(self) -> None:
        super().__init__({})
        self.count = 0
        self.unit: Daemon | None = None

    def watchdog(self) -> None:
        self.count += 1
        if self.count == 2 and self.unit is not None:
            self.unit.stop()


def test_a_camera_that_no_restart_brought_back_is_waited_for(
    settings: Settings, tmp_path: Path
) -> None:
    """The watchdog is fed without a picture, and the chain is not told again."""
    (tmp_path / camera_outage.FILE).write_text(f"{FAILURES_PER_REBOOT}\n")

    def opener() -> Camera:
        raise CameraError("no camera")

    heart = Heartbeats()
    patient = CameraOutage({"RUNTIME_DIRECTORY": str(tmp_path)})
    with Daemon(settings, camera=opener, notifier=heart, camera_outage=patient) as unit:
        heart.unit = unit
        unit.run()
    assert [reason for _, reason in events(settings)] == ["started", "stopped"]


def test_a_replay_that_cannot_be_read_ends_the_unit_with_its_reason(settings: Settings) -> None:
    def opener() -> Camera:
        raise ReplayError("frames: no such folder")

    with (
        pytest.raises(ReplayError, match="no such folder"),
        Daemon(settings, camera=opener) as unit,
    ):
        unit.run()


def test_an_empty_roster_is_named_with_the_way_out(settings: Settings) -> None:
    key = bytes.fromhex(settings.roster.key.read_text())
    embedder = FaceAnalyzer(InferenceSettings()).digests["identity"]
    save(settings.roster.file, key, Roster(2, datetime.now(UTC), embedder, ()))
    with pytest.raises(RosterError, match=r"roster\.senyum: nobody is enrolled; run senyum enroll"):
        Daemon(settings)


def test_the_threshold_in_force_is_the_rosters(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    key = bytes.fromhex(settings.roster.key.read_text())
    embedder = FaceAnalyzer(InferenceSettings()).digests["identity"]
    alike = np.zeros((150, 1, 192), np.float32)  # so few directions that strangers are alike
    alike[..., :40] = np.random.default_rng(1).normal(size=(150, 1, 40))
    alike /= np.linalg.norm(alike, axis=2, keepdims=True)
    people = tuple(
        Person(f"{n:032x}", f"{n:018}", "", exempt=False, templates=templates)
        for n, templates in enumerate(alike)
    )
    save(settings.roster.file, key, Roster(2, datetime.now(UTC), embedder, people))
    with caplog.at_level("INFO"), Daemon(settings):
        pass
    said = re.search(r"match from ([0-9.]+), ahead by ([0-9.]+), of 150", caplog.text)
    assert said
    assert 0.65 < float(said[1]) <= 0.8
    assert 0.08 < float(said[2]) <= 0.15


def test_a_roster_of_another_network_is_refused(settings: Settings) -> None:
    key = bytes.fromhex(settings.roster.key.read_text())
    template = np.zeros((1, 192), np.float32)
    template[0, 0] = 1
    person = Person(PERSON, "198503022010011003", "", exempt=False, templates=template)
    save(settings.roster.file, key, Roster(2, datetime.now(UTC), "00" * 32, (person,)))
    with pytest.raises(RosterError, match=r"roster\.senyum"):
        Daemon(settings)


def test_a_unit_that_was_moved_says_so_first(settings: Settings) -> None:
    play(settings, lambda: Played(iter([])))
    elsewhere = settings.unit.model_copy(update={"site": "kecamatan"})
    moved = settings.model_copy(update={"unit": elsewhere})
    play(moved, lambda: Played(iter([])))
    reader = OutboxReader(settings.outbox.file)
    said = [
        (
            claim(row.token, "source"),
            claim(row.token, "data", "code"),
            claim(row.token, "data", "detail"),
        )
        for row in reader.after(0, 100)
    ]
    reader.close()
    assert [(source.split(":")[3], code) for source, code, _ in said] == [
        ("site", "started"),
        ("site", "stopped"),
        ("kecamatan", "moved"),
        ("kecamatan", "started"),
        ("kecamatan", "stopped"),
    ]
    assert said[2][2] == {"from": settings.unit.source, "last": 2}


def test_who_asks_is_told_how_the_unit_is(
    settings: Settings, smile: list[Yuv], tmp_path: Path
) -> None:
    told: list[DaemonStatus] = []

    class Kept(StatusFile):
        def write(self, bulletin: DaemonStatus) -> None:
            super().write(bulletin)
            told.append(bulletin)

    board = Kept({"RUNTIME_DIRECTORY": str(tmp_path)})
    camera = Played(islice(iter(smile), round(2.5 * FPS)))
    with Daemon(settings, camera=lambda: camera, status_file=board) as unit:
        unit.run()
    newest = told[-1]
    assert newest.source == settings.unit.source
    assert newest.sentence.startswith("Watching. 1 enrolled, broker away, events are kept, ")
    assert newest.sentence.endswith("See: broker-unreachable.")
    assert newest.codes == ("broker-unreachable",)
    assert newest.waiting > 0
    assert newest.level is not None
    assert newest.sharpness is not None
    assert list(tmp_path.glob("status.*")) == []  # it ended in good order
