"""`senyum run`: runs the daemon."""

import argparse
import faulthandler
import os
from pathlib import Path
from typing import Any

STDERR = 2


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="run the daemon (systemd starts it)",
        description="Run the daemon until SIGTERM. Sends READY, STATUS and WATCHDOG to systemd.",
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    # BLAS threads cost more than they gain for a search of this size. NumPy reads this at import.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # After a crash in a C library, the journal shows the Python stack.
    faulthandler.enable(STDERR)
    # Imported late, so that a wrong setting is reported before any library is loaded.
    from edge.settings import SettingsFile

    file = SettingsFile(options.config)
    settings = file.load()

    from edge.daemon import run as run_unit

    return run_unit(settings, file)
