"""`scripts/build_release`: packs and signs the environment as a release for `senyum update`."""

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from deb_building import (
    LIB,
    MACHINES,
    RELEASES,
    REPOSITORY,
    Target,
    cache,
    commit_seconds,
    tree,
)
from edge import __version__
from edge.appliance.update.release import make_key, write
from edge.errors import SenyumError


def build(target: Target, key: Path, to: Path) -> None:
    """Write the release file `to`. Raises SecretError."""
    seconds = commit_seconds()
    stated = {
        "version": __version__,
        "machine": target.machine,
        "python": target.release.python,
        "made": datetime.fromtimestamp(seconds, UTC).isoformat(),
    }
    with tempfile.TemporaryDirectory(prefix="senyum-release-") as folder:
        root = Path(folder)
        tree.environment(target, root, cache())
        tree.settle(root, seconds)
        write(root / LIB, to, stated, key)


def main() -> None:
    """Build the release that the arguments describe, or make a key."""
    arguments = argparse.ArgumentParser(
        prog="scripts/build_release",
        description="Build and sign senyum-VERSION-ARCH-debNN.release, or make a release key.",
    )
    arguments.add_argument("--arch", choices=MACHINES, default="arm64")
    arguments.add_argument("--release", choices=RELEASES, default="trixie")
    arguments.add_argument("--out", type=Path, default=REPOSITORY / "dist", help="default: dist/")
    one = arguments.add_mutually_exclusive_group(required=True)
    one.add_argument("--key", type=Path, metavar="FILE", help="private release key, mode 0600")
    one.add_argument(
        "--new-key",
        type=Path,
        metavar="FILE",
        help="make a private key there, and FILE.public.json for build_deb --release-keys",
    )
    options = arguments.parse_args()

    try:
        if options.new_key:
            public = options.new_key.with_name(options.new_key.name + ".public.json")
            make_key(options.new_key, public)
            sys.stdout.write(f"{options.new_key}: keep it secret and back it up\n{public}\n")
            return
        target = Target(RELEASES[options.release], options.arch)
        options.out.mkdir(parents=True, exist_ok=True)
        name = f"senyum-{__version__}-{target.arch}-deb{target.release.debian}.release"
        to = options.out / name
        build(target, options.key, to)
    except (SenyumError, OSError) as error:
        sys.exit(f"scripts/build_release: {error}")
    sys.stdout.write(f"{to}: {to.stat().st_size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
