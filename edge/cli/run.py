"""`senyum run`: the daemon."""

import argparse
import faulthandler
import os
from pathlib import Path
from typing import Any

STDERR = 2


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="watch the door: the daemon that systemd starts",
        description="Watch the door until SIGTERM. Says READY, STATUS and WATCHDOG to systemd.",
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    # One search fits in a cache or two: BLAS threads would cost more than they bring. To be said
    # before NumPy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A crash in C, of a camera's or a network's library, names its Python lines in the journal.
    faulthandler.enable(STDERR)
    # Imported here, so that a wrong setting is reported before any library is loaded.
    from edge.settings import load_settings

    settings = load_settings(options.config)

    from edge.daemon import run as run_unit

    return run_unit(settings, lambda: load_settings(options.config))
