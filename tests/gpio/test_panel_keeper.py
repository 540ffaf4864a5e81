"""The panel's keeper, on recording pins, in real time."""

import time
from collections.abc import Callable

import pytest
from pins import mock_settings, pin, recording_board

from edge.errors import GpioError, PinBusyError
from edge.gpio.board import IndicatorBoard
from edge.gpio.cue_player import CuePlayer
from edge.gpio.reconnecting_panel import RETRY_S, ReconnectingPanel
from edge.settings import GpioSettings
from edge.types import Cue, CueName

SETTINGS = mock_settings()


def wait_until(reached: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def openings(*of: IndicatorBoard | GpioError) -> Callable[[], CuePlayer]:
    """Return what opens a panel on each board in turn, or raises what is no board."""
    turns = iter(of)

    def opener() -> CuePlayer:
        match next(turns):
            case IndicatorBoard() as board:
                return CuePlayer(SETTINGS, board)
            case error:
                raise error

    return opener


class Torn(IndicatorBoard):
    """A board whose pins are lost as soon as a light is to be lit."""

    def set(self, light: object) -> None:
        raise OSError("the chip is gone")


def test_pins_that_are_taken_are_had_later() -> None:
    board = recording_board(SETTINGS)
    keeper = ReconnectingPanel(openings(PinBusyError("busy"), PinBusyError("busy still"), board))
    keeper.show(Cue(CueName.RECORDED))  # nowhere, and without an error
    assert keeper.fault == "busy"
    keeper.poll()
    assert keeper.fault == "busy", "the pins are not tried without a pause"

    def had() -> bool:
        keeper.poll()
        return keeper.fault is None

    started = time.monotonic()
    wait_until(had, 3 * RETRY_S)
    assert time.monotonic() - started > RETRY_S
    keeper.show(Cue(CueName.RECORDED))
    wait_until(lambda: pin(board, SETTINGS.green).written[-1][1] == 1.0)
    keeper.close()


def test_what_only_a_person_can_mend_is_raised_at_the_start() -> None:
    with pytest.raises(GpioError, match="no chip"):
        ReconnectingPanel(openings(GpioError("no chip")))


def test_pins_that_are_lost_later_are_a_fault_and_no_crash() -> None:
    keeper = ReconnectingPanel(openings(Torn(GpioSettings(factory="mock"))))

    def lost() -> bool:
        keeper.show(Cue(CueName.NOTICED))
        return keeper.fault is not None

    wait_until(lost)
    assert "the chip is gone" in str(keeper.fault)
    keeper.close()
