"""The pins: two lights and a buzzer on the pin factory that the settings name, or an error."""

from contextlib import ExitStack

from gpiozero import PWMLED, PWMOutputDevice
from gpiozero.pins import Factory
from gpiozero.pins.mock import MockFactory, MockPWMPin

from edge.errors import GpioError, PinBusyError
from edge.gpio.patterns import DARK, LightState
from edge.settings import GpioSettings

FAINTEST = 0.01  # lgpio counts duty cycles in whole per cents: a faint light must not become none

LOUDEST = 0.5  # duty cycle; beyond a half the fundamental grows weaker again
# lgpio makes its pulses in software and goes on doing so in silence: rarely, then.
SILENT_HZ = 100.0
MIN_HZ, MAX_HZ = 20.0, 10_000.0  # what a buzzer may do; lgpio allows 0.1 to 10,000


class _Pin(MockPWMPin):  # type: ignore[misc] # gpiozero has no types
    """A pin that is none: gpiozero's own remembers every change, which a unit makes for ever."""

    def _change_state(self, value: float) -> bool:
        changed = bool(super()._change_state(value))
        del self.states[:-1]
        return changed


def open_factory(name: str) -> Factory:
    """Return the pin factory `name`, "lgpio" or "mock"; never another one. Raises GpioError."""
    if name == "mock":
        return MockFactory(pin_class=_Pin)
    try:
        from gpiozero.pins.lgpio import LGPIOFactory  # noqa: PLC0415 - only where it is chosen
    except ImportError:
        raise GpioError(
            'gpio.factory: lgpio is not installed; run "apt install python3-lgpio", '
            'or set gpio.factory = "mock" on a machine without pins'
        ) from None
    except OSError as error:  # lgpio makes a pipe in its working folder as soon as it is imported
        raise GpioError(
            f"gpio.factory: lgpio cannot write to its working folder ({error.strerror}); "
            "set LG_WD to a folder that this user may write to"
        ) from None
    try:
        return LGPIOFactory()
    except Exception as error:  # noqa: BLE001 - lgpio.error is an Exception and nothing else
        raise GpioError(
            f"gpio.factory: lgpio finds no GPIO chip ({error}); run on a Raspberry Pi as a user of "
            'the group gpio, or set gpio.factory = "mock"'
        ) from None


class Buzzer:
    """A passive buzzer. `volume` is 0 to 1; below 0.02 lgpio's whole per cents leave nothing.

    gpiozero's TonalBuzzer spans one octave and knows neither volume nor polarity, so this one
    stands on PWMOutputDevice: the frequency is the pitch, the duty cycle the volume.
    """

    def __init__(self, pin: int, *, active_high: bool, volume: float, factory: Factory) -> None:
        self.use_volume(volume)
        self._device = PWMOutputDevice(
            pin, active_high=active_high, frequency=SILENT_HZ, pin_factory=factory
        )
        self._pitch: float | None = None

    @property
    def pitch(self) -> float | None:
        """What sounds, in hertz; None is silence. Values are held within MIN_HZ and MAX_HZ."""
        return self._pitch

    @pitch.setter
    def pitch(self, hertz: float | None) -> None:
        if hertz is None or self._duty == 0.0:
            self._device.value = 0.0
            self._device.frequency = SILENT_HZ
        else:
            self._device.frequency = min(MAX_HZ, max(MIN_HZ, hertz))
            self._device.value = self._duty
        self._pitch = hertz

    def use_volume(self, volume: float) -> None:
        """Take another volume, 0 to 1, from the next note on."""
        self._duty = LOUDEST * volume

    def close(self) -> None:
        self._device.close()


class IndicatorBoard:
    """Two lights and a buzzer, dark and silent at first. Raises GpioError."""

    def __init__(self, settings: GpioSettings, factory: Factory | None = None) -> None:
        """Claim the pins. A `factory` that is given is left open by `close`."""
        self._brightness = settings.brightness
        with ExitStack() as opened:
            if factory is None:
                factory = open_factory(settings.factory)
                opened.callback(factory.close)
            self.factory = factory
            self._green = self._led("green", settings.green, settings.green_active_high, opened)
            self._red = self._led("red", settings.red, settings.red_active_high, opened)
            try:
                self._buzzer = Buzzer(
                    settings.buzzer,
                    active_high=settings.buzzer_active_high,
                    volume=settings.volume,
                    factory=factory,
                )
            except Exception as error:  # noqa: BLE001 - as in open_factory
                raise _refused("buzzer", settings.buzzer, error) from None
            opened.callback(self._buzzer.close)
            self._opened = opened.pop_all()
        self._light = DARK

    def _led(self, name: str, pin: int, active_high: bool, opened: ExitStack) -> PWMLED:
        try:
            led = PWMLED(pin, active_high=active_high, pin_factory=self.factory)
        except Exception as error:  # noqa: BLE001 - as in open_factory
            raise _refused(name, pin, error) from None
        opened.callback(led.close)
        return led

    def set(self, light: LightState) -> None:
        """Show and sound `light`; only what changed is written."""
        if light.green != self._light.green:
            self._green.value = self._level(light.green)
        if light.red != self._light.red:
            self._red.value = self._level(light.red)
        if light.pitch != self._light.pitch:
            self._buzzer.pitch = light.pitch
        self._light = light

    def _level(self, level: float) -> float:
        if level == 0.0 or self._brightness == 0.0:
            return 0.0
        return max(FAINTEST, min(1.0, level * self._brightness))

    def use_levels(self, brightness: float, volume: float) -> None:
        """Take other levels, 0 to 1, from the next change on."""
        self._brightness = brightness
        self._buzzer.use_volume(volume)

    def close(self) -> None:
        """Let the pins go; what is lit or sounds ends with that."""
        self._opened.close()


def _refused(name: str, pin: int, error: Exception) -> PinBusyError:
    return PinBusyError(
        f"gpio.{name} = {pin}: pin is not available ({error}); "
        "end the program that holds it, or wire and name another pin"
    )
