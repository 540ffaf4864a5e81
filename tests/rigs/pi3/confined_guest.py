"""Run as root by rig.service in the emulated Raspberry Pi, whose first process is systemd.

Has the shipped services play on the pins, one after the other, and tells the host when.
"""

import subprocess
import time
from pathlib import Path

FAULT, CLOSED, DAEMON = "senyum-fault", "senyum-fault-closed", "senyum"
WATCHED_S = 8.0  # three times the fault light's rhythm
PATIENCE_S = 120.0
CHIP = Path("/sys/bus/gpio/devices/gpiochip0/of_node/compatible")


def say(*words: object) -> None:
    with Path("/dev/console").open("w", encoding="utf-8") as console:
        console.write("RIG " + " ".join(str(word) for word in words).replace("\n", " ") + "\n")


def systemctl(*words: str) -> str:
    return subprocess.run(
        ["systemctl", *words], check=False, capture_output=True, text=True
    ).stdout.strip()


def wait_for(unit: str, words: str) -> str:
    """Wait until the journal of a unit has `words`, and return all of it."""
    deadline = time.monotonic() + PATIENCE_S
    command = ["journalctl", f"--unit={unit}", "--no-pager", "--output=cat"]
    while True:
        told = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        if words in told or time.monotonic() > deadline:
            return told
        time.sleep(0.5)


def main() -> None:
    say("CHIP", CHIP.read_bytes().split(b"\0")[0].decode())
    wait_for(FAULT, "out of order")
    say("BEGIN", FAULT)
    time.sleep(WATCHED_S)
    say("END", FAULT)
    systemctl("stop", FAULT)

    systemctl("start", CLOSED)
    say("BEGIN", CLOSED)
    told = wait_for(CLOSED, "cannot be shown")
    say("END", CLOSED)
    say("REFUSED", "no GPIO chip" in told)
    systemctl("stop", CLOSED)

    systemctl("start", FAULT)
    wait_for(FAULT, "out of order")
    systemctl("start", DAEMON)
    wait_for(DAEMON, "opening")
    say("BEGIN", DAEMON)
    told = wait_for(DAEMON, "played")
    say("END", DAEMON)
    say("PLAYED", "played" in told, *([] if "played" in told else [told]))
    for unit in (FAULT, DAEMON):
        verdict = subprocess.run(
            ["systemd-analyze", "security", "--no-pager", f"{unit}.service"],
            check=False,
            capture_output=True,
            text=True,
        ).stdout
        say("EXPOSURE", unit, verdict.rpartition("exposure level for ")[2])
    say("DONE")
    systemctl("poweroff", "--force", "--force")


main()
