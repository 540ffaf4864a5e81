"""Write generated messages with our own receiver's verdict on each, for the consumers to judge.

    PYTHONPATH=scripts/lib python -m contract.generated FOLDER [--count N] [--seed N]

FOLDER is a copy of docs/contract; the tables and the messages in it are replaced. Messages are
those of the signing fuzzer: of every kind, good and with up to three faults, each to a store of
its own. Keys are those of the vectors.
"""

import argparse
import csv
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from contract import cast
from contract.own import verdict_of_own_receiver
from contract.vector import RECEIVED
from contract.vectors import COLUMNS
from edge.contract.envelope import RejectReason
from edge.contract.keys import KeySet
from senyum_lab.fuzzing.signed_events.generate import FuzzMessage, FuzzUnit, MessageGenerator

MEMORY = Path("/dev/shm")  # noqa: S108 - a store for each message, and none to be kept


def messages(seed: int, count: int) -> Iterator[FuzzMessage]:
    """Yield messages as a receiver of events, states and health gets them."""
    units = [
        FuzzUnit(unit.source, key)
        for unit, key in ((cast.DOOR_1, cast.ED25519), (cast.DOOR_2, cast.ES256))
    ]
    generator = MessageGenerator(seed, units)
    number = 0
    while count:
        made = generator.make(number)
        number += 1
        # Numbers in a table are text, and a topic is one field of it.
        if made.kind != "reply" and made.topic.isascii() and made.topic.isprintable():
            count -= 1
            yield made


def write(folder: Path, seed: int, count: int) -> None:
    """Replace the vectors of a copy of docs/contract."""
    keys = KeySet.load(folder / "vectors" / "keys.json")
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch,
        (folder / "vectors" / "vectors.tsv").open("w", encoding="ascii", newline="") as table,
    ):
        lines = csv.writer(table, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
        lines.writerow(COLUMNS)
        for made in messages(seed, count):
            name = f"generated-{seed}-{made.number}"
            (folder / "vectors" / "messages" / name).write_bytes(made.payload)
            verdict, missing = verdict_of_own_receiver(
                Path(scratch) / name, keys, made.topic, made.payload, RECEIVED
            )
            if verdict == RejectReason.PAYLOAD and missing != "-":
                continue  # kept for a later contract, which the consumers leave out
            path = f"messages/{name}"
            about = made.kind
            lines.writerow((name, name, made.topic, RECEIVED, path, verdict, missing, about))


def main() -> int:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))  # noqa: S311
    options = parser.parse_args()
    write(options.folder, options.seed, options.count)
    print(f"seed {options.seed}: {options.count} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
