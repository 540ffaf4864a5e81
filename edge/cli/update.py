"""`senyum update`: a signed release in place of the present version, and back where it fails."""

import argparse
import subprocess
from pathlib import Path
from typing import Any

KEYS = Path("/usr/share/senyum/release-keys.json")
WATCH = "senyum-update.service"


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
    parser.add_argument("file", type=Path, nargs="?", help="the release")
    parser.add_argument(
        "--keys", type=Path, default=KEYS, help="who may sign (default: %(default)s)"
    )
    parser.add_argument(
        "--allow-older", action="store_true", help="also one that is not newer than the present"
    )
    parser.add_argument(
        "--watch", action="store_true", help="see the trial to its end (senyum-update.service)"
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from contextlib import closing

    from edge.update.release import Machine, Release, load_keys
    from edge.update.service import Systemd
    from edge.update.updater import Updater
    from edge.update.versions import Versions

    versions = Versions()
    updater = Updater(versions, Systemd())
    if options.watch:
        return 0 if updater.watch() else 1
    if options.file is None:
        trial = versions.trial()
        print(f"version {versions.version_of(versions.current)}{', on trial' if trial else ''}")
        return 0
    with closing(Release(options.file, load_keys(options.keys))) as release:
        updater.update(release, Machine.here(), older=options.allow_older)
    # The version before this one watches, as a service of its own: this terminal may go away.
    subprocess.run(["systemctl", "start", "--no-block", WATCH], check=False)
    print(
        f"version {release.manifest.version} is in force, and watched for ten minutes: "
        f"journalctl -fu {WATCH}"
    )
    return 0
