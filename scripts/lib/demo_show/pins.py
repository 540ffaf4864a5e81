"""What the three pins carry, taken from the pins themselves."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPWMPin

from demo_show.watch import Lights
from edge.gpio.board import IndicatorBoard
from edge.settings import GpioSettings

_POLL_S = 0.01  # real pins are asked that often; the shortest tick lasts three times that


@contextmanager
def watched_board(
    settings: GpioSettings, told: Callable[[Lights], None]
) -> Iterator[IndicatorBoard]:
    """Open the board of the settings; `told` is given what its pins carry, change by change.

    Mock pins tell each change themselves, real ones are polled. Raises GpioError.
    """
    if settings.factory == "mock":
        with _mock_board(settings, told) as board:
            yield board
        return
    board = IndicatorBoard(settings)
    read = _reader(board, settings)
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(_POLL_S):
            told(read())

    poller = threading.Thread(target=poll, name="pins", daemon=True)
    poller.start()
    try:
        yield board
    finally:
        stop.set()
        poller.join()


@contextmanager
def _mock_board(settings: GpioSettings, told: Callable[[Lights], None]) -> Iterator[IndicatorBoard]:
    read: Callable[[], Lights] | None = None

    class Pin(MockPWMPin):  # type: ignore[misc]  # gpiozero has no types
        def _change_state(self, value: float) -> Any:
            changed = super()._change_state(value)
            if changed and read is not None:
                told(read())
            return changed

        def _set_frequency(self, value: float | None) -> None:
            super()._set_frequency(value)
            if value is not None and read is not None:
                told(read())

    factory = MockFactory(pin_class=Pin)
    board = IndicatorBoard(settings, factory)
    read = _reader(board, settings)
    try:
        yield board
    finally:
        read = None
        factory.close()


def _reader(board: IndicatorBoard, settings: GpioSettings) -> Callable[[], Lights]:
    """Return what reads the pins, at the level that a LED or a buzzer sees."""
    green, red, buzzer = (
        board.factory.pin(number) for number in (settings.green, settings.red, settings.buzzer)
    )

    def level(pin: Any, active_high: bool) -> float:
        duty = float(pin.state)
        return duty if active_high else 1.0 - duty

    def read() -> Lights:
        sounds = level(buzzer, settings.buzzer_active_high) > 0.0
        return Lights(
            level(green, settings.green_active_high),
            level(red, settings.red_active_high),
            float(buzzer.frequency) if sounds else 0.0,
        )

    return read
