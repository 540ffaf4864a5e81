"""A part of the store as a file that proves itself: JSON Lines, judged by `senyum verify`.

    {"kind":"senyum-export","version":1,"written":…,"first":day,"last":day,"site":…,"unit":…}
    {"kind":"before","topic":…,"received_at":…,"jws":…}   the event before the first of a unit
    {"kind":"event", …}                                   each event of the period, by number
    {"kind":"after", …}                                   the event after the last
    {"kind":"head", …}                                    or, if there is none: state or health
    {"kind":"end","lines":…,"sha256":…}                   of all lines before, with their ends

Units come in the order of their names. All numbers of a unit between its first and its last event
of the period are there, so that a missing one shows. `before`, `after` and `head` are evidence: the
chain of signatures goes through them, so that nothing can be taken from either end. The last line
finds what no signature covers, and accidents; it is no signature itself.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any, BinaryIO

from edge.central.gaps import Gap
from edge.central.shelf import Link, Period, Shelf
from edge.mqtt.topics import Leaf, UnitName

KIND = "senyum-export"
VERSION = 1
HEADER = ("kind", "version", "written", "first", "last", "site", "unit")
MESSAGE = ("kind", "topic", "received_at", "jws")
END = ("kind", "lines", "sha256")


def encode(line: dict[str, Any]) -> bytes:
    """Return the one spelling of a line that is accepted."""
    return json.dumps(line, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"


def write(
    out: BinaryIO,
    shelf: Shelf,
    period: Period,
    *,
    site: str | None = None,
    name: str | None = None,
    written: datetime | None = None,
) -> int:
    """Write the events of a period, perhaps of one site or of units of one name; returns how many.

    Raises StoreError, and OSError as `out` does.
    """
    hasher = hashlib.sha256()
    lines = events = 0
    header = {
        "kind": KIND,
        "version": VERSION,
        "written": (written or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "first": period.first.isoformat(),
        "last": period.last.isoformat(),
        "site": site,
        "unit": name,
    }
    for line in chain([header], _lines(shelf, shelf.units(site, name), period)):
        content = encode(line)
        hasher.update(content)
        out.write(content)
        lines += 1
        events += line["kind"] == "event"
    out.write(encode({"kind": "end", "lines": lines, "sha256": hasher.hexdigest()}))
    return events


def _lines(shelf: Shelf, units: list[UnitName], period: Period) -> Iterator[dict[str, Any]]:
    for unit in units:
        numbers = [item.event.number for item in shelf.items([unit], period)]
        if not numbers:
            continue
        gap = Gap(min(numbers), max(numbers))
        before, after = shelf.neighbours(unit, gap)
        topic = unit.topic(Leaf.EVENT)
        yield from (_message("before", topic, link) for link in before)
        yield from (_message("event", topic, link) for link in shelf.chain(unit, gap))
        yield from (_message("after", topic, link) for link in after)
        head = None if after else shelf.head(unit)
        if head is not None:
            yield {
                "kind": "head",
                "topic": head.topic,
                "received_at": head.received_at,
                "jws": head.jws,
            }


def _message(kind: str, topic: str, link: Link) -> dict[str, Any]:
    return {"kind": kind, "topic": topic, "received_at": link.received_at, "jws": link.jws}
