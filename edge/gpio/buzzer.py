"""A passive buzzer with pitch, volume and polarity.

gpiozero's TonalBuzzer spans one octave and knows neither volume nor polarity, so this one stands
on PWMOutputDevice: the frequency is the pitch, the duty cycle the volume.
"""

from gpiozero import PWMOutputDevice
from gpiozero.pins import Factory

LOUDEST = 0.5  # duty cycle; beyond a half the fundamental grows weaker again
# lgpio makes its pulses in software and goes on doing so in silence: rarely, then.
SILENT_HZ = 100.0
MIN_HZ, MAX_HZ = 20.0, 10_000.0  # what a buzzer may do; lgpio allows 0.1 to 10,000


class Buzzer:
    """One buzzer. `volume` is 0 to 1; below 0.02 lgpio's whole per cents leave nothing."""

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
