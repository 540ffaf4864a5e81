"""What our own receiver says of a message, in the words of the contract."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from contract.vector import EMPTY, GENUINE, UNSIGNED
from edge.contract.keys import KeySet
from edge.contract.topics import UnitName
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import Message, ReceivedAt
from senyum_central.ingest.notices import NoticeKind
from senyum_central.store.event_store import Store


def instant(received: int) -> ReceivedAt:
    """Return when a message came, in seconds since 1970."""
    return ReceivedAt(datetime.fromtimestamp(received, UTC), 0)


def verdict(desk: Ingestor, topic: str, content: bytes, received: int) -> str:
    """Return the one word that the notices of a message come to."""
    notices = desk.ingest([Message(topic, content)], instant(received))
    for notice in notices:
        if notice.kind is NoticeKind.REFUSED:
            assert notice.flaw is not None
            return notice.flaw.value
        if notice.kind in {NoticeKind.FORK, NoticeKind.DUPLICATE}:
            return notice.kind.value
    if not content:
        assert notices == [], "an empty message says nothing"
        return EMPTY
    if content.startswith(b"{"):
        assert [notice.kind for notice in notices] == [NoticeKind.STATE], "a Last Will is shown"
        return UNSIGNED
    return GENUINE


def missing(store: Store, topic: str) -> str:
    """Return the numbers that are missing of the unit of a topic."""
    try:
        source = UnitName(*topic.split("/")[2:5]).source
    except (TypeError, ValueError):
        return "-"
    standing = store.chain_statuses().get(source)
    gaps = standing.missing if standing else ()
    text = [str(gap.first) if len(gap) == 1 else f"{gap.first}-{gap.last}" for gap in gaps]
    return ",".join(text) or "-"


def verdict_of_own_receiver(
    path: Path, keys: KeySet, topic: str, content: bytes, received: int
) -> tuple[str, str]:
    """Return verdict and missing numbers of one message that comes to a new store at `path`."""
    with closing(Store(path)) as store:
        word = verdict(Ingestor(store, keys, 60.0, instant(received)), topic, content, received)
        return word, missing(store, topic)
