"""What the kernel tells, from files like its own."""

import os
from pathlib import Path

import pytest
from diagnostic_fixture import kernel, make_context, make_status, outcome

from edge.appliance.doctor import system
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
    assert outcome(system.check_power(make_context(tmp_path))) == found


def test_power_by_the_sensor_or_not_at_all(tmp_path: Path) -> None:
    assert outcome(system.check_power(make_context(tmp_path))) == ("unchecked", None)
    sensor = "sys/class/hwmon/hwmon1"
    kernel(tmp_path, {f"{sensor}/name": "rpi_volt", f"{sensor}/in0_lcrit_alarm": "0"})
    assert outcome(system.check_power(make_context(tmp_path))) == ("good", None)
    kernel(tmp_path, {f"{sensor}/in0_lcrit_alarm": "1"})
    assert outcome(system.check_power(make_context(tmp_path))) == ("bad", "under-voltage")


def test_temperature(tmp_path: Path) -> None:
    assert outcome(system.check_temperature(make_context(tmp_path))) == ("unchecked", None)
    for heat, found in (("54321", ("good", None)), ("81000", ("bad", "too-hot"))):
        kernel(tmp_path, {HEAT: heat})
        assert outcome(system.check_temperature(make_context(tmp_path))) == found


def test_the_clock(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert outcome(system.check_clock(context)) == ("good", None)
    context.clock.state = ClockState.UNSYNCHRONIZED  # type: ignore[attr-defined] # a stepped one
    assert outcome(system.check_clock(context)) == ("bad", "clock-unsynchronized")


def test_the_disk(tmp_path: Path) -> None:
    assert outcome(system.check_disk(make_context(tmp_path))) == ("good", None)
    greedy = {"outbox": {"file": tmp_path / "outbox.db", "min_free_mib": 99_999}}
    if system.check_disk(make_context(tmp_path)).details["free"] < 99_999:
        assert outcome(system.check_disk(make_context(tmp_path, greedy))) == (
            "bad",
            "disk-full",
        )
    gone = {"outbox": {"file": tmp_path / "none" / "outbox.db"}}
    assert outcome(system.check_disk(make_context(tmp_path, gone))) == ("bad", "store-failed")


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    there = {"outbox": {"file": "/proc/sys/outbox.db"}}  # a mount that a container has read-only
    if os.statvfs("/proc/sys").f_flag & os.ST_RDONLY:
        assert outcome(system.check_disk(make_context(tmp_path, there))) == (
            "bad",
            "disk-read-only",
        )


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
    assert outcome(system.check_disk_wear(make_context(tmp_path))) == found


def test_memory_limits(tmp_path: Path) -> None:
    assert outcome(system.check_memory_limit(make_context(tmp_path))) == ("unchecked", None)
    kernel(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids"})
    found = system.check_memory_limit(make_context(tmp_path))
    assert outcome(found) == ("bad", "memory-unlimited")
    assert "cgroup_enable=memory" in found.remedy
    kernel(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "cpu memory pids"})
    assert system.check_memory_limit(make_context(tmp_path)).text == "the kernel can enforce it"
    limit = "sys/fs/cgroup/system.slice/senyum.service/memory.max"
    kernel(tmp_path, {limit: str(320 * 1024 * 1024)})
    assert system.check_memory_limit(make_context(tmp_path)).text == "320 MiB"


def test_the_daemon(tmp_path: Path) -> None:
    assert outcome(system.check_daemon(make_context(tmp_path))) == (
        "bad",
        "daemon-not-running",
    )
    assert outcome(system.check_daemon(make_context(tmp_path, daemon_status=make_status()))) == (
        "good",
        None,
    )
    old = make_status(written_ns=make_status().written_ns - 60_000_000_000)
    assert outcome(system.check_daemon(make_context(tmp_path, daemon_status=old))) == (
        "bad",
        "daemon-hangs",
    )
