"""Takes delivered rosters one by one and says each aloud once it is durable.

Arguments: folder, versions, people. Every roster erases the first person of the one before.
"""

import sys
from pathlib import Path

from rosters import EMBEDDER, KEY, person, roster

from edge.roster.codec import pack, stripped, unpack
from edge.roster.store import RosterStore


def people_of(version: int, count: int) -> range:
    """Return the serials of who is in a version."""
    return range(version, version + count)


def main(folder: Path, versions: int, count: int) -> None:
    keeper = RosterStore(folder / "roster.senyum", KEY, EMBEDDER)
    first = keeper.ledger.version + 1
    for version in range(first, first + versions):
        erased = person(version - 1).id
        people = [person(serial, 2) for serial in people_of(version, count)]
        plain = pack(stripped(roster(version, *people, tombstones={erased: version})))
        keeper.install(bytearray(plain), version, unpack(plain).digest, f"id-{version}")
        sys.stdout.write(f"{version}\n")
        sys.stdout.flush()
        if version % 3 == 0:
            keeper.receipt_sent()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
