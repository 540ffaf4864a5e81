"""The first process of the emulated Raspberry Pi: plays every cue on its pins, then powers off.

It tells the host when each begins and ends, in lines on the serial console.
"""

import ctypes
import os
import sys
import time
import traceback
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
POWER_OFF = 0x4321FEDC


def mount() -> None:
    for kind, at in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
        LIBC.mount(kind.encode(), at.encode(), kind.encode(), 0, None)


def say(*words: object) -> None:
    sys.stdout.write("RIG " + " ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def play() -> None:
    # Here, where what fails is told.
    from plan import cues, seconds_of  # noqa: PLC0415

    from edge.gpio.cue_player import CuePlayer  # noqa: PLC0415
    from edge.settings import GpioSettings  # noqa: PLC0415

    say("MODEL", Path("/proc/device-tree/model").read_text(encoding="ascii").strip("\0"))
    chip = Path("/sys/bus/gpio/devices/gpiochip0/of_node/compatible")
    say("CHIP", chip.read_bytes().split(b"\0")[0].decode())
    for cue in cues():
        with CuePlayer(GpioSettings()) as panel:
            panel.show(cue)
            say("BEGIN", cue.name, cue.level)
            time.sleep(seconds_of(cue))
            say("END", cue.name, cue.level)
        time.sleep(0.3)
    say("DONE")


mount()
os.chdir("/run")  # lgpio leaves a pipe in its working folder
try:
    play()
except BaseException:  # noqa: BLE001 - the first process must not end without a word
    say("FAILED", traceback.format_exc().replace("\n", " | "))
os.sync()
LIBC.reboot(POWER_OFF)
time.sleep(60)
