"""Shows the out-of-order cue while the daemon is down: red, short-short-long.

The daemon shows that cue itself while it runs. This program looks whether there is a daemon at
all, by the processes that the kernel counts in its control group, and lights the red LED while
there is none. It holds the pin only then, and lets go of it before a daemon that starts wants it.
"""

import signal
import sys
import threading
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from types import FrameType
from typing import Protocol

from edge.appliance.watchdog import Level, log
from edge.system.supplied_files import as_text, read_regular

CONFIG_FILE = Path("/etc/senyum/senyum.toml")
CGROUPS = Path("/sys/fs/cgroup")
SERVICE = "senyum.service"
_BYTES = 250_000  # of a settings file, as edge/settings.py has it

# (lit, seconds): the out-of-order pattern of edge/gpio/patterns.py; a test holds them together.
RHYTHM = ((True, 0.15), (False, 0.35), (True, 0.15), (False, 0.35), (True, 0.8), (False, 1.2))
LOOK_S = 0.5  # between two looks; a daemon takes longer from its start to its pins
AWAY_LOOKS = 3  # looks without a daemon before the cue: an upgrade's restart shows nothing
RETRY_S = 5.0  # until a pin that could not be had is asked for again


@dataclass(frozen=True, slots=True)
class LedPin:
    """The red LED's settings; defaults as in edge/settings.py, which a test holds."""

    factory: str = "lgpio"
    pin: int = 27
    active_high: bool = True


def red_led(config: Path) -> LedPin:
    """Return what `config` says of the red LED; the defaults where it cannot be read.

    A settings file that keeps the daemon down must not keep the cue down too.
    """
    try:
        gpio = tomllib.loads(as_text(read_regular(config, _BYTES))).get("gpio", {})
        factory, pin = gpio.get("factory", "lgpio"), gpio.get("red", 27)
        active_high = gpio.get("red_active_high", True)
        usable = type(pin) is int and 0 <= pin <= 27 and isinstance(active_high, bool)
    except (OSError, ValueError, AttributeError, RecursionError):
        usable = False
    return LedPin(str(factory), pin, active_high) if usable else LedPin()


class Led(Protocol):
    """One light that is on or off. Opening it claims its pin and raises OSError if it cannot."""

    def set(self, lit: bool) -> None: ...

    def close(self) -> None:
        """Turn it off and give the pin back."""
        ...


class NullLed:
    """For a machine without pins (`gpio.factory = "mock"`): the journal alone tells."""

    def set(self, lit: bool) -> None:
        pass

    def close(self) -> None:
        pass


class PinLed:
    """The red LED on its pin, by lgpio. Raises OSError where the pin cannot be had."""

    CHIPS = (0, 4)  # a Pi 5 with an early kernel has its header on the second
    LABEL = "pinctrl-"  # of the chip behind the header, on every Pi

    def __init__(self, led: LedPin) -> None:
        try:
            import lgpio  # noqa: PLC0415 - only while the cue is on
        except ImportError:
            raise OSError("lgpio is not installed; run: apt install python3-lgpio") from None
        self._lgpio, self._led = lgpio, led
        self._chip = self._header_chip()
        try:
            lgpio.gpio_claim_output(self._chip, led.pin, int(not led.active_high))
        except lgpio.error as error:
            lgpio.gpiochip_close(self._chip)
            raise OSError(f"pin {led.pin} cannot be had ({error})") from None

    def _header_chip(self) -> int:
        for number in self.CHIPS:
            with suppress(self._lgpio.error):
                chip: int = self._lgpio.gpiochip_open(number)
                if self._lgpio.gpio_get_chip_info(chip)[3].startswith(self.LABEL):
                    return chip
                self._lgpio.gpiochip_close(chip)
        raise OSError("no GPIO chip of a Raspberry Pi is to be had")

    def set(self, lit: bool) -> None:
        with suppress(self._lgpio.error):  # a light that fails is no reason to end
            self._lgpio.gpio_write(self._chip, self._led.pin, int(lit is self._led.active_high))

    def close(self) -> None:
        self.set(False)
        self._lgpio.gpiochip_close(self._chip)


def open_light(led: LedPin) -> Led:
    """Open the light that the settings choose. Raises OSError."""
    return NullLed() if led.factory == "mock" else PinLed(led)


class DaemonProbe:
    """Whether the daemon has a process now. Pure file reading: no bus, no privilege."""

    def __init__(self, cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> None:
        """`own` says which control group this process is in; the daemon's is beside it."""
        # One line: two colons, then the path of senyum-fault.service.
        path = own.read_text(encoding="ascii").strip().rpartition(":")[2]
        self._events = cgroups / path.lstrip("/") / ".." / SERVICE / "cgroup.events"

    def runs(self) -> bool:
        try:
            return "populated 1" in self._events.read_text(encoding="ascii")
        except OSError:  # systemd removes the control group of a service that is dead
            return False


class FaultBlinker:
    """Waits for the daemon to be away, shows the cue until it is back."""

    def __init__(
        self,
        runs: Callable[[], bool],
        light: Callable[[], Led],
        stop: threading.Event,
        retry_s: float = RETRY_S,
    ) -> None:
        self._runs, self._open, self._stop, self._retry_s = runs, light, stop, retry_s

    def run(self) -> None:
        """Go on until `stop` is set."""
        away = 0
        while not self._stop.wait(LOOK_S):
            away = 0 if self._runs() else away + 1
            if away >= AWAY_LOOKS:
                self._show()
                away = 0

    def _show(self) -> None:
        log(Level.ERROR, "out of order: the daemon is not running; see: journalctl -u senyum")
        light, told = None, ""
        while light is None and not self._back(0.0):
            try:
                light = self._open()
            except OSError as error:
                if str(error) != told:
                    told = str(error)
                    log(Level.WARNING, f"the out-of-order cue cannot be shown: {told}")
                self._back(self._retry_s)
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
            if self._back(seconds):
                return

    def _back(self, seconds: float) -> bool:
        """Wait for at most `seconds`; tells whether the cue must end."""
        while True:
            if self._stop.is_set() or self._runs():
                return True
            if seconds <= 0.0:
                return False
            self._stop.wait(min(seconds, LOOK_S))
            seconds -= LOOK_S


def main() -> int:
    """Watch until SIGTERM; returns the exit status."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    FaultBlinker(DaemonProbe().runs, lambda: open_light(red_led(CONFIG_FILE)), stop).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
