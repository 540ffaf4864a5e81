"""`senyum export`: attendance for other systems, or the signed events themselves."""

import argparse
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from edge.contract.keys import KeySet
from edge.errors import UsageError
from edge.system.supplied_files import check_replaceable
from edge.system.text import ascii_json, escaped, pluralize
from senyum_central.attendance import attendance_csv as sheet
from senyum_central.attendance.shifts import CONTEXT
from senyum_central.cli.options import add_store, open_store
from senyum_central.evidence import bundle
from senyum_central.evidence.entries import Defect, DefectLog, Note
from senyum_central.evidence.reader import EvidenceReader
from senyum_central.ingest.key_set_file import check_owner
from senyum_central.store.queries import EventReader, OpenGap, Period

_EPILOG = """\
columns of the table (CSV, UTF-8), one line a shift:
  person_id      opaque; person_number is joined to it with --roster or --people
  day            working day on which the shift began
  in_day, first_in, out_day, last_out
                 first and last recorded attempt of the shift, each in the time of its place; with
                 its UTC offset if the two differ in that
  hours          between them, with two decimals
  smile          0 to 100 of the first in; empty if no smile was asked for
  status         recorded; refused and the reason of the last attempt; altered or unproven if
                 nothing genuine is stored; "events missing" for a unit, from in_day to out_day
  notes          altered, unproven, gap, fork, time-corrected (by an anchor), time-uncertain

Without --day-start a shift may cross midnight; docs/central.md says how attempts are paired. A cell
that a spreadsheet would take for a formula or a quantity begins with an apostrophe.

exit status:
  0  all is proven
  1  something is altered, missing, forked or not proven: a line for each on standard error, and
     the file is written all the same
  2  the store or the key set cannot be read
"""
_SHOWN = 20  # defects of one kind that are printed of one unit


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "export",
        help="write attendance, or signed events, from a central store",
        description="Writes who came when (CSV), the signed events of some days as a file that "
        "`senyum verify` judges (--raw), or what is missing (--gaps).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_store(parser)
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="JWK set of the units' keys (default: the file that `receive` uses with this store)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--raw", action="store_true", help="signed events as JSON Lines")
    what.add_argument("--gaps", action="store_true", help="open gaps as JSON Lines")
    parser.add_argument("--from", dest="first", type=_day, metavar="YYYY-MM-DD")
    parser.add_argument(
        "--to", dest="last", type=_day, metavar="YYYY-MM-DD", help="default: the same day"
    )
    parser.add_argument(
        "--day-start",
        type=_time,
        metavar="HH:MM",
        help="begin of the working day at the place; no shift crosses it",
    )
    parser.add_argument("--site", help="only this site")
    parser.add_argument("--unit", help="only units of this name")
    parser.add_argument("--roster", type=Path, help="roster file, to join person numbers from")
    parser.add_argument("--key", type=Path, help="its roster key")
    parser.add_argument(
        "--people", type=Path, metavar="CSV", help="list of people, instead of a roster"
    )
    parser.add_argument("--org-key", type=Path, help="organisation key, with --people")
    parser.add_argument("--plain", action="store_true", help="no apostrophes, for programs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Write what was asked for; returns 1 if something is wrong with it, else 0."""
    period = None if args.gaps else _period(args)
    numbers = _numbers(args)
    complaints = _Complaints()
    with closing(open_store(args, read_only=True)) as store, _output(args.out) as out:
        shelf = EventReader(store)
        keys = None if period is None else _keys(args, shelf)
        with shelf.snapshot():
            if period is None or keys is None:
                summary_text = _write_gaps(out, shelf, complaints)
            elif args.raw:
                evidence = EvidenceReader(shelf, keys, period, complaints)
                count = bundle.write_bundle(
                    out, shelf, evidence, period, complaints, site=args.site, name=args.unit
                )
                summary_text = pluralize(count, "event")
            else:
                context = CONTEXT if args.day_start is None else timedelta(days=1)
                evidence = EvidenceReader(shelf, keys, period, complaints, context=context)
                summary_text = _write_sheet(out, evidence, period, args, numbers)
    complaints.end()
    print(summary_text + complaints.summary(), file=sys.stderr)
    return 0 if complaints.count == 0 else 1


class _Complaints(DefectLog):
    """Prints each defect as a line; of many of one kind the first ones and their number."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._alike: Counter[tuple[str, str]] = Counter()

    def report(self, defect: Defect) -> None:
        self.count += 1
        alike = (defect.unit, str(defect.note))
        self._alike[alike] += 1
        if self._alike[alike] <= _SHOWN:
            _tell(f"{defect.note}: {defect.unit}: {defect.text}")

    def remark(self, text: str) -> None:
        _remark(text)

    def end(self) -> None:
        for (unit, note), count in self._alike.items():
            if count > _SHOWN:
                _tell(f"{note}: {unit}: and {count - _SHOWN} more")

    def summary(self) -> str:
        return "" if self.count == 0 else f"; NOT GOOD: {pluralize(self.count, 'fault')}"


def _remark(text: str) -> None:
    _tell(f"note: {text}")


def _tell(text: str) -> None:
    print(escaped(f"senyum export: {text}"), file=sys.stderr)


def _keys(args: argparse.Namespace, shelf: EventReader) -> KeySet:
    """Return the key set that was named, or the one that the receiver uses."""
    path = args.keys
    if path is None:
        path = shelf.key_file()
        if path is None:
            raise UsageError(
                "--keys is missing, and the store names no key set of a receiver; name the JWK "
                "set of the units' keys"
            )
        check_owner(path)
        _remark(f"verified with the receiver's key set, {path}")
    return KeySet.load(path)


def _write_gaps(out: BinaryIO, shelf: EventReader, complaints: _Complaints) -> str:
    count = 0
    for loss in shelf.open_gaps():
        if isinstance(loss, OpenGap):
            out.write(ascii_json(json.dumps(_as_object(loss))).encode() + b"\n")
            count += 1
        else:
            complaints.report(Defect(Note.ALTERED, "table gap", loss))
    return pluralize(count, "gap")


def _as_object(loss: OpenGap) -> dict[str, object]:
    return {
        "unit": loss.unit.source,
        "first": loss.gap.first,
        "last": loss.gap.last,
        "reported_at": loss.reported_at,
        "asked": loss.asked,
        "answer": loss.answer,
        "given_up_at": loss.given_up_at,
    }


def _write_sheet(
    out: BinaryIO,
    evidence: EvidenceReader,
    period: Period,
    args: argparse.Namespace,
    numbers: Mapping[str, str] | None,
) -> str:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    units = evidence.units(args.site, args.unit)
    count = sheet.write_csv(
        text, units, period, numbers, day_start=args.day_start, plain=args.plain
    )
    text.detach()
    summary_text = f"{pluralize(count.lines, 'line')} of {pluralize(count.events, 'attempt')}"
    if count.strangers:
        summary_text += f"; left out: {pluralize(count.strangers, 'attempt')} of nobody known"
    if count.unnamed:
        summary_text += (
            f"; not on the list and without a number: {pluralize(count.unnamed, 'person')}"
        )
    return summary_text


def _numbers(args: argparse.Namespace) -> Mapping[str, str] | None:
    """Return person numbers by opaque id, where the caller has a key to them."""
    pairs = (
        ("--roster", args.roster, "--key", args.key),
        ("--people", args.people, "--org-key", args.org_key),
    )
    for file, path, name, key in pairs:
        if (path is None) != (key is None):
            raise UsageError(f"{file} and {name} belong together; name both or none")
    if args.roster and args.people:
        raise UsageError("--roster and --people are two sources of numbers; name one")
    from edge.roster.file import read
    from edge.roster.keys import read_key
    from edge.roster.people import person_id, read_people

    if args.roster:
        content = read(args.roster, read_key(args.key, "the roster key"))
        return {person.id: person.number for person in content.people}
    if args.people:
        secret = read_key(args.org_key, "the organisation key")
        entries = read_people(args.people)
        return {person_id(entry.number, secret): entry.number for entry in entries}
    return None


def _period(args: argparse.Namespace) -> Period:
    if args.first is None:
        raise UsageError("--from is missing: the first day to export, as 2026-03-02")
    last = args.last or args.first
    if last < args.first:
        raise UsageError(f"--to {last}: is before --from {args.first}")
    return Period(args.first, last)


def _day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year < 9999:
        raise argparse.ArgumentTypeError(f"{text} is not a date such as 2026-03-02")
    return found


def _time(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - of any place
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a time, as 06:00") from None


@contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    """Give where to write; a file is there whole or not at all, and for its owner only."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    draft = None
    try:
        check_replaceable(path)
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"--out {path}: cannot be written: {error.strerror}") from None
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
