"""Rejected messages: a bounded number is kept, because a later key set may accept them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import ColumnElement, delete, func, select

from senyum_central.store.database import Database
from senyum_central.store.schema import REFUSED, REFUSED_BEFORE

# Bounds the disk space, because anyone with publish permission can cause rejections.
REJECTIONS_KEPT = 10_000
_OVER = 0.01  # share of the limit that may be kept beyond it for a while
_TOPIC_KEPT = 256  # characters, more than any topic of the contract has
_WHY_KEPT = 500  # characters


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected message."""

    topic: str
    flaw: str
    why: str
    payload: bytes
    size: int  # bytes of the whole payload, of which `payload` may be the first part
    sha256: str  # hex, of the whole payload

    @classmethod
    def from_message(
        cls, topic: str, flaw: str, why: str, payload: bytes, keep: int
    ) -> "Rejection":
        """Describe a message; only the first `keep` bytes of the payload are kept."""
        return cls(
            _storable(topic[:_TOPIC_KEPT]),
            flaw,
            _storable(why[:_WHY_KEPT]),
            payload[:keep],
            len(payload),
            sha256(payload).hexdigest(),
        )


def _storable(words: str) -> str:
    """Return untrusted text in a form that both databases accept."""
    return words.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")


class RejectionStore:
    """The rejected messages of a store: the newest `limit`, and a count of the others.

    Call the writing methods inside a transaction.
    """

    def __init__(self, db: Database, limit: int) -> None:
        self._db = db
        self._limit = limit
        self._added_since_check = limit  # kept since it was last looked how many there are

    def add(self, rejection: Rejection, now: str) -> bool:
        """Store a message, or count a repeated one; return whether it is new."""
        again = REFUSED.update().where(_same(rejection))
        if self._db.run(again.values(times=REFUSED.c.times + 1, last_at=now)).rowcount:
            return False
        self._db.run(
            REFUSED.insert(),
            {
                "topic": rejection.topic,
                "flaw": rejection.flaw,
                "sha256": rejection.sha256,
                "first_at": now,
                "last_at": now,
                "times": 1,
                "why": rejection.why,
                "size": rejection.size,
                "payload": rejection.payload,
            },
        )
        self._prune()
        return True

    def remove(self, rejection: Rejection) -> None:
        """Remove a message that has been accepted since."""
        self._db.run(delete(REFUSED).where(_same(rejection)))

    def with_flaws(self, flaws: Sequence[str]) -> Iterator[Rejection]:
        """Yield the messages with one of these flaws, one at a time, in the order of receipt."""
        names = ("topic", "flaw", "why", "payload", "size", "sha256")
        query = (
            select(REFUSED.c.number, *(REFUSED.c[name] for name in names))
            .where(REFUSED.c.flaw.in_(flaws))
            .order_by(REFUSED.c.number)
            .limit(1)
        )
        number = 0
        while True:
            with self._db.reading():
                rows = self._db.rows(query.where(REFUSED.c.number > number))
            if not rows:
                return
            number, *found = rows[0]
            yield Rejection(*found)

    def count(self, flaw: str, times: int) -> None:
        """Count messages that are not stored."""
        put = self._db.put(REFUSED_BEFORE)
        more = {"times": REFUSED_BEFORE.c.times + put.excluded.times}
        self._db.run(
            put.on_conflict_do_update(index_elements=["flaw"], set_=more),
            {"flaw": flaw, "times": times},
        )

    def _prune(self) -> None:
        """Look now and then how many are kept: to count them for each would delay good messages."""
        self._added_since_check += 1
        if self._added_since_check < self._limit * _OVER:
            return
        self._added_since_check = 0
        surplus = self._db.one(select(func.count()).select_from(REFUSED)) - self._limit
        if surplus <= 0:
            return
        number = REFUSED.c.number
        oldest = self._db.one(select(number).order_by(number).limit(1).offset(surplus - 1))
        removed = select(REFUSED.c.flaw, func.sum(REFUSED.c.times)).where(number <= oldest)
        for flaw, times in self._db.rows(removed.group_by(REFUSED.c.flaw)):
            self.count(flaw, int(times))
        self._db.run(delete(REFUSED).where(number <= oldest))


def _same(rejection: Rejection) -> ColumnElement[bool]:
    return (
        (REFUSED.c.topic == rejection.topic)
        & (REFUSED.c.flaw == rejection.flaw)
        & (REFUSED.c.sha256 == rejection.sha256)
    )
