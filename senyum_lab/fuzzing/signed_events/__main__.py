"""`scripts/fuzz_signed`: send valid and invalid messages of registered keys to a real receiver."""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edge.cli import main as senyum
from edge.contract.keys import KeySet, SigningKey
from edge.contract.topics import UnitName
from senyum_central.ingest.message import Message, ReceivedAt, RejectedMessage, check_message
from senyum_lab.fuzzing.signed_events.central import (
    CONFIGURATIONS,
    CentralServer,
    Configuration,
    ReceiverDefect,
)
from senyum_lab.fuzzing.signed_events.generate import FuzzMessage, FuzzUnit, MessageGenerator
from senyum_lab.fuzzing.signed_events.good import GoodUnit
from senyum_lab.fuzzing.signed_events.referee import Referee, Ruling

CHUNK = 1000  # messages between two checks of the store
GOOD = 10  # messages between two valid ones
_VALID = (datetime(2021, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))
_FAULTS = 20  # printed per configuration; the rest is only counted


@dataclass(slots=True)
class FuzzTally:
    """The messages sent, and those that must be stored."""

    sent: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)  # the tokens of events that must be stored
    refused: int = 0
    kept: int = 0  # of a later contract: stored as unknown, or refused
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        self.faults.append(text)
        if len(self.faults) <= _FAULTS:
            print(f"FAULT: {text}", flush=True)


class SignedFuzzRun:
    """One configuration with its own keys."""

    def __init__(self, configuration: Configuration, folder: Path, seed: int) -> None:
        self.configuration = configuration
        self._folder = folder
        self._good = GoodUnit(folder)
        entries = [self._good.key.registration(self._good.name)]
        units = []
        for name, alg in (("fuzz-1", "Ed25519"), ("fuzz-2", "ES256"), ("fuzz-3", "Ed25519")):
            key, unit = (
                SigningKey.load_or_create(folder / name, alg),
                UnitName("kota", "depok", name),
            )
            entries.append(key.registration(unit, *_VALID))
            units.append(FuzzUnit(unit.source, key))
        (folder / "keys.json").write_text(json.dumps({"keys": entries}))
        self._keys = KeySet.of(entries)
        self.generator = MessageGenerator(seed, units)
        self.referee = Referee(entries)
        self.tally = FuzzTally()
        self._number = 0  # of the newest checked event

    def run(self, numbers: Sequence[int]) -> FuzzTally:
        """Send these messages and check what was stored."""
        words = ["admin", "keys", f"--authority={self._folder / 'authority.key'}"]
        with contextlib.redirect_stdout(io.StringIO()):
            senyum([*words, "--units=urn:senyum:*:*:*"])
        with CentralServer.open(self.configuration, self._folder) as central:
            try:
                self._send(central, numbers)
                central.stop()
            except ReceiverDefect as fault:
                self.tally.fault(str(fault))
            for text in (*central.printed(), *central.commands(self._good)):
                self.tally.fault(text)
            left_out = set(self._good.tokens) - central.good_in_raw()
            if left_out:
                self.tally.fault(f"export --raw omits {len(left_out)} valid events")
        return self.tally

    def _send(self, central: CentralServer, numbers: Sequence[int]) -> None:
        central.start()
        chunks = [numbers[at : at + CHUNK] for at in range(0, len(numbers), CHUNK)]
        before: list[FuzzMessage] = []  # what the receiver is processing
        for at, chunk in enumerate(chunks):
            made = [self._make(number) for number in chunk]
            self._check(central, before)
            if at == len(chunks) // 2:
                central.stop()
                central.start()  # checks refused messages again
            messages = []
            for place, (each, ruling) in enumerate(made):
                self._count(each, ruling)
                messages.append((each.topic, each.payload))
                if place % GOOD == GOOD - 1:
                    messages.append(self._good.event())
            messages += [self._good.event(), self._good.health()]
            central.publish(messages)
            before = [each for each, _ in made]
        self._check(central, before)

    def _check(self, central: CentralServer, made: Sequence[FuzzMessage]) -> None:
        """Wait until the last valid message is stored, after all others; check the store."""
        source, count = self._good.name.source, len(self._good.tokens)
        query = (
            f"SELECT (SELECT count(*) FROM event WHERE unit = '{source}'),"  # noqa: S608 - our own
            f" (SELECT max(sequence) FROM head WHERE unit = '{source}')"
        )
        central.wait(
            lambda: central.rows(query) == [(count, count or None)],
            f"not all of the {count} valid events are stored",
        )
        self._compare(central, made)

    def _make(self, number: int) -> tuple[FuzzMessage, Ruling]:
        made = self.generator.make(number)
        ruling = self.referee.judge(made)
        if ruling is Ruling.ACCEPT and made.kind == "event":
            token = made.payload.decode("ascii")
            self.tally.accepted.add(token)
            made.unit.accepted(token, int(json.loads(made.body)["sequence"]))
        return made, ruling

    def _count(self, made: FuzzMessage, ruling: Ruling) -> None:
        """Count a message."""
        self.tally.sent[f"{made.kind} {ruling}"] += 1
        if made.kind != "reply" or self.configuration.asks:  # otherwise nobody subscribes
            self.tally.refused += ruling is Ruling.REFUSE
            self.tally.kept += ruling is Ruling.KEEP

    def _compare(self, central: CentralServer, made: Sequence[FuzzMessage]) -> None:
        """Compare the store with the rulings of the referee."""
        query = f"SELECT number, jws FROM event WHERE number > {self._number} ORDER BY number"  # noqa: S608
        rows = central.rows(query)
        self._number = rows[-1][0] if rows else self._number
        stored = {token for _, token in rows}
        ours = {each.payload.decode("latin-1"): each for each in made}
        wanted = {token for token in ours if token in self.tally.accepted}
        for token in (stored & ours.keys()) - wanted:
            self.tally.fault(f"message {ours[token].number}: accepted against the contract")
        for token in wanted - stored:
            self.tally.fault(f"message {ours[token].number}: not stored")
        ((later,),) = central.rows("SELECT count(*) FROM later")
        ((kept,),) = central.rows("SELECT coalesce(sum(times), 0) FROM refused")
        ((gone,),) = central.rows("SELECT coalesce(sum(times), 0) FROM refused_before")
        ((internal,),) = central.rows("SELECT count(*) FROM refused WHERE flaw = 'internal'")
        refused, expected = int(kept) + int(gone), self.tally.refused + self.tally.kept - later
        if refused != expected and not (refused > expected and central.reconnected()):
            text = f"{refused} refused instead of {expected}, {later} kept for later"
            self.tally.fault(text)
            for suspect in self._suspects(made):
                self.tally.fault(suspect)
        # After a lost connection the broker sends unacknowledged messages again.
        self.tally.refused = refused + later - self.tally.kept
        if internal:
            self.tally.fault(f"{internal} messages caused an internal error")

    def _suspects(self, made: Sequence[FuzzMessage]) -> Iterator[str]:
        """Yield the messages on which the receiver and the referee disagree."""
        for each in made:
            ruling = self.referee.judge(each)
            found = check_message(Message(each.topic, each.payload), self._keys, ReceivedAt.now())
            refused = isinstance(found, RejectedMessage)
            if ruling is not Ruling.KEEP and refused != (ruling is Ruling.REFUSE):
                why = found.rejection.why if isinstance(found, RejectedMessage) else "accepted"
                yield f"message {each.number} ({each.kind}): {ruling} by the contract, {why[:300]}"


