"""Light and sound: a person says whether they are there, or a wire back to another pin does."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from gpiozero import DigitalInputDevice

from edge.appliance.doctor.context import DiagnosticContext
from edge.appliance.doctor.result import DiagnosticCode, DiagnosticResult, failed, ok, skipped
from edge.errors import ErrorCode, GpioError
from edge.gpio.board import IndicatorBoard
from edge.gpio.patterns import DARK, LightState

SHOWN_S = 1.0
SAMPLES, EVERY_S = 60, 0.003  # of a wire back
LEAST_SHARE = 0.1  # of the samples that has to differ between on and off


@dataclass(frozen=True, slots=True)
class Actuator:
    """One thing to try."""

    name: str
    light: LightState
    question: str
    code: DiagnosticCode
    do: str


PARTS = (
    Actuator(
        "green",
        LightState(green=1.0),
        "Is the green light on",
        DiagnosticCode.LIGHT,
        "see gpio.green; wiring",
    ),
    Actuator(
        "red",
        LightState(red=1.0),
        "Is the red light on",
        DiagnosticCode.LIGHT,
        "see gpio.red; wiring",
    ),
    Actuator(
        "buzzer",
        LightState(pitch=440.0),
        "Does the buzzer sound",
        DiagnosticCode.SOUND,
        "see gpio.buzzer; wiring",
    ),
)


def signs(patient: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Try each light and the buzzer."""
    if patient.bulletin is not None:
        for part in PARTS:
            yield skipped(part.name, "the daemon has the pins", "systemctl stop senyum, then again")
        return
    if patient.ask is None and not patient.loopback:
        for part in PARTS:
            yield skipped(part.name, "nobody to ask", "run it at a terminal, or with --loopback")
        return
    loud = patient.settings.gpio.model_copy(update={"brightness": 1.0, "volume": 1.0})
    try:
        board = patient.open_board(loud)
    except GpioError as error:
        yield failed("pins", ErrorCode.PINS_LOST, str(error))
        return
    with closing(board):
        for part in PARTS:
            yield _try(patient, part, board)


def _try(patient: DiagnosticContext, part: Actuator, board: IndicatorBoard) -> DiagnosticResult:
    pin = patient.loopback.get(part.name)
    if pin is not None:
        return _measure(part, board, pin)
    if patient.ask is None:
        return skipped(part.name, "nobody to ask", f"give --loopback {part.name}=PIN")
    board.set(part.light)
    try:
        seen = patient.ask(part.question)
    finally:
        board.set(DARK)
    if seen:
        return ok(part.name, "seen" if part.light.pitch is None else "heard")
    return failed(part.name, part.code, "not there", part.do)


def _measure(part: Actuator, board: IndicatorBoard, pin: int) -> DiagnosticResult:
    try:
        wire = DigitalInputDevice(pin, pull_up=False, pin_factory=board.factory)
    except Exception as error:  # noqa: BLE001 - lgpio.error is an Exception and nothing else
        return failed(part.name, ErrorCode.PINS_LOST, f"pin {pin} cannot be had ({error})")
    with closing(wire):
        shares = []
        for light in (DARK, part.light):
            board.set(light)
            time.sleep(EVERY_S)
            shares.append(_share(wire))
        board.set(DARK)
    off, on = shares
    text = f"pin {pin} is high for {off:.0%} of the time when off, {on:.0%} when on"
    if abs(on - off) < LEAST_SHARE:
        return failed(part.name, part.code, text, part.do, off=off, on=on)
    return ok(part.name, text, off=off, on=on)


def _share(wire: DigitalInputDevice) -> float:
    high = 0
    for _ in range(SAMPLES):
        high += bool(wire.value)
        time.sleep(EVERY_S)
    return high / SAMPLES
