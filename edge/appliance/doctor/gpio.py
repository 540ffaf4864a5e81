"""Checks LEDs and buzzer: a person confirms them, or a wire back to another pin measures them."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from gpiozero import DigitalInputDevice

from edge.appliance.doctor.diagnostics import (
    DiagnosticCode,
    DiagnosticContext,
    DiagnosticResult,
    failed,
    ok,
    skipped,
)
from edge.errors import ErrorCode, GpioError
from edge.gpio.board import IndicatorBoard
from edge.gpio.patterns import DARK, LightState

SHOWN_S = 1.0
SAMPLES, SAMPLE_S = 60, 0.003  # of a loopback pin
MIN_DIFFERENCE = 0.1  # between the shares of high samples when on and when off


@dataclass(frozen=True, slots=True)
class Actuator:
    """An output to test."""

    name: str
    light: LightState
    question: str
    code: DiagnosticCode
    remedy: str


ACTUATORS = (
    Actuator(
        "green",
        LightState(green=1.0),
        "Is the green light on",
        DiagnosticCode.LIGHT,
        "check gpio.green and the wiring",
    ),
    Actuator(
        "red",
        LightState(red=1.0),
        "Is the red light on",
        DiagnosticCode.LIGHT,
        "check gpio.red and the wiring",
    ),
    Actuator(
        "buzzer",
        LightState(pitch=440.0),
        "Does the buzzer sound",
        DiagnosticCode.SOUND,
        "check gpio.buzzer and the wiring",
    ),
)


def check_actuators(context: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Test each LED and the buzzer."""
    if context.daemon_status is not None:
        for part in ACTUATORS:
            yield skipped(part.name, "the daemon uses the pins", "stop it: systemctl stop senyum")
        return
    if context.ask is None and not context.loopback:
        for part in ACTUATORS:
            yield skipped(part.name, "needs a person to confirm", "use a terminal, or --loopback")
        return
    full = context.settings.gpio.model_copy(update={"brightness": 1.0, "volume": 1.0})
    try:
        board = context.open_board(full)
    except GpioError as error:
        yield failed("pins", ErrorCode.PINS_LOST, str(error))
        return
    with closing(board):
        for part in ACTUATORS:
            yield _test(context, part, board)


def _test(context: DiagnosticContext, part: Actuator, board: IndicatorBoard) -> DiagnosticResult:
    pin = context.loopback.get(part.name)
    if pin is not None:
        return _measure(part, board, pin)
    if context.ask is None:
        return skipped(part.name, "needs a person to confirm", f"give --loopback {part.name}=PIN")
    board.set(part.light)
    try:
        confirmed = context.ask(part.question)
    finally:
        board.set(DARK)
    if confirmed:
        return ok(part.name, "confirmed")
    return failed(part.name, part.code, "not confirmed", part.remedy)


def _measure(part: Actuator, board: IndicatorBoard, pin: int) -> DiagnosticResult:
    try:
        wire = DigitalInputDevice(pin, pull_up=False, pin_factory=board.factory)
    except Exception as error:  # noqa: BLE001 - lgpio.error is an Exception and nothing else
        return failed(part.name, ErrorCode.PINS_LOST, f"pin {pin} is not available ({error})")
    with closing(wire):
        shares = []
        for light in (DARK, part.light):
            board.set(light)
            time.sleep(SAMPLE_S)
            shares.append(_share(wire))
        board.set(DARK)
    off, on = shares
    text = f"pin {pin} is high {off:.0%} of the time when off, {on:.0%} when on"
    if abs(on - off) < MIN_DIFFERENCE:
        return failed(part.name, part.code, text, part.remedy, off=off, on=on)
    return ok(part.name, text, off=off, on=on)


def _share(wire: DigitalInputDevice) -> float:
    high = 0
    for _ in range(SAMPLES):
        high += bool(wire.value)
        time.sleep(SAMPLE_S)
    return high / SAMPLES
