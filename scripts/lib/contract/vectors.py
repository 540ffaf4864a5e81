"""Test vectors: messages and what a verifier has to say of each.

`vectors.tsv` is a table that every language can read, the messages lie beside it byte for byte.
"""

import csv
import io
import json
from typing import Final

from contract import cast, chains, edges, good, moving, orders, rosters, wrong
from contract.vector import Vector

COLUMNS: Final = (
    "name", "series", "topic", "received", "message", "verdict", "missing", "about",
)  # fmt: skip


def every() -> tuple[Vector, ...]:
    """Return all vectors, those of one series in the order of their arrival."""
    return (
        *good.vectors(),
        *chains.vectors(),
        *moving.vectors(),
        *wrong.vectors(),
        *edges.vectors(),
    )


def files() -> dict[str, bytes]:
    """Return every file of the vectors by its path in docs/contract."""
    names: dict[bytes, str] = {}
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
    writer.writerow(COLUMNS)
    for vector in every():
        message = names.setdefault(vector.message, f"messages/{vector.name}")
        writer.writerow(
            (
                vector.name,
                vector.series or vector.name,
                vector.topic,
                vector.received,
                message,
                vector.verdict,
                vector.missing,
                vector.about,
            )
        )
    registered = cast.public_keys()["keys"]
    # What a unit's rosters are encrypted to stands there too, and verifies nothing.
    registered.append(rosters.encryption_key().registration(cast.DOOR_1))
    keys = {"keys.json": {"keys": registered}, "private-keys-for-tests.json": cast.private_keys()}
    return {
        "vectors/vectors.tsv": table.getvalue().encode("ascii"),
        **{
            f"vectors/{name}": (json.dumps(s, indent=2) + "\n").encode() for name, s in keys.items()
        },
        **{f"vectors/{name}": message for message, name in names.items()},
        **orders.files(),
    }
