"""`scripts/build_deb`: makes one package and says where it is and how large."""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from deb_building import MACHINES, RELEASES, REPOSITORY, Target, tree
from edge import __version__


def _seconds() -> int:
    """Return the time that files are given: SOURCE_DATE_EPOCH, or the last commit's."""
    if stated := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(stated)
    command = ["git", "log", "-1", "--format=%ct"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return int(done.stdout)


def main() -> None:
    """Build what the arguments say."""
    arguments = argparse.ArgumentParser(
        prog="scripts/build_deb", description="Build senyum-edge_VERSION_ARCH.deb."
    )
    arguments.add_argument("--arch", choices=MACHINES, default="arm64")
    arguments.add_argument("--release", choices=RELEASES, default="trixie")
    arguments.add_argument("--revision", type=int, default=1, help="of the package (default: 1)")
    arguments.add_argument("--out", type=Path, default=REPOSITORY / "dist", help="default: dist/")
    options = arguments.parse_args()

    target = Target(RELEASES[options.release], options.arch)
    version = f"{__version__}-{options.revision}+deb{target.release.debian}"
    cache = Path(os.environ.get("SENYUM_CACHE", REPOSITORY / ".cache")) / "build_deb"
    options.out.mkdir(parents=True, exist_ok=True)
    to = options.out / f"senyum-edge_{version}_{target.arch}.deb"
    with tempfile.TemporaryDirectory(prefix="senyum-deb-") as folder:
        root = Path(folder) / "root"
        root.mkdir()
        tree.lay_out(target, root, version=version, seconds=_seconds(), cache=cache)
        tree.pack(root, to)
    print(f"{to}: {to.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
