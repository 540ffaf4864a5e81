"""Device, broker, `senyum receive`, `senyum export --raw`, `senyum verify`, broker by broker."""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brokers import Aedes, Amqtt, Broker, Mosquitto, Nats, RabbitMq
from processes import PROGRAM, Process
from wireunit import UNIT, environment

from edge.contract.keys import SigningKey, add_registration
from edge.outbox.store import OutboxReader
from edge.system.text import pluralize

BEFORE, DURING, AFTER = 30, 30, 15  # events: before, in and after the broker's restart
PATIENCE_S = 90.0


class Device:
    """The process of `device.py`."""

    def __init__(self, folder: Path, port: int, protocol: str) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("device.py")),
                str(folder),
                str(port),
                protocol,
            ],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "device.log").open("wb"),
            text=True,
        )

    def begin(self, count: int) -> None:
        """Make it record this number of events."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def done(self) -> int:
        """Wait until it has recorded them; return the length of the chain."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def tokens(self) -> list[str]:
        """Return what is in its outbox."""
        with contextlib.closing(OutboxReader(self._folder / "device" / "outbox.db")) as reader:
            return [row.token for row in reader.after(0, 10_000)]

    def end(self) -> None:
        """Let it go in good order."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for it; AssertionError."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.05)


def senyum(*arguments: str) -> str:
    """Run a command; AssertionError with what it said if it does not end with 0."""
    ended = subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, f"{arguments[0]} ended with {ended.returncode}: {ended}"
    return ended.stdout


def check(broker: Broker | Mosquitto, folder: Path, protocol: str, *, killed: bool) -> str:
    """Let events through it and through its restart; return what was seen. AssertionError."""
    (folder / "device").mkdir(parents=True)
    signing = SigningKey.load_or_create(folder / "device" / "signing.key")
    add_registration(folder / "keys.json", signing.registration(UNIT))
    SigningKey.load_or_create(folder / "authority.key")
    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        broker.start()
        began = time.monotonic()
        receiver = Process(
            folder,
            broker.port,
            f"--protocol={protocol}",
            f"--authority-key={folder / 'authority.key'}",
            "--grace=1",
        )
        stack.callback(receiver.kill)
        receiver.until(lambda: "receiving from broker" in receiver.log, PATIENCE_S)
        device = Device(folder, broker.port, protocol)
        stack.callback(device.end)
        device.begin(BEFORE)
        device.done()
        until("the first events", lambda: receiver.tokens() == device.tokens())
        connected = time.monotonic() - began
        device.begin(DURING)
        broker.kill() if killed else broker.stop()
        broker.start()
        restarted = time.monotonic()
        device.done()
        device.begin(AFTER)
        device.done()
        until("all events", lambda: receiver.tokens() == device.tokens())
        caught_up = time.monotonic() - restarted
        store, keys = f"--store={receiver.store}", f"--keys={folder / 'keys.json'}"
        until("no open gap", lambda: not senyum("export", store, "--gaps").strip())
        kinds = [line["kind"] for line in receiver.said]
        assert receiver.end() == 0
        assert not {"forged", "refused", "fork", "given-up"} & set(kinds), kinds
        today = datetime.now(UTC).date()
        dates = (f"--from={today - timedelta(1)}", f"--to={today + timedelta(1)}")
        raw = folder / "raw.jsonl"
        senyum("export", store, "--raw", *dates, f"--out={raw}")
        verdict = senyum("verify", keys, str(raw)).strip().splitlines()[-1]
        verdict = verdict.removeprefix(f"{raw}: ")
    version = "3.1.1" if "connected with MQTT 3.1.1" in receiver.log or protocol == "3.1.1" else "5"
    return (
        f"MQTT {version}, first events after {connected:.0f} s, all {caught_up:.0f} s after the "
        f"restart, {pluralize(kinds.count('gap'), 'gap')} closed by replay, none left; {verdict}"
    )


ROWS: dict[str, tuple[type[Broker | Mosquitto], str, bool]] = {
    "mosquitto": (Mosquitto, "auto", False),
    "mosquitto, killed": (Mosquitto, "auto", True),
    "mosquitto, protocol 3.1.1": (Mosquitto, "3.1.1", False),
    "nats": (Nats, "auto", False),
    "rabbitmq": (RabbitMq, "auto", False),
    "aedes": (Aedes, "auto", False),
    "amqtt": (Amqtt, "auto", False),
}


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only rows that begin so")
    parser.add_argument("--cache", type=Path, required=True, help="has aedes and amqtt")
    options = parser.parse_args()
    passed = failed = skipped = 0
    for name, (kind, protocol, killed) in ROWS.items():
        if options.names and not name.startswith(tuple(options.names)):
            continue
        if kind is Aedes and not (options.cache / "aedes").is_dir():
            skipped += 1
            say(f"SKIPPED {name}: needs node 20 and npm")
            continue
        with tempfile.TemporaryDirectory(prefix="senyum-brokers-", dir="/var/tmp") as place:
            folder = Path(place)
            try:
                seen = check(
                    kind(folder / "broker", options.cache), folder, protocol, killed=killed
                )
            except Exception:  # noqa: BLE001 - the other brokers are tried all the same
                failed += 1
                say(f"FAILED {name}: {traceback.format_exc()}")
                for log in (
                    *folder.glob("*.log"),
                    *folder.glob("*.err"),
                    *folder.glob("broker/*log"),
                ):
                    say(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
            else:
                passed += 1
                say(f"good {name}: {seen}")
    say(f"brokers rig: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
