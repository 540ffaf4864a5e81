"""Run by the package's postinst: which is in force, its version or that of an update.

    python3 -I -m edge.appliance.update.postinst

The newer one. A package that somebody installs counts for as much as a release: it wins where it
is not older, and ends a trial that is under way. Nobody's version is removed here.
"""

import sys

from edge.appliance.update.slots import PACKAGED, Slots, order
from edge.errors import SenyumError


def configure(versions: Slots) -> str:
    """Put the newer one in force; returns a sentence of it, empty where there was no update."""
    update = versions.current
    if update == versions.packaged:
        return ""
    ours, theirs = versions.version_of(versions.packaged), versions.version_of(update)
    if (update / "bin/python3").exists() and (order(theirs) or ()) > (order(ours) or ()):
        return (
            f"version {theirs}, brought by senyum update, is newer than the package's {ours} and "
            f"stays; for the package's: rm {versions.root}/current && systemctl restart senyum"
        )
    versions.retire()
    return f"version {ours} of the package takes the place of {theirs}, brought by senyum update"


def main() -> None:
    """Settle it on this machine."""
    try:
        said = configure(Slots(packaged=PACKAGED))
    except (SenyumError, OSError) as error:
        sys.exit(f"senyum-edge: {error}")
    if said:
        sys.stdout.write(f"senyum-edge: {said}\n")


if __name__ == "__main__":
    main()
