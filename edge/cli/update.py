"""`senyum update`: installs a signed release, and rolls back if it fails."""

import argparse
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.appliance.update.slots import Slots

KEYS = Path("/usr/share/senyum/release-keys.json")
WATCH_SECONDS = (10.0, 900.0)


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "update",
        help="install a signed release; rolls back automatically on failure",
        description=(
            "Verify a release, install it next to the current version, test it, activate it and "
            "watch it for ten minutes. If it fails, the current version is restored. A power cut "
            "at any moment leaves one of the two. Run as root."
        ),
    )
    parser.add_argument(
        "file", type=Path, nargs="?", help="release file (default: show the active version)"
    )
    parser.add_argument(
        "--keys",
        type=Path,
        default=KEYS,
        help="JWK set of the keys that may sign releases (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-older",
        action="store_true",
        help="accept a release that is not newer than the current version",
    )
    parser.add_argument(
        "--watch-seconds",
        type=_seconds,
        metavar="S",
        help="watch the new version for S seconds, 10 to 900 (default: 600)",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="watch a pending update to its end (run by senyum-update.service)",
    )
    parser.set_defaults(func=run)


def _seconds(text: str) -> float:
    value = float(text)
    if not WATCH_SECONDS[0] <= value <= WATCH_SECONDS[1]:
        raise argparse.ArgumentTypeError("must be 10 to 900 seconds")
    return value


def run(options: argparse.Namespace) -> int:
    from contextlib import closing

    from edge.appliance.update.release import SPARE_BYTES, Release, ReleaseTarget, load_keys
    from edge.appliance.update.service import WATCH, Systemd
    from edge.appliance.update.slots import Slots
    from edge.appliance.update.updater import Updater

    slots = Slots()
    updater = Updater(slots, Systemd())
    if options.watch:
        return 0 if updater.watch() else 1
    if options.file is None:
        print(active_version(slots))
        return 0
    keys = load_keys(options.keys)
    slots.root.mkdir(parents=True, exist_ok=True)
    with closing(Release(options.file, keys, slots.root, SPARE_BYTES)) as release:
        # Closing the terminal must not stop the update half way.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        updater.update(
            release,
            ReleaseTarget.local(),
            older=options.allow_older,
            watch_s=options.watch_seconds,
        )
    # The previous version watches, as a service, because this terminal may close.
    subprocess.run(["systemctl", "start", "--no-block", WATCH], check=False)
    print(f"version {release.manifest.version} is active and being watched: journalctl -fu {WATCH}")
    return 0


def active_version(slots: "Slots") -> str:
    """Return a sentence on the active version."""
    import sys

    from edge import __version__
    from edge.appliance.update.slots import UNKNOWN_VERSION

    environment = slots.current
    version = slots.version_of(environment)
    if version != UNKNOWN_VERSION:
        return f"version {version}{' (being watched)' if slots.pending() else ''}"
    if environment == slots.packaged:
        return (
            f"version {__version__}, run from {sys.prefix}; not installed by a package or an update"
        )
    return f"{environment}: version unknown; reinstall it"
