"""Run the daemon on the scenes, and stop and restart the broker during one of them."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from edge.camera import Camera, open_camera
from edge.capture.camera_controls import CaptureRequest
from edge.daemon import Daemon
from edge.errors import EndOfReplay
from edge.gpio.cue_player import CuePlayer
from edge.settings import Settings
from edge.types import Frame
from senyum_lab.bench.scenes import Span
from senyum_lab.demo.demo_site import DemoReceiver
from senyum_lab.demo.pins import observed_board
from senyum_lab.demo.proof import SceneWindow
from senyum_lab.demo.recording import DemoRecorder
from senyum_lab.servers.mosquitto import PrivateBroker

# The broker outage, in seconds from the beginning of its scene.
DOWN_AT_S, UP_AT_S = 0.6, 5.2
_ARRIVAL_S = 20.0  # for the stored events to reach the central store, and again for the last event
_REPEAT_S = 0.1  # between two repetitions of the last frame


class ObservedCamera:
    """A camera whose frames are recorded.

    With a plan, the last frame of a replay is repeated until the events were delivered.
    """

    def __init__(self, camera: Camera, recorder: DemoRecorder, plan: "ScenePlan | None") -> None:
        self._camera = camera
        self._recorder = recorder
        self._plan = plan
        self._last: Frame | None = None

    def read(self, timeout: float) -> Frame:
        try:
            self._last = self._camera.read(timeout)
        except EndOfReplay:
            if self._last is None or self._plan is None or self._plan.delivered():
                raise
            time.sleep(_REPEAT_S)
            return replace(self._last, captured_ns=time.monotonic_ns())
        self._recorder.record_frame(self._last)
        return self._last

    def ask(self, wish: CaptureRequest) -> None:
        self._camera.ask(wish)

    def close(self) -> None:
        self._camera.close()


class DaemonThread:
    """Runs one daemon in its own thread."""

    def __init__(
        self, settings: Settings, recorder: DemoRecorder, plan: "ScenePlan | None" = None
    ) -> None:
        """Open the daemon; its replay ends once `plan` is delivered. Raises what Daemon does."""
        self._failure: BaseException | None = None
        with ExitStack() as opened:
            board = opened.enter_context(observed_board(settings.gpio, recorder.record_pins))
            self._daemon = Daemon(
                settings,
                camera=lambda: ObservedCamera(open_camera(settings.camera), recorder, plan),
                panel=lambda: CuePlayer(settings.gpio, board),
                observer=recorder.record_step,
            )
            self._opened = opened.pop_all()
        self._thread = threading.Thread(target=self._run, name="unit")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.stop()
        self._thread.join()
        self._opened.close()

    @property
    def is_running(self) -> bool:
        """Whether the daemon still runs. Raises the exception that ended it, if any."""
        if self._failure is not None:
            raise self._failure
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            with self._daemon as daemon:
                daemon.run()
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits
            self._failure = error


class ScenePlan:
    """Tracks the current scene, and stops and starts the broker during the scene "away"."""

    def __init__(
        self, spans: Sequence[Span], fps: float, recorder: DemoRecorder, broker: PrivateBroker
    ) -> None:
        self._spans = spans
        self._fps = fps
        self._recorder = recorder
        self._broker = broker
        self._announced = 0
        self.outage: SceneWindow | None = None

    @property
    def title(self) -> str:
        """The current scene, for the screen."""
        if not self._announced:
            return "the unit is starting"
        span = self._spans[self._announced - 1]
        return f"scene {self._announced} of {len(self._spans)}: {span.scene.title}"

    def poll(self) -> None:
        """Announce the next scene, and stop or start the broker, if it is time."""
        frame = self._recorder.frame
        if frame is None:
            return
        while self._announced < len(self._spans) and (
            frame.number >= self._spans[self._announced].first
        ):
            self._announced += 1
            self._recorder.log(self.title)
        span = self._spans[self._announced - 1]
        if span.scene.name == "away":
            self._apply_outage((frame.number - span.first) / self._fps)

    def _apply_outage(self, elapsed_s: float) -> None:
        now = time.monotonic_ns()
        if self.outage is None and elapsed_s >= DOWN_AT_S:
            self._broker.stop()
            self._recorder.log("demo: broker stopped")
            self.outage = SceneWindow(now, 2**63)
        elif self.outage and not self._broker.running and elapsed_s >= UP_AT_S:
            self.outage = SceneWindow(self.outage.start_ns, now)
            self._recorder.log("demo: broker started again")
            self._broker.start()

    def delivered(self) -> bool:
        """Whether the events of the outage reached the receiver, or had enough time to."""
        if self.outage is None:
            return True
        returned = self.outage.end_ns
        if time.monotonic_ns() - returned > _ARRIVAL_S * 1e9:
            return True
        return any(
            heard.event and heard.at_ns > returned for heard in self._recorder.recording.notices
        )

    def windows(self, first: Frame) -> dict[str, SceneWindow]:
        """Return the time window of each scene; `first` is any frame of the replay."""
        interval_ns = 1e9 / self._fps
        start = first.captured_ns - first.number * interval_ns
        return {
            span.scene.name: SceneWindow(
                round(start + span.first * interval_ns), round(start + span.end * interval_ns)
            )
            for span in self._spans
        }


def wait_until_stopped(receiver: DemoReceiver, recorder: DemoRecorder) -> None:
    """Wait until the event "stopped" has reached the receiver, or for a limited time."""
    deadline = time.monotonic() + _ARRIVAL_S
    while time.monotonic() < deadline:
        receiver.check()
        events = [heard.event for heard in recorder.recording.notices if heard.event]
        if events and events[-1]["data"].get("code") == "stopped":
            return
        time.sleep(0.05)
