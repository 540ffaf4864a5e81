"""`senyum …`: one thin module a command, imported only when it is the one asked for."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from edge import __version__
from edge.errors import SenyumError

# In the order of a unit's life.
COMMANDS = {
    "enroll": "edge.cli.enroll",
    "run": "edge.cli.run",
    "clock-watch": "edge.cli.clock_watch",
    "keys": "edge.cli.keys",
    "receive": "edge.cli.receive",
    "update": "edge.cli.update",
    "self-test": "edge.cli.self_test",
    "bench": "edge.cli.bench",
    "evaluate": "edge.cli.evaluate",
}

# sd-daemon(3): a leading "<n>" is the priority that the journal files the line under.
_PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class _JournalFormatter(logging.Formatter):
    """One line an entry, for the journal where that is what reads us."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(levelname)s %(name)s: %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if not self._journal:
            return line
        priority = _PRIORITY.get(record.levelno, 5)
        return "\n".join(f"<{priority}>{part}" for part in line.splitlines())


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_JournalFormatter(journal="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=level, handlers=[handler])


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser with the command `chosen`, or with all of them."""
    parser = argparse.ArgumentParser(prog="senyum", description="Attendance with a smile.")
    parser.add_argument("--version", action="version", version=f"senyum {__version__}")
    parser.add_argument(
        "--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"]
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        if chosen is None or name == chosen:
            importlib.import_module(module).add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 1, or 2 for the caller's mistakes."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    named = next((word for word in arguments if word in COMMANDS), None)
    options = build_parser(named).parse_args(arguments)
    _log_to_stderr(options.log_level)
    try:
        status: int = options.func(options)
    except SenyumError as error:
        print(f"senyum: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
