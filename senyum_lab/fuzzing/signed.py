"""Targets that read signed messages: they accept only what was signed."""

import csv
from datetime import UTC, datetime
from pathlib import Path

from edge.contract.envelope import parse_will, verify
from edge.contract.events import OnlineStatus
from edge.contract.keys import KeySet
from edge.contract.topics import UnitName, parse
from edge.errors import EnvelopeError
from edge.mqtt.connection import parse_disconnect
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message, ReceivedAt
from senyum_central.ingest.notices import NoticeKind
from senyum_central.store.event_store import Store
from senyum_lab.fuzzing.mutate import Target, by_bytes, by_json, by_jws

VECTORS = Path(__file__).parents[2] / "docs" / "contract" / "vectors"
RECEIVED = datetime(2026, 8, 17, 5, 1, tzinfo=UTC)
_SPLIT = b"\n"  # between topic and message


def _vectors() -> list[bytes]:
    with (VECTORS / "vectors.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        row["topic"].encode() + _SPLIT + (VECTORS / row["message"]).read_bytes() for row in rows
    ]


def _accepted(content: bytes, keys: KeySet) -> bool:
    topic, _, token = content.partition(_SPLIT)
    try:
        verify(token, keys, topic.decode("utf-8", "replace"), RECEIVED)
    except EnvelopeError:
        return False
    return True


def targets(folder: Path) -> list[Target]:
    """Return the targets; `folder` is for their files."""
    keys = KeySet.load(VECTORS / "keys.json")
    every = _vectors()
    genuine = [vector for vector in every if _accepted(vector, keys)]
    tokens = [vector.partition(_SPLIT)[2] for vector in every]
    topics = sorted({vector.partition(_SPLIT)[0] for vector in every})
    wills = [token for token in tokens if token.startswith(b"{")]
    store = Store(folder / "central.db", refused_kept=100)
    desk = Ingestor(store, keys, 60.0, ReceivedAt(RECEIVED, 0))
    known = set(genuine)

    def message(content: bytes) -> bool:
        return _accepted(content, keys)

    def receive(content: bytes) -> bool:
        """Pass a message to a receiver, which may store only what was signed."""
        topic, _, token = content.partition(_SPLIT)
        all_notices = desk.ingest(
            [Message(topic.decode("utf-8", "replace"), token)], ReceivedAt(RECEIVED, 0)
        )
        new = [
            notice
            for notice in all_notices
            if notice.kind in (NoticeKind.EVENT, NoticeKind.DUPLICATE)
        ]
        return bool(new) and content not in known

    def topic(content: bytes) -> bool:
        """Parse a topic or a URN; an accepted one must round-trip."""
        text = content.decode("utf-8", "replace")
        try:
            unit, leaf = parse(text)
        except ValueError:
            pass
        else:
            return unit.topic(leaf) != text
        try:
            return UnitName.from_source(text).source != text
        except ValueError:
            return False

    def will(content: bytes) -> bool:
        try:
            return parse_will(content).status is not OnlineStatus.OFFLINE
        except EnvelopeError:
            return False

    def farewell(content: bytes) -> bool:
        code = parse_disconnect(content)
        return code is not None and not 0 <= code <= 255

    return [
        Target("message", 0.26, genuine, (by_jws, by_jws, by_bytes), message),
        Target(
            "wrong message",
            0.08,
            every,
            (by_jws, by_bytes),
            lambda c: message(c) and c not in known,
        ),
        Target("receiver", 0.10, every, (by_jws, by_bytes), receive),
        Target("topic", 0.06, [*topics, b"urn:senyum:a:b:c"], (by_bytes,), topic),
        Target("will", 0.05, wills, (by_json, by_bytes), will),
        Target(
            "goodbye",
            0.02,
            [b"\xd0\x00\xe0\x02\x97\x00", b"\x40\x02\x00\x01\xe0\x00"],
            (by_bytes,),
            farewell,
        ),
    ]
