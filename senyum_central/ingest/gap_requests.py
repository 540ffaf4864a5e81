"""Request missing events from units, and record the requests in the store.

A reported gap is requested with the command `replay`, one request per unit at a time, whichever
receiver sent it. Gaps that are close together share a request. Events that do not arrive are
requested again with increasing delays; each arrival resets the count. Only units that sent a
message recently are asked. Finally a gap is given up with an alarm that quotes the unit's reply.

Receivers of one store claim a request and its command number in one transaction, so no request is
sent twice, and the numbers of their common key only increase.
"""

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import uuid6
from sqlalchemy import and_, bindparam, case, func, or_, select, text

from edge.contract.authority import Role, sign_order, signing_key
from edge.contract.commands import COMMAND_TYP, CommandName
from edge.contract.keys import SigningKey
from edge.contract.topics import COMMAND, UnitName
from senyum_central.ingest.message import Message, ReceivedAt
from senyum_central.ingest.notices import Notice, NoticeKind
from senyum_central.replies import ReplayReply
from senyum_central.store import schema
from senyum_central.store.event_store import Store
from senyum_central.store.gaps import Gap, describe_gaps
from senyum_central.store.missing_events import THIS_GAP
from senyum_central.store.schema import GAP

UNITS_PER_ROUND = 20  # asked at once by one receiver: a broker that lost its data causes many gaps
MAX_REQUESTS = 8  # requests for a gap before it is given up
FIRST_WAIT = timedelta(minutes=1)  # doubles each time
LONGEST_WAIT = timedelta(hours=1)
SLOWEST_REPLAY = 5.0  # events a second at which a unit may be replaying
MAX_SPAN = 5000  # numbers of one request
PAGE = 100  # gaps of a unit that are read at a time
MAX_RESENT = 200  # stored events that are resent rather than splitting a request
REQUEST_LIFETIME = timedelta(hours=1)  # a unit that was offline longer gets a new request


@dataclass(frozen=True, slots=True)
class ReplayRequestMessage:
    """A signed command."""

    id: str
    message: Message


@dataclass(frozen=True, slots=True)
class _Row:
    """A gap that is open and not given up."""

    unit: str
    gap: Gap
    asked: int
    wanted: int | None  # numbers that were missing when it was last asked for
    answer: str | None
    outage: str
    holes: list[Gap]  # what is still missing of it

    @property
    def key(self) -> dict[str, object]:
        return {"of": self.unit, "a": self.gap.first, "z": self.gap.last}

    @property
    def times(self) -> int:
        """Return how often it was requested without success; numbers that came reset the count."""
        came = self.wanted is not None and sum(map(len, self.holes)) < self.wanted
        return 0 if came else self.asked


_OPEN = and_(GAP.c.healed_at.is_(None), GAP.c.given_up_at.is_(None))
# From one unit to the next in the index, past all gaps of each.
_DUE = text("""
WITH RECURSIVE owner (unit) AS (
    SELECT min(unit) FROM gap WHERE healed_at IS NULL AND given_up_at IS NULL
    UNION ALL SELECT (
        SELECT min(gap.unit) FROM gap
        WHERE healed_at IS NULL AND given_up_at IS NULL AND gap.unit > owner.unit
    ) FROM owner WHERE owner.unit IS NOT NULL
)
SELECT unit FROM owner WHERE unit IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM gap WHERE gap.unit = owner.unit
        AND healed_at IS NULL AND given_up_at IS NULL AND ask_after > :now
)
""")
_THIS = GAP.update().where(THIS_GAP)


