"""What the kernel tells, from files like its own."""

import os
from pathlib import Path

import pytest
from ward import bulletin, kernel, patient, said

from edge.appliance.doctor import machine
from edge.system.clock import ClockState

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
HEAT = "sys/class/thermal/thermal_zone0/temp"


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("0", ("good", None)),
        ("1", ("bad", "under-voltage")),
        ("50005", ("bad", "under-voltage")),
        ("50000", ("bad", "under-voltage")),  # since the boot
        ("8", ("bad", "throttled")),
    ],
)
def test_power_by_the_firmware(tmp_path: Path, word: str, found: tuple[str, str | None]) -> None:
    kernel(tmp_path, {THROTTLED: word})
    assert said(machine.power(patient(tmp_path))) == found


def test_power_by_the_sensor_or_not_at_all(tmp_path: Path) -> None:
    assert said(machine.power(patient(tmp_path))) == ("unchecked", None)
    sensor = "sys/class/hwmon/hwmon1"
    kernel(tmp_path, {f"{sensor}/name": "rpi_volt", f"{sensor}/in0_lcrit_alarm": "0"})
    assert said(machine.power(patient(tmp_path))) == ("good", None)
    kernel(tmp_path, {f"{sensor}/in0_lcrit_alarm": "1"})
    assert said(machine.power(patient(tmp_path))) == ("bad", "under-voltage")


def test_temperature(tmp_path: Path) -> None:
    assert said(machine.temperature(patient(tmp_path))) == ("unchecked", None)
    for heat, found in (("54321", ("good", None)), ("81000", ("bad", "too-hot"))):
        kernel(tmp_path, {HEAT: heat})
        assert said(machine.temperature(patient(tmp_path))) == found


def test_the_clock(tmp_path: Path) -> None:
    examined = patient(tmp_path)
    assert said(machine.clock(examined)) == ("good", None)
    examined.clock.state = ClockState.UNSYNCHRONIZED  # type: ignore[attr-defined] # a stepped one
    assert said(machine.clock(examined)) == ("bad", "clock-unsynchronized")


def test_the_disk(tmp_path: Path) -> None:
    assert said(machine.disk(patient(tmp_path))) == ("good", None)
    greedy = {"outbox": {"file": tmp_path / "outbox.db", "min_free_mib": 99_999}}
    if machine.disk(patient(tmp_path)).facts["free"] < 99_999:
        assert said(machine.disk(patient(tmp_path, greedy))) == ("bad", "disk-full")
    gone = {"outbox": {"file": tmp_path / "none" / "outbox.db"}}
    assert said(machine.disk(patient(tmp_path, gone))) == ("bad", "store-failed")


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    there = {"outbox": {"file": "/proc/sys/outbox.db"}}  # a mount that a container has read-only
    if os.statvfs("/proc/sys").f_flag & os.ST_RDONLY:
        assert said(machine.disk(patient(tmp_path, there))) == ("bad", "disk-read-only")


@pytest.mark.parametrize(
    ("life", "errors", "found"),
    [
        ("0x01 0x02", "0", ("good", None)),
        ("0x01 0x09", "0", ("bad", "disk-worn")),
        ("0x01 0x02", "3", ("bad", "disk-errors")),
        (None, "0", ("unchecked", None)),
    ],
)
def test_wear_of_the_disk_below(
    tmp_path: Path, life: str | None, errors: str, found: tuple[str, str | None]
) -> None:
    number = tmp_path.stat().st_dev
    device = "sys/devices/mmc0/block/mmcblk0"
    kernel(tmp_path, {f"{device}/mmcblk0p2/dev": "x", "sys/fs/ext4/mmcblk0p2/errors_count": errors})
    if life is not None:
        kernel(tmp_path, {f"{device}/device/life_time": life})
    link = tmp_path / "root" / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "root" / device / "mmcblk0p2")
    assert said(machine.wear(patient(tmp_path))) == found


def test_memory_limits(tmp_path: Path) -> None:
    assert said(machine.memory(patient(tmp_path))) == ("unchecked", None)
    kernel(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids"})
    found = machine.memory(patient(tmp_path))
    assert said(found) == ("bad", "memory-unlimited")
    assert "cgroup_enable=memory" in found.do
    kernel(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "cpu memory pids"})
    assert machine.memory(patient(tmp_path)).text == "the kernel can enforce it"
    limit = "sys/fs/cgroup/system.slice/senyum.service/memory.max"
    kernel(tmp_path, {limit: str(320 * 1024 * 1024)})
    assert machine.memory(patient(tmp_path)).text == "320 MiB"


def test_the_daemon(tmp_path: Path) -> None:
    assert said(machine.daemon(patient(tmp_path))) == ("bad", "daemon-not-running")
    assert said(machine.daemon(patient(tmp_path, bulletin=bulletin()))) == ("good", None)
    old = bulletin(written_ns=bulletin().written_ns - 60_000_000_000)
    assert said(machine.daemon(patient(tmp_path, bulletin=old))) == ("bad", "daemon-hangs")
