"""A mock board whose pins keep (time, state) and (time, frequency) of everything written."""

import time

from gpiozero.pins.mock import MockFactory, MockPWMPin

from edge.gpio.board import IndicatorBoard
from edge.settings import GpioSettings


class RecordingPin(MockPWMPin):  # type: ignore[misc] # gpiozero publishes no types
    """gpiozero's own mock keeps states only; a buzzer is about frequencies."""

    def __init__(self, factory: MockFactory, info: object) -> None:
        self.written: list[tuple[float, float]] = []
        self.tuned: list[tuple[float, float | None]] = []
        super().__init__(factory, info)

    def _set_state(self, value: float) -> None:
        super()._set_state(value)
        self.written.append((time.monotonic(), float(value)))

    def _set_frequency(self, value: float | None) -> None:
        super()._set_frequency(value)
        self.tuned.append((time.monotonic(), value))


def mock_settings(**changes: object) -> GpioSettings:
    return GpioSettings.model_validate({"factory": "mock", **changes})


def recording_board(settings: GpioSettings) -> IndicatorBoard:
    return IndicatorBoard(settings, MockFactory(pin_class=RecordingPin))


def pin(board: IndicatorBoard, number: int) -> RecordingPin:
    found = board.factory.pin(number)
    assert isinstance(found, RecordingPin)
    return found
