"""One unit's wire side as a process to be killed: stores events until there are enough.

Arguments: folder, port of the broker, how many events. Says `ready`, then `stored N` for each
event once it is durable, then `delivered` when the broker has taken them all. A line `replay A B`
on its input asks the archive for those numbers.
"""

import logging
import signal
import sys
import threading
import time
from pathlib import Path

from wireunit import WireUnit

from edge.mqtt.backoff import LinkTiming
from edge.outbox.replay import ReplayRequest
from edge.settings import BrokerSettings

RATE = 500.0  # events a second that are sent again
PACE = LinkTiming(
    health_interval=1.0,
    puback_timeout=2.0,
    operator_retry=0.4,
    failback_retry=0.4,
    quarantine_retry=0.2,
    credential_poll=0.1,
)


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main(folder: str, port: str, events: str) -> None:
    broker = BrokerSettings(host="127.0.0.1", port=int(port), keepalive=5)
    with WireUnit(Path(folder), broker, pace=PACE, replay_rate=RATE) as unit:
        threading.Thread(target=listen, args=(unit,), daemon=True).start()
        say("ready")
        before = unit.outbox.head().sequence
        for number in range(before + 1, int(events) + 1):
            unit.record(1)
            say(f"stored {number}")
        while unit.link.delivered < int(events):
            time.sleep(0.02)
        say("delivered")
        while True:  # the parent ends it
            time.sleep(1.0)


def listen(unit: WireUnit) -> None:
    for number, line in enumerate(sys.stdin):
        _, first, last = line.split()
        unit.link.request_replay(ReplayRequest(number, int(first), int(last)))


def leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    logging.disable()  # what the link has to say of the faults, nobody reads
    signal.signal(signal.SIGTERM, leave)
    main(*sys.argv[1:])
