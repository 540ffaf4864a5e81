"""`senyum update`: a signed release in place of the present version, and back where it fails."""

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
        help="install a signed release; it goes back by itself where that fails",
        description=(
            "Verify a release, unpack it beside the present version, test it, put it in force, "
            "and watch it for ten minutes; where it fails the present version comes back. "
            "A power cut at any moment leaves one of the two. Run as root."
        ),
    )
    parser.add_argument(
        "file", type=Path, nargs="?", help="the release; without it: say which is in force"
    )
    parser.add_argument(
        "--keys", type=Path, default=KEYS, help="who may sign (default: %(default)s)"
    )
    parser.add_argument(
        "--allow-older", action="store_true", help="also one that is not newer than the present"
    )
    parser.add_argument(
        "--watch-seconds",
        type=_seconds,
        metavar="S",
        help="how long the new version is watched, 10 to 900 (default: 600)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="see the trial to its end (senyum-update.service)"
    )
    parser.set_defaults(func=run)


def _seconds(text: str) -> float:
    value = float(text)
    if not WATCH_SECONDS[0] <= value <= WATCH_SECONDS[1]:
        raise argparse.ArgumentTypeError("is to be 10 to 900 seconds")
    return value


def run(options: argparse.Namespace) -> int:
    from contextlib import closing

    from edge.appliance.update.release import SPARE_BYTES, Release, ReleaseTarget, load_keys
    from edge.appliance.update.service import WATCH, Systemd
    from edge.appliance.update.slots import Slots
    from edge.appliance.update.updater import Updater

    versions = Slots()
    updater = Updater(versions, Systemd())
    if options.watch:
        return 0 if updater.watch() else 1
    if options.file is None:
        print(in_force(versions))
        return 0
    keys = load_keys(options.keys)
    versions.root.mkdir(parents=True, exist_ok=True)
    with closing(Release(options.file, keys, versions.root, SPARE_BYTES)) as release:
        # A terminal that goes away must not leave the unit stopped half way.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        updater.update(
            release,
            ReleaseTarget.local(),
            older=options.allow_older,
            watch_s=options.watch_seconds,
        )
    # The version before this one watches, as a service of its own: this terminal may go away.
    subprocess.run(["systemctl", "start", "--no-block", WATCH], check=False)
    print(f"version {release.manifest.version} is in force, on trial: journalctl -fu {WATCH}")
    return 0


def in_force(versions: "Slots") -> str:
    """Say which version is in force here, and by what."""
    import sys

    from edge import __version__
    from edge.appliance.update.slots import UNKNOWN_VERSION

    environment = versions.current
    version = versions.version_of(environment)
    if version != UNKNOWN_VERSION:
        return f"version {version}{', on trial' if versions.trial() else ''}"
    if environment == versions.packaged:
        return f"version {__version__}, run from {sys.prefix}: no package and no update brought it"
    return f"{environment}: does not say its version; install it again"
