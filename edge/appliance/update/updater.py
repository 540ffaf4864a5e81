"""Updates a unit: unpack beside, test, switch, watch, and go back where it fails.

    verify ─▶ unpack ─▶ self-test ─▶ pending.json ─▶ switch ─▶ watch ten minutes ─▶ for good
                           │ fails                                 │ fails, or dies
                           ▼                                       ▼
                    nothing changed                          switch back, start

Whatever the new version may break, it is the version before it that watches (`keeper`).
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edge.appliance.update.release import Release, ReleaseTarget
from edge.appliance.update.selftest_runner import run_self_test
from edge.appliance.update.service import Service, ServiceStatus
from edge.appliance.update.slots import PendingUpdate, Slots, order
from edge.errors import UpdateError, UpdateRefused
from edge.system.boot_id import boot_id
from edge.system.files import lock_file
from edge.system.text import pluralize

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """Seconds and counts of the watch."""

    watch_s: float = 600.0
    settle_s: float = 60.0  # for the first time that the service is ready
    look_s: float = 2.0
    restarts: int = 2  # so many are borne
    boots: int = 3  # so many boots on trial are borne

    def shortened(self, watch_s: float | None) -> "WatchPolicy":
        """Return the patience of a watch that was asked to be so long."""
        if watch_s is None:
            return self
        return replace(self, watch_s=watch_s, settle_s=min(self.settle_s, watch_s))


SelfTest = Callable[[Path], str | None]  # an environment -> why it cannot be put in force


class Updater:
    """Everything that `senyum update` does. Needs root, and the service manager."""

    def __init__(
        self,
        versions: Slots,
        service: Service,
        *,
        test: SelfTest = run_self_test,
        patience: WatchPolicy | None = None,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self._versions = versions
        self._service = service
        self._test = test
        self._patience = patience or WatchPolicy()
        self._boot = boot

    def update(
        self,
        release: Release,
        machine: ReleaseTarget,
        *,
        older: bool = False,
        watch_s: float | None = None,
    ) -> PendingUpdate:
        """Install a release and put it in force on trial; `watch` has the last word.

        `older` allows one that is not newer than the present, `watch_s` is another patience than
        the usual one, in seconds. Raises UpdateRefused where nothing was changed, and UpdateError.
        """
        with self._alone():
            if self._versions.trial() is not None:
                raise UpdateError("an update is on trial; wait until it is over")
            release.require(machine)
            self._require_newer(release, older=older)
            environment = self._versions.install(release)
            ailing = self._service.standing().out_of_order
            # The camera and the outbox belong to one process at a time.
            try:
                self._service.stop()
                ailing |= self._try(environment, release.manifest.version)
                return self._versions.begin(environment, ailing=ailing, watch_s=watch_s)
            finally:
                self._service.start()

    def watch(self) -> bool:
        """See a trial to its end; returns whether the new version stays. True without a trial."""
        with self._alone():
            trial = self._versions.trial()
            if trial is None:
                return True
            if str(self._versions.current) != trial.after:  # cut before the switch, or back already
                self._versions.end()
                return True
            trial = trial.seen(self._boot())
            self._versions.note(trial)
            why = self._failure(trial)
            if why is None:
                self._versions.end()
                self._versions.prune([Path(trial.before), Path(trial.after)])
                log.info("version %s is in force", self._version(trial.after))
                return True
            log.error(
                "version %s is taken back: %s; version %s goes on",
                self._version(trial.after),
                why,
                self._version(trial.before),
            )
            self._go_back(trial)
            return False

    def _try(self, environment: Path, version: str) -> bool:
        """Test a version; returns whether what fails fails in the present one too.

        A unit with a broken camera must still be updated. Raises UpdateRefused.
        """
        why = self._test(environment)
        if why is None:
            return False
        if self._test(self._versions.current) is not None:
            log.warning("version %s: %s; so does the present one", version, why)
            return True
        self._versions.discard(environment)
        raise UpdateRefused(f"version {version} does not work here: {why}; the present one goes on")

    def _failure(self, trial: PendingUpdate) -> str | None:
        """Watch until the time is over; returns why the new version cannot stay."""
        patience = self._patience.shortened(trial.watch_s)
        if len(trial.boots) > patience.boots:
            return f"the machine started {len(trial.boots)} times"
        began = up_at = time.monotonic()
        was_up = False
        first_restarts: int | None = None
        while True:
            now = time.monotonic()
            standing = self._looked()
            if first_restarts is None and standing is not None:
                first_restarts = standing.restarts
            if standing is not None and standing.active:
                was_up, up_at = True, now
            elif now - up_at > patience.settle_s:
                return "it is down" if was_up else "it did not become ready"
            if standing is not None and first_restarts is not None:
                if (again := standing.restarts - first_restarts) > patience.restarts:
                    return f"it was started again {pluralize(again, 'time')}"
                if now - began >= patience.watch_s and standing.active:
                    return standing.sentence if standing.out_of_order and not trial.ailing else None
            time.sleep(patience.look_s)

    def _looked(self) -> ServiceStatus | None:
        """Return how the service is; None while the manager does not answer."""
        try:
            return self._service.standing()
        except UpdateError as error:
            log.warning("%s", error)
            return None

    def _go_back(self, trial: PendingUpdate) -> None:
        # The link first: whatever happens from here on, a start is one of the old version.
        self._versions.switch(Path(trial.before))
        try:
            self._service.stop()
        except UpdateError as error:
            log.warning("%s", error)
        self._versions.end()
        self._service.start()
        self._versions.discard(Path(trial.after))

    def _require_newer(self, release: Release, *, older: bool) -> None:
        present = self._version(str(self._versions.current))
        here = order(present)
        if here is not None and (order(release.manifest.version) or ()) <= here and not older:
            raise UpdateRefused(
                f"{release.path}: version {release.manifest.version} is not newer than {present}; "
                "add --allow-older to install it all the same"
            )

    def _version(self, environment: str) -> str:
        return self._versions.version_of(Path(environment))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder, so that two updates never run side by side."""
        self._versions.root.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = lock_file(self._versions.root / "lock", wait=False)
        except BlockingIOError:
            raise UpdateError("another update is at work; wait until it is over") from None
        try:
            yield
        finally:
            os.close(descriptor)
