"""Stores events one by one and says each aloud once it is durable; arguments: folder, events."""

import sys
from functools import partial
from pathlib import Path

from wireunit import Signer, attempt

from edge.mqtt.outbox import Outbox, Reader


def main(folder: Path, events: int) -> None:
    signer = Signer(folder)
    box = Outbox(folder / "outbox.db", 90, 100, signing_key=folder / "signing.key")
    reader = Reader(folder / "outbox.db")
    for _ in range(events):
        (row,) = box.append(partial(signer.sealer.event, attempt()))
        sys.stdout.write(f"{row.sequence}\n")
        sys.stdout.flush()
        if row.sequence % 16 == 0:
            reader.set_delivered(row.sequence - 8)
        box.tidy(None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
