"""Judges the chain of one unit around some days, and says what is wrong with these days."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from senyum_central.evidence.chain import Segment, breaks
from senyum_central.evidence.entries import (
    NOTES,
    Defect,
    EntryMark,
    Lost,
    Note,
    RowEvidence,
    Span,
    UnitEvidence,
)
from senyum_central.ingest.gaps import Gap
from senyum_central.store.queries import Period

_DAY = timedelta(days=1)


class Judging:
    """Reports the defects of one unit that concern the days; the others are left alone."""

    def __init__(
        self,
        found: UnitEvidence,
        period: Period,
        place: ZoneInfo,
        apart: list[Gap],
        report: Callable[[Defect], None],
    ) -> None:
        """`apart` are numbers that the unit gave under other names."""
        self._found = found
        self._period = period
        self._place = place
        self._apart = apart
        self._report = report
        self._begin = datetime.combine(period.first, time(), place).astimezone(UTC)
        self.end = datetime.combine(period.last + _DAY, time(), place).astimezone(UTC)

    def report(self, note: Note, text: str) -> None:
        self._report(Defect(note, self._found.unit.source, text))

    def matters(self, since: datetime | None, until: datetime | None) -> bool:
        """Whether something between two moments, None if unknown, may be of the days."""
        return (since is None or since < self.end) and (until is None or until >= self._begin)

    def row(self, entry: RowEvidence, span: Span) -> None:
        """Report a row that is not as it was signed, or proves nothing."""
        assert entry.fault is not None, "nothing is wrong with it"
        if entry.usable and entry.moment is not None:
            span = entry.moment, entry.moment
        note = NOTES[entry.fault]
        claims = [claim for claim in entry.claims if self.matters(claim.moment, claim.moment)]
        if not claims and not self.matters(*span):
            return
        self.report(note, f"{entry.name}: {entry.why}")
        for claim in claims:
            day = claim.moment.astimezone(self._place).date()
            self._found.marks.append(EntryMark(claim.person, day, note, self._found.unit))
        if not entry.usable:
            self._lose(span)

    def chain(
        self, pieces: list[tuple[Segment, Span]], noted: frozenset[int], *, is_first: bool
    ) -> frozenset[int]:
        """Report what is missing and forked; returns the numbers that are forked.

        `noted` are those that a receiver reported. `is_first`: nothing is stored before.
        """
        spans = {id(piece): span for piece, span in pieces}
        forks = set(noted)
        named = set()
        for each in breaks([piece for piece, _ in pieces], "rows"):
            span = spans[id(each.piece)]
            if each.gap is not None:
                self.missing(each.gap, span)
            else:
                forks.add(each.piece.sequence)
                if self.matters(span[1], span[1]):
                    self.report(Note.FORK, each.text)
                    named.add(each.piece.sequence)
        for piece, (_, own) in pieces:
            if piece.sequence in noted - named and self.matters(own, own):
                self.report(Note.FORK, f"event {piece.sequence} was reported as forked")
                named.add(piece.sequence)
        if is_first and pieces:
            first, (_, own) = pieces[0]
            self.missing(Gap(1, first.sequence - 1), (None, own))
        return frozenset(forks)

    def missing(self, gap: Gap, span: Span) -> None:
        """Report numbers that are not stored, unless they are of another name."""
        if gap.first > gap.last or not self.matters(*span):
            return
        for part in gap.without(self._apart):
            self.report(Note.GAP, f"{part}: {self._lose(span)}")
            self._found.gaps.append(part)

    def _lose(self, span: Span) -> str:
        """Note the days of a span, and return them in words."""
        since, until = (each and each.astimezone(self._place).date() for each in span)
        first, last = self._period.first, self._period.last
        begin = first if since is None else max(first, since)
        end = max(begin, last if until is None else min(last, until))
        self._found.lost.add(Lost(self._found.unit, begin, end))
        return f"{begin}" if begin == end else f"{begin} to {end}"


def latest(moments: Iterable[datetime | None]) -> datetime | None:
    """Return the latest moment that is known."""
    return max((each for each in moments if each is not None), default=None)
