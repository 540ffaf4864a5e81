"""Updates a unit over and over, until it is killed: one version after the other.

Run as: update_worker.py FOLDER KEYS RELEASE RELEASE …
"""

import itertools
import sys
from contextlib import closing
from pathlib import Path

from edge.appliance.update.release import Release, ReleaseTarget, load_keys
from edge.appliance.update.service import ServiceStatus
from edge.appliance.update.slots import Slots
from edge.appliance.update.updater import Updater, WatchPolicy


class Willing:
    """A service that always works."""

    def stop(self) -> None:
        pass

    def start(self) -> None:
        pass

    def status(self) -> ServiceStatus:
        return ServiceStatus(active=True, restarts=0, sentence="")


def main() -> None:
    folder, keys, *releases = (Path(word) for word in sys.argv[1:])
    versions = Slots(folder / "releases", folder / "packaged", spare_bytes=0)
    updater = Updater(
        versions,
        Willing(),
        test=lambda _: None,
        policy=WatchPolicy(watch_s=0.0),
        boot=lambda: "boot",
    )
    trusted = load_keys(keys)
    for path in itertools.cycle(releases):
        with closing(Release(path, trusted)) as release:
            updater.update(release, ReleaseTarget.local(), older=True)
        updater.watch()
        sys.stdout.write(f"{path.name}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
