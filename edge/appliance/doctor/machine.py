"""Power, heat, clock, disk, memory limits: what the kernel and the firmware tell."""

import os
import shutil
from pathlib import Path

from edge.appliance.doctor.context import DiagnosticContext
from edge.appliance.doctor.result import DiagnosticCode, DiagnosticResult, failed, ok, skipped
from edge.errors import ErrorCode
from edge.status.status_file import STALE_S
from edge.system.clock import ClockState

HOT_C = 80.0  # the firmware slows the processor down from here on
WORN = 9  # tenths of its life that a card says it has used
_MIB = 1024 * 1024
_AIR = "give the case air, and take it out of the sun"
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
# The firmware's word: bits 0 to 3 are now, 16 to 19 since the boot.
_UNDER_VOLTAGE, _THROTTLED = 0x1, 0x2 | 0x4 | 0x8
_EVER_UNDER_VOLTAGE = 0x1_0000


def power(patient: DiagnosticContext) -> DiagnosticResult:
    """Look for under-voltage and throttling, by the firmware or by its voltage sensor."""
    text = patient.text(_FIRMWARE)
    if text is None:
        alarm = _voltage_alarm(patient)
        if alarm is None:
            return skipped("power", "this machine has no sensor for it")
        now, ever, slow = alarm, False, False
    else:
        word = int(text, 16)
        now, slow = bool(word & _UNDER_VOLTAGE), bool(word & _THROTTLED)
        ever = bool(word & _EVER_UNDER_VOLTAGE)
    if now or ever:
        when = "now" if now else "at least once since the boot"
        do = "use the Raspberry Pi's own supply and a short, thick cable"
        return failed(
            "power", DiagnosticCode.UNDER_VOLTAGE, f"the voltage is too low {when}", do, word=text
        )
    if slow:
        return failed(
            "power", DiagnosticCode.THROTTLED, "the processor is slowed down", _AIR, word=text
        )
    return ok("power", "the voltage holds", word=text)


def _voltage_alarm(patient: DiagnosticContext) -> bool | None:
    for name in (patient.root / "sys/class/hwmon").glob("*/name"):
        folder = str(name.parent.relative_to(patient.root))
        if patient.text(f"{folder}/name") == "rpi_volt":
            return patient.text(f"{folder}/in0_lcrit_alarm") == "1"
    return None


def temperature(patient: DiagnosticContext) -> DiagnosticResult:
    """Feel the processor's heat."""
    check, text = "temperature", patient.text("sys/class/thermal/thermal_zone0/temp")
    if text is None:
        return skipped(check, "this machine has no sensor for it")
    celsius = int(text) / 1000
    said = f"{celsius:.0f} °C"
    if celsius >= HOT_C:
        return failed(check, DiagnosticCode.HOT, said, _AIR, celsius=celsius)
    return ok(check, said, celsius=celsius)


def clock(patient: DiagnosticContext) -> DiagnosticResult:
    """Whether a time service disciplines the clock."""
    state = patient.clock.read().state
    if state is ClockState.SYNCHRONIZED:
        return ok("clock", "a time service keeps it")
    do = "let the unit reach a time server: timedatectl timesync-status"
    return failed("clock", DiagnosticCode.CLOCK, "no time service keeps it", do)


def disk(patient: DiagnosticContext) -> DiagnosticResult:
    """Room, and whether the file system can be written."""
    folder, reserve = patient.settings.outbox.file.parent, patient.settings.outbox.min_free_mib
    try:
        flags, free = os.statvfs(folder).f_flag, shutil.disk_usage(folder).free // _MIB
    except OSError as error:
        do = "provision the unit: senyum provision"
        return failed("disk", ErrorCode.STORE_FAILED, f"{folder}: {error.strerror}", do)
    if flags & os.ST_RDONLY:
        do = "look for errors of the card: journalctl -k; replace it"
        return failed("disk", DiagnosticCode.READ_ONLY, f"{folder} cannot be written", do)
    if free < reserve:
        do = "make room; events are not removed before their time"
        return failed(
            "disk", ErrorCode.DISK_FULL, f"{free} MiB free of {reserve} needed", do, free=free
        )
    return ok("disk", f"{free} MiB free", free=free)


def wear(patient: DiagnosticContext) -> DiagnosticResult:
    """Ask the card for its age, and the file system for errors."""
    check = "disk wear"
    device = _device(patient, patient.settings.outbox.file.parent)
    if device is None:
        return skipped(check, "not on a disk of its own")
    errors = patient.text(f"sys/fs/ext4/{device.name}/errors_count")
    if errors not in (None, "0"):
        do = "copy the outbox and the keys, and replace the card"
        return failed(check, DiagnosticCode.DISK_ERRORS, f"{errors} errors of the file system", do)
    for folder in (device, device.parent):  # a partition's disk is the folder above it
        life = patient.text(str((folder / "device/life_time").relative_to(patient.root)))
        if life is not None:
            used = max(int(part, 16) for part in life.split())
            said = f"about {used * 10} % of the card's life is used"
            if used >= WORN:
                do = "replace the card at the next visit"
                return failed(check, DiagnosticCode.WORN, said, do, tenths=used)
            return ok(check, said, tenths=used)
    return skipped(check, "this card does not tell it")


def _device(patient: DiagnosticContext, folder: Path) -> Path | None:
    """Return the block device below a folder, as a folder of /sys."""
    try:
        number = folder.stat().st_dev
        found = patient.root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
        return found.resolve(strict=True)
    except OSError:
        return None


def memory(patient: DiagnosticContext) -> DiagnosticResult:
    """Whether the service's memory limit is in force; Raspberry Pi OS has to be told."""
    check = "memory limit"
    controllers = patient.text("sys/fs/cgroup/cgroup.controllers")
    if controllers is None:
        return skipped(check, "this machine has no unified control groups")
    if "memory" not in controllers.split():
        do = "add cgroup_enable=memory to /boot/firmware/cmdline.txt, and reboot"
        return failed(check, DiagnosticCode.MEMORY, "the kernel enforces none", do)
    limit = patient.text("sys/fs/cgroup/system.slice/senyum.service/memory.max")
    if limit is None or limit == "max":
        return ok(check, "the kernel can enforce it")
    return ok(check, f"{int(limit) // _MIB} MiB", bytes=int(limit))


def daemon(patient: DiagnosticContext) -> DiagnosticResult:
    """Whether the daemon runs and does its work."""
    found = patient.bulletin
    if found is None:
        do = "systemctl start senyum; why it ended says: journalctl -u senyum -n 20"
        return failed("daemon", DiagnosticCode.NOT_RUNNING, "does not run", do)
    if found.age_s > STALE_S:
        do = "systemd restarts it after a minute; then: journalctl -u senyum -n 20"
        text = f"has said nothing for {found.age_s:.0f} s"
        return failed("daemon", DiagnosticCode.HANGS, text, do)
    return ok("daemon", found.sentence)
