import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.appliance.watchdog import fault_led as fault
from edge.appliance.watchdog.fault_led import (
    DaemonProbe,
    FaultBlinker,
    LedPin,
    NullLed,
    open_light,
    red_led,
)
from edge.gpio.patterns import timeline
from edge.settings import GpioSettings
from edge.types import Cue, CueName


class Lamp:
    """Records what it was set to; `taken` is how often claiming its pin fails first."""

    def __init__(self, taken: int = 0) -> None:
        self.seen: list[bool] = []
        self.open = False
        self._taken = taken

    def __call__(self) -> "Lamp":
        if self._taken:
            self._taken -= 1
            raise OSError("pin 27 is not available")
        self.open = True
        return self

    def set(self, lit: bool) -> None:
        assert self.open
        self.seen.append(lit)

    def close(self) -> None:
        self.open = False


def until(asked: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not asked():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def watching(runs: Callable[[], bool], lamp: Lamp) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=FaultBlinker(runs, lamp, stop, retry_s=0.01).run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30.0)
        assert not thread.is_alive()


def test_it_has_the_rhythm_of_the_cue() -> None:
    """The first round of the panel's own pattern, in light alone."""
    seconds = sum(seconds for _, seconds in fault.RHYTHM)
    shown = timeline(Cue(CueName.OUT_OF_ORDER), seconds)
    at = 0.0
    for (lit, lasts), (when, light) in zip(fault.RHYTHM, shown, strict=False):
        assert when == pytest.approx(at)
        assert light.red == (1.0 if lit else 0.0)
        at += lasts
    assert len(shown) >= len(fault.RHYTHM)


def test_the_light_is_on_while_the_daemon_is_away_and_given_back_when_it_comes() -> None:
    there, lamp = threading.Event(), Lamp()
    with watching(there.is_set, lamp):
        until(lambda: lamp.seen[:3] == [True, False, True])
        there.set()
        until(lambda: not lamp.open)
        seen = len(lamp.seen)
        there.clear()
        until(lambda: len(lamp.seen) > seen)
    assert not lamp.open


def test_it_touches_no_pin_while_the_daemon_runs() -> None:
    looks = itertools.count()
    lamp = Lamp()
    with watching(lambda: next(looks) >= 0, lamp):
        until(lambda: next(looks) > 6)
    assert lamp.seen == []


def test_a_pin_that_is_taken_is_asked_for_again(capfd: pytest.CaptureFixture[str]) -> None:
    lamp = Lamp(taken=3)
    with watching(lambda: False, lamp):
        until(lambda: True in lamp.seen)
    assert capfd.readouterr().err.count("<4>cannot show the out-of-order cue: pin 27") == 1


def test_the_daemon_is_who_has_a_process_in_its_control_group(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/system.slice/senyum-fault.service\n")
    (tmp_path / "system.slice/senyum-fault.service").mkdir(parents=True)
    daemon = DaemonProbe(tmp_path, own)
    assert not daemon.is_running()
    group = tmp_path / "system.slice/senyum.service"
    group.mkdir()
    (group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert daemon.is_running()
    (group / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    assert not daemon.is_running()


def test_defaults_are_those_of_the_settings(tmp_path: Path) -> None:
    gpio = GpioSettings()
    told = LedPin(gpio.factory, gpio.red, gpio.red_active_high)
    assert red_led(tmp_path / "missing") == LedPin() == told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[gpio]\nred = 5\nred_active_high = false\n", LedPin("lgpio", 5, active_high=False)),
        ('[gpio]\nfactory = "mock"\n', LedPin("mock")),
        ('[broker]\nhost = "x"\n[nonsense]\n', LedPin()),
        ("[gpio]\nred = 99\n", LedPin()),
        ('[gpio]\nred = "17"\n', LedPin()),
        ("gpio = 3\n", LedPin()),
        ("not TOML at all", LedPin()),
    ],
)
def test_a_settings_file_that_keeps_the_daemon_down_does_not_keep_the_cue_down(
    text: str, expected: LedPin, tmp_path: Path
) -> None:
    file = tmp_path / "senyum.toml"
    file.write_text(text)
    assert red_led(file) == expected


def test_a_machine_without_pins_has_no_light() -> None:
    assert isinstance(open_light(LedPin("mock")), NullLed)


def test_the_watchdog_programs_import_nothing_heavy() -> None:
    programs = ("fault_led", "power_monitor", "reboot_limiter")
    modules = ", ".join(f"edge.appliance.watchdog.{name}" for name in programs)
    program = f"import sys, json, {modules}\n"
    program += "print(json.dumps(sorted(m for m in sys.modules if not m.startswith('_'))))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded & {"numpy", "pydantic", "gpiozero", "lgpio", "logging", "asyncio"} == set()
