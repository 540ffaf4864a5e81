import json
from pathlib import Path

import pytest

from edge.appliance.watchdog.power_monitor import Sensors, changes
from edge.errors import ErrorCode
from edge.status.health import power_warning
from edge.system.power import STALE_NS, PowerReading, load_power_reading, save_power_reading


class Sys:
    """A /sys of our own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("class/thermal/thermal_zone0/temp", "48312")

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def throttled(self, word: str) -> None:
        self.write("devices/platform/soc/soc:firmware/get_throttled", word)


@pytest.fixture
def sys_folder(tmp_path: Path) -> Sys:
    return Sys(tmp_path)


def read(sys_folder: Sys, before: PowerReading | None = None) -> PowerReading:
    return Sensors(sys_folder.folder).read(before)


def test_what_nothing_tells_is_none(tmp_path: Path) -> None:
    seen = Sensors(tmp_path).read()
    assert (seen.temperature_c, seen.under_voltage, seen.throttled) == (None, None, None)
    assert not seen.hot


@pytest.mark.parametrize(
    ("word", "under_voltage", "throttled"),
    [
        ("0", False, False),
        ("1", True, False),
        ("2", False, True),
        ("4", False, True),
        ("8", False, True),
        ("5", True, True),
        ("50000", False, False),  # it was so since the boot, and is no more
    ],
)
def test_the_firmware_tells_what_is_so_now(
    sys_folder: Sys, word: str, under_voltage: bool, throttled: bool
) -> None:
    sys_folder.throttled(word)
    seen = read(sys_folder)
    assert (seen.under_voltage, seen.throttled) == (under_voltage, throttled)
    assert seen.temperature_c == 48.312


def test_the_voltage_sensor_tells_where_the_firmware_does_not(sys_folder: Sys) -> None:
    sys_folder.write("class/hwmon/hwmon0/name", "cpu_thermal")
    sys_folder.write("class/hwmon/hwmon1/name", "rpi_volt")
    sys_folder.write("class/hwmon/hwmon1/in0_lcrit_alarm", "1")
    assert read(sys_folder).under_voltage is True
    sys_folder.write("class/hwmon/hwmon1/in0_lcrit_alarm", "0")
    assert read(sys_folder).under_voltage is False


def test_heat_ends_below_where_it_began(sys_folder: Sys) -> None:
    def at(temperature: int, before: PowerReading | None) -> PowerReading:
        sys_folder.write("class/thermal/thermal_zone0/temp", str(temperature))
        return read(sys_folder, before)

    seen = at(79_999, None)
    assert not seen.hot
    seen = at(80_000, seen)
    assert seen.hot
    seen = at(76_000, seen)
    assert seen.hot
    assert not at(74_900, seen).hot


@pytest.mark.parametrize("text", ["", "warm", "0x"])
def test_nonsense_is_unknown(sys_folder: Sys, text: str) -> None:
    sys_folder.write("class/thermal/thermal_zone0/temp", text)
    sys_folder.throttled(text)
    seen = read(sys_folder)
    assert (seen.temperature_c, seen.throttled) == (None, None)


def test_each_change_is_told_once() -> None:
    fine = PowerReading(1, 50.0, under_voltage=False, throttled=False)
    bad = PowerReading(2, 81.0, under_voltage=True, throttled=True, hot=True)
    assert changes(None, fine) == []
    assert [line.split()[0] for _, line in changes(fine, bad)] == ["under-voltage:", "the", "too"]
    assert changes(bad, bad) == []
    assert len(changes(bad, fine)) == 3
    assert changes(None, PowerReading(1)) == []


def test_the_daemon_reads_what_was_written(tmp_path: Path, sys_folder: Sys) -> None:
    file = tmp_path / "power.json"
    sys_folder.throttled("1")
    seen = read(sys_folder)
    save_power_reading(seen, file)
    assert load_power_reading(file) == seen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"monotonic_ns": "soon"}',
        json.dumps({"monotonic_ns": 1, "surprise": True}),
        json.dumps({"monotonic_ns": 1 << 62}),  # of another boot
    ],
)
def test_what_does_not_count_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "power.json"
    file.write_text(text)
    assert load_power_reading(file) is None


def test_what_is_stale_is_none(tmp_path: Path, sys_folder: Sys) -> None:
    file = tmp_path / "power.json"
    seen = read(sys_folder)
    save_power_reading(PowerReading(seen.monotonic_ns - STALE_NS - 1), file)
    assert load_power_reading(file) is None
    assert load_power_reading(tmp_path / "missing") is None


def test_health_is_told_of_the_supply_before_the_heat() -> None:
    assert power_warning(None) is None
    assert power_warning(PowerReading(1, 50.0, under_voltage=False, throttled=True)) is None
    assert (
        power_warning(PowerReading(1, 81.0, under_voltage=True, hot=True))
        is ErrorCode.UNDER_VOLTAGE
    )
    assert power_warning(PowerReading(1, 81.0, hot=True)) is ErrorCode.TOO_HOT
