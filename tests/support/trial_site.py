"""A whole unit to be hurt: real networks, outbox, broker and delivery; a scripted door.

What stands beside the daemon is there too: the out-of-order light of
`edge.appliance.watchdog.fault_led`, which shines while no unit runs.
"""

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from PIL import Image
from wireunit import until

from edge.appliance.watchdog.fault_led import FaultBlinker
from edge.attendance.session import StepResult
from edge.attendance.table import State
from edge.camera import Camera
from edge.capture.camera_controls import CaptureRequest
from edge.contract.envelope import verify
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.jose import digest
from edge.contract.keys import KeySet, SigningKey
from edge.contract.topics import TopicKind, UnitName
from edge.daemon import Daemon
from edge.errors import CameraError, CameraStalled, GpioError, PinBusyError, SenyumError
from edge.gpio.cue_player import CuePlayer
from edge.images import from_image, shrink
from edge.inference.face_analyzer import FaceAnalyzer
from edge.outbox.store import OutboxReader
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.roster.keys import make_key
from edge.settings import GpioSettings, InferenceSettings, Settings
from edge.status.status_file import DaemonStatus, StatusFile
from edge.system.power import PowerReading, save_power_reading
from edge.types import Cue, CueName, Frame, Outcome, Stimulus, Yuv
from senyum_lab.bench.scenes import SCENES, SceneRenderer
from senyum_lab.servers.mosquitto import PrivateBroker

FACES = Path(__file__).parents[1] / "faces"
FPS = 15.0
PERSON = "0123456789abcdef" * 2
PATIENCE = 60.0  # seconds, for a loaded machine; the bar is the table's
RECORDED = {CueName.RECORDED, CueName.RECORDED_OFFLINE}


@dataclass(frozen=True, slots=True)
class Pictures:
    """What can be seen through the door; made once for all trials."""

    empty: list[Yuv]
    smile: list[Yuv]
    black: list[Yuv]
    roster: Roster

    @classmethod
    def make(cls) -> Self:
        studio, examiner = SceneRenderer(FACES, fps=FPS), FaceAnalyzer(InferenceSettings())
        shown = {
            name: [from_image(picture) for picture in studio.frames(SCENES[name])]
            for name in ("empty", "smile")
        }
        black = [from_image(Image.new("RGB", (640, 480)))]
        template = examiner.analyze(from_image(Image.open(FACES / "obama3.jpg")))[0].template
        person = Person(PERSON, "198503022010011003", "", exempt=False, templates=template[None])
        roster = Roster(1, datetime.now(UTC), examiner.digests["identity"], (person,))
        return cls(shown["empty"], shown["smile"], black, roster)


class Door:
    """The camera: what happens at the door is `scene`, what is wrong with it `fault`."""

    def __init__(self, pictures: Pictures) -> None:
        self.fault: str | None = None  # "stalls", "black", "repeats", "gone"
        self._pictures = pictures
        self._playing = itertools.cycle(pictures.empty)
        self._number = 0
        self._last: Yuv = pictures.empty[0]

    def play(self, scene: str) -> None:
        self._playing = itertools.cycle(getattr(self._pictures, scene))

    def open(self) -> Camera:
        if self.fault == "gone":
            raise CameraError("camera 0: there is none; check its cable")
        return self

    def read(self, timeout: float) -> Frame:
        time.sleep(min(timeout, 1 / FPS))
        match self.fault:
            case "gone":
                raise CameraError("camera 0: it went away; check its cable")
            case "stalls":
                time.sleep(timeout)
                raise CameraStalled("no frame came")
            case "black":
                self._last = self._pictures.black[0]
            case None:
                self._last = next(self._playing)
        self._number += 1
        picture = self._last
        return Frame(self._number, time.monotonic_ns(), picture, shrink(picture, 320, 240))

    def ask(self, wish: CaptureRequest) -> None:
        pass

    def close(self) -> None:
        pass


class Lights(CuePlayer):
    """A panel on mock pins whose pins can be torn away."""

    def __init__(self, settings: GpioSettings, torn: Callable[[], bool]) -> None:
        super().__init__(settings)
        self._torn = torn

    def show(self, cue: Cue) -> None:
        if self._torn():
            raise GpioError("gpio: the pins were lost (torn away)")
        super().show(cue)


class FaultLight:
    """The red light of senyum-fault.service."""

    def __init__(self) -> None:
        self.lit = False

    def set(self, lit: bool) -> None:
        self.lit |= lit

    def close(self) -> None:
        self.lit = False


class _Board(StatusFile):
    def __init__(self, folder: Path, keep: Callable[[DaemonStatus], None]) -> None:
        super().__init__({"RUNTIME_DIRECTORY": str(folder)})
        self._keep = keep

    def write(self, bulletin: DaemonStatus) -> None:
        super().write(bulletin)
        self._keep(bulletin)