class ReplayAuthority:
    """Signs `replay` commands with a command authority's private key."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: Path) -> "ReplayAuthority":
        """Read the key file (a private JWK, mode 0600). Raises SecretError."""
        return cls(signing_key(path, Role.COMMAND))

    @property
    def kid(self) -> str:
        return self._key.kid

    def sign_replay(
        self, unit: UnitName, gap: Gap, number: int, at: datetime, until: datetime
    ) -> ReplayRequestMessage:
        """Return the signed command that requests the numbers of `gap` from `unit`."""
        id_ = str(uuid6.uuid7())
        claims = {
            "id": id_,
            "aud": unit.source,
            "name": CommandName.REPLAY,
            "number": number,
            "iat": _moment(at),
            "exp": _moment(until),
            "data": {"first": gap.first, "last": gap.last},
        }
        topic = unit.subtopic(COMMAND, CommandName.REPLAY)
        return ReplayRequestMessage(
            id_, Message(topic, sign_order(self._key, COMMAND_TYP, claims).encode("ascii"))
        )


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class GapRequester:
    """Requests missing events with one command key."""

    def __init__(
        self, store: Store, authority: ReplayAuthority, first_wait: timedelta = FIRST_WAIT
    ) -> None:
        self._store = store
        self._authority = authority
        self._first_wait = first_wait

    def request_missing(
        self, seen: Container[str], now: ReceivedAt
    ) -> tuple[list[Message], list[Notice]]:
        """Claim due requests; return the commands to publish, and notices.

        `seen` are the units that sent a message recently. Raises StoreError.
        """
        commands: list[Message] = []
        notices: list[Notice] = []
        if not any(unit in seen for unit in self._due(now)):  # the usual case needs no lock
            return commands, notices
        with self._store.batch():
            for source in self._due(now):
                if source not in seen:
                    continue
                if len(commands) == UNITS_PER_ROUND:
                    break
                self._request_from(UnitName.from_source(source), now, commands, notices)
        return commands, notices

    def record_reply(self, answer: ReplayReply, now: ReceivedAt) -> list[Notice]:
        """Record a unit's reply, inside a batch; return notices."""
        if answer.ok:
            return []
        changes: dict[Any, Any] = {GAP.c.answer: answer.text}
        if answer.final:  # one more request, then give up
            asked, after = GAP.c.asked, GAP.c.ask_after
            changes[asked] = case((asked < MAX_REQUESTS - 1, MAX_REQUESTS - 1), else_=asked)
            changes[after] = case((asked >= MAX_REQUESTS, str(now)), else_=after)
        mark = GAP.update().where(
            _OPEN, GAP.c.request == answer.request_id, GAP.c.unit == answer.unit.source
        )
        fresh = or_(GAP.c.answer.is_(None), GAP.c.answer != answer.text)
        # Every receiver gets the reply; one of them reports it.
        if not self._store.database.run(mark.where(fresh).values(changes)).rowcount:
            return []
        text = f"did not send the requested events: {answer.text}"
        return [Notice(NoticeKind.ASKED, now.utc, answer.unit, text)]

    def _due(self, now: ReceivedAt) -> list[str]:
        """Return the units with missing events and without a pending request."""
        with self._store.database.reading():
            return [unit for (unit,) in self._store.database.rows(_DUE, now=str(now))]

    def _missing(self, unit: str) -> Iterator[_Row]:
        """Yield the gaps of a unit with missing events, ascending, read page by page."""
        names = ("first", "last", "asked", "wanted", "answer", "outage")
        query = select(*(GAP.c[name] for name in names)).where(_OPEN, GAP.c.unit == unit)
        query = query.order_by(GAP.c.first).limit(PAGE)
        after = 0
        while page := self._store.database.rows(query.where(GAP.c.first > after)):
            after = page[-1][0]
            gaps = [Gap(first, last) for first, last, *_ in page]
            holes = self._store.missing_ranges({unit: gaps}).get(unit, [])
            at = 0
            for gap, found in zip(gaps, page, strict=True):
                end = bisect_right(holes, gap.last, at, key=attrgetter("first"))
                if end > at:
                    asked, wanted, answer, outage = found[2:]
                    yield _Row(unit, gap, asked, wanted, answer, outage, holes[at:end])
                at = end

    def _request_from(
        self, unit: UnitName, now: ReceivedAt, commands: list[Message], notices: list[Notice]
    ) -> None:
        """Request the first missing numbers; give up earlier gaps after the last request."""
        hopeless: list[_Row] = []
        rows: list[_Row] = []
        for row in self._missing(unit.source):
            if rows and row.gap.first - rows[0].holes[0].first >= MAX_SPAN:
                break
            (hopeless if row.times >= MAX_REQUESTS else rows).append(row)
        if hopeless:
            notices.append(self._give_up(unit, hopeless, now))
        if not rows:
            return
        gap = _span(hole for row in rows for hole in row.holes)
        asked = [row for row in rows if any(gap.intersection(hole) for hole in row.holes)]
        wait = min(self._first_wait * 2 ** max(row.times for row in asked), LONGEST_WAIT)
        after = now.utc + wait + timedelta(seconds=len(gap) / SLOWEST_REPLAY)
        number = self._next_number(now)
        request = self._authority.sign_replay(
            unit, gap, number, now.utc, now.utc + REQUEST_LIFETIME
        )
        ask_after = after.astimezone(UTC).isoformat(timespec="milliseconds")
        changes = {"ask_after": ask_after, "request": request.id, "answer": None}
        values = [{**row.key, "n": row.times + 1, "w": sum(map(len, row.holes))} for row in asked]
        counts: dict[str, Any] = {"asked": bindparam("n"), "wanted": bindparam("w")}
        self._store.database.run(_THIS.values({**changes, **counts}), values)
        commands.append(request.message)
        notices.append(
            Notice(NoticeKind.ASKED, now.utc, unit, f"was requested to send {gap.label} again")
        )

    def _give_up(self, unit: UnitName, rows: list[_Row], now: ReceivedAt) -> Notice:
        """Give up gaps; the first of an outage is an alarm, the others are notices."""
        db = self._store.database
        outage = rows[0].outage
        others = select(GAP.c.first).where(
            GAP.c.unit == unit.source, GAP.c.outage == outage, GAP.c.given_up_at.is_not(None)
        )
        ongoing = db.one(others.limit(1)) is not None
        db.run(_THIS.values(given_up_at=str(now)), [row.key for row in rows])
        gaps = tuple(row.gap for row in rows)
        words = describe_gaps(gaps, "missing and given up")
        requests = max(1, *(row.asked for row in rows))
        answer = next((row.answer for row in rows if row.answer), None)
        reply = f'; the unit replied: "{answer}"' if answer else ""
        return Notice(
            NoticeKind.GIVEN_UP,
            now.utc,
            unit,
            f"{words}, after {requests} requests without success{reply}",
            gaps=gaps,
            outage=outage,
            ongoing=ongoing,
        )

    def _next_number(self, now: ReceivedAt) -> int:
        """Return the next unused command number of the key.

        It is at least the current Unix time, as in `senyum admin`, so that it increases even after
        the store was lost.
        """
        db, kid = self._store.database, self._authority.kid
        last = (
            db.one(select(func.max(schema.COMMAND.c.number)).where(schema.COMMAND.c.kid == kid))
            or 0
        )
        number = max(int(last) + 1, int(now.utc.timestamp()))
        put = db.put(schema.COMMAND)
        db.run(
            put.on_conflict_do_update(index_elements=["kid"], set_={"number": put.excluded.number}),
            {"kid": kid, "number": number},
        )
        return number


def _span(holes: Iterable[Gap]) -> Gap:
    """Return the range of one request: from the first gap, while the next one is close."""
    rest: Iterator[Gap] = iter(holes)
    first = next(rest)
    last = min(first.last, first.first + MAX_SPAN - 1)
    for hole in rest:
        if hole.first - last > MAX_RESENT or hole.first - first.first >= MAX_SPAN:
            break
        last = min(hole.last, first.first + MAX_SPAN - 1)
    return Gap(first.first, last)
