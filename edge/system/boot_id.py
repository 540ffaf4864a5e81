"""The kernel's id of the present boot."""

from pathlib import Path


def boot_id() -> str:
    """Return a UUID that changes with every boot. Raises OSError."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
