"""Camera, light and sound: looked at, asked about, or measured over a wire back."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from diagnostic_fixture import Still, make_context, make_status, noise, outcome
from gpiozero.pins.mock import MockFactory, MockPWMPin

from edge.appliance.doctor.camera import check_camera
from edge.appliance.doctor.gpio import check_actuators
from edge.errors import GpioError
from edge.gpio.board import IndicatorBoard
from edge.settings import GpioSettings


@pytest.mark.parametrize(
    ("still", "found"),
    [
        (Still(noise(110, 30)), ("good", None)),
        (Still(noise(4, 2)), ("bad", "picture-dark")),
        (Still(noise(254, 4)), ("bad", "picture-bright")),
        (Still(np.full((240, 320), 120, np.uint8)), ("bad", "picture-blurred")),
        (Still(noise(110, 30), fps=3.0), ("bad", "camera-slow")),
        (Still(noise(110, 30), fails=True), ("bad", "camera-lost")),
    ],
)
def test_a_camera_that_is_free_is_looked_through(
    tmp_path: Path, still: Still, found: tuple[str, str | None]
) -> None:
    asked = {"camera": {"fps": 10.0}}  # seven a second are enough, on a busy machine too
    assert outcome(check_camera(make_context(tmp_path, asked, open_camera=still))) == found
    assert still.closed


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ("good", None)),
        ({"frame_rate": 7.0}, ("good", None)),  # nobody is there
        ({"level": 5.0}, ("bad", "picture-dark")),
        ({"codes": ["camera-lost"], "fault": "frozen"}, ("bad", "camera-lost")),
        ({"level": None}, ("unchecked", None)),
    ],
)
def test_a_daemon_is_asked_what_it_sees(
    tmp_path: Path, changes: dict[str, Any], found: tuple[str, str | None]
) -> None:
    def opener(_: object) -> Any:
        raise AssertionError("the camera is the daemon's")

    context = make_context(tmp_path, daemon_status=make_status(**changes), open_camera=opener)
    assert outcome(check_camera(context)) == found


class Wired(MockPWMPin):  # type: ignore[misc] # gpiozero publishes no types
    """A pin whose input follows another pin."""

    wires: ClassVar[dict[int, int]] = {}

    def _get_state(self) -> Any:
        source = self.wires.get(self._number)
        return super()._get_state() if source is None else self.factory.pin(source).state > 0


def wired(**wires: int) -> Any:
    """Return what opens a board on which pins of `wires` follow the parts."""
    numbers = {"green": 17, "red": 27, "buzzer": 18}
    kind = type("Wire", (Wired,), {"wires": {pin: numbers[part] for part, pin in wires.items()}})
    return lambda settings: IndicatorBoard(settings, MockFactory(pin_class=kind))


def test_a_wire_back_measures_light_and_sound(tmp_path: Path) -> None:
    loopback = {"green": 22, "red": 23, "buzzer": 24}
    whole = make_context(tmp_path, loopback=loopback, open_board=wired(**loopback))
    assert [outcome(each) for each in check_actuators(whole)] == [("good", None)] * 3
    cut = make_context(tmp_path, loopback=loopback, open_board=wired(green=22))
    assert [outcome(each) for each in check_actuators(cut)] == [
        ("good", None),
        ("bad", "light-dead"),
        ("bad", "sound-dead"),
    ]


def test_a_person_says_what_they_see(tmp_path: Path) -> None:
    asked = []

    def answer(question: str) -> bool:
        asked.append(question)
        return "red" not in question

    found = list(check_actuators(make_context(tmp_path, ask=answer, open_board=wired())))
    assert [outcome(each) for each in found] == [
        ("good", None),
        ("bad", "light-dead"),
        ("good", None),
    ]
    assert asked == ["Is the green light on", "Is the red light on", "Does the buzzer sound"]


def test_nobody_is_asked_where_nobody_is_and_the_daemon_keeps_its_pins(tmp_path: Path) -> None:
    assert {each.status for each in check_actuators(make_context(tmp_path))} == {"unchecked"}
    working = make_context(tmp_path, daemon_status=make_status(), ask=lambda _: True)
    assert all("systemctl stop senyum" in each.remedy for each in check_actuators(working))


def test_pins_that_somebody_has(tmp_path: Path) -> None:
    def opener(_: GpioSettings) -> IndicatorBoard:
        raise GpioError("gpio.green = 17: pin is not available (busy)")

    (found,) = check_actuators(make_context(tmp_path, ask=lambda _: True, open_board=opener))
    assert outcome(found) == ("bad", "pins-lost")
