"""`senyum enroll`: people and photos to the roster file."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.wording import counted

Tell = Callable[[str], None]
Progress = Callable[[int, int], None]

_DESCRIPTION = """\
Check photos and write the encrypted roster that units recognise people with.

people.csv  columns number, name, exempt; UTF-8; commas or semicolons. The number is
            the 18-digit person number. exempt: yes or no (ya, tidak, 1, 0, empty).
photos      one to five a person: photos/<number>.jpg, photos/<number>_2.jpg,
            or photos/<number>/ with any file names in it.

Enrolling again adds the people of the list to the roster that is there. New photos
take the place of old ones; people who are not on the list stay.
"""
_EPILOG = """\
exit status:
  0  everybody on the list is in the roster, and every photo was used
  1  the roster was written, but somebody or some photo was left out
  2  nothing was written: the list, a key, or the roster is at fault, or no photo will do
"""
_PLAIN_EVERY = 100  # people between two lines of progress where there is no terminal


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "enroll",
        help="check photos and write the roster",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--people", type=Path, required=True, metavar="CSV")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--roster", type=Path, help="default: roster.file of the settings")
    parser.add_argument("--key", type=Path, help="roster key; default: roster.key of the settings")
    parser.add_argument(
        "--org-key",
        type=Path,
        help="organisation key, which never goes to a unit; "
        "default: organisation.key beside the roster key",
    )
    parser.add_argument(
        "--for-units",
        type=Path,
        metavar="FILE",
        help="also write it without names and numbers, to be brought to units by hand",
    )
    parser.add_argument(
        "--remove-others",
        action="store_true",
        help="take people who are not on the list out of the roster",
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    # Imported here, so that a wrong setting is reported before any library is loaded.
    from edge.configuration import load

    settings = load(options.config)

    from edge.enrol import Files, enrol, for_stills
    from edge.errors import CallerError
    from edge.inference.examiner import Examiner

    key = options.key or settings.roster.key
    files = Files(
        people=options.people,
        photos=options.photos,
        roster=options.roster or settings.roster.file,
        key=key,
        org_key=options.org_key or key.with_name("organisation.key"),
        units=options.for_units,
    )
    if files.units is not None and files.units.resolve() == files.roster.resolve():
        raise CallerError(f"--for-units {files.units}: is the roster itself; name another file")
    examiner = Examiner(for_stills(settings.inference))
    with _terminal() as (tell, progress):
        result = enrol(
            files,
            examiner,
            remove_others=options.remove_others,
            tell=tell,
            progress=progress,
        )
    parts = {
        "enrolled": result.enrolled,
        "kept with earlier photos": result.kept,
        "removed": result.removed,
        "left out": result.left_out,
    }
    print(", ".join(f"{count} {what}" for what, count in parts.items() if count) + ".")
    if result.refused:
        print(f"{counted(result.refused, 'photo')} not used; see above.")
    print(f"{files.roster}: version {result.version}, {counted(result.size, 'person')}.")
    return 0 if result.complete else 1


@contextmanager
def _terminal() -> Iterator[tuple[Tell, Progress]]:
    """Show a progress bar with lines above it on a terminal, plain lines elsewhere."""
    if not sys.stdout.isatty():
        yield print, _plain_progress
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("looking at photos"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TextColumn("people"), TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task("photos")
        yield (
            lambda line: bar.console.print(line, markup=False, highlight=False, soft_wrap=True),
            lambda seen, total: bar.update(task, completed=seen, total=total),
        )


def _plain_progress(seen: int, total: int) -> None:
    if seen and (seen % _PLAIN_EVERY == 0 or seen == total):
        print(f"{seen} of {counted(total, 'person')} seen")
