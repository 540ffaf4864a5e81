import sys
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin
from pins import mock_settings, pin, recording_board

from edge.errors import GpioError
from edge.gpio.board import MAX_HZ, MIN_HZ, SILENT_HZ, Buzzer, IndicatorBoard, open_factory
from edge.gpio.patterns import DARK, LightState
from edge.settings import GpioSettings


def last(board: IndicatorBoard, number: int) -> float:
    return pin(board, number).written[-1][1]


def test_the_board_is_dark_and_silent_at_first() -> None:
    settings = mock_settings()
    board = recording_board(settings)
    for number in (settings.green, settings.red, settings.buzzer):
        assert last(board, number) == 0.0
    board.close()


def test_brightness_scales_and_a_faint_light_stays_one() -> None:
    settings = mock_settings(brightness=0.1)
    board = recording_board(settings)
    board.set(LightState(green=1.0, red=0.05))
    assert last(board, settings.green) == pytest.approx(0.1)
    assert last(board, settings.red) == 0.01
    board.set(DARK)
    assert last(board, settings.red) == 0.0
    board.close()


def test_brightness_none_is_dark() -> None:
    settings = mock_settings(brightness=0.0)
    board = recording_board(settings)
    board.set(LightState(green=1.0, red=1.0))
    assert {state for _, state in pin(board, settings.green).written} == {0.0}
    board.close()


def test_a_light_that_is_wired_to_the_supply_is_lit_by_a_low_pin() -> None:
    settings = mock_settings(green_active_high=False)
    board = recording_board(settings)
    assert last(board, settings.green) == 1.0
    board.set(LightState(green=0.75))
    assert last(board, settings.green) == 0.25
    board.set(DARK)
    assert last(board, settings.green) == 1.0
    board.close()


@pytest.mark.parametrize(("volume", "duty"), [(1.0, 0.5), (0.6, 0.3), (0.0, 0.0)])
def test_volume_is_the_duty_cycle(volume: float, duty: float) -> None:
    settings = mock_settings(volume=volume)
    board = recording_board(settings)
    board.set(LightState(pitch=880.0))
    assert last(board, settings.buzzer) == pytest.approx(duty)
    board.set(DARK)
    assert last(board, settings.buzzer) == 0.0
    assert pin(board, settings.buzzer).tuned[-1][1] == SILENT_HZ
    board.close()


def test_a_buzzer_wired_to_the_supply_is_silent_at_a_high_pin() -> None:
    settings = mock_settings(buzzer_active_high=False)
    board = recording_board(settings)
    assert last(board, settings.buzzer) == 1.0
    board.set(LightState(pitch=880.0))
    assert last(board, settings.buzzer) == pytest.approx(0.7)
    board.set(DARK)
    assert last(board, settings.buzzer) == 1.0
    board.close()


def test_pitches_stay_within_what_the_driver_can_do() -> None:
    factory = MockFactory(pin_class=MockPWMPin)
    buzzer = Buzzer(18, active_high=True, volume=1.0, factory=factory)
    for hertz, played in ((440.0, 440.0), (1.0, MIN_HZ), (50_000.0, MAX_HZ)):
        buzzer.pitch = hertz
        assert factory.pin(18).frequency == played
        assert buzzer.pitch == hertz
    buzzer.close()


def test_only_what_changed_is_written() -> None:
    settings = mock_settings()
    board = recording_board(settings)
    board.set(LightState(green=0.5))
    written = len(pin(board, settings.red).written), len(pin(board, settings.buzzer).written)
    board.set(LightState(green=0.7))
    assert written == (
        len(pin(board, settings.red).written),
        len(pin(board, settings.buzzer).written),
    )
    board.close()


def test_close_lets_the_pins_go() -> None:
    settings = mock_settings()
    factory = MockFactory(pin_class=MockPWMPin)
    IndicatorBoard(settings, factory).close()
    IndicatorBoard(settings, factory).close()
    assert factory.pin(settings.green).function == "input"


def test_a_pin_that_is_taken_is_named_and_the_others_let_go() -> None:
    settings = mock_settings()
    factory = MockFactory(pin_class=MockPWMPin)
    other = IndicatorBoard(mock_settings(green=5, red=6), factory)
    with pytest.raises(GpioError, match=r"gpio\.buzzer = 18: pin is not available") as refused:
        IndicatorBoard(settings, factory)
    assert "\n" not in str(refused.value)
    other.close()
    IndicatorBoard(settings, factory).close()


def test_a_light_that_is_taken_is_named() -> None:
    factory = MockFactory(pin_class=MockPWMPin)
    other = IndicatorBoard(mock_settings(buzzer=5), factory)
    with pytest.raises(GpioError, match=r"gpio\.green = 17"):
        IndicatorBoard(mock_settings(), factory)
    other.close()


def test_pins_without_pulse_width_modulation_are_refused() -> None:
    with pytest.raises(GpioError, match=r"gpio\.green"):
        IndicatorBoard(mock_settings(), MockFactory())


def test_mock_is_the_factory_that_was_asked_for() -> None:
    factory = open_factory("mock")
    assert isinstance(factory, MockFactory)
    assert issubclass(factory.pin_class, MockPWMPin)


def test_pins_that_are_none_remember_nothing_of_what_was_shown() -> None:
    settings = mock_settings()
    board = IndicatorBoard(settings)
    for step in range(100):
        board.set(LightState(green=step % 2, red=step % 3 / 2, pitch=440.0 + step))
    assert {len(board.factory.pin(number).states) for number in (17, 27, 18)} == {1}
    assert board.factory.pin(settings.green).state == 1.0
    board.close()


def without_lgpio() -> bool:
    return not any((Path(folder) / "lgpio.py").is_file() for folder in sys.path)


@pytest.mark.skipif(not without_lgpio(), reason="lgpio is installed here")
def test_lgpio_that_is_missing_is_an_error_and_no_other_factory() -> None:
    with pytest.raises(GpioError, match="lgpio is not installed; run"):
        IndicatorBoard(GpioSettings(factory="lgpio"))


@pytest.mark.skipif(
    without_lgpio() or Path("/proc/device-tree/model").exists(), reason="no lgpio, or a Pi"
)
def test_lgpio_without_a_chip_is_an_error_and_no_other_factory() -> None:
    with pytest.raises(GpioError, match="lgpio finds no GPIO chip"):
        IndicatorBoard(GpioSettings(factory="lgpio"))
