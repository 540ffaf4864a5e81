"""Observe the levels of the three pins."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPWMPin

from edge.gpio.board import IndicatorBoard
from edge.settings import GpioSettings
from senyum_lab.demo.recording import PinLevels

_POLL_S = 0.01  # period of polling real pins; the shortest tick lasts three times as long


@contextmanager
def observed_board(
    settings: GpioSettings, on_change: Callable[[PinLevels], None]
) -> Iterator[IndicatorBoard]:
    """Open the board of the settings; call `on_change` with the levels after each change.

    Mock pins report each change; real pins are polled. Raises GpioError.
    """
    if settings.factory == "mock":
        with _mock_board(settings, on_change) as board:
            yield board
        return
    board = IndicatorBoard(settings)
    read = _reader(board, settings)
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(_POLL_S):
            on_change(read())

    poller = threading.Thread(target=poll, name="pins", daemon=True)
    poller.start()
    try:
        yield board
    finally:
        stop.set()
        poller.join()


@contextmanager
def _mock_board(
    settings: GpioSettings, on_change: Callable[[PinLevels], None]
) -> Iterator[IndicatorBoard]:
    read: Callable[[], PinLevels] | None = None

    class Pin(MockPWMPin):  # type: ignore[misc]  # gpiozero has no types
        def _change_state(self, value: float) -> Any:
            changed = super()._change_state(value)
            if changed and read is not None:
                on_change(read())
            return changed

        def _set_frequency(self, value: float | None) -> None:
            super()._set_frequency(value)
            if value is not None and read is not None:
                on_change(read())

    factory = MockFactory(pin_class=Pin)
    board = IndicatorBoard(settings, factory)
    read = _reader(board, settings)
    try:
        yield board
    finally:
        read = None
        factory.close()


def _reader(board: IndicatorBoard, settings: GpioSettings) -> Callable[[], PinLevels]:
    """Return a function that reads the levels that the LEDs and the buzzer receive."""
    green, red, buzzer = (
        board.factory.pin(number) for number in (settings.green, settings.red, settings.buzzer)
    )

    def level(pin: Any, active_high: bool) -> float:
        duty = float(pin.state)
        return duty if active_high else 1.0 - duty

    def read() -> PinLevels:
        sounds = level(buzzer, settings.buzzer_active_high) > 0.0
        return PinLevels(
            level(green, settings.green_active_high),
            level(red, settings.red_active_high),
            float(buzzer.frequency) if sounds else 0.0,
        )

    return read
