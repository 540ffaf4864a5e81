"""Boots the emulated Raspberry Pi and reads its pins from outside: watch.py FOLDER.

What is read is GPLEV0, the level register of the BCM2837, by QEMU's monitor: the guest's programs
have no part in it. Lights and buzzer are pulsed in software, so time is looked at in bins.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import plan

from edge.settings import GpioSettings
from edge.types import Cue

LEVELS = "xp /1wx 0x3f200034"  # GPLEV0: pins 0 to 31
ARGUMENTS = "console=ttyAMA0,115200 earlycon=pl011,0x3f201000 rdinit=/init 8250.nr_uarts=2 panic=-1"
ARGUMENTS += " PYTHONHASHSEED=0 quiet"
BIN_S = 0.02  # two pulses of a light
NEAR_S = 0.02  # an edge that is no farther from its plan is on time
REACH_S = 0.035  # an edge is looked for so far from its plan
MARGIN_S = 0.05
# An emulation on a busy machine stops now and then, and the pulses with it: of a span's bins so
# many must be lit, of a pause's at most so many.
LIT, DARK = 0.6, 0.1
BOOT_S, PLAY_S = 180.0, 240.0
PARTS = {"green": "green", "red": "red", "buzzer": "pitch"}

Span = tuple[float, float]


class Monitor:
    """QEMU's monitor, by the QEMU Machine Protocol."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        _until(lambda: self._connected(path), 10.0, "QEMU's monitor")
        self._lines = self._socket.makefile("r")
        self._lines.readline()
        self._ask("qmp_capabilities", {})

    def levels(self) -> int:
        answer = self._ask("human-monitor-command", {"command-line": LEVELS})
        return int(str(answer).split()[-1], 16)

    def _connected(self, path: Path) -> bool:
        try:
            self._socket.connect(str(path))
        except OSError:
            return False
        return True

    def _ask(self, command: str, arguments: dict[str, str]) -> Any:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while line := self._lines.readline():
            told = json.loads(line)
            if "return" in told:
                return told["return"]
        raise ConnectionError("QEMU ended")


@dataclass
class Record:
    """What was seen: levels by time, and what the guest said."""

    levels: list[tuple[float, int]] = field(default_factory=list)
    words: list[tuple[float, list[str]]] = field(default_factory=list)

    def said(self, word: str) -> bool:
        return any(words[0] == word for _, words in self.words)


def _until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"pi3 rig: no {what} within {seconds:.0f} s")
        time.sleep(0.05)


def watch(folder: Path) -> Record:
    """Run the machine until it has played everything; returns what was seen."""
    record, over = Record(), threading.Event()
    path = folder / "monitor"
    path.unlink(missing_ok=True)
    command = ["qemu-system-aarch64", "-M", "raspi3b", "-display", "none", "-no-reboot"]
    command += ["-kernel", "kernel", "-dtb", "pi3.dtb", "-initrd", "initrd", "-append", ARGUMENTS]
    command += ["-serial", "stdio", "-serial", "null", "-monitor", "none"]
    command += ["-qmp", f"unix:{path},server=on,wait=off"]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as machine:
        assert machine.stdout is not None
        console = iter(machine.stdout.readline, "")

        def listen() -> None:
            with (folder / "console.log").open("w", encoding="utf-8") as log:
                for line in console:
                    log.write(line)
                    if line.startswith("RIG "):
                        record.words.append((time.monotonic(), line.split()[1:]))
            over.set()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            monitor = Monitor(path)
            _until(lambda: record.said("BEGIN") or over.is_set(), BOOT_S, "cue")
            deadline = time.monotonic() + PLAY_S
            while not (record.said("DONE") or over.is_set()) and time.monotonic() < deadline:
                record.levels.append((time.monotonic(), monitor.levels()))
        finally:
            machine.kill()
            listener.join(10)
    return record


Seen = list[tuple[float, bool]]


