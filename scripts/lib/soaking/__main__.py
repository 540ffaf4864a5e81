"""`scripts/soak`: its options, and the run."""

import argparse
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from demo_show.house import SENYUM, House, Receiver

from edge.bench.broker import PrivateBroker
from edge.bench.scenes import FPS, SCENES, SIZE, Scene, Studio, record
from edge.errors import SenyumError
from edge.mqtt.outbox_look import look as look_into
from soaking.watch import Finding, Sample, judge, look

FACES = Path(__file__).parents[3] / "tests" / "faces"
REAL_S = 60.0  # between two events: 600 in a working day of ten hours
PLAYED = ("smile", "stranger")  # one event each
FASTEST = REAL_S * len(PLAYED) / sum(SCENES[name].seconds for name in PLAYED)
WARM_UP_S = 300.0  # at most, or a third of the run
DRAIN_S = 30.0  # for the last events to be stored centrally
END_S = 10.0
_DESCRIPTION = f"""\
A whole unit at work: the real daemon (networks, outbox, signatures, mock pins) on a replay that
makes an event every {REAL_S:.0f} seconds over SPEED, a real mosquitto, a real `senyum receive`.
Watched are memory, threads, descriptors and disk of the daemon. The exit status is 0 only if memory
stays within 3 MiB after the warm-up, threads and descriptors do not grow, every event arrived, and
the daemon ended in good order.
"""


def options(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=3.0, metavar="N", help="default: 3")
    parser.add_argument(
        "--speed", type=float, default=FASTEST, help=f"1 to {FASTEST:g}, which is the default"
    )
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="between two looks")
    chosen = parser.parse_args(words)
    if not 1.0 <= chosen.speed <= FASTEST:
        parser.error(f"--speed {chosen.speed:g}: from 1 to {FASTEST:g}")
    if chosen.minutes < 1.0 or chosen.every <= 0.0:
        parser.error("--minutes: at least 1, with looks between them")
    return chosen


def scenes(speed: float) -> list[Scene]:
    """Return what is played in a loop: its events, then nobody until the rate is right."""
    played = [SCENES[name] for name in PLAYED]
    rest = REAL_S * len(played) / speed - sum(scene.seconds for scene in played)
    return [*played, Scene("empty", "nobody", rest)] if rest * FPS >= 1 else played


class Soak:
    """One run in a folder of its own."""

    def __init__(self, folder: Path, chosen: argparse.Namespace) -> None:
        self._house = House(folder / "state")
        self._frames = folder / "frames"
        self._log = folder / "run.log"
        self._chosen = chosen
        self._heard = 0

    def run(self) -> list[Finding]:
        """Let the unit work for the time chosen. Raises SenyumError, OSError."""
        house, chosen = self._house, self._chosen
        for folder in (house.folder, self._frames):
            folder.mkdir()
        record(Studio(FACES), scenes(chosen.speed), self._frames)
        with ExitStack() as stack:
            broker = stack.enter_context(PrivateBroker(house.folder.parent / "broker"))
            camera = (
                f'driver = "replay"\nreplay = "{self._frames}"\nreplay_loop = true\nfps = {FPS}\n'
                f"main_width = {SIZE[0]}\nmain_height = {SIZE[1]}"
            )
            # The same person passes again and again: a record each time.
            pauses = {"smile_timeout": 4.0, "cool_down": 1.0}
            house.furnish(broker.port, camera, "mock", pauses)
            house.enrol(*house.invite(FACES))
            house.register()
            store = House(house.folder.parent)  # the central server's, not the unit's
            store.keys.write_bytes(house.keys.read_bytes())
            receiver = stack.enter_context(closing(Receiver(store, broker.port, self._hear)))
            log = stack.enter_context(self._log.open("wb"))
            command = [str(SENYUM), "run", "--config", str(house.config)]
            with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as daemon:
                try:
                    samples = self._watch(daemon, receiver)
                    daemon.send_signal(signal.SIGTERM)
                    status = daemon.wait(END_S)
                finally:
                    daemon.kill()
            findings = self._arrived(store)
        warm = min(WARM_UP_S, chosen.minutes * 60 / 3)
        findings.append(Finding("end", f"exit status {status}", holds=status == 0))
        return [*judge([sample for sample in samples if sample.at_s >= warm]), *findings]

    def _hear(self, _notice: dict[str, Any]) -> None:
        self._heard += 1

    def _watch(self, daemon: subprocess.Popen[bytes], receiver: Receiver) -> list[Sample]:
        began, samples, told = time.monotonic(), list[Sample](), -1
        say(f"{'minute':>6} {'MiB':>6} {'threads':>7} {'fds':>4} {'disk KiB':>8} {'written':>8}")
        while (at := time.monotonic() - began) < self._chosen.minutes * 60:
            time.sleep(self._chosen.every)
            if daemon.poll() is not None:
                said = self._log.read_text(errors="replace").strip()[-500:]
                raise SenyumError(f"the daemon ended with {daemon.returncode}: {said}")
            receiver.check()
            sample = look(daemon.pid, self._house.folder, at)
            samples.append(sample)
            if int(at // 60) > told:
                told = int(at // 60)
                say(
                    f"{told:6} {sample.rss_mib:6.1f} {sample.threads:7} {sample.descriptors:4} "
                    f"{sample.disk_kib:8} {sample.written_kib:8}"
                )
        return samples

    def _arrived(self, store: House) -> list[Finding]:
        """Wait for the rest, then hold the central store against the unit's chain."""
        deadline = time.monotonic() + DRAIN_S
        made = look_into(self._house.folder / "outbox.db").newest
        while (kept := stored(store.store)) < made and time.monotonic() < deadline:
            time.sleep(0.2)
        least = int(self._chosen.minutes * 60 / REAL_S * self._chosen.speed * 0.8)
        return [
            Finding("events", f"{made} made, {kept} stored centrally", holds=kept == made),
            Finding("rate", f"{made} in the chain, at least {least} expected", holds=made >= least),
        ]


def stored(file: Path) -> int:
    """Return how many events the central store keeps."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        (count,) = db.execute("SELECT count(*) FROM event").fetchone()
    return int(count)


def say(line: str) -> None:
    """Tell the terminal, or whoever listens at the pipe."""
    print(line, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    chosen = options(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        try:
            findings = Soak(Path(folder).resolve(), chosen).run()
        except SenyumError as error:
            print(f"soak: {error}", file=sys.stderr)
            return error.exit_status
    for found in findings:
        say(f"{'fine' if found.holds else 'NOT ':4}  {found.name}: {found.said}")
    return 0 if all(found.holds for found in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
