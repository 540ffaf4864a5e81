"""The two ways to run the demo: scenes with their proof, and live."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from demo_show.house import DemoError, House, Receiver
from demo_show.picture import compose
from demo_show.proof import Evidence, Finding, check, stored_events
from demo_show.screen import BARE, REFRESH_S, Screen, fitting, moment
from demo_show.show import Performance, Prompter, wait_for_the_rest
from demo_show.watch import Watch
from edge.contract.topics import UnitName
from edge.images import to_image
from edge.inference.models import Models
from senyum_lab.bench.scenes import FPS, SCENES, SIZE, SceneRenderer, Span, record
from senyum_lab.servers.mosquitto import PrivateBroker

FACES = Path(__file__).parents[3] / "tests" / "faces"

# Shorter than at a door, so that the demo is short too.
_PAUSES = {"smile_timeout": 4.0, "cool_down": 15.0}
_LIVE_PAUSES = {"smile_timeout": 8.0, "cool_down": 60.0}
_NOTES_NS = 800_000_000  # from the record until both notes have sounded and the light is still on
_NOT_JUDGED = "No network judges liveness here: only a smile after the prompt speaks for life."
_JUDGED = "Liveness does not detect real prints and screens reliably (docs/accuracy.md)."
_HONESTY = "The people are photos, their smiles generated onsets, the print is a simulated one."


def _judged() -> bool:
    """Whether a network of the shipped models judges liveness."""
    return "liveness" in Models().digests()


def _honesty(*, judged: bool) -> str:
    return f"{_HONESTY} {_JUDGED if judged else _NOT_JUDGED}"


def scenes(folder: Path, *, plain: bool, picture: Path | None) -> int:
    """Play all scenes and prove them; returns the exit status."""
    console = Console()
    house = House(folder)
    honesty = _honesty(judged=_judged())
    console.print(honesty, highlight=False, soft_wrap=True)
    house.frames.mkdir()
    studio = SceneRenderer(FACES)
    with _progress(console) as done:
        spans = record(studio, list(SCENES.values()), house.frames, done)
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker(folder / "broker"))
        camera = (
            f'driver = "replay"\nreplay = "{house.frames}"\nfps = {FPS}\n'
            f"main_width = {SIZE[0]}\nmain_height = {SIZE[1]}"
        )
        settings = house.furnish(broker.port, camera, "mock", _PAUSES)
        with _step(console, "enrolling two people, each with a photo that no scene shows"):
            house.enrol(*house.invite(FACES))
        with _step(console, "telling the central server the unit's public key"):
            house.register()
        watch, screen = _stage(console, honesty, plain=plain)
        receiver = stack.enter_context(closing(Receiver(house, broker.port, watch.heard)))
        prompter = Prompter(spans, FPS, watch, broker)
        album = Album(watch) if picture else None
        with Performance(settings, watch, prompter.delivered) as performance, screen as shown:
            while performance.playing:
                receiver.check()
                prompter.turn()
                if album:
                    album.turn()
                if shown:
                    shown.title = prompter.title
                    shown.draw()
                time.sleep(REFRESH_S)
        wait_for_the_rest(receiver, watch)
    found = check(partial(_evidence, house, watch, prompter, UnitName.of(settings.unit)))
    if picture and album:
        album.write(picture)
        console.print(f"{picture}: written")
    return _summary(console, found, spans)


def live(folder: Path, people: Path, photos: Path, *, plain: bool) -> int:
    """Watch the real camera until Ctrl-C; returns the exit status."""
    console = Console()
    house = House(folder)
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker(folder / "broker"))
        settings = house.furnish(broker.port, 'driver = "picamera2"', "lgpio", _LIVE_PAUSES)
        with _step(console, "enrolling"):
            said = house.enrol(people, photos)
        console.print("\n".join(said), highlight=False, markup=False, soft_wrap=True)
        house.register()
        watch, screen = _stage(console, _JUDGED if _judged() else _NOT_JUDGED, plain=plain)
        receiver = stack.enter_context(closing(Receiver(house, broker.port, watch.heard)))
        with Performance(settings, watch) as performance, screen as shown:
            try:
                while performance.playing:
                    receiver.check()
                    if shown:
                        shown.title = "live; Ctrl-C ends it"
                        shown.draw()
                    time.sleep(REFRESH_S)
            except KeyboardInterrupt:
                pass
        wait_for_the_rest(receiver, watch)
    events = stored_events(house.store, house.keys, UnitName.of(settings.unit))
    console.print(f"{len(events)} events, each verified once more from the central store.")
    return 0


class Album:
    """Keeps the moment of the first record, for the picture."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._page: str | None = None

    def turn(self) -> None:
        """Take the picture when the event has come and both notes have sounded."""
        watch = self._watch
        recorded = [
            heard
            for heard in watch.memory.heard
            if heard.event and heard.event["data"].get("outcome") == "recorded"
        ]
        if self._page or not recorded or watch.frame is None:
            return
        event = recorded[0].event
        if event and time.monotonic_ns() - recorded[0].at_ns >= _NOTES_NS:
            screen = moment(watch, BARE, "scripts/demo")
            self._page = compose(to_image(watch.frame.main), screen, event)

    def write(self, file: Path) -> None:
        """Write the SVG document. Raises DemoError where no record came."""
        if self._page is None:
            raise DemoError(f"{file}: was not written, for nobody was recorded")
        file.write_text(self._page, encoding="utf-8")


