"""`senyum …`: one thin module a command, imported only when it is the one asked for."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from edge import __version__
from edge.errors import SenyumError
from edge.system.journald import configure
from edge.system.text import escaped

# In the order of a unit's life.
COMMANDS = {
    "provision": "edge.cli.provision",
    "enroll": "edge.cli.enroll",
    "run": "edge.cli.run",
    "status": "edge.cli.status",
    "doctor": "edge.cli.doctor",
    "clock-watch": "edge.cli.clock_watch",
    "keys": "edge.cli.keys",
    "csr": "edge.cli.csr",
    "receive": "senyum_central.cli.receive",
    "update": "edge.cli.update",
    "self-test": "edge.cli.self_test",
    "export": "senyum_central.cli.export",
    "verify": "senyum_central.cli.verify",
    "bench": "senyum_lab.cli.bench",
    "simulate": "senyum_lab.cli.simulate",
    "evaluate": "senyum_lab.cli.evaluate",
    "admin": "senyum_central.cli.admin",
}


# Packages that only some installations have, and the extra that brings them.
EXTRAS = {"sqlalchemy": "central", "psycopg": "central"}


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser with the command `chosen`, or with all of them.

    Raises ModuleNotFoundError where the chosen one needs a package that is not installed.
    """
    parser = argparse.ArgumentParser(prog="senyum", description="Attendance with a smile.")
    parser.add_argument("--version", action="version", version=f"senyum {__version__}")
    parser.add_argument(
        "--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"]
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        if chosen is not None and name != chosen:
            continue
        try:
            importlib.import_module(module).add_parser(commands)
        except ModuleNotFoundError as error:
            if chosen is not None or error.name not in EXTRAS:
                raise
            commands.add_parser(name, help=f"needs {error.name}, which is not installed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 1, or 2 for the caller's mistakes."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name need not be UTF-8, nor the terminal's encoding hold every letter.
        sys.stdout.reconfigure(errors="backslashreplace")
    named = next((word for word in arguments if word in COMMANDS), None)
    try:
        options = build_parser(named).parse_args(arguments)
        configure(options.log_level)
        status: int = options.func(options)
    except SenyumError as error:
        print(f"senyum: {escaped(error)}", file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name or "")
        if extra is None:
            raise
        text = f"{error.name} is not installed; in the checkout run: pip install '.[{extra}]'"
        print(f"senyum: {named}: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
