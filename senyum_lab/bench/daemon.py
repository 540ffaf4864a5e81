"""Measure the running daemon: start-up, memory, CPU with and without a face, smile to pin.

The figures come from processes of their own: `senyum run` as it is for start-up and memory, and
this module as a program for the rest, which is the same `Daemon` with a camera that plays frames
from memory, so that decoding photos is not mistaken for the unit's work.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from gpiozero.pins.mock import MockFactory, MockPWMPin
from PIL import Image

from edge.capture.camera_controls import CaptureRequest
from edge.daemon import Daemon
from edge.errors import CameraStalled
from edge.gallery import DIMENSION
from edge.gpio.board import IndicatorBoard
from edge.gpio.cue_player import CuePlayer
from edge.images import from_image, shrink, to_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.models import MANIFEST, shipped
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.roster.keys import make_key
from edge.settings import InferenceSettings, Settings, load
from edge.types import Frame, Yuv
from senyum_lab.bench.scenes import SCENES, SceneRenderer
from senyum_lab.servers.mosquitto import PrivateBroker

PEOPLE = 7_000
FPS = 15.0
SIZE = (1280, 960)
LORES = (320, 240)
WARM_UP_S = 4.0  # the first frames fill caches; the idle rate begins after two seconds
MEASURE_S = 8.0
ATTEMPTS = 9
_VARIANTS = 5  # a camera never delivers the same bytes twice; these alternate
_SEED = 7


def measure(faces: Path, folder: Path) -> dict[str, Any]:
    """Return `ready_s`, `rss_mb`, `idle_cpu_share`, `busy_cpu_share` and `cue_latency_ms`.

    CPU shares are of one core at 15 frames a second. `cue_latency_ms` is the longest of nine
    attempts.
    """
    with PrivateBroker(folder / "broker") as broker:
        config = _provision(faces, folder, broker.port)
        ready_s, rss_mb = _start(config)
        idle = _child(config, faces, "idle")
        busy = _child(config, faces, "busy")
        smile = _child(config, faces, "smile")
    latencies = smile["latencies_ms"]
    return {
        "ready_s": ready_s,
        "rss_mb": rss_mb,
        "idle_cpu_share": idle["cpu_share"],
        "busy_cpu_share": busy["cpu_share"],
        "cue_latency_ms": max(latencies),
        "cue_latency_median_ms": statistics.median(latencies),
        "frame_interval_ms": 1_000 / FPS,
        "cue_attempts": len(latencies),
    }


def _provision(faces: Path, folder: Path, port: int) -> Path:
    """Write keys, a roster of 7,000 people and the settings; return the settings file."""
    key = make_key(folder / "roster.key", "roster key")
    examiner = FaceAnalyzer(InferenceSettings())
    known = examiner.analyze(from_image(Image.open(faces / "obama3.jpg")))[0].template
    crowd = np.random.default_rng(_SEED).standard_normal((PEOPLE - 1, DIMENSION), np.float32)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    people = tuple(
        Person(f"{number:032x}", f"{number:018d}", "", exempt=False, templates=template[None])
        for number, template in enumerate((known, *crowd))
    )
    embedder = examiner.digests["identity"]
    save(folder / "roster.senyum", key, Roster(1, datetime.now(UTC), embedder, people))
    photos = folder / "photos"
    photos.mkdir()
    for number, frame in enumerate(_Pictures.of(faces).neutral):
        to_image(frame).save(photos / f"{number}.jpg", quality=90)
    config = folder / "senyum.toml"
    config.write_text(
        f"""
