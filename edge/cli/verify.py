"""`senyum verify`: judge exported files by themselves."""

import argparse
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from edge.central.proof import LONGEST_LINE, Finding, Verdict, judge
from edge.errors import CallerError
from edge.mqtt.keys import KeySet

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - no public name

_EPILOG = """\
exit status:
  0  every file is what its units signed, whole
  1  something was altered, is missing, forked or not proven: a line for each
  2  a file or the key set cannot be read
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "verify",
        help="judge files that `export --raw` wrote, with the units' keys alone",
        description="Says in words what was altered, taken out, moved or forked since the units "
        "signed it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--keys", type=Path, required=True, metavar="FILE", help="JWK set of the units' keys"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Judge each file; returns 0 where all are good, else 1."""
    keys = KeySet.load(args.keys)
    good = True
    for path in args.files:
        try:
            verdict = judge(_lines(path), keys)
        except OSError as error:
            raise CallerError(f"{path}: cannot be read: {error.strerror}") from None
        good &= verdict.good
        print(json.dumps(_as_object(path, verdict)) if args.json else _words(path, verdict))
    return 0 if good else 1


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines with their ends; of one that is far too long, parts."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE + 1):
            yield line


def _words(path: Path, verdict: Verdict) -> str:
    lines = [f"{path}{told}" for told in _folded(verdict.findings)]
    lines += [f"{path}: note: {note}" for note in verdict.notes]
    if verdict.period is None and not verdict.accounts:
        lines.append(
            f"{path}: note: nothing here is of an export; is it what `export --raw` wrote?"
        )
    events = sum(account.events for account in verdict.accounts)
    days = "" if verdict.period is None else f", {verdict.period.first} to {verdict.period.last}"
    what = f"{events} events of {len(verdict.accounts)} units{days}"
    lines += [
        f"{path}: {account.unit}: {account.events} events, {account.first} to {account.last}"
        + (f"; its end is shown by {account.proven}" if account.proven else "")
        for account in verdict.accounts
    ]
    faults = len(verdict.findings)
    told = "good: all as it was signed" if verdict.good else f"NOT GOOD: {faults} faults"
    return "\n".join([*lines, f"{path}: {told} ({what})"])


def _folded(findings: list[Finding]) -> Iterator[str]:
    """Yield a line for each fault; one for all lines in a row that have the same."""
    for (fault, text), same in groupby(findings, lambda found: (found.fault, found.text)):
        lines = [found.line for found in same]
        where = "" if lines[0] is None else f":{lines[0]}"
        many = "" if len(lines) == 1 else f" ({len(lines)} lines, up to line {lines[-1]})"
        yield f"{where}: {fault}: {text}{many}"


def _as_object(path: Path, verdict: Verdict) -> dict[str, object]:
    return {
        "file": str(path),
        "good": verdict.good,
        "faults": [
            {"fault": found.fault, "line": found.line, "text": found.text}
            for found in verdict.findings
        ],
        "notes": verdict.notes,
        "units": [
            {
                "unit": account.unit,
                "events": account.events,
                "first": account.first,
                "last": account.last,
                "proven": account.proven,
            }
            for account in verdict.accounts
        ],
    }
