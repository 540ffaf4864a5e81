"""The rules of a chain of signed events, for whoever judges one: a file, or a store. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.keys import KeySet
from edge.contract.topics import UnitName
from edge.types import AuditCode
from senyum_central.store.gaps import Gap

# What a unit may say under another name or key before its `moved` (docs/wire.md).
_PRELIMINARY = frozenset(
    {AuditCode.CLOCK_STEPPED, AuditCode.CLOCK_ANCHOR, AuditCode.OUTBOX_RENEWED}
)


class ChainDefect(StrEnum):
    """What is wrong with evidence."""

    ALTERED = "altered"
    MISSING = "missing"
    FORKED = "forked"
    ORDER = "order"
    DOUBLED = "doubled"
    CUT = "cut"
    KEYS = "keys"  # the unit signed with two keys, and nothing says why
    REFUSED = "refused"  # the key set does not let it stand
    UNPROVEN = "unproven"  # nothing is wrong, but nothing shows that nothing is


@dataclass(frozen=True, slots=True)
class Segment:
    """A message in the chain of a unit."""

    line: int  # of the file, or the row of the store
    kind: str
    unit: UnitName
    sequence: int
    digest: str  # of a head: of the event that it names; empty: it is not known
    previous: str | None = None  # None: it is not known
    kid: str | None = None  # None: it is not proven which key signed it
    moment: datetime | None = None  # as signed; None if the unit was not sure of it
    day: date | None = None  # the same, at the place of the unit
    moved: bool = False  # the name begins here: the number before is of another
    preliminary: bool = False  # may come before `moved`


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """A place at which a chain does not hold, in words."""

    fault: ChainDefect
    segment: Segment
    text: str
    gap: Gap | None = None  # what is missing before `piece`


@dataclass(frozen=True, slots=True)
class SignedPart:
    """A part of a chain that one key signed."""

    kid: str
    first: int
    last: int


def is_preliminary(event: AttendanceEvent | AuditEvent) -> bool:
    """Whether a unit with a new name may say this before it says the name it had."""
    return isinstance(event, AuditEvent) and event.data.code in _PRELIMINARY


def find_breaks(events: Sequence[Segment], where: str = "lines") -> Iterator[ChainBreak]:
    """Yield what is missing between events in the order of their numbers, and what is forked.

    `where` says what the `line` of a piece counts.
    """
    by_number: dict[int, list[Segment]] = {}
    for piece in events:
        by_number.setdefault(piece.sequence, []).append(piece)
    last: int | None = None
    for number, here in by_number.items():
        signed = [piece for piece in here if piece.digest]
        if len(signed) > 1:
            lines = " and ".join(str(piece.line) for piece in signed)
            text = f"{len(signed)} events have the number {number} ({where} {lines})"
            yield ChainBreak(ChainDefect.FORKED, signed[-1], text)
        if last is not None and number > last + 1:
            gap = Gap(last + 1, number - 1)
            yield ChainBreak(ChainDefect.MISSING, here[0], str(gap), gap)
        before = {piece.digest for piece in by_number.get(number - 1, [])}
        for piece in here:
            unknown = not before or "" in before or piece.previous is None
            if not unknown and piece.previous not in before:
                text = f"event {number} does not follow event {number - 1}"
                yield ChainBreak(ChainDefect.FORKED, piece, text)
        last = number


def signed_parts(events: Sequence[Segment]) -> list[SignedPart]:
    """Return which key signed which numbers, in their order."""
    parts: list[SignedPart] = []
    for piece in events:
        if piece.kid is None:
            continue
        if parts and parts[-1].kid == piece.kid:
            parts[-1] = SignedPart(piece.kid, parts[-1].first, piece.sequence)
        else:
            parts.append(SignedPart(piece.kid, piece.sequence, piece.sequence))
    return parts


def key_changes(pieces: Sequence[Segment], keys: KeySet) -> Iterator[ChainBreak]:
    """Yield where a unit goes on with another key, and neither `moved` nor the key set says why.

    `pieces` are in the order of their numbers, a head last. The key set says why if the validity
    of the key before ended when the other begins to sign. Each pair of keys is named once.
    """
    proven = [piece for piece in pieces if piece.kid is not None]
    named: set[frozenset[str | None]] = set()
    for at, piece in enumerate(proven[1:], 1):
        before = proven[at - 1]
        pair = frozenset((before.kid, piece.kid))
        if before.kid == piece.kid or pair in named:
            continue
        if _is_moved(proven, at) or _is_replaced(before, piece, keys):
            continue
        named.add(pair)
        again = any(later.kid == before.kid for later in proven[at + 1 :])
        text = (
            f"key {before.kid} signed up to event {before.sequence}, and key {piece.kid} signed "
            f"{_named(piece)}" + (", and then the first one again" if again else "") + ": no "
            "`moved` says why, nor does an `exp` of the key before in the key set"
        )
        yield ChainBreak(ChainDefect.KEYS, piece, text)


def _named(piece: Segment) -> str:
    if piece.kind == "head":
        return f"a state or health after event {piece.sequence}"
    return f"event {piece.sequence}"


def _is_moved(pieces: Sequence[Segment], at: int) -> bool:
    """Whether the first events with another key say that the unit had another name before."""
    kid = pieces[at].kid
    for piece in pieces[at:]:
        if piece.kid != kid:
            return False
        if piece.moved:
            return True
        if not piece.preliminary:
            return False
    return False


def _is_replaced(before: Segment, piece: Segment, keys: KeySet) -> bool:
    """Whether the key set says that one key ended before another began."""
    old, new = keys.find(before.kid or ""), keys.find(piece.kid or "")
    if old is None or new is None or old.not_after is None:
        return False
    begin = new.not_before or piece.moment
    return begin is not None and old.not_after <= begin
