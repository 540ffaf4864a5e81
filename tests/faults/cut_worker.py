"""Stores events, rosters and keys and says each aloud once it is durable.

Arguments: folder, events. Says `event N`, `roster VERSION` and `key NUMBER KID`.
"""

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from wireunit import Signer, attempt

from edge.contract.keys import SigningKey
from edge.gallery import DIMENSION
from edge.outbox.store import Outbox, OutboxReader
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.roster.keys import make_key

PEOPLE = 40  # so that the file takes more than one block
KEYS = 8  # in turns, the older ones removed: the disk is small


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def some_roster(version: int) -> Roster:
    templates = np.zeros((1, DIMENSION), np.float32)
    templates[0, version % DIMENSION] = 1.0
    people = tuple(
        Person(f"{number:032x}", "199001012020121001", "A", False, templates)
        for number in range(PEOPLE)
    )
    return Roster(version, datetime(2026, 1, 1, tzinfo=UTC), "a" * 64, people)


def main(folder: Path, events: int) -> None:
    signer = Signer(folder)
    box = Outbox(folder / "outbox.db", 90, 100, signing_key=folder / "signing.key")
    reader = OutboxReader(folder / "outbox.db")
    key = make_key(folder / "roster.key", "roster key")
    for number in range(1, events + 1):
        (row,) = box.append(partial(signer.sealer.event, attempt()))
        say(f"event {row.sequence}")
        if row.sequence % 16 == 0:
            reader.set_delivered(row.sequence - 8)
        box.delete_expired(None)
        if number % 2 == 0:
            save(folder / "roster", key, some_roster(number))
            say(f"roster {number}")
        else:
            (folder / f"key-{number - KEYS}").unlink(missing_ok=True)
            made = SigningKey.load_or_create(
                folder / f"key-{number}", ("Ed25519", "ES256")[number % 4 // 2]
            )
            say(f"key {number} {made.kid}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
