"""`senyum evaluate …`: what the shipped models are worth on labelled pictures."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.system.text import escaped

if TYPE_CHECKING:
    from edge.types import Floats
    from senyum_lab.evaluate.faces import EvaluationContext, Progress
    from senyum_lab.evaluate.report import EvaluationReport

    Evaluate = Callable[[argparse.Namespace, EvaluationContext], EvaluationReport]

_DESCRIPTION = """\
Measure the models on labelled pictures, with the daemon's own pipeline and settings.

Labels are CSV, UTF-8, with a header; files are named relative to --images. Files that are
missing or damaged are left out and counted; a picture without a face found is an error.
"""
_PLAIN_EVERY = 500  # pictures between two lines of progress without a terminal


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure smile, identity, search, liveness, covers, groups, distance on pictures",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    smile = _command(what, "smile", "the smile score", _smile)
    _labels(smile, "file,smile[,person]; smile is 0 or 1")

    identity = _command(what, "identity", "pairs of photos: one person or two", _identity)
    identity.add_argument(
        "--pairs", type=Path, required=True, metavar="CSV", help="a,b,same,fold; same is 0 or 1"
    )

    search = _command(what, "search", "one face among thousands", _search)
    search.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="file,person; default: the folder that a photo lies in is its person",
    )
    search.add_argument(
        "--distractors", type=Path, metavar="DIR", help="more photos, each of another person"
    )
    search.add_argument(
        "--enrol", type=int, default=1, metavar="K", help="photos enrolled a person (default: 1)"
    )
    search.add_argument(
        "--frames", type=int, metavar="M", help="photos of one attempt (default: K)"
    )
    search.add_argument(
        "--gallery",
        type=int,
        default=5000,
        metavar="N",
        help="people enrolled; those left over are the strangers (default: 5000)",
    )
    search.add_argument(
        "--strangers",
        type=int,
        default=0,
        metavar="S",
        help="keep S labelled people out of the gallery, and take no distractor for a stranger",
    )

    liveness = _command(what, "liveness", "attacks that pass for a face", _liveness, images=False)
    kind = liveness.add_mutually_exclusive_group(required=True)
    kind.add_argument("--images", type=Path, metavar="DIR", help="folder of the pictures")
    kind.add_argument("--videos", type=Path, metavar="DIR", help="folder of the videos")
    _labels(liveness, "file,live[,kind]; live is 0 or 1, kind names the attack")

    covers = _command(what, "covers", "faces reported as covered", _covers)
    _labels(covers, "file, all covered or all uncovered, or with the column of --by")
    covers.add_argument("--by", metavar="COLUMN", help="count also by this column of the list")

    groups = _command(what, "groups", "the figures by age, sex and so on", _groups)
    _labels(groups, "file and any of age, sex, gender, race, ethnicity, person, smile")
    groups.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN[:WIDTH]",
        help="part by this column, numbers in bands of WIDTH; may be repeated "
        "(default: age:20, and columns named like sex, gender, race, ethnicity)",
    )
    groups.add_argument(
        "--roster",
        type=int,
        default=300,
        metavar="N",
        help="people enrolled to count the strangers accepted (default: 300)",
    )

    distance = _command(what, "distance", "faces found by their width in the frame", _distance)
    distance.add_argument(
        "--labels", type=Path, metavar="CSV", help="file; default: all pictures of the folder"
    )
    distance.add_argument(
        "--share",
        action="append",
        type=float,
        default=[],
        metavar="S",
        help="width of the face over that of the frame; may be repeated (default: 0.03 to 0.1)",
    )
    distance.add_argument(
        "--part",
        default="0/1",
        metavar="K/N",
        help="only the folders (or files that lie in none) with crc32(name) %% N = K",
    )


def _command(
    what: Any, name: str, summary: str, evaluate: "Evaluate", *, images: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = what.add_parser(name, help=summary, description=summary)
    if images:
        parser.add_argument(
            "--images", type=Path, required=True, metavar="DIR", help="folder of the pictures"
        )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write plots and index.html into this folder"
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.set_defaults(func=run, evaluate=evaluate)
    return parser


def _labels(parser: argparse.ArgumentParser, columns: str) -> None:
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help=columns)


def run(options: argparse.Namespace) -> int:
    from edge.settings import load

    if options.report is not None:
        from senyum_lab.evaluate.charts import require_matplotlib

        require_matplotlib()
    settings = load(options.config)

    from edge.inference.face_analyzer import FaceAnalyzer
    from senyum_lab.evaluate.faces import EvaluationContext
    from senyum_lab.evaluate.report import as_json, write

    examiner = FaceAnalyzer(settings.inference)
    with _progress(options.what) as progress:
        report: EvaluationReport = options.evaluate(
            options, EvaluationContext(examiner, settings, progress)
        )
    if options.report is not None:
        command = shlex.join(["senyum", *sys.argv[1:]])
        write(report, options.report, command, examiner.digests)
    if options.json:
        print(as_json(report))
    else:
        _print(report)
        if options.report is not None:
            print(f"report: {options.report / 'index.html'}")
    return 0


def _smile(options: argparse.Namespace, bench: "EvaluationContext") -> "EvaluationReport":
    from senyum_lab.evaluate import smile

    return smile.evaluate(options.images, options.labels, bench)


def _identity(options: argparse.Namespace, bench: "EvaluationContext") -> "EvaluationReport":
    from senyum_lab.evaluate import identity

    return identity.evaluate(options.images, options.pairs, bench)


def _search(options: argparse.Namespace, bench: "EvaluationContext") -> "EvaluationReport":
    from senyum_lab.evaluate import search

    plan = search.SearchPlan(
        images=options.images,
        labels=options.labels,
        distractors=options.distractors,
        enrol=options.enrol,
        frames=options.frames,
        gallery=options.gallery,
        strangers=options.strangers,
    )
    return search.evaluate(plan, bench)


def _liveness(options: argparse.Namespace, bench: "EvaluationContext") -> "EvaluationReport":
    from edge.inference.pipeline import Pipeline
    from senyum_lab.evaluate import liveness

    if options.videos is None:
        return liveness.evaluate(options.images, options.labels, bench)

    def watch() -> Pipeline:
        return Pipeline(bench.settings.inference, _Nobody())

    return liveness.evaluate(options.videos, options.labels, bench, watch)


class _Nobody:
    """A roster that nobody is enrolled in."""

    def search(self, template: "Floats") -> None:  # noqa: ARG002 - the port's own name
        return None


def _covers(options: argparse.Namespace, bench: "EvaluationContext") -> "EvaluationReport":
    from senyum_lab.evaluate import covers

    return covers.evaluate(options.images, options.labels, bench, options.by)


def _distance(options: argparse.Namespace, bench: "EvaluationContext") -> "EvaluationReport":
    from edge.inference.face_analyzer import FaceAnalyzer
    from edge.inference.pipeline import Pipeline
    from senyum_lab.evaluate import distance
    from senyum_lab.evaluate.faces import pictures
    from senyum_lab.evaluate.labels import read

    if options.labels is None:
        names = pictures(options.images)
    else:
        rows = read(options.labels, "file").rows
        names = list(dict.fromkeys(row.cells["file"] for row in rows))
    return distance.evaluate(
        options.images,
        distance.part(names, options.part),
        options.share or distance.SHARES,
        bench,
        finder=FaceAnalyzer(bench.settings.inference),
        reader=Pipeline(bench.settings.inference, _Nobody()),
    )


def _groups(options: argparse.Namespace, bench: "EvaluationContext") -> "EvaluationReport":
    from senyum_lab.evaluate import groups

    by = [groups.GroupColumn.parse(text) for text in options.by]
    return groups.evaluate(options.images, options.labels, by, bench, options.roster)


def _print(report: "EvaluationReport") -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    def text(cell: str) -> Text:
        return Text(escaped(cell))  # it may be of a list: neither markup nor control characters

    console = Console()
    for table in report.tables:
        title = text(table.title) if table.title else None
        columns = (Column(text(column)) for column in table.columns)
        shown = Table(*columns, title=title, title_justify="left")
        for row in table.rows:
            shown.add_row(*map(text, row))
        console.print(shown)
    for note in report.notes:
        console.print(text(note))


@contextmanager
def _progress(what: str) -> "Iterator[Progress]":
    """Show a bar on the terminal, plain lines elsewhere; on stderr, for stdout is the result."""
    if not sys.stderr.isatty():
        yield _plain_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), Remaining()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda seen, total: bar.update(task, completed=seen, total=total)


def _plain_progress(seen: int, total: int) -> None:
    if seen and (seen % _PLAIN_EVERY == 0 or seen == total):
        print(f"{seen} of {total} seen", file=sys.stderr, flush=True)
