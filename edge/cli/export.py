"""`senyum export`: attendance for other systems, or the signed events themselves."""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edge.central import bundle, sheet
from edge.central.shelf import Loss, Period, Shelf
from edge.cli.store import add_store, open_store
from edge.errors import CallerError
from edge.wording import ascii_json, counted

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - no public name

_EPILOG = """\
columns of the table (CSV, UTF-8):
  person_id      opaque; person_number is joined to it with --roster or --people
  first_in       first attempt of the day that was recorded, in the time of the place
  last_out       last one, if it is another; a unit that marks in and out is taken at its word
  smile          0 to 100 of the first in; empty where no smile was asked
  status         recorded, or refused and the reason of the last attempt
  notes          time-corrected (by an anchor), time-uncertain, fork (see docs/central.md)

A cell that a spreadsheet would take for a formula or a quantity begins with an apostrophe.
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "export",
        help="write attendance, or signed events, from a central store",
        description="Writes who came when (CSV), the signed events of some days as a file that "
        "`senyum verify` judges (--raw), or what is missing (--gaps).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_store(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--raw", action="store_true", help="signed events as JSON Lines")
    what.add_argument("--gaps", action="store_true", help="open gaps as JSON Lines")
    parser.add_argument("--from", dest="first", type=_day, metavar="YYYY-MM-DD")
    parser.add_argument(
        "--to", dest="last", type=_day, metavar="YYYY-MM-DD", help="default: the same day"
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
    """Write what was asked for; returns 0."""
    period = None if args.gaps else _period(args)
    numbers = _numbers(args)
    with closing(open_store(args, read_only=True)) as store, _output(args.out) as out:
        shelf = Shelf(store)
        with shelf.snapshot():
            if period is None:
                said = _write_gaps(out, shelf)
            elif args.raw:
                count = bundle.write(out, shelf, period, site=args.site, name=args.unit)
                said = counted(count, "event")
            else:
                said = _write_sheet(out, shelf, period, args, numbers)
    print(said, file=sys.stderr)
    return 0


def _write_gaps(out: BinaryIO, shelf: Shelf) -> str:
    losses = shelf.losses()
    for loss in losses:
        line = ascii_json(json.dumps(_as_object(loss)))
        out.write(f"{line}\n".encode())
    return counted(len(losses), "gap")


def _as_object(loss: Loss) -> dict[str, object]:
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
    shelf: Shelf,
    period: Period,
    args: argparse.Namespace,
    numbers: Mapping[str, str] | None,
) -> str:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    items = shelf.items(shelf.units(args.site, args.unit), period)
    count = sheet.write(text, items, shelf.forks(), numbers, plain=args.plain)
    text.detach()
    said = f"{counted(count.lines, 'line')} of {counted(count.events, 'attempt')}"
    if count.strangers:
        said += f"; left out: {counted(count.strangers, 'attempt')} of nobody known"
    if count.unnamed:
        said += f"; not on the list and without a number: {counted(count.unnamed, 'person')}"
    return said


def _numbers(args: argparse.Namespace) -> Mapping[str, str] | None:
    """Return person numbers by opaque id, where the caller has a key to them."""
    pairs = (
        ("--roster", args.roster, "--key", args.key),
        ("--people", args.people, "--org-key", args.org_key),
    )
    for file, path, name, key in pairs:
        if (path is None) != (key is None):
            raise CallerError(f"{file} and {name} belong together; name both or none")
    if args.roster and args.people:
        raise CallerError("--roster and --people are two sources of numbers; name one")
    from edge import roster

    if args.roster:
        content = roster.read(args.roster, roster.read_key(args.key, "the roster key"))
        return {person.id: person.number for person in content.people}
    if args.people:
        secret = roster.read_key(args.org_key, "the organisation key")
        entries = roster.read_people(args.people)
        return {roster.person_id(entry.number, secret): entry.number for entry in entries}
    return None


def _period(args: argparse.Namespace) -> Period:
    if args.first is None:
        raise CallerError("--from is missing: the first day to export, as 2026-03-02")
    last = args.last or args.first
    if last < args.first:
        raise CallerError(f"--to {last}: is before --from {args.first}")
    return Period(args.first, last)


def _day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year < 9999:
        raise argparse.ArgumentTypeError(f"{text} is no day, as 2026-03-02")
    return found


@contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    """Give where to write; a file is there whole or not at all, and for its owner only."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    draft = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
        draft.replace(path)
    except OSError as error:
        raise CallerError(f"--out {path}: cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
