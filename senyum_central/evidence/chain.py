"""Check a chain of signed events, from an export file or from a store. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.keys import KeySet
from edge.contract.topics import UnitName
from edge.types import AuditCode
from senyum_central.store.gaps import Gap

# Audits that a unit may record under another name or key before `moved` (docs/wire.md).
_PRELIMINARY = frozenset(
    {AuditCode.CLOCK_STEPPED, AuditCode.CLOCK_ANCHOR, AuditCode.OUTBOX_RENEWED}
)


class ChainDefect(StrEnum):
    """Why evidence is rejected."""

    ALTERED = "altered"
    MISSING = "missing"
    FORKED = "forked"
    ORDER = "order"
    DOUBLED = "doubled"
    CUT = "cut"
    KEYS = "keys"  # the unit signed with two keys without a recorded reason
    REFUSED = "refused"  # not accepted by the key set
    UNPROVEN = "unproven"  # no defect found, but completeness is not proven


@dataclass(frozen=True, slots=True)
class Segment:
    """A message in a unit's chain."""

    line: int  # of the file, or the row of the store
    kind: str
    unit: UnitName
    sequence: int
    digest: str  # of a head: of the event that it names; empty: unknown
    previous: str | None = None  # None: unknown
    kid: str | None = None  # None: signature not verified
    moment: datetime | None = None  # as signed; None if the unit's clock was not synchronized
    day: date | None = None  # the same, as a date at the unit's location
    moved: bool = False  # a `moved` audit: earlier numbers have another unit name
    preliminary: bool = False  # may come before `moved`


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """A defect at one point of a chain, with a description."""

    fault: ChainDefect
    segment: Segment
    text: str
    gap: Gap | None = None  # what is missing before `piece`


@dataclass(frozen=True, slots=True)
class SignedPart:
    """A range of numbers signed by one key."""

    kid: str
    first: int
    last: int


def is_preliminary(event: AttendanceEvent | AuditEvent) -> bool:
    """Return whether a renamed unit may record this event before its `moved`."""
    return isinstance(event, AuditEvent) and event.data.code in _PRELIMINARY


def find_breaks(events: Sequence[Segment], where: str = "lines") -> Iterator[ChainBreak]:
    """Yield the missing numbers and the forks of events sorted by number.

    `where` names what `Segment.line` counts, for messages.
    """
    by_number: dict[int, list[Segment]] = {}
    for segment in events:
        by_number.setdefault(segment.sequence, []).append(segment)
    last: int | None = None
    for number, here in by_number.items():
        signed = [segment for segment in here if segment.digest]
        if len(signed) > 1:
            lines = " and ".join(str(segment.line) for segment in signed)
            text = f"{len(signed)} events have the number {number} ({where} {lines})"
            yield ChainBreak(ChainDefect.FORKED, signed[-1], text)
        if last is not None and number > last + 1:
            gap = Gap(last + 1, number - 1)
            yield ChainBreak(ChainDefect.MISSING, here[0], str(gap), gap)
        before = {segment.digest for segment in by_number.get(number - 1, [])}
        for segment in here:
            unknown = not before or "" in before or segment.previous is None
            if not unknown and segment.previous not in before:
                text = f"event {number} does not follow event {number - 1}"
                yield ChainBreak(ChainDefect.FORKED, segment, text)
        last = number


def signed_parts(events: Sequence[Segment]) -> list[SignedPart]:
    """Return which key signed which numbers, in order."""
    parts: list[SignedPart] = []
    for segment in events:
        if segment.kid is None:
            continue
        if parts and parts[-1].kid == segment.kid:
            parts[-1] = SignedPart(segment.kid, parts[-1].first, segment.sequence)
        else:
            parts.append(SignedPart(segment.kid, segment.sequence, segment.sequence))
    return parts


def key_changes(segments: Sequence[Segment], keys: KeySet) -> Iterator[ChainBreak]:
    """Yield changes of the key that neither `moved` nor the key set explains.

    `pieces` are in the order of their numbers, a head last. The key set explains a change if
    the earlier key expired before the later one was used. Each pair of keys is reported once.
    """
    proven = [segment for segment in segments if segment.kid is not None]
    named: set[frozenset[str | None]] = set()
    for at, segment in enumerate(proven[1:], 1):
        before = proven[at - 1]
        pair = frozenset((before.kid, segment.kid))
        if before.kid == segment.kid or pair in named:
            continue
        if _is_moved(proven, at) or _is_replaced(before, segment, keys):
            continue
        named.add(pair)
        again = any(later.kid == before.kid for later in proven[at + 1 :])
        text = (
            f"key {before.kid} signed up to event {before.sequence}, and key {segment.kid} signed "
            f"{_named(segment)}" + (", and then the first one again" if again else "") + ": no "
            "`moved` says why, nor does an `exp` of the key before in the key set"
        )
        yield ChainBreak(ChainDefect.KEYS, segment, text)


def _named(segment: Segment) -> str:
    if segment.kind == "head":
        return f"a state or health after event {segment.sequence}"
    return f"event {segment.sequence}"


def _is_moved(segments: Sequence[Segment], at: int) -> bool:
    """Return whether the first events with another key include the `moved` audit."""
    kid = segments[at].kid
    for segment in segments[at:]:
        if segment.kid != kid:
            return False
        if segment.moved:
            return True
        if not segment.preliminary:
            return False
    return False


def _is_replaced(before: Segment, segment: Segment, keys: KeySet) -> bool:
    """Return whether the earlier key expired before the later key became valid."""
    old, new = keys.find(before.kid or ""), keys.find(segment.kid or "")
    if old is None or new is None or old.not_after is None:
        return False
    begin = new.not_before or segment.moment
    return begin is not None and old.not_after <= begin
