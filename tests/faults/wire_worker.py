"""One unit's wire side as a process to be killed: stores events until there are enough.

Arguments: folder, port of the broker, how many events.
"""

import signal
import sys
import time
from pathlib import Path

from wireunit import WireUnit, attempt

from edge.settings import BrokerSettings


def main(folder: str, port: str, events: str) -> None:
    with WireUnit(Path(folder), BrokerSettings(host="127.0.0.1", port=int(port))) as unit:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while (head := unit.outbox.head().sequence) < int(events):
            unit.recorder.submit(attempt(head))
            time.sleep(0.02)
        while True:  # the parent ends it
            time.sleep(1.0)


def leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, leave)
    main(*sys.argv[1:])
