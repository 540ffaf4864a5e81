"""Write part of the store as a self-contained export: JSON Lines, checked by `senyum verify`.

    {"kind":"senyum-export","version":1,"written":…,"first":day,"last":day,"site":…,"unit":…}
    {"kind":"before","topic":…,"received_at":…,"jws":…}   the event before the first of a unit
    {"kind":"event", …}                                   each event of the period, by number
    {"kind":"after", …}                                   the event after the last
    {"kind":"head", …}                                    or, without such an event: state or health
    {"kind":"end","lines":…,"sha256":…}                   of all lines before, with their ends

Units come in the order of their names. All numbers of a unit between its first and its last event
of the period are there, so that a missing one shows. `before`, `after` and `head` are reader: the
chain of signatures goes through them, so that nothing can be taken from either end. The last line
detects accidental damage and changes that no signature covers; it is not a signature.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any, BinaryIO

from edge.contract.envelope import MAX_BYTES
from edge.contract.topics import TopicKind
from senyum_central.evidence.entries import Defect, DefectLog, Note, UnitEvidence
from senyum_central.evidence.reader import EvidenceReader
from senyum_central.store.gaps import Gap
from senyum_central.store.queries import EventReader, Period

KIND = "senyum-export"
VERSION = 1
HEADER = ("kind", "version", "written", "first", "last", "site", "unit")
MESSAGE = ("kind", "topic", "received_at", "jws")
END = ("kind", "lines", "sha256")


def encode(line: dict[str, Any]) -> bytes:
    """Return the canonical encoding of a line; `senyum verify` accepts no other."""
    return json.dumps(line, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"


def write_bundle(
    out: BinaryIO,
    event_reader: EventReader,
    evidence: EvidenceReader,
    period: Period,
    log: DefectLog,
    *,
    site: str | None = None,
    name: str | None = None,
    written: datetime | None = None,
) -> int:
    """Write the events of a period, optionally of one site or one unit name; return how many.

    Rows are written as stored, even if they differ from what was signed. A row that cannot be
    written as a line is left out and reported. Raises StoreError, and OSError from `out`.
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
    for line in chain([header], _lines(event_reader, evidence.units(site, name), log)):
        content = encode(line)
        hasher.update(content)
        out.write(content)
        lines += 1
        events += line["kind"] == "event"
    out.write(encode({"kind": "end", "lines": lines, "sha256": hasher.hexdigest()}))
    return events


def _lines(
    event_reader: EventReader, units: Iterable[UnitEvidence], log: DefectLog
) -> Iterator[dict[str, Any]]:
    for found in units:
        # If no event of the period is left, the events around the gap prove that.
        numbers = found.numbers or [end for gap in found.gaps for end in (gap.first, gap.last)]
        if not numbers:
            continue
        unit, gap = found.unit, Gap(min(numbers), max(numbers))
        before, after = event_reader.neighbours(unit, gap)
        topic = unit.topic(TopicKind.EVENT)
        parts = [("before", before), ("event", event_reader.chain(unit, gap)), ("after", after)]
        for kind, links in parts:
            for link in links:
                line = _message(kind, topic, link.received_at, link.jws)
                if line is not None:
                    yield line
                else:
                    text = f"event {link.sequence}: holds no signed message, and is left out"
                    log.report(Defect(Note.ALTERED, unit.source, text))
        head = None if after else event_reader.head(unit)
        if head is not None:
            line = _message("head", head.topic, head.received_at, head.jws)
            if line is not None:
                yield line


def _message(kind: str, topic: Any, received_at: Any, jws: Any) -> dict[str, Any] | None:
    """Return the line of a message; None if the row does not hold one."""
    parts = (topic, received_at, jws)
    if not all(isinstance(part, str) and len(part) <= MAX_BYTES for part in parts):
        return None
    return {"kind": kind, "topic": topic, "received_at": received_at, "jws": jws}
