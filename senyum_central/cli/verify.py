"""`senyum verify`: judge exported files by themselves."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from edge.contract.keys import KeySet
from edge.errors import UsageError
from edge.system.supplied_files import open_regular
from edge.system.text import ascii_json, escaped, pluralize
from senyum_central.evidence.chain import SignedPart
from senyum_central.evidence.receipts import Receipt, is_receipts, read_receipts
from senyum_central.evidence.verifier import (
    LONGEST_LINE,
    FileDefect,
    VerificationReport,
    verify_export,
)

_SHOWN = 8  # parts of a chain whose keys are named
_EPILOG = """\
exit status:
  0  every file is what its units signed, whole; of receipts: each line is
  1  something was altered, is missing, forked or not proven: a line for each
  2  a file or the key set cannot be read
"""


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "verify",
        help="judge exported events, or receipts, with the units' keys alone",
        description="Says in words what was altered, taken out, moved or forked since the units "
        "signed it, in files that `export --raw` wrote; and what the receipts say that `admin "
        "roster` and `admin erase` kept.",
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
            well, report_lines = _judged(path, keys, as_json=args.json)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        good &= well
        for line in report_lines:
            print(escaped(line))
    return 0 if good else 1


def _judged(path: Path, keys: KeySet, *, as_json: bool) -> tuple[bool, list[str]]:
    lines = _lines(path)
    first = next(lines, b"")
    whole = chain([first] if first else [], lines)
    if is_receipts(first):
        receipts, findings = read_receipts(whole, keys)
        if as_json:
            return not findings, [
                ascii_json(json.dumps(_receipts_as_object(path, receipts, findings)))
            ]
        return not findings, _receipts_in_words(path, receipts, findings)
    verdict = verify_export(whole, keys)
    if as_json:
        return verdict.good, [ascii_json(json.dumps(_as_object(path, verdict)))]
    return verdict.good, _words(path, verdict)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines with their ends; of one that is far too long, parts."""
    with open_regular(path) as file:
        while line := file.readline(LONGEST_LINE + 1):
            yield line


def _words(path: Path, verdict: VerificationReport) -> list[str]:
    lines = [f"{path}{report_lines}" for report_lines in _folded(verdict.findings)]
    lines += [f"{path}: note: {note}" for note in verdict.notes]
    if verdict.period is None and not verdict.units:
        lines.append(
            f"{path}: note: nothing here is of an export; is it what `export --raw` wrote?"
        )
    days = "" if verdict.period is None else f", {verdict.period.first} to {verdict.period.last}"
    events = pluralize(sum(account.events for account in verdict.units), "event")
    lines += [
        f"{path}: {account.unit}: {pluralize(account.events, 'event')}, "
        f"{account.first} to {account.last}"
        + (f"; its end is shown by {account.proven}" if account.proven else "")
        + f"; signed with {_signed(account.keys)}"
        for account in verdict.units
    ]
    what = f"{events} of {pluralize(len(verdict.units), 'unit')}{days}"
    return [*lines, f"{path}: {_in_all(verdict.findings)} ({what})"]


def _signed(parts: list[SignedPart]) -> str:
    """Return which key signed which numbers, as words."""
    if len(parts) == 1:
        return f"key {parts[0].kid}"
    shown = [f"key {part.kid} ({part.first} to {part.last})" for part in parts[:_SHOWN]]
    more = len(parts) - len(shown)
    return ", ".join([*shown, f"and {more} more parts"] if more else shown)


def _receipts_in_words(
    path: Path, receipts: list[Receipt], findings: list[FileDefect]
) -> list[str]:
    lines = [f"{path}{report_lines}" for report_lines in _folded(findings)]
    lines += [f"{path}:{each.line}: {each.unit}: {_receipt_text(each)}" for each in receipts]
    units = pluralize(len({each.unit for each in receipts}), "unit")
    what = f"{pluralize(len(receipts), 'receipt')} of {units}"
    return [*lines, f"{path}: {_in_all(findings)} ({what})"]


def _receipt_text(receipt: Receipt) -> str:
    """Return what a unit signed, as a sentence about it."""
    version = "" if receipt.version is None else f" version {receipt.version}"
    if receipt.refused:
        return f"refused{version} on {receipt.time}, {receipt.refused}"
    if receipt.digest is None:
        return f"had no roster on {receipt.time}"
    gone = f", without {' and '.join(receipt.erased)}" if receipt.erased else ""
    return f"had roster{version} ({receipt.digest}) on {receipt.time}{gone}"


def _in_all(findings: list[FileDefect]) -> str:
    if not findings:
        return "good: all as it was signed"
    return f"NOT GOOD: {pluralize(len(findings), 'fault')}"


def _folded(findings: list[FileDefect]) -> Iterator[str]:
    """Yield a line for each fault; one for all lines in a row that have the same."""
    for (fault, text), same in groupby(findings, lambda found: (found.fault, found.text)):
        lines = [found.line for found in same]
        where = "" if lines[0] is None else f":{lines[0]}"
        many = "" if len(lines) == 1 else f" ({len(lines)} lines, up to line {lines[-1]})"
        yield f"{where}: {fault}: {text}{many}"


def _as_object(path: Path, verdict: VerificationReport) -> dict[str, object]:
    return {
        "file": str(path),
        "good": verdict.good,
        "faults": _faults(verdict.findings),
        "notes": verdict.notes,
        "units": [
            {
                "unit": account.unit,
                "events": account.events,
                "first": account.first,
                "last": account.last,
                "proven": account.proven,
                "keys": [asdict(part) for part in account.keys],
            }
            for account in verdict.units
        ],
    }


def _receipts_as_object(
    path: Path, receipts: list[Receipt], findings: list[FileDefect]
) -> dict[str, object]:
    return {
        "file": str(path),
        "good": not findings,
        "faults": _faults(findings),
        "receipts": [asdict(each) for each in receipts],
    }


def _faults(findings: list[FileDefect]) -> list[dict[str, object]]:
    return [{"fault": found.fault, "line": found.line, "text": found.text} for found in findings]
