"""Updates a unit over and over, until it is killed: one version after the other.

Run as: update_worker.py FOLDER KEYS RELEASE RELEASE …
"""

import itertools
import sys
from contextlib import closing
from pathlib import Path

from edge.appliance.update.release import Machine, Release, load_keys
from edge.appliance.update.service import Standing
from edge.appliance.update.slots import Versions
from edge.appliance.update.updater import Patience, Updater


class Willing:
    """A service that always works."""

    def stop(self) -> None:
        pass

    def start(self) -> None:
        pass

    def standing(self) -> Standing:
        return Standing(active=True, restarts=0, sentence="")


def main() -> None:
    folder, keys, *releases = (Path(word) for word in sys.argv[1:])
    versions = Versions(folder / "releases", folder / "packaged", spare_bytes=0)
    updater = Updater(
        versions,
        Willing(),
        test=lambda _: None,
        patience=Patience(watch_s=0.0),
        boot=lambda: "boot",
    )
    trusted = load_keys(keys)
    for path in itertools.cycle(releases):
        with closing(Release(path, trusted)) as release:
            updater.update(release, Machine.here(), older=True)
        updater.watch()
        sys.stdout.write(f"{path.name}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
