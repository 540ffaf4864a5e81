"""Run in the daemon's place, as its user and under its confinement: two cues by our own pins."""

import sys
import time

from edge.gpio.cue_player import CuePlayer
from edge.settings import GpioSettings
from edge.types import Cue, CueName

DARK_S = 10.0  # for the host to be told before the service ends, and the fault light comes


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


say("opening")
time.sleep(3.0)  # for the host to be told
with CuePlayer(GpioSettings()) as panel:
    for name in (CueName.RECORDED, CueName.NOT_KNOWN):
        panel.show(Cue(name))
        time.sleep(4.0)
    say("played")
    time.sleep(DARK_S)