def _stage(
    console: Console, footer: str, *, plain: bool
) -> tuple[Watch, Screen | nullcontext[None]]:
    """Return where everything is gathered, and the screen if this terminal can show one."""
    size = fitting(console.width, console.height)
    if plain or size is None or not console.is_terminal:
        watch = Watch(lambda _at, line: _print(console, line))
        screen: Screen | nullcontext[None] = nullcontext()
    else:
        watch = Watch()
        screen = Screen(console, watch, size, footer)
    logging.basicConfig(handlers=[_Log(watch)], force=True)
    return watch, screen


class _Log(logging.Handler):
    """Hands what the unit logs to the demo's own log: stderr would tear the screen."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.WARNING)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.say(f"unit's log: {record.getMessage()}")


def _print(console: Console, line: str) -> None:
    stamp = f"{datetime.now():%H:%M:%S.%f}"[:-5]  # noqa: DTZ005 - what the clock on the wall says
    console.print(Text(f"{stamp}  {line}"), highlight=False, soft_wrap=True)


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    console.print(f"{what}: {time.monotonic() - began:.1f} s", highlight=False)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[float], None]]:
    what = "drawing the scenes"
    if not console.is_terminal:
        with _step(console, what):
            yield lambda _share: None
        return
    columns = TextColumn(what), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _evidence(house: House, watch: Watch, prompter: Prompter, unit: UnitName) -> Evidence:
    assert watch.frame is not None
    return Evidence(
        memory=watch.memory,
        windows=prompter.windows(watch.frame),
        events=stored_events(house.store, house.keys, unit),
        people={"first": house.person("first")},
        outage=prompter.outage,
        judged=_judged(),
    )


def _summary(console: Console, found: Sequence[Finding], spans: Sequence[Span]) -> int:
    titles = {span.scene.name: span.scene.title for span in spans}
    titles |= {"chain": "the signed chain", "alarms": "the receiver"}
    console.print("\nWhat was proved, from the central store and the pins:", highlight=False)
    for finding in found:
        sign, style = ("✓", "green") if finding.ok else ("✗", "bold red")
        line = Text.assemble((sign, style), f" {titles[finding.name]}: ")
        console.print(line + Text(finding.text, "" if finding.ok else style), soft_wrap=True)
    console.print(_honesty(judged=_judged()), highlight=False, soft_wrap=True)
    failed = [titles[finding.name] for finding in found if not finding.ok]
    if failed:
        console.print(Text(f"FAILED: {'; '.join(failed)}", "bold red"), soft_wrap=True)
        return 1
    console.print(Text(f"All {len(found)} checks passed.", "bold green"))
    return 0
