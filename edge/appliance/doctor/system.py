"""Checks power, temperature, clock, disk and memory limits, as kernel and firmware report them."""

import os
import shutil
from pathlib import Path

from edge.appliance.doctor.diagnostics import (
    DiagnosticCode,
    DiagnosticContext,
    DiagnosticResult,
    failed,
    ok,
    skipped,
)
from edge.errors import ErrorCode
from edge.status.status_file import STALE_S
from edge.system.clock import ClockState

HOT_C = 80.0  # the firmware throttles the processor from here on
WORN = 9  # tenths of the card's life that are used, as the card reports
_MIB = 1024 * 1024
_COOL = "ventilate the case and shade it from the sun"
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
# Bits of the firmware's word: 0 to 3 are the current state, 16 to 19 since the boot.
_UNDER_VOLTAGE, _THROTTLED = 0x1, 0x2 | 0x4 | 0x8
_EVER_UNDER_VOLTAGE = 0x1_0000


def check_power(context: DiagnosticContext) -> DiagnosticResult:
    """Check for under-voltage and throttling, by the firmware or the voltage sensor."""
    text = context.read_text(_FIRMWARE)
    if text is None:
        alarm = _voltage_alarm(context)
        if alarm is None:
            return skipped("power", "no sensor on this machine")
        now, ever, slow = alarm, False, False
    else:
        word = int(text, 16)
        now, slow = bool(word & _UNDER_VOLTAGE), bool(word & _THROTTLED)
        ever = bool(word & _EVER_UNDER_VOLTAGE)
    if now or ever:
        when = "now" if now else "at least once since the boot"
        remedy = "use the official power supply and a short, thick cable"
        return failed(
            "power", DiagnosticCode.UNDER_VOLTAGE, f"under-voltage {when}", remedy, word=text
        )
    if slow:
        return failed(
            "power", DiagnosticCode.THROTTLED, "the processor is throttled", _COOL, word=text
        )
    return ok("power", "the voltage is sufficient", word=text)


def _voltage_alarm(context: DiagnosticContext) -> bool | None:
    for name in (context.root / "sys/class/hwmon").glob("*/name"):
        folder = str(name.parent.relative_to(context.root))
        if context.read_text(f"{folder}/name") == "rpi_volt":
            return context.read_text(f"{folder}/in0_lcrit_alarm") == "1"
    return None


def check_temperature(context: DiagnosticContext) -> DiagnosticResult:
    """Check the processor's temperature."""
    check, text = "temperature", context.read_text("sys/class/thermal/thermal_zone0/temp")
    if text is None:
        return skipped(check, "no sensor on this machine")
    celsius = int(text) / 1000
    reading = f"{celsius:.0f} °C"
    if celsius >= HOT_C:
        return failed(check, DiagnosticCode.HOT, reading, _COOL, celsius=celsius)
    return ok(check, reading, celsius=celsius)


def check_clock(context: DiagnosticContext) -> DiagnosticResult:
    """Check that a time service disciplines the clock."""
    state = context.clock.read().state
    if state is ClockState.SYNCHRONIZED:
        return ok("clock", "synchronized")
    remedy = "make a time server reachable; see: timedatectl timesync-status"
    return failed("clock", DiagnosticCode.CLOCK, "not synchronized", remedy)


def check_disk(context: DiagnosticContext) -> DiagnosticResult:
    """Check the free space, and that the file system is writable."""
    folder, reserve = context.settings.outbox.file.parent, context.settings.outbox.min_free_mib
    try:
        flags, free = os.statvfs(folder).f_flag, shutil.disk_usage(folder).free // _MIB
    except OSError as error:
        remedy = "provision the unit: senyum provision"
        return failed("disk", ErrorCode.STORE_FAILED, f"{folder}: {error.strerror}", remedy)
    if flags & os.ST_RDONLY:
        remedy = "check the card for errors (journalctl -k) and replace it"
        return failed("disk", DiagnosticCode.READ_ONLY, f"{folder} is read-only", remedy)
    if free < reserve:
        remedy = "free disk space; events are kept until they expire"
        return failed(
            "disk", ErrorCode.DISK_FULL, f"{free} MiB free of {reserve} needed", remedy, free=free
        )
    return ok("disk", f"{free} MiB free", free=free)


def check_disk_wear(context: DiagnosticContext) -> DiagnosticResult:
    """Check the card's wear and the file system's error count."""
    check = "disk wear"
    device = _device(context, context.settings.outbox.file.parent)
    if device is None:
        return skipped(check, "no block device found")
    errors = context.read_text(f"sys/fs/ext4/{device.name}/errors_count")
    if errors not in (None, "0"):
        remedy = "back up the outbox and the keys, and replace the card"
        return failed(check, DiagnosticCode.DISK_ERRORS, f"{errors} file system errors", remedy)
    for folder in (device, device.parent):  # a partition's disk is the folder above it
        life = context.read_text(str((folder / "device/life_time").relative_to(context.root)))
        if life is not None:
            used = max(int(part, 16) for part in life.split())
            text = f"about {used * 10} % of the card's life is used"
            if used >= WORN:
                remedy = "replace the card at the next visit"
                return failed(check, DiagnosticCode.WORN, text, remedy, tenths=used)
            return ok(check, text, tenths=used)
    return skipped(check, "the card does not report it")


def _device(context: DiagnosticContext, folder: Path) -> Path | None:
    """Return the block device of a folder, as a folder of /sys."""
    try:
        number = folder.stat().st_dev
        found = context.root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
        return found.resolve(strict=True)
    except OSError:
        return None


def check_memory_limit(context: DiagnosticContext) -> DiagnosticResult:
    """Check that the kernel enforces the service's memory limit (off in Raspberry Pi OS)."""
    check = "memory limit"
    controllers = context.read_text("sys/fs/cgroup/cgroup.controllers")
    if controllers is None:
        return skipped(check, "no unified control groups (cgroup v2)")
    if "memory" not in controllers.split():
        remedy = "add cgroup_enable=memory to /boot/firmware/cmdline.txt, and reboot"
        return failed(check, DiagnosticCode.MEMORY, "not enforced by the kernel", remedy)
    limit = context.read_text("sys/fs/cgroup/system.slice/senyum.service/memory.max")
    if limit is None or limit == "max":
        return ok(check, "the kernel can enforce it")
    return ok(check, f"{int(limit) // _MIB} MiB", bytes=int(limit))


def check_daemon(context: DiagnosticContext) -> DiagnosticResult:
    """Check that the daemon runs and updates its status."""
    status = context.daemon_status
    if status is None:
        remedy = "run systemctl start senyum; for the reason: journalctl -u senyum -n 20"
        return failed("daemon", DiagnosticCode.NOT_RUNNING, "not running", remedy)
    if status.age_s > STALE_S:
        remedy = "systemd restarts it within a minute; then: journalctl -u senyum -n 20"
        text = f"no status update for {status.age_s:.0f} s"
        return failed("daemon", DiagnosticCode.HANGS, text, remedy)
    return ok("daemon", status.sentence)