def judge(cue: Cue, record: Record, began: float, ended: float) -> tuple[bool, str]:
    """Hold what the pins did in a cue against its plan; returns whether it held, and words."""
    end = min(plan.seconds_of(cue), ended - began) - MARGIN_S  # afterwards another cue is on
    levels = [(at - began, bits) for at, bits in record.levels if began <= at <= began + end]
    pins, good, texts, errors = GpioSettings().model_dump(), True, [], list[float]()
    for part, what in PARTS.items():
        wanted, faint = plan.planned(cue, what), plan.faint(cue, what)
        bit = 1 << pins[part]
        seen = [(at, bool(bits & bit)) for at, bits in levels]
        lit = [_lit(seen, span) for span in wanted]
        dark = [_share(seen, span) <= DARK for span in _between([*wanted, *faint], end)]
        if not all(lit) or not all(dark):
            good = False
            texts.append(
                f"{part}: {sum(lit)} of {len(lit)} spans lit, "
                f"{sum(dark)} of {len(dark)} pauses dark"
            )
        errors += _errors(seen, wanted, faint, end)
    near = sum(abs(error) <= NEAR_S for error in errors)
    texts.append(f"{near} of {len(errors)} edges within {NEAR_S * 1e3:.0f} ms")
    return good, "; ".join(texts)


def _lit(seen: Seen, span: Span) -> bool:
    """Whether a part was on in a span, but for what the emulation left out of it."""
    if span[1] - span[0] < 4 * BIN_S:
        return any(high for at, high in seen if span[0] - BIN_S <= at <= span[1] + BIN_S)
    return _share(seen, span) >= LIT


def _share(seen: Seen, span: Span) -> float:
    """Return the share of the bins within a span, its edges left out, that saw a high level."""
    bins: dict[int, bool] = {}
    for at, high in seen:
        if span[0] + BIN_S <= at <= span[1] - BIN_S:
            number = int(at / BIN_S)
            bins[number] = bins.get(number, False) or high
    return sum(bins.values()) / max(1, len(bins))


def _between(on: list[Span], end: float) -> list[Span]:
    """Return the pauses of a plan."""
    edges = [0.0, *(edge for span in sorted(on) for edge in span), end]
    pauses = zip(edges[::2], edges[1::2], strict=True)
    return [(a, b) for a, b in pauses if b - a > 4 * BIN_S]


def _errors(seen: Seen, wanted: list[Span], faint: list[Span], end: float) -> list[float]:
    """Return how far each edge was from its plan, in seconds; none beside a faint light."""
    errors = []
    for start, stop in wanted:
        near = [at for at, high in seen if high and start - REACH_S <= at <= stop + REACH_S]
        if not near:
            continue
        if start > 0 and not any(abs(b - start) < BIN_S for _, b in faint):
            errors.append(near[0] - start)
        if stop < end and not any(abs(a - stop) < BIN_S for a, _ in faint):
            errors.append(near[-1] - stop)
    return errors


def _played(record: Record) -> Iterator[tuple[Cue, float, float]]:
    begins = [at for at, words in record.words if words[0] == "BEGIN"]
    ends = [at for at, words in record.words if words[0] == "END"]
    yield from zip(plan.cues(), begins, ends, strict=False)


def _confused(record: Record) -> list[tuple[str, str]]:
    """Return which cue would have passed for the next one of another plan: none should."""
    found = []
    played = list(_played(record))
    for (cue, began, ended), (other, _, _) in pairwise(played):
        plans = [[plan.planned(c, what) for what in PARTS.values()] for c in (cue, other)]
        if plans[0] != plans[1] and judge(other, record, began, ended)[0]:
            found.append((_named(cue), f"{_named(cue)} passes for {_named(other)}"))
    return found


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Play, and again once if a cue failed, because a busy machine stutters; return the status.

    A cue that is wrong fails both times.
    """
    failed = told(watch(Path(sys.argv[1])))
    if failed:
        say(f"playing again because of {', '.join(sorted(failed))}")
        failed &= told(watch(Path(sys.argv[1])))
    count = len(list(plan.cues()))
    say(f"{count - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def told(record: Record) -> set[str]:
    """Print a line a cue; return those that failed or were not played."""
    for _, words in record.words:
        if words[0] in {"MODEL", "CHIP", "FAILED"}:
            say(" ".join(words))
    rate = len(record.levels) / max(0.001, record.levels[-1][0] - record.levels[0][0])
    say(f"the level register was read {rate:.0f} times a second")
    failed = {_named(cue) for cue in plan.cues()}
    for cue, began, ended in _played(record):
        good, text = judge(cue, record, began, ended)
        say(f"{'passed' if good else 'FAILED'}  {_named(cue)}: {text}")
        if good:
            failed.discard(_named(cue))
    for name, text in _confused(record):
        say(f"FAILED  {text}")
        failed.add(name)
    return failed


def _named(cue: Cue) -> str:
    return f"{cue.name} {cue.level:g}" if cue.level else f"{cue.name}"


if __name__ == "__main__":
    sys.exit(main())