@dataclass
class Site:
    """One unit in `folder`, with its broker; a trial does what it likes with both."""

    folder: Path
    pictures: Pictures
    broker: PrivateBroker
    settings: Settings = field(init=False)
    bulletin: DaemonStatus | None = None
    error: SenyumError | None = None
    pins: str | None = None  # what is wrong with them: "taken" or "torn"
    cues: list[CueName] = field(default_factory=list)
    began: float = 0.0  # when it was hurt, time.monotonic()
    recorded: int = 0  # attempts that a person was shown as recorded

    def __post_init__(self) -> None:
        self.door = Door(self.pictures)
        self.light = FaultLight()
        self.state = self.folder / "state"
        for folder in (self.state, self.folder / "run"):
            folder.mkdir(parents=True)
        self.clock_file = self.folder / "clock.json"
        self.settings = Settings.model_validate(
            {
                # Not "replay", of which a picture that stands is no fault.
                "camera": {"driver": "picamera2", "fps": FPS},
                "roster": {
                    "file": self.state / "roster.senyum",
                    "key": self.folder / "roster.key",
                },
                "outbox": {
                    "file": self.state / "outbox.db",
                    "signing_key": self.folder / "signing.key",
                    "min_free_mib": 1,
                },
                "attendance": {"cool_down": 0.5},
                "authority": {"keys": self.folder / "authorities.json"},
                "gpio": {"factory": "mock"},
                "broker": {
                    **self.broker.settings.model_dump(),
                    "backoff_min": 0.2,
                    "backoff_max": 1.0,
                },
            }
        )
        self.furnish()
        key = SigningKey.load_or_create(self.settings.outbox.signing_key)
        self.keys = KeySet.of([key.registration(UnitName.of(self.settings.unit))])
        self._cues = 0
        self._unit: Daemon | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        beside = FaultBlinker(lambda: self.running, lambda: self.light, self._ended)
        self._beside = threading.Thread(target=beside.run, daemon=True)
        self._beside.start()

    def furnish(self) -> None:
        """Write the roster and, the first time, its key."""
        key = self.folder / "roster.key"
        if not key.exists():
            make_key(key, "roster key")
        content = bytes.fromhex(key.read_text())
        save(self.settings.roster.file, content, self.pictures.roster)

    def report_power(self, reading: PowerReading) -> None:
        """Report what the power monitor measures now."""
        now = replace(reading, monotonic_ns=time.monotonic_ns())
        save_power_reading(now, self.folder / "power.json")

    def begin(self) -> None:
        """Note that it is being hurt now."""
        self.began, self._cues = time.monotonic(), len(self.cues)

    @property
    def new_cues(self) -> list[CueName]:
        """The cues since then."""
        return self.cues[self._cues :]

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_well(self) -> bool:
        """Whether it works, with its broker, and says nothing else."""
        told = self.bulletin
        return self.running and told is not None and told.link_up and not told.codes

    def start(self) -> None:
        """Start the unit; what keeps it from starting, or ends it, is `error`."""
        self.error, self.bulletin = None, None
        try:
            self._unit = Daemon(
                self.settings,
                camera=self.door.open,
                panel=self._panel,
                status_file=_Board(self.folder / "run", self._keep),
                observer=self._observe,
                power_file=self.folder / "power.json",
            )
        except SenyumError as error:
            self.error = error
            return
        self._thread = threading.Thread(target=self._run, args=(self._unit,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._unit is not None:
            self._unit.stop()
        if self._thread is not None:
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive()
        self._unit = self._thread = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def pass_by(self) -> None:
        """Have the known person come, smile, be recorded, and go."""
        before = self.recorded
        self.door.play("smile")
        until(lambda: self.recorded > before or not self.running, PATIENCE)
        self.door.play("empty")
        assert self.recorded > before, self.error

    def change(self, section: str, **values: object) -> None:
        """Change settings; they count from the next start."""
        changed = getattr(self.settings, section).model_copy(update=values)
        self.settings = self.settings.model_copy(update={section: changed})

    def chain(self) -> list[AttendanceEvent | AuditEvent]:
        """Return every event, each verified, with its link to the one before."""
        topic = UnitName.of(self.settings.unit).topic(TopicKind.EVENT)
        found: list[AttendanceEvent | AuditEvent] = []
        previous: str | None = None
        reader = OutboxReader(self.settings.outbox.file)
        try:
            for row in reader.after(0, 10_000):
                event = verify(row.token, self.keys, topic).event
                assert isinstance(event, AttendanceEvent | AuditEvent)
                assert previous in (None, event.previous)
                assert not found or event.number == found[-1].number + 1
                found.append(event)
                previous = digest(row.token)
        finally:
            reader.close()
        return found

    def codes(self) -> list[str]:
        """Return the audit code, or the reason, of each event."""
        return [
            event.data.code if isinstance(event, AuditEvent) else event.data.reason
            for event in self.chain()
        ]

    def refused(self, words: str) -> bool:
        """Whether it ended, or did not start, with `words`, and the light beside it shines."""
        said = re.search(words, str(self.error)) is not None and "\n" not in str(self.error)
        return said and self.light.lit and not self.running

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._ended.set()
        self._beside.join(PATIENCE)

    def _panel(self) -> CuePlayer:
        if self.pins == "taken":
            raise PinBusyError("gpio.green = 17: pin is not available (GPIO busy)")
        if self.pins == "torn":
            raise GpioError("gpio: no chip")
        return Lights(self.settings.gpio, lambda: self.pins is not None)

    def _keep(self, bulletin: DaemonStatus) -> None:
        self.bulletin = bulletin

    def _run(self, unit: Daemon) -> None:
        try:
            with unit:
                unit.run()
        except SenyumError as error:
            self.error = error

    def _observe(self, _stimulus: Stimulus, step: StepResult, _state: State) -> None:
        for cue in step.cues:
            if not self.cues or self.cues[-1] is not cue.name:
                self.cues.append(cue.name)
                self.recorded += cue.name in RECORDED


def outcomes(events: Iterable[AttendanceEvent | AuditEvent]) -> Iterator[Outcome]:
    """Yield how each attempt ended."""
    for event in events:
        if isinstance(event, AttendanceEvent):
            yield event.data.outcome
