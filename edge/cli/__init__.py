"""`senyum …`: one thin module per command, imported only when that command runs."""

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

# In the order in which a unit needs them.
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
    "liveness-check": "senyum_lab.cli.liveness_check",
    "admin": "senyum_central.cli.admin",
}


# Modules that a unit does not have, and the extra that installs them on a server.
EXTRAS = {"senyum_central": "central", "sqlalchemy": "central", "psycopg": "central"}


def _extra(error: ModuleNotFoundError) -> str | None:
    return EXTRAS.get((error.name or "").split(".")[0])


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser with the command `chosen`, or with all commands.

    Raises ModuleNotFoundError if the chosen command needs a package that is not installed.
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
            if chosen is not None or _extra(error) is None:
                raise
            commands.add_parser(name, help="for the server; not installed on this machine")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1, or 2 for wrong usage."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may not be UTF-8, and the terminal may not be able to encode every letter.
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
        extra = _extra(error)
        if extra is None:
            raise
        remedy = f"install it there: pip install 'senyum-edge[{extra}]'"
        print(f"senyum: {named} belongs to the server; {remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
