"""Blinks the red LED (short, short, long) while the daemon is not running.

The daemon shows the out-of-order cue itself while it runs. This program checks the daemon's control
group for processes and blinks the LED while it has none. It claims the pin only for that time and
releases it before a starting daemon needs it.
"""

import sys
import threading
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Protocol

from edge.appliance.watchdog import Level, log, stop_event
from edge.system.supplied_files import as_text, read_regular

CONFIG_FILE = Path("/etc/senyum/senyum.toml")
CGROUPS = Path("/sys/fs/cgroup")
SERVICE = "senyum.service"
_MAX_BYTES = 250_000  # of a settings file; same limit as edge/settings.py

# (lit, seconds): the out-of-order pattern of edge/gpio/patterns.py; a test compares them.
RHYTHM = ((True, 0.15), (False, 0.35), (True, 0.15), (False, 0.35), (True, 0.8), (False, 1.2))
POLL_S = 0.5  # shorter than the time a starting daemon takes to open its pins
POLLS_BEFORE_CUE = 3  # without a daemon; a restart during an upgrade shows no cue
RETRY_S = 5.0  # between attempts to claim the pin


@dataclass(frozen=True, slots=True)
class LedPin:
    """The red LED's settings; a test compares the defaults with edge/settings.py."""

    factory: str = "lgpio"
    pin: int = 27
    active_high: bool = True


def red_led(config: Path) -> LedPin:
    """Return the red LED's settings in `config`; the defaults if the file is invalid.

    A settings file that stops the daemon must not stop the cue too.
    """
    try:
        gpio = tomllib.loads(as_text(read_regular(config, _MAX_BYTES))).get("gpio", {})
        factory, pin = gpio.get("factory", "lgpio"), gpio.get("red", 27)
        active_high = gpio.get("red_active_high", True)
        usable = type(pin) is int and 0 <= pin <= 27 and isinstance(active_high, bool)
    except (OSError, ValueError, AttributeError, RecursionError):
        usable = False
    return LedPin(str(factory), pin, active_high) if usable else LedPin()


class Led(Protocol):
    """A light that is on or off. The constructor claims its pin; raises OSError."""

    def set(self, lit: bool) -> None: ...

    def close(self) -> None:
        """Turn it off and release the pin."""
        ...


class NullLed:
    """Used on a machine without pins (`gpio.factory = "mock"`); does nothing."""

    def set(self, lit: bool) -> None:
        pass

    def close(self) -> None:
        pass


class PinLed:
    """The red LED, driven by lgpio. Raises OSError if the pin is not available."""

    CHIPS = (0, 4)  # a Pi 5 with an early kernel has its header on chip 4
    LABEL = "pinctrl-"  # label of the header's chip on every Pi

    def __init__(self, led: LedPin) -> None:
        try:
            import lgpio  # noqa: PLC0415 - only while the cue is shown
        except ImportError:
            raise OSError("lgpio is not installed; run: apt install python3-lgpio") from None
        self._lgpio, self._led = lgpio, led
        self._chip = self._header_chip()
        try:
            lgpio.gpio_claim_output(self._chip, led.pin, int(not led.active_high))
        except lgpio.error as error:
            lgpio.gpiochip_close(self._chip)
            raise OSError(f"pin {led.pin} is not available ({error})") from None

    def _header_chip(self) -> int:
        for number in self.CHIPS:
            with suppress(self._lgpio.error):
                chip: int = self._lgpio.gpiochip_open(number)
                if self._lgpio.gpio_get_chip_info(chip)[3].startswith(self.LABEL):
                    return chip
                self._lgpio.gpiochip_close(chip)
        raise OSError("no GPIO chip of a Raspberry Pi found")

    def set(self, lit: bool) -> None:
        with suppress(self._lgpio.error):  # keep running if the LED fails
            self._lgpio.gpio_write(self._chip, self._led.pin, int(lit is self._led.active_high))

    def close(self) -> None:
        self.set(False)
        self._lgpio.gpiochip_close(self._chip)


def open_light(led: LedPin) -> Led:
    """Open the LED that the settings select. Raises OSError."""
    return NullLed() if led.factory == "mock" else PinLed(led)


class DaemonProbe:
    """Checks whether the daemon has a process. Reads files only: no D-Bus, no privileges."""

    def __init__(self, cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> None:
        """`own` names this process's control group; the daemon's has the same parent."""
        # One line: two colons, then the path of senyum-fault.service.
        path = own.read_text(encoding="ascii").strip().rpartition(":")[2]
        self._events = cgroups / path.lstrip("/") / ".." / SERVICE / "cgroup.events"

    def is_running(self) -> bool:
        try:
            return "populated 1" in self._events.read_text(encoding="ascii")
        except OSError:  # systemd removes the control group of a stopped service
            return False


class FaultBlinker:
    """Shows the cue while the daemon is not running."""

    def __init__(
        self,
        is_running: Callable[[], bool],
        open_light: Callable[[], Led],
        stop: threading.Event,
        retry_s: float = RETRY_S,
    ) -> None:
        self._is_running, self._open_light = is_running, open_light
        self._stop, self._retry_s = stop, retry_s

    def run(self) -> None:
        """Poll until `stop` is set."""
        missing = 0
        while not self._stop.wait(POLL_S):
            missing = 0 if self._is_running() else missing + 1
            if missing >= POLLS_BEFORE_CUE:
                self._show()
                missing = 0

    def _show(self) -> None:
        log(Level.ERROR, "out of order: the daemon is not running; see: journalctl -u senyum")
        light, logged = None, ""
        while light is None and not self._must_end(0.0):
            try:
                light = self._open_light()
            except OSError as error:
                if str(error) != logged:
                    logged = str(error)
                    log(Level.WARNING, f"cannot show the out-of-order cue: {logged}")
                self._must_end(self._retry_s)
        if light is not None:
            try:
                self._play(light)
            finally:
                light.close()
        if not self._stop.is_set():
            log(Level.INFO, "the daemon is running again")

    def _play(self, light: Led) -> None:
        for lit, seconds in cycle(RHYTHM):
            light.set(lit)
            if self._must_end(seconds):
                return

    def _must_end(self, seconds: float) -> bool:
        """Wait for at most `seconds`; return whether the cue must end."""
        while True:
            if self._stop.is_set() or self._is_running():
                return True
            if seconds <= 0.0:
                return False
            self._stop.wait(min(seconds, POLL_S))
            seconds -= POLL_S


def main() -> int:
    """Poll until SIGTERM and return the exit status."""
    stop = stop_event()
    FaultBlinker(DaemonProbe().is_running, lambda: open_light(red_led(CONFIG_FILE)), stop).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
