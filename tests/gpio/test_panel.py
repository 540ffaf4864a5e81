"""The panel with its thread, on recording pins, in real time."""

import itertools
import threading
import time
from collections.abc import Callable

import pytest
from gpiozero.pins.mock import MockFactory
from pins import RecordingPin, mock_settings, pin, recording_board

from edge.errors import GpioError
from edge.gpio.board import IndicatorBoard
from edge.gpio.cue_player import CuePlayer
from edge.gpio.patterns import note
from edge.settings import GpioSettings
from edge.types import Cue, CueName

SETTINGS = mock_settings()
SLACK_S = 0.06  # this machine has other work as well


def wait_until(reached: Callable[[], bool], timeout: float = 3.0) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_show_returns_at_once_and_the_light_follows_at_once() -> None:
    board = recording_board(SETTINGS)
    green = pin(board, SETTINGS.green)
    with CuePlayer(SETTINGS, board) as panel:
        time.sleep(0.02)
        before = time.monotonic()
        panel.show(Cue(CueName.RECORDED))
        returned = time.monotonic()
        wait_until(lambda: green.written[-1][1] == 1.0)
    assert returned - before < 0.02
    lit = next(at for at, state in green.written if state == 1.0)
    assert lit - before < SLACK_S


def test_not_known_is_two_blinks_and_two_low_notes_in_time() -> None:
    board = recording_board(SETTINGS)
    red, buzzer = pin(board, SETTINGS.red), pin(board, SETTINGS.buzzer)
    with CuePlayer(SETTINGS, board) as panel:
        panel.show(Cue(CueName.NOT_KNOWN))
        time.sleep(1.15)
    changes = [at for at, _ in red.written[1:]]
    assert [state for _, state in red.written[1:5]] == [1.0, 0.0, 1.0, 0.0]
    for (a, b), seconds in zip(itertools.pairwise(changes[:4]), [0.3, 0.2, 0.3], strict=True):
        assert b - a == pytest.approx(seconds, abs=SLACK_S)
    pitches = [hertz for _, hertz in buzzer.tuned if hertz not in (None, 100.0)]
    assert pitches == [note("A3")] * 2
    assert all(state in (0.0, 0.3) for _, state in buzzer.written)
    assert pin(board, SETTINGS.green).written[-1][1] in (0.0, 0.1)


def test_a_stronger_cue_replaces_a_weaker_at_the_pins() -> None:
    board = recording_board(SETTINGS)
    green, red = pin(board, SETTINGS.green), pin(board, SETTINGS.red)
    with CuePlayer(SETTINGS, board) as panel:
        panel.show(Cue(CueName.NOT_KNOWN))
        wait_until(lambda: red.written[-1][1] == 1.0)
        panel.show(Cue(CueName.RECORDED))
        wait_until(lambda: green.written[-1][1] == 1.0)
        assert red.written[-1][1] == 0.0


def test_the_light_follows_the_smile() -> None:
    board = recording_board(SETTINGS)
    green = pin(board, SETTINGS.green)
    with CuePlayer(SETTINGS, board) as panel:
        for frame in range(15):
            panel.show(Cue(CueName.SMILE_ASKED, frame / 15))
            time.sleep(1 / 30)
        levels = [state for _, state in green.written]
    assert levels[:-1] == sorted(levels[:-1])
    assert 0.2 < max(levels) <= 0.3
    assert len(set(levels)) > 5


@pytest.mark.parametrize("name", list(CueName))
def test_close_turns_everything_off_in_mid_cue(name: CueName) -> None:
    board = recording_board(SETTINGS)
    pins = [pin(board, n) for n in (SETTINGS.green, SETTINGS.red, SETTINGS.buzzer)]
    panel = CuePlayer(SETTINGS, board)
    panel.show(Cue(name, 1.0))
    wait_until(lambda: any(p.written[-1][1] > 0 for p in pins))
    before = time.monotonic()
    panel.close()
    assert time.monotonic() - before < 0.3
    assert [p.written[-1][1] for p in pins] == [0.0] * 3
    assert [p.state for p in pins] == [0.0] * 3
    assert "panel" not in {t.name for t in threading.enumerate()}
    panel.close()


def test_an_error_inside_the_with_block_turns_everything_off() -> None:
    board = recording_board(SETTINGS)
    green = pin(board, SETTINGS.green)

    def fail_in_mid_cue() -> None:
        with CuePlayer(SETTINGS, board) as panel:
            panel.show(Cue(CueName.RECORDED))
            wait_until(lambda: green.written[-1][1] == 1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_mid_cue()
    assert green.written[-1][1] == 0.0


class BreakingPin(RecordingPin):
    """A red light whose pin goes away when it is to be lit."""

    def _set_state(self, value: float) -> None:
        if value > 0:
            raise OSError(5, "Input/output error")
        super()._set_state(value)


def test_pins_that_are_lost_are_told_to_the_next_who_shows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board = IndicatorBoard(SETTINGS, MockFactory(pin_class=BreakingPin))
    panel = CuePlayer(SETTINGS, board)
    panel.show(Cue(CueName.NOT_KNOWN))
    wait_until(lambda: "panel" not in {t.name for t in threading.enumerate()})
    with pytest.raises(GpioError, match="the pins were lost"):
        panel.show(Cue(CueName.RECORDED))
    assert "cannot reach its pins" in caplog.text
    panel.close()


class StuckPin(RecordingPin):
    """A pin whose driver hangs."""

    stuck = threading.Event()

    def _set_state(self, value: float) -> None:
        if value > 0:
            self.stuck.wait(1.0)
        super()._set_state(value)


def test_neither_show_nor_close_waits_for_a_driver_that_hangs() -> None:
    board = IndicatorBoard(SETTINGS, MockFactory(pin_class=StuckPin))
    panel = CuePlayer(SETTINGS, board)
    began = time.monotonic()
    for _ in range(5):
        panel.show(Cue(CueName.RECORDED))
        time.sleep(0.005)
    assert time.monotonic() - began < 0.1
    began = time.monotonic()
    panel.close()
    assert time.monotonic() - began < 0.35
    StuckPin.stuck.set()
    wait_until(lambda: "panel" not in {t.name for t in threading.enumerate()})


def test_the_settings_choose_the_board() -> None:
    panel = CuePlayer(GpioSettings(factory="mock"))
    panel.show(Cue(CueName.IDLE))
    panel.close()
