"""Run by the package's postinst: activates the newer of the package and an installed update.

    python3 -I -m edge.appliance.update.postinst

A package that is not older than the update replaces it and ends a pending update. No version is
removed here.
"""

import sys

from edge.appliance.update.slots import PACKAGED, Slots, order
from edge.errors import SenyumError


def configure(slots: Slots) -> str:
    """Activate the newer version; return a sentence, empty without an installed update."""
    update = slots.current
    if update == slots.packaged:
        return ""
    ours, theirs = slots.version_of(slots.packaged), slots.version_of(update)
    if (update / "bin/python3").exists() and (order(theirs) or ()) > (order(ours) or ()):
        return (
            f"version {theirs}, installed by senyum update, is newer than the package ({ours}) and "
            f"stays active; to activate the package: rm {slots.root}/current && "
            "systemctl restart senyum"
        )
    slots.activate_packaged()
    return f"version {ours} of the package replaces {theirs}, installed by senyum update"


def main() -> None:
    """Activate the newer version on this machine."""
    try:
        sentence = configure(Slots(packaged=PACKAGED))
    except (SenyumError, OSError) as error:
        sys.exit(f"senyum-edge: {error}")
    if sentence:
        sys.stdout.write(f"senyum-edge: {sentence}\n")


if __name__ == "__main__":
    main()
