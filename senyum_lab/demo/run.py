"""The two modes of the demo: scenes with checks, and live."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from edge.contract.topics import UnitName
from edge.images import to_image
from edge.inference.models import Models
from senyum_lab.bench.scenes import FPS, SCENES, SIZE, SceneRenderer, Span, record
from senyum_lab.demo.demo_site import DemoError, DemoReceiver, DemoSite
from senyum_lab.demo.picture import compose
from senyum_lab.demo.playback import DaemonThread, ScenePlan, wait_until_stopped
from senyum_lab.demo.proof import DemoEvidence, DemoFinding, check, stored_events
from senyum_lab.demo.recording import DemoRecorder
from senyum_lab.demo.screen import BARE, REFRESH_S, Screen, render, size_for
from senyum_lab.servers.mosquitto import PrivateBroker

FACES = Path(__file__).parents[2] / "tests" / "faces"

# Shorter than in production, to keep the demo short.
_PAUSES = {"smile_timeout": 4.0, "cool_down": 15.0}
_LIVE_PAUSES = {"smile_timeout": 8.0, "cool_down": 60.0}
_NOTES_NS = 800_000_000  # after the event: both notes have sounded and the LED is still on
_NOT_JUDGED = (
    "There is no liveness network: only a smile after the prompt is evidence of a live person."
)
_JUDGED = (
    "Liveness is only known for the cameras it was trained on (docs/accuracy.md): measure each "
    "device with senyum liveness-check."
)
_DISCLAIMER = "People are photos, smiles are generated, and the print is simulated."


def _judged() -> bool:
    """Whether the installed models have a liveness network."""
    return "liveness" in Models().digests()


def _disclaimer(*, judged: bool) -> str:
    return f"{_DISCLAIMER} {_JUDGED if judged else _NOT_JUDGED}"


def scenes(folder: Path, *, plain: bool, picture: Path | None) -> int:
    """Play all scenes and check their outcome; return the exit status."""
    console = Console()
    site = DemoSite(folder)
    honesty = _disclaimer(judged=_judged())
    console.print(honesty, highlight=False, soft_wrap=True)
    site.frames.mkdir()
    renderer = SceneRenderer(FACES)
    with _progress(console) as done:
        spans = record(renderer, list(SCENES.values()), site.frames, done)
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker(folder / "broker"))
        camera = (
            f'driver = "replay"\nreplay = "{site.frames}"\nfps = {FPS}\n'
            f"main_width = {SIZE[0]}\nmain_height = {SIZE[1]}"
        )
        settings = site.write_settings(broker.port, camera, "mock", _PAUSES)
        with _step(console, "enrolling two people, each with a photo that appears in no scene"):
            site.enrol(*site.write_people(FACES))
        with _step(console, "registering the unit's public key with the central server"):
            site.register_key()
        recorder, screen = _open_output(console, honesty, plain=plain)
        receiver = stack.enter_context(closing(DemoReceiver(site, broker.port, recorder)))
        plan = ScenePlan(spans, FPS, recorder, broker)
        album = MomentPicture(recorder) if picture else None
        with DaemonThread(settings, recorder, plan) as daemon, screen as shown:
            while daemon.is_running:
                receiver.check()
                plan.poll()
                if album:
                    album.poll()
                if shown:
                    shown.title = plan.title
                    shown.draw()
                time.sleep(REFRESH_S)
        wait_until_stopped(receiver, recorder)
    found = check(partial(_evidence, site, recorder, plan, UnitName.of(settings.unit)))
    if picture and album:
        album.write(picture)
        console.print(f"{picture}: written")
    return _summary(console, found, spans)


def live(folder: Path, people: Path, photos: Path, *, plain: bool) -> int:
    """Run on the real camera until Ctrl-C; return the exit status."""
    console = Console()
    site = DemoSite(folder)
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker(folder / "broker"))
        settings = site.write_settings(broker.port, 'driver = "picamera2"', "lgpio", _LIVE_PAUSES)
        with _step(console, "enrolling"):
            enrolment_lines = site.enrol(people, photos)
        console.print("\n".join(enrolment_lines), highlight=False, markup=False, soft_wrap=True)
        site.register_key()
        recorder, screen = _open_output(console, _JUDGED if _judged() else _NOT_JUDGED, plain=plain)
        receiver = stack.enter_context(closing(DemoReceiver(site, broker.port, recorder)))
        with DaemonThread(settings, recorder) as daemon, screen as shown:
            try:
                while daemon.is_running:
                    receiver.check()
                    if shown:
                        shown.title = "live; press Ctrl-C to stop"
                        shown.draw()
                    time.sleep(REFRESH_S)
            except KeyboardInterrupt:
                pass
        wait_until_stopped(receiver, recorder)
    events = stored_events(site.store, site.keys, UnitName.of(settings.unit))
    console.print(f"{len(events)} events, each verified again from the central store.")
    return 0


class MomentPicture:
    """Takes the picture of the first recorded attendance."""

    def __init__(self, recorder: DemoRecorder) -> None:
        self._recorder = recorder
        self._page: str | None = None

    def poll(self) -> None:
        """Take the picture once the event has arrived and both notes have sounded."""
        recorder = self._recorder
        recorded = [
            heard
            for heard in recorder.recording.notices
            if heard.event and heard.event["data"].get("outcome") == "recorded"
        ]
        if self._page or not recorded or recorder.frame is None:
            return
        event = recorded[0].event
        if event and time.monotonic_ns() - recorded[0].at_ns >= _NOTES_NS:
            screen = render(recorder, BARE, "scripts/demo")
            self._page = compose(to_image(recorder.frame.main), screen, event)

    def write(self, file: Path) -> None:
        """Write the SVG document. Raises DemoError if no attendance was recorded."""
        if self._page is None:
            raise DemoError(f"{file}: not written because no attendance was recorded")
        file.write_text(self._page, encoding="utf-8")


def _open_output(
    console: Console, footer: str, *, plain: bool
) -> tuple[DemoRecorder, Screen | nullcontext[None]]:
    """Return the recorder, and a screen if the terminal can show one."""
    size = size_for(console.width, console.height)
    if plain or size is None or not console.is_terminal:
        recorder = DemoRecorder(console)
        screen: Screen | nullcontext[None] = nullcontext()
    else:
        recorder = DemoRecorder()
        screen = Screen(console, recorder, size, footer)
    logging.basicConfig(handlers=[_DaemonLogHandler(recorder)], force=True)
    return recorder, screen


class _DaemonLogHandler(logging.Handler):
    """Copies log records to the log of the demo; output on stderr would break the screen."""

    def __init__(self, recorder: DemoRecorder) -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        self._recorder.log(f"unit log: {record.getMessage()}")


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    console.print(f"{what}: {time.monotonic() - began:.1f} s", highlight=False)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[float], None]]:
    what = "rendering the scenes"
    if not console.is_terminal:
        with _step(console, what):
            yield lambda _share: None
        return
    columns = TextColumn(what), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _evidence(
    site: DemoSite, recorder: DemoRecorder, plan: ScenePlan, unit: UnitName
) -> DemoEvidence:
    assert recorder.frame is not None
    return DemoEvidence(
        recording=recorder.recording,
        windows=plan.windows(recorder.frame),
        events=stored_events(site.store, site.keys, unit),
        people={"first": site.person("first")},
        outage=plan.outage,
        judged=_judged(),
    )


def _summary(console: Console, found: Sequence[DemoFinding], spans: Sequence[Span]) -> int:
    titles = {span.scene.name: span.scene.title for span in spans}
    titles |= {"chain": "signed chain", "alarms": "receiver"}
    console.print("\nChecks against the central store and the pins:", highlight=False)
    for finding in found:
        sign, style = ("✓", "green") if finding.ok else ("✗", "bold red")
        line = Text.assemble((sign, style), f" {titles[finding.name]}: ")
        console.print(line + Text(finding.text, "" if finding.ok else style), soft_wrap=True)
    console.print(_disclaimer(judged=_judged()), highlight=False, soft_wrap=True)
    failed = [titles[finding.name] for finding in found if not finding.ok]
    if failed:
        console.print(Text(f"FAILED: {'; '.join(failed)}", "bold red"), soft_wrap=True)
        return 1
    console.print(Text(f"All {len(found)} checks passed.", "bold green"))
    return 0
