"""`senyum enroll`: makes the face roster from a list of people and their photos."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.system.text import pluralize

if TYPE_CHECKING:
    from rich.progress import Progress

_DESCRIPTION = """\
Check photos and write the encrypted face roster with which units recognise people.

people.csv  columns number, name, exempt; UTF-8; commas, semicolons or tabs. The number
            is the 18-digit person number. exempt: yes or no (ya, tidak, 1, 0, empty).
            A row is one line: no cell contains a line break.
photos      one to five per person: photos/<number>.jpg, photos/<number>_2.jpg,
            or photos/<number>/ with any file names in it. JPEG, PNG, WebP, BMP, GIF, TIFF.

Enrolling again adds the people on the list to the existing roster. New photos replace
old ones; people who are not on the list stay. Lines and photos that cannot be used are
listed, and the others are used.
"""
_EPILOG = """\
exit status:
  0  everybody on the list is in the roster, and every photo was used
  1  the roster was written, but a line of the list or a photo was left out, or
     --remove-others did not remove anybody
  2  nothing was written: the list, a key or the roster is invalid, or no photo is usable
"""
_PLAIN_EVERY = 100  # people between two lines of progress without a terminal


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "enroll",
        help="check photos and write the face roster",
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
        "default: organisation.key in the folder of the roster key",
    )
    parser.add_argument(
        "--for-units",
        type=Path,
        metavar="FILE",
        help="also write a copy without names and numbers, to copy to units by hand",
    )
    parser.add_argument(
        "--remove-others",
        action="store_true",
        help="remove people who are not on the list, if every line and photo was usable; lists "
        "them and asks first, and refuses to remove more than 5 %% without --yes",
    )
    parser.add_argument("--yes", action="store_true", help="confirm --remove-others")
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    # Imported late, so that a wrong setting is reported before any library is loaded.
    from edge.settings import load

    settings = load(options.config)

    from edge.enrolment import EnrolmentPaths, enrol
    from edge.errors import UsageError
    from edge.inference.face_analyzer import FaceAnalyzer

    key = options.key or settings.roster.key
    files = EnrolmentPaths(
        people=options.people,
        photos=options.photos,
        roster=options.roster or settings.roster.file,
        key=key,
        org_key=options.org_key or key.with_name("organisation.key"),
        units=options.for_units,
    )
    if files.units is not None and files.units.resolve() == files.roster.resolve():
        raise UsageError(f"--for-units {files.units}: is the roster itself; name another file")
    examiner = FaceAnalyzer(settings.inference, photos=True)
    with _terminal() as terminal:
        result = enrol(
            files,
            examiner,
            remove_others=options.remove_others,
            yes=options.yes,
            ask=terminal.ask,
            tell=terminal.tell,
            progress=terminal.progress,
        )
    parts = {
        "enrolled": result.enrolled,
        "kept with earlier photos": result.kept,
        "removed": result.removed,
        "left out": result.left_out,
    }
    print(", ".join(f"{count} {what}" for what, count in parts.items() if count) + ".")
    if result.unread:
        print(f"{pluralize(result.unread, 'line')} of the list not used; see above.")
    if result.refused:
        print(f"{pluralize(result.refused, 'photo')} not used; see above.")
    if result.staying:
        print(f"{pluralize(result.staying, 'person')} not on the list not removed; see above.")
    print(f"{files.roster}: version {result.version}, {pluralize(result.size, 'person')}.")
    return 0 if result.complete else 1


class _PlainOutput:
    """Prints plain lines, and asks nothing because nobody may be there."""

    def tell(self, line: str) -> None:
        print(line)

    def progress(self, seen: int, total: int) -> None:
        if seen and (seen % _PLAIN_EVERY == 0 or seen == total):
            print(f"{seen} of {pluralize(total, 'person')} seen")

    def ask(self, _question: str) -> bool:
        return False


class _ProgressOutput:
    """Shows a progress bar above the lines."""

    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task = bar.add_task("photos")

    def tell(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def progress(self, seen: int, total: int) -> None:
        self._bar.update(self._task, completed=seen, total=total)

    def ask(self, question: str) -> bool:
        if not sys.stdin.isatty():
            return False
        self._bar.stop()  # all photos have been processed
        return _answer(question)


@contextmanager
def _terminal() -> Iterator[_PlainOutput | _ProgressOutput]:
    """Show a progress bar on a terminal, plain lines otherwise."""
    if not sys.stdout.isatty():
        yield _PlainOutput()
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
        yield _ProgressOutput(bar)


def _answer(question: str) -> bool:
    print(f"{question} [y/N] ", end="", flush=True)  # `input` would print to standard error
    try:
        return sys.stdin.readline().strip().lower() in {"y", "yes", "ya"}
    except UnicodeDecodeError:
        return False
