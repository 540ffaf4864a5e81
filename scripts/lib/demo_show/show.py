"""Plays the scenes into a real unit and pulls the broker's plug at the right moment."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from demo_show.house import Receiver
from demo_show.pins import watched_board
from demo_show.proof import Window
from demo_show.watch import Watch
from edge.camera import Camera, open_camera
from edge.capture.camera_controls import CaptureRequest
from edge.daemon import Daemon
from edge.errors import EndOfReplay
from edge.gpio.cue_player import CuePlayer
from edge.settings import Settings
from edge.types import Frame
from senyum_lab.bench.scenes import Span
from senyum_lab.servers.mosquitto import PrivateBroker

# The broker's outage inside its scene, seconds from the scene's beginning.
DOWN_AT_S, UP_AT_S = 0.6, 5.2
_ARRIVAL_S = 20.0  # for what waited to reach the central store, and again for the farewell
_LINGER_S = 0.1  # between two showings of the last frame


class Watched:
    """A camera whose frames the demo sees too, and that shows its last frame until it may end."""

    def __init__(
        self, camera: Camera, seen: Callable[[Frame], None], may_end: Callable[[], bool]
    ) -> None:
        self._camera = camera
        self._seen = seen
        self._may_end = may_end
        self._last: Frame | None = None

    def read(self, timeout: float) -> Frame:
        try:
            self._last = self._camera.read(timeout)
        except EndOfReplay:
            if self._last is None or self._may_end():
                raise
            time.sleep(_LINGER_S)
            return replace(self._last, captured_ns=time.monotonic_ns())
        self._seen(self._last)
        return self._last

    def ask(self, wish: CaptureRequest) -> None:
        self._camera.ask(wish)

    def close(self) -> None:
        self._camera.close()


class Performance:
    """One unit in a thread of its own, from its start to its end."""

    def __init__(
        self, settings: Settings, watch: Watch, may_end: Callable[[], bool] = lambda: True
    ) -> None:
        """Open everything; the replay ends when `may_end` says so. Raises what Unit does."""
        self._failure: BaseException | None = None
        with ExitStack() as opened:
            board = opened.enter_context(watched_board(settings.gpio, watch.lit))
            self._unit = Daemon(
                settings,
                camera=lambda: Watched(open_camera(settings.camera), watch.saw, may_end),
                panel=lambda: CuePlayer(settings.gpio, board),
                observer=watch.observe,
            )
            self._opened = opened.pop_all()
        self._thread = threading.Thread(target=self._play, name="unit")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._unit.stop()
        self._thread.join()
        self._opened.close()

    @property
    def playing(self) -> bool:
        """Whether the unit still runs. Raises what ended it, if anything did."""
        if self._failure is not None:
            raise self._failure
        return self._thread.is_alive()

    def _play(self) -> None:
        try:
            with self._unit as unit:
                unit.run()
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits
            self._failure = error


class Prompter:
    """Knows which scene is on, and stops and starts the broker in its scene."""

    def __init__(
        self, spans: Sequence[Span], fps: float, watch: Watch, broker: PrivateBroker
    ) -> None:
        self._spans = spans
        self._fps = fps
        self._watch = watch
        self._broker = broker
        self._announced = 0
        self.outage: Window | None = None

    @property
    def title(self) -> str:
        """The present scene, for the screen."""
        if not self._announced:
            return "the unit starts"
        span = self._spans[self._announced - 1]
        return f"scene {self._announced} of {len(self._spans)}: {span.scene.title}"

    def turn(self) -> None:
        """Do what is due now."""
        frame = self._watch.frame
        if frame is None:
            return
        while self._announced < len(self._spans) and (
            frame.number >= self._spans[self._announced].first
        ):
            self._announced += 1
            self._watch.say(self.title)
        span = self._spans[self._announced - 1]
        if span.scene.name == "away":
            self._pull_the_plug((frame.number - span.first) / self._fps)

    def _pull_the_plug(self, elapsed_s: float) -> None:
        now = time.monotonic_ns()
        if self.outage is None and elapsed_s >= DOWN_AT_S:
            self._broker.stop()
            self._watch.say("demo: the broker is stopped")
            self.outage = Window(now, 2**63)
        elif self.outage and not self._broker.running and elapsed_s >= UP_AT_S:
            self.outage = Window(self.outage.start_ns, now)
            self._watch.say("demo: the broker is started again")
            self._broker.start()

    def delivered(self) -> bool:
        """Whether what waited for the broker has reached the receiver, or had time enough."""
        if self.outage is None:
            return True
        returned = self.outage.end_ns
        if time.monotonic_ns() - returned > _ARRIVAL_S * 1e9:
            return True
        return any(heard.event and heard.at_ns > returned for heard in self._watch.memory.heard)

    def windows(self, first: Frame) -> dict[str, Window]:
        """Return when each scene was on; `first` is any frame of the replay."""
        interval_ns = 1e9 / self._fps
        start = first.captured_ns - first.number * interval_ns
        return {
            span.scene.name: Window(
                round(start + span.first * interval_ns), round(start + span.end * interval_ns)
            )
            for span in self._spans
        }


def wait_for_the_rest(receiver: Receiver, watch: Watch) -> None:
    """Wait until the unit's farewell has reached the receiver, or long enough."""
    deadline = time.monotonic() + _ARRIVAL_S
    while time.monotonic() < deadline:
        receiver.check()
        events = [heard.event for heard in watch.memory.heard if heard.event]
        if events and events[-1]["data"].get("code") == "stopped":
            return
        time.sleep(0.05)
