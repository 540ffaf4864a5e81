"""`senyum admin erase`: erases a person from the face roster of every unit, with receipts."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Remove a person permanently from the face roster, here and on every unit. The roster gets
a new version with a tombstone, which replaces the version on the broker; each unit removes
the person and confirms it with a signed receipt.

To see later which units have confirmed, repeat the command or use senyum admin roster --check.
"""
_EPILOG = """\
exit status:
  0  every unit has confirmed the removal
  1  the person was removed here; a unit has not confirmed it yet, or the broker cannot be
     reached, or holds an older roster for a unit that is not in the key set
  2  nothing was changed: a file or an option is invalid
"""


def add_parser(actions: Any) -> None:
    from senyum_central.cli.admin.roster import add_roster_options

    parser = actions.add_parser(
        "erase",
        help="erase a person from the roster of every unit",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--number-file",
        type=Path,
        metavar="FILE",
        help="file with the 18-digit person number, or - for standard input",
    )
    who.add_argument("--person", metavar="ID", help="the person id, 32 hexadecimal digits")
    parser.add_argument(
        "--org-key", type=Path, metavar="FILE", help="organisation key, with --number-file"
    )
    parser.add_argument(
        "--absent", action="store_true", help="even if the person is not in this roster any more"
    )
    add_roster_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.errors import LinkError
    from senyum_central.admin.rosters import without_person
    from senyum_central.cli.admin.roster import bring, open_source
    from senyum_central.cli.options import broker_settings

    person = _person(options)
    source = open_source(options)
    broker_settings(options)  # checks the options before anything changes
    roster = without_person(source, person, absent=options.absent)
    print(
        f"{options.roster}: person {person} removed in version {roster.tombstones[person]}. "
        "Delete their photos, and earlier copies of this file, yourself."
    )
    try:
        return bring(options, source, roster, alone=True)
    except LinkError as error:
        print(
            f"senyum: {error}; the units have not removed the person; run this again",
            file=sys.stderr,
        )
        return 1


def _person(options: argparse.Namespace) -> str:
    import re

    from edge.errors import PeopleError, UsageError
    from edge.roster.keys import read_key
    from edge.roster.people import check_number, person_id
    from edge.system.supplied_files import read_regular

    if options.person is not None:
        if not re.fullmatch(r"[0-9a-f]{32}", options.person):
            raise UsageError("--person: must be 32 hexadecimal digits")
        return str(options.person)
    if options.org_key is None:
        raise UsageError("--number-file: needs --org-key, which derives the person id")
    try:
        if str(options.number_file) == "-":
            text = sys.stdin.readline()
        else:
            text = read_regular(options.number_file, 4096).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{options.number_file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{options.number_file}: not UTF-8 text; write one number") from None
    try:
        number = check_number(text.strip(), datetime.now(UTC).date())
    except PeopleError as error:
        raise PeopleError(f"{options.number_file}: {error}") from None
    return person_id(number, read_key(options.org_key, "the organisation key"))