[unit]
org = "bench"
site = "bench"
name = "bench"
[camera]
driver = "replay"
replay = "{photos}"
replay_loop = true
fps = {FPS}
[roster]
file = "{folder / "roster.senyum"}"
key = "{folder / "roster.key"}"
[outbox]
file = "{folder / "outbox.db"}"
signing_key = "{folder / "signing.key"}"
[gpio]
factory = "mock"
[broker]
port = {port}
[attendance]
cool_down = 0.5
[inference]
models = "{_models_without_motion(folder / "models")}"
""",
        encoding="utf-8",
    )
    return config


def _models_without_motion(folder: Path) -> Path:
    """Create a copy of the shipped models that accepts smiles without motion.

    The benchmark times a smile from a single frame, which looks like an exchange of photos.
    """
    folder.mkdir()
    for file in shipped().iterdir():
        (folder / file.name).symlink_to(file)
    manifest = folder / MANIFEST
    text = manifest.read_text(encoding="utf-8")
    manifest.unlink()
    assert "motion = 0.05" in text
    manifest.write_text(text.replace("motion = 0.05", "motion = 0.0"), encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True)
class _Pictures:
    """The pictures of the cameras of the benchmark, a few different frames of each kind."""

    nobody: list[Yuv]
    neutral: list[Yuv]
    smiling: list[Yuv]

    @classmethod
    def of(cls, faces: Path) -> Self:
        """Render them from the scene of the demo in which a known person smiles."""
        studio = SceneRenderer(faces, SIZE, FPS)
        frames = [from_image(frame) for frame in studio.frames(SCENES["smile"])]

        def around(seconds: float) -> list[Yuv]:
            first = round(seconds * FPS)
            return frames[first : first + _VARIANTS]

        return cls(nobody=around(0.0), neutral=around(1.5), smiling=around(4.0))


def _start(config: Path) -> tuple[float, float]:
    """Start `senyum run`; return the seconds to READY and the resident MB after some faces."""
    address = config.with_name("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(30)
        began = time.monotonic()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edge.cli", "run", "--config", str(config)],
            env=os.environ | {"NOTIFY_SOCKET": str(address)},
            stderr=subprocess.DEVNULL,
        )
        try:
            while systemd.recv(4096) != b"READY=1":
                pass
            ready = time.monotonic() - began
            time.sleep(WARM_UP_S + MEASURE_S)
            status = Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii")
        finally:
            daemon.terminate()
            daemon.wait(10)
            address.unlink()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return ready, int(resident.split()[1]) / 1024


def _child(config: Path, faces: Path, mode: str) -> dict[str, Any]:
    """Run this module as a program; its last line is the result."""
    child = subprocess.run(
        [sys.executable, "-m", "senyum_lab.bench.daemon", str(config), str(faces), mode],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=180,
    )
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result


class MemoryCamera:
    """A camera that plays frames from memory at the rate of a real camera."""

    def __init__(self, pictures: Iterator[Yuv]) -> None:
        self._pictures = pictures
        self._lores: dict[int, Yuv] = {}
        self._number = 0
        self._next = time.monotonic()

    def read(self, timeout: float) -> Frame:
        self._next += 1 / FPS
        wait = self._next - time.monotonic()
        if wait > timeout:
            raise CameraStalled("the rate is slower than the time-out")
        if wait > 0:
            time.sleep(wait)
        else:
            self._next = time.monotonic()
        main = next(self._pictures)
        lores = self._lores.get(id(main))
        if lores is None:
            lores = self._lores[id(main)] = shrink(main, *LORES)
        self._number += 1
        return Frame(self._number, time.monotonic_ns(), main, lores)

    def ask(self, wish: CaptureRequest) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _cycle(pictures: list[Yuv]) -> Iterator[Yuv]:
    while True:
        yield from pictures


def _run(
    settings: Settings,
    pictures: Iterator[Yuv],
    watch: Callable[[], object],
    panel: Callable[[], CuePlayer] | None = None,
) -> None:
    """Run the unit on `pictures` until `watch`, in its own thread, has returned."""
    with Daemon(settings, camera=lambda: MemoryCamera(pictures), panel=panel) as unit:

        def observe() -> None:
            watch()
            unit.stop()

        thread = threading.Thread(target=observe)
        thread.start()
        unit.run()
        thread.join()


def _cpu_share(settings: Settings, pictures: list[Yuv]) -> dict[str, Any]:
    shares: list[float] = []

    def watch() -> None:
        time.sleep(WARM_UP_S)
        began, used = time.monotonic(), time.process_time()
        time.sleep(MEASURE_S)
        shares.append((time.process_time() - used) / (time.monotonic() - began))

    _run(settings, _cycle(pictures), watch)
    return {"cpu_share": shares[0]}


class _TimedPin(MockPWMPin):  # type: ignore[misc]  # gpiozero publishes no types
    """A pin that records its levels and their times."""

    def __init__(self, factory: MockFactory, info: Any) -> None:
        self.history: list[tuple[int, float]] = []  # CLOCK_MONOTONIC nanoseconds, level
        super().__init__(factory, info)

    def _change_state(self, value: float) -> bool:
        self.history.append((time.monotonic_ns(), value))
        return bool(super()._change_state(value))


def _smile_latencies(settings: Settings, pictures: _Pictures) -> dict[str, Any]:
    """Measure the time from the first smiling frame of each attempt to the full green light.

    Nobody, then somebody neutral, then the same person smiling in the next frame; again and again.
    """
    smiled_ns: list[int] = []
    done = threading.Event()

    def scene() -> Iterator[Yuv]:
        for _ in range(ATTEMPTS):
            yield from islice(_cycle(pictures.nobody), round(3.0 * FPS))
            yield from islice(_cycle(pictures.neutral), round(2.0 * FPS))
            smiled_ns.append(
                time.monotonic_ns()
            )  # MemoryCamera calls this when the exposure begins
            yield from islice(_cycle(pictures.smiling), round(1.0 * FPS))
        done.set()
        yield from _cycle(pictures.nobody)

    factory = MockFactory(pin_class=_TimedPin)
    board = IndicatorBoard(settings.gpio, factory)
    pin = factory.pin(settings.gpio.green)
    _run(settings, scene(), done.wait, panel=lambda: CuePlayer(settings.gpio, board))
    full_ns = [at for at, level in pin.history if level >= settings.gpio.brightness]
    latencies = []
    for smiled, end in zip(smiled_ns, [*smiled_ns[1:], None], strict=True):
        edges = [at for at in full_ns if at >= smiled and (end is None or at < end)]
        if not edges:
            raise RuntimeError("an attempt of the benchmark was not recorded")
        latencies.append((edges[0] - smiled) / 1e6)
    return {"latencies_ms": latencies}


def _main(config: str, faces: str, mode: str) -> None:
    settings = load(Path(config))
    pictures = _Pictures.of(Path(faces))
    if mode == "smile":
        result = _smile_latencies(settings, pictures)
    else:
        result = _cpu_share(settings, pictures.neutral if mode == "busy" else pictures.nobody)
    print(json.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