def main() -> int:
    """Run the fuzzer; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz_signed",
        description="Send a real `senyum receive` messages that registered keys signed, through a "
        "real broker, to SQLite and PostgreSQL, each with and without a command key.",
    )
    parser.add_argument("--messages", type=int, default=5000, help="in total (default: 5,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="parallel configurations (default: 2)")
    parser.add_argument("--only", choices=[each.name for each in CONFIGURATIONS])
    parser.add_argument("--show", type=int, metavar="NUMBER", help="print one message, send none")
    options = parser.parse_args()
    chosen = [each for each in CONFIGURATIONS if options.only in (None, each.name)]
    if options.show is not None:
        return _show(options.seed, options.show)
    began, faults, sent = time.monotonic(), 0, Counter[str]()
    share = -(-options.messages // len(chosen))
    shares = [
        range(at * share, min((at + 1) * share, options.messages)) for at in range(len(chosen))
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        seeds = [options.seed] * len(chosen)
        for configuration, tally in zip(chosen, pool.map(_run, chosen, shares, seeds), strict=True):
            sent += tally.sent
            faults += len(tally.faults)
            print(
                f"{configuration.name}: {tally.sent.total():,} messages in {tally.seconds:.0f} s, "
                f"{len(tally.accepted):,} events accepted, {tally.refused:,} messages refused, "
                f"{len(tally.faults)} faults",
                flush=True,
            )
    for kind, count in sorted(sent.items()):
        print(f"  {kind:20} {count:9,}")
    seconds = time.monotonic() - began
    print(f"{sent.total():,} signed messages in {seconds:.0f} s, {faults} faults")
    return 1 if faults else 0


def _run(configuration: Configuration, numbers: Sequence[int], seed: int) -> FuzzTally:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="senyum-signed-") as name:
        tally = SignedFuzzRun(configuration, Path(name), seed).run(numbers)
    tally.seconds = time.monotonic() - began
    return tally


def _show(seed: int, number: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        run = SignedFuzzRun(CONFIGURATIONS[0], Path(name), seed)
        made = run.generator.make(number)
        ruling = run.referee.judge(made)
    print(f"{made.topic!a}\n{made.header[:2000]!a}\n{made.body[:20_000]!a}")
    print(f"{made.kind}, by the contract: {ruling}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
