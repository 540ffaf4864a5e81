"""`senyum provision`: configures a unit's identity, location and broker."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from edge.errors import SettingsError
from edge.system.privileges import USER
from edge.system.text import escaped


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "provision",
        help="configure this unit's identity, location and broker",
        description=(
            "Ask for name, place and broker, or read them from a claim file; make the unit's keys "
            "and a certificate request. Everything is checked before anything changes; repeating "
            "it is safe."
        ),
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--file", type=Path, metavar="CLAIM", help="claim file, TOML (default: ask)"
    )
    source.add_argument(
        "--boot",
        action="store_true",
        help="apply senyum-claim.toml of the boot partition, if it exists, and wipe it",
    )
    source.add_argument(
        "--certificate",
        type=Path,
        metavar="PEM",
        help="install a certificate and change nothing else",
    )
    parser.add_argument("--wipe", action="store_true", help="overwrite and remove CLAIM afterwards")
    parser.add_argument("--config", type=Path, help="settings to write (default: /etc/senyum)")
    parser.add_argument(
        "--boot-folder",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="folder that --boot searches (default: /boot/firmware, then /boot)",
    )
    parser.add_argument(
        "--user",
        default=USER,
        help="user that runs the daemon, if root provisions (default: %(default)s)",
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.appliance.provision.apply import provision, receipt
    from edge.appliance.provision.boot import BOOT, at_boot, unapplied, wipe
    from edge.appliance.provision.plan import ProvisioningTarget
    from edge.settings import CONFIG_FILE
    from edge.system.privileges import Owner, service

    if options.wipe and options.file is None:
        raise SettingsError("--wipe needs --file")
    config = (options.config or CONFIG_FILE).absolute()
    machine = ProvisioningTarget(
        config, Owner(os.geteuid(), os.getegid()), service(options.user), _count_cameras
    )
    if options.boot:
        folders = options.boot_folder or BOOT
        done = at_boot(machine, folders)
        print(done.sentence if done else "no claim on the boot partition; nothing to do")
        for remark in (*done.plan.remarks, *unapplied(folders)) if done else ():
            print(escaped(remark))
        return 0
    documents = _documents(options, config)
    done = provision(documents, machine)
    if options.wipe:
        wipe(options.file, documents)
    print(receipt(done, config.parent))
    print("Next: systemctl restart senyum, then senyum doctor")
    return 0


def _count_cameras() -> int | None:
    """Return the number of cameras that libcamera finds; None without Picamera2. Takes seconds."""
    try:
        from picamera2 import Picamera2
    except ImportError:
        return None
    return len(Picamera2.global_camera_info())


def _documents(options: argparse.Namespace, config: Path) -> Any:
    from edge.appliance.provision.claim import Documents
    from edge.appliance.provision.current_config import CurrentConfig
    from edge.appliance.provision.prompts import Terminal, interview

    if options.file is not None:
        return Documents.read(options.file)
    if options.certificate is not None:
        content = {"certificate": str(options.certificate.absolute())}
        return Documents.of(content, "--certificate", Path.cwd())
    if not sys.stdin.isatty():
        raise SettingsError("no terminal to ask the questions; use --file CLAIM")
    try:
        answers = interview(Terminal(), CurrentConfig.read(config).content)
    except EOFError:
        raise SettingsError("the questions were not answered; nothing was changed") from None
    return Documents.of(answers, "answers", Path.cwd())
