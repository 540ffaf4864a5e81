"""One central server under test: a broker, a store and `senyum receive`."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edge.mqtt.connection import connect_client, new_client
from senyum_lab.fuzzing.signed_events.good import PERSON, GoodUnit
from senyum_lab.servers.mosquitto import PrivateBroker
from senyum_lab.servers.postgres import PrivatePostgres

PROGRAM = [sys.executable, "-c", "import sys; from edge.cli import main; sys.exit(main())"]
SECONDS = 300.0  # for the receiver to catch up
_DAYS = ("--from=2020-01-01", "--to=2100-01-01")


class ReceiverDefect(Exception):
    """The receiver or a command behaved incorrectly."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The options of the receiver."""

    server: bool  # PostgreSQL instead of SQLite
    asks: bool  # with an authority key and JSON output

    @property
    def name(self) -> str:
        return f"{'postgresql' if self.server else 'sqlite'}{'+key' if self.asks else ''}"


CONFIGURATIONS = [Configuration(server, asks) for server in (False, True) for asks in (False, True)]


class CentralServer:
    """The processes of one configuration, created by `open`."""

    def __init__(
        self,
        configuration: Configuration,
        folder: Path,
        broker: PrivateBroker,
        postgres: PrivatePostgres | None,
    ) -> None:
        self._configuration = configuration
        self._folder = folder
        self._broker = broker
        self._postgres = postgres
        self._file = folder / "events.db"
        self._logs: list[Path] = []
        self._lost = 0  # connections
        self._process: subprocess.Popen[bytes] | None = None
        self._client = new_client(broker.settings, "fuzzer")
        self._client.max_inflight_messages_set(200)

    @classmethod
    @contextmanager
    def open(cls, configuration: Configuration, folder: Path) -> Iterator["CentralServer"]:
        """Start the servers and connect; `folder` contains keys.json and authority.key."""
        with PrivateBroker(folder / "broker", options=["max_inflight_messages 500"]) as broker:
            postgres = PrivatePostgres() if configuration.server else None
            try:
                if postgres is not None:
                    postgres.start()
                    postgres.create("events")
                one = cls(configuration, folder, broker, postgres)
                connect_client(one._client, broker.settings)
                one._client.loop_start()
                try:
                    yield one
                finally:
                    one._close()
            finally:
                if postgres is not None:
                    postgres.__exit__()

    def _close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def _store(self) -> list[str]:
        if self._postgres is None:
            return [f"--store={self._file}"]
        return [
            f"--store={self._postgres.address('events')}",
            f"--store-password-file={self._postgres.password_file}",
        ]

    # --- the receiver -----------------------------------------------------------------------

    def start(self) -> None:
        """Start `senyum receive` and wait until it is subscribed."""
        log = self._folder / f"receive-{len(self._logs)}"
        self._logs.append(log)
        options = [
            f"--broker=127.0.0.1:{self._broker.port}",
            f"--keys={self._folder / 'keys.json'}",
            "--client-id=central",
            "--grace=5",
            *self._store,
        ]
        if self._configuration.asks:
            options += [f"--authority-key={self._folder / 'authority.key'}", "--json"]
        with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
            self._process = subprocess.Popen(
                [*PROGRAM, "receive", *options], stdout=out, stderr=err
            )
        self.wait(
            lambda: "receiving from broker" in self._stderr(log), "receive does not subscribe"
        )

    def stop(self) -> None:
        """Stop the receiver with SIGTERM. Raises ReceiverDefect."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(60.0)
        except subprocess.TimeoutExpired:
            raise ReceiverDefect("receive does not end") from None
        if status:
            raise ReceiverDefect(
                f"receive ended with {status}: {self._stderr(self._logs[-1])[-2000:]}"
            )

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish messages in this order."""
        sent = [self._client.publish(topic, payload, qos=1) for topic, payload in messages]
        for each in sent:
            each.wait_for_publish(60.0)

    def wait(self, reached: Any, otherwise: str) -> None:
        """Wait for a condition. Raises ReceiverDefect if the receiver ends or after SECONDS."""
        assert self._process is not None
        deadline = time.monotonic() + SECONDS
        while not reached():
            if self._process.poll() is not None:
                output = self._stderr(self._logs[-1])[-2000:]
                raise ReceiverDefect(f"receive ended with {self._process.returncode}: {output}")
            if time.monotonic() > deadline:
                raise ReceiverDefect(otherwise)
            time.sleep(0.05)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Query the database directly."""
        if self._postgres is not None:
            return self._postgres.sql(query, "events")
        with closing(sqlite3.connect(self._file, timeout=30.0)) as db:
            return db.execute(query).fetchall()

    def reconnected(self) -> bool:
        """Whether the receiver lost its connection since the last call, as on a busy machine."""
        count = sum(self._stderr(log).count("trying again") for log in self._logs)
        before, self._lost = self._lost, count
        return count > before

    @staticmethod
    def _stderr(log: Path) -> str:
        return log.with_suffix(".err").read_text("utf-8", "replace")

    # --- checks -----------------------------------------------------------------------------

    def printed(self) -> Iterator[str]:
        """Yield the defects of the output of the receiver."""
        for log in self._logs:
            with log.with_suffix(".out").open(encoding="utf-8", newline="\n") as out:
                yield from _wrong_lines("receive", out, json_lines=self._configuration.asks)
            with log.with_suffix(".err").open(encoding="utf-8", newline="\n") as err:
                yield from _wrong_lines("receive, to stderr", err)

    def commands(self, good: GoodUnit) -> Iterator[str]:
        """Run the commands that read the store; yield their defects.

        They must accept everything of the valid unit.
        """
        raw = self._folder / "raw.jsonl"
        keys = f"--keys={self._folder / 'keys.json'}"
        export = ["export", *self._store]
        for words in (
            [*export, *_DAYS],
            [*export, "--raw", *_DAYS, f"--out={raw}"],
            [*export, "--gaps"],
            ["verify", keys, str(raw)],
            ["verify", keys, "--json", str(raw)],
        ):
            yield from self._command(words)
            output = (self._folder / "command.out").read_text("utf-8")
            if words[-1].startswith("--to") and PERSON not in output:
                yield "export: omits the valid person"
            warnings = self._stderr(self._folder / "command").splitlines()
            if "--json" in words:
                warnings += [fault["text"] for fault in json.loads(output)["faults"]]
            for line in warnings:
                if good.name.name in line and ": note: " not in line:
                    yield f"{words[0]}: complains of the good unit: {line[:500]}"

    def _command(self, words: list[str]) -> Iterator[str]:
        log = self._folder / "command"
        with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
            done = subprocess.run([*PROGRAM, *words], stdout=out, stderr=err, check=False)
        name = " ".join(word for word in words if not word.startswith(("--store", "--keys", "/")))
        output = self._stderr(log)
        if done.returncode not in (0, 1):
            yield f"{name}: ended with {done.returncode}: {output[-500:]}"
        for suffix in (".out", ".err"):
            with log.with_suffix(suffix).open(encoding="utf-8", newline="\n") as file:
                json_lines = suffix == ".out" and ("--gaps" in words or "--json" in words)
                yield from _wrong_lines(name, file, json_lines=json_lines)

    def good_in_raw(self) -> set[str]:
        """Return the signed messages that `export --raw` wrote."""
        found = set()
        for line in (self._folder / "raw.jsonl").read_text("utf-8").splitlines():
            found |= {value for value in json.loads(line).values() if isinstance(value, str)}
        return found


def _wrong_lines(name: str, file: IO[str], *, json_lines: bool = False) -> Iterator[str]:
    for line in file:
        text = line.removesuffix("\n").removesuffix("\r")  # CSV ends its lines with both
        if text.startswith("Traceback"):
            yield f"{name}: {text} {file.read()[-1500:]}"
        elif not text.isprintable():
            yield f"{name}: prints terminal control characters: {text[:200]!r}"
        elif json_lines:
            try:
                json.loads(text)
            except ValueError:
                yield f"{name}: prints invalid JSON: {text[:200]!r}"
