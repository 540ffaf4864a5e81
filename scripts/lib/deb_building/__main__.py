"""`scripts/build_deb`: builds one package and prints its path and size."""

import argparse
import tempfile
from pathlib import Path

from deb_building import MACHINES, RELEASES, REPOSITORY, Target, cache, commit_seconds, tree
from edge import __version__


def main() -> None:
    """Build the package that the arguments describe."""
    arguments = argparse.ArgumentParser(
        prog="scripts/build_deb", description="Build senyum-edge_VERSION_ARCH.deb."
    )
    arguments.add_argument("--arch", choices=MACHINES, default="arm64")
    arguments.add_argument("--release", choices=RELEASES, default="trixie")
    arguments.add_argument("--revision", type=int, default=1, help="of the package (default: 1)")
    arguments.add_argument("--out", type=Path, default=REPOSITORY / "dist", help="default: dist/")
    arguments.add_argument(
        "--release-keys",
        type=Path,
        metavar="FILE",
        help="JWK set of the keys that may sign releases for `senyum update` (default: none)",
    )
    options = arguments.parse_args()

    target = Target(RELEASES[options.release], options.arch)
    version = f"{__version__}-{options.revision}+deb{target.release.debian}"
    options.out.mkdir(parents=True, exist_ok=True)
    to = options.out / f"senyum-edge_{version}_{target.arch}.deb"
    with tempfile.TemporaryDirectory(prefix="senyum-deb-") as folder:
        root = Path(folder) / "root"
        root.mkdir()
        tree.lay_out(
            target,
            root,
            version=version,
            seconds=commit_seconds(),
            cache=cache(),
            release_keys=options.release_keys,
        )
        tree.pack(root, to)
    print(f"{to}: {to.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
