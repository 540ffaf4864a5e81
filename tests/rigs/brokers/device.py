"""A device's wire side as a process: device.py FOLDER PORT PROTOCOL.

Each number on its input is how many events to record; it answers with the length of its chain.
It obeys the commands of FOLDER/authority.key.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from obedient import Obedient

from edge.contract.keys import SigningKey
from edge.settings import BrokerSettings


def main(folder: Path, port: str, protocol: str) -> None:
    broker = BrokerSettings.model_validate(
        {"host": "127.0.0.1", "port": port, "protocol": protocol}
    )
    authority = SigningKey.load_or_create(folder / "authority.key")
    with ExitStack() as stack:
        unit = Obedient(folder / "device", authority, stack).start(broker, stack)
        for line in sys.stdin:
            unit.record(int(line))
            sys.stdout.write(f"{unit.outbox.head().sequence}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
