"""A running unit: the daemon on a looped replay, a broker and a receiver."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge.errors import SenyumError
from senyum_lab.bench.scenes import FPS, SCENES, SIZE, Scene, SceneRenderer, record
from senyum_lab.demo.demo_site import SENYUM, DemoReceiver, DemoSite
from senyum_lab.servers.mosquitto import PrivateBroker

FACES = Path(__file__).parents[2] / "tests" / "faces"
REAL_S = 60.0  # between two events: 600 in a working day of ten hours
PLAYED = ("smile", "stranger")  # one event each
FASTEST = REAL_S * len(PLAYED) / sum(SCENES[name].seconds for name in PLAYED)
END_S = 10.0


def scenes(speed: float) -> list[Scene]:
    """Return the scenes of the loop: its events, then an empty scene that sets the rate."""
    played = [SCENES[name] for name in PLAYED]
    rest = REAL_S * len(played) / speed - sum(scene.seconds for scene in played)
    return [*played, Scene("empty", "nobody", rest)] if rest * FPS >= 1 else played


@dataclass(frozen=True, slots=True)
class SoakSite:
    """The processes of a running unit and their files."""

    daemon: subprocess.Popen[bytes]
    unit: DemoSite
    central: DemoSite
    receiver: DemoReceiver
    log: Path

    def check(self) -> None:
        """Raise SenyumError if a process has ended."""
        if self.daemon.poll() is not None:
            output = self.log.read_text(errors="replace").strip()[-500:]
            raise SenyumError(f"the daemon ended with {self.daemon.returncode}: {output}")
        self.receiver.check()

    def stop(self) -> int:
        """Stop the daemon with SIGTERM; return its exit status."""
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(END_S)

    def stored(self) -> int:
        """Return the number of events in the central store."""
        if not self.central.store.exists():
            return 0
        with closing(sqlite3.connect(f"file:{self.central.store}?mode=ro", uri=True)) as db:
            try:
                (count,) = db.execute("SELECT count(*) FROM event").fetchone()
            except sqlite3.OperationalError:  # the receiver has not created its tables yet
                return 0
        return int(count)


@contextmanager
def running_unit(
    folder: Path,
    state: Path,
    shown: Sequence[Scene],
    environment: Callable[[IO[bytes]], Mapping[str, str]] = lambda _log: {},
) -> Iterator[SoakSite]:
    """Run a unit whose state is in `state` and other files in `folder`.

    `environment` returns additional variables for the daemon, given its standard error. Raises
    SenyumError, OSError.
    """
    unit, central, frames = DemoSite(state), DemoSite(folder), folder / "frames"
    frames.mkdir()
    record(SceneRenderer(FACES), list(shown), frames)
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker(folder / "broker"))
        camera = (
            f'driver = "replay"\nreplay = "{frames}"\nreplay_loop = true\nfps = {FPS}\n'
            f"main_width = {SIZE[0]}\nmain_height = {SIZE[1]}"
        )
        # The same person passes repeatedly and is recorded each time.
        unit.write_settings(broker.port, camera, "mock", {"smile_timeout": 4.0, "cool_down": 1.0})
        unit.enrol(*unit.write_people(FACES))
        unit.register_key()
        central.keys.write_bytes(unit.keys.read_bytes())
        receiver = stack.enter_context(closing(DemoReceiver(central, broker.port)))
        log = stack.enter_context((folder / "run.log").open("wb"))
        daemon = stack.enter_context(
            subprocess.Popen(
                [str(SENYUM), "run", "--config", str(unit.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment(log)},
            )
        )
        stack.callback(daemon.kill)  # if it has not exited
        yield SoakSite(daemon, unit, central, receiver, folder / "run.log")
