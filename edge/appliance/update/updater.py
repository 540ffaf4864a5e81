"""Updates a unit: install next to the current version, test, activate, watch, roll back on failure.

    verify ─▶ install ─▶ self-test ─▶ pending.json ─▶ activate ─▶ watch ten minutes ─▶ commit
                           │ fails                                 │ fails, or dies
                           ▼                                       ▼
                    nothing changed                          roll back, start

The previous version watches (`keeper`), so that the new version cannot break the roll-back.
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
    """When a watched version is rolled back."""

    watch_s: float = 600.0
    ready_timeout_s: float = 60.0  # that the service may be down, at the start or later
    poll_s: float = 2.0
    max_restarts: int = 2
    max_boots: int = 3  # while the update is pending

    def with_duration(self, watch_s: float | None) -> "WatchPolicy":
        """Return the policy for a watch of `watch_s` seconds; None: the default."""
        if watch_s is None:
            return self
        return replace(self, watch_s=watch_s, ready_timeout_s=min(self.ready_timeout_s, watch_s))


SelfTest = Callable[[Path], str | None]  # environment -> why it cannot be activated, or None


class Updater:
    """Implements `senyum update`. Needs root and systemd."""

    def __init__(
        self,
        slots: Slots,
        service: Service,
        *,
        test: SelfTest = run_self_test,
        policy: WatchPolicy | None = None,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self._slots = slots
        self._service = service
        self._test = test
        self._policy = policy or WatchPolicy()
        self._boot = boot

    def update(
        self,
        release: Release,
        machine: ReleaseTarget,
        *,
        older: bool = False,
        watch_s: float | None = None,
    ) -> PendingUpdate:
        """Install a release and activate it as pending; `watch` then commits it or rolls back.

        `older` accepts a release that is not newer than the current version; `watch_s` is the
        duration of the watch in seconds. Raises UpdateRefused if nothing was changed, and
        UpdateError.
        """
        with self._lock():
            if self._slots.pending() is not None:
                raise UpdateError("an update is being watched; wait until the watch ends")
            release.require(machine)
            self._require_newer(release, older=older)
            environment = self._slots.install(release)
            was_out_of_order = self._service.status().out_of_order
            # The camera and the outbox belong to one process at a time.
            try:
                self._service.stop()
                was_out_of_order |= self._self_test(environment, release.manifest.version)
                return self._slots.activate_pending(
                    environment, was_out_of_order=was_out_of_order, watch_s=watch_s
                )
            finally:
                self._service.start()

    def watch(self) -> bool:
        """Watch a pending update to its end; return False if it was rolled back."""
        with self._lock():
            pending = self._slots.pending()
            if pending is None:
                return True
            if (
                str(self._slots.current) != pending.candidate
            ):  # power lost before activation, or rolled back
                self._slots.commit()
                return True
            pending = pending.with_boot(self._boot())
            self._slots.save_pending(pending)
            why = self._failure(pending)
            if why is None:
                self._slots.commit()
                self._slots.prune([Path(pending.fallback), Path(pending.candidate)])
                log.info("version %s is active", self._version(pending.candidate))
                return True
            log.error(
                "version %s is rolled back: %s; version %s is active",
                self._version(pending.candidate),
                why,
                self._version(pending.fallback),
            )
            self._roll_back(pending)
            return False

    def _self_test(self, environment: Path, version: str) -> bool:
        """Test a version; return whether it fails, but the current version fails too.

        A unit with a broken camera must still be updated. Raises UpdateRefused.
        """
        why = self._test(environment)
        if why is None:
            return False
        if self._test(self._slots.current) is not None:
            log.warning("version %s: %s; the current version fails too", version, why)
            return True
        self._slots.remove(environment)
        raise UpdateRefused(
            f"version {version} does not work here: {why}; the current version stays active"
        )

    def _failure(self, pending: PendingUpdate) -> str | None:
        """Watch for the configured time; return why the new version cannot be committed."""
        policy = self._policy.with_duration(pending.watch_s)
        if len(pending.boots) > policy.max_boots:
            return f"the machine booted {len(pending.boots)} times"
        began = up_at = time.monotonic()
        was_up = False
        first_restarts: int | None = None
        while True:
            now = time.monotonic()
            status = self._query_status()
            if first_restarts is None and status is not None:
                first_restarts = status.restarts
            if status is not None and status.active:
                was_up, up_at = True, now
            elif now - up_at > policy.ready_timeout_s:
                return "it stopped" if was_up else "it did not become ready"
            if status is not None and first_restarts is not None:
                if (again := status.restarts - first_restarts) > policy.max_restarts:
                    return f"it was restarted {pluralize(again, 'time')}"
                if now - began >= policy.watch_s and status.active:
                    return (
                        status.sentence
                        if status.out_of_order and not pending.was_out_of_order
                        else None
                    )
            time.sleep(policy.poll_s)

    def _query_status(self) -> ServiceStatus | None:
        """Return the service's status; None while systemd does not answer."""
        try:
            return self._service.status()
        except UpdateError as error:
            log.warning("%s", error)
            return None

    def _roll_back(self, pending: PendingUpdate) -> None:
        # The link first: from here on, any start of the service starts the old version.
        self._slots.activate(Path(pending.fallback))
        try:
            self._service.stop()
        except UpdateError as error:
            log.warning("%s", error)
        self._slots.commit()
        self._service.start()
        self._slots.remove(Path(pending.candidate))

    def _require_newer(self, release: Release, *, older: bool) -> None:
        current = self._version(str(self._slots.current))
        oldest = order(current)
        if oldest is not None and (order(release.manifest.version) or ()) <= oldest and not older:
            raise UpdateRefused(
                f"{release.path}: version {release.manifest.version} is not newer than {current}; "
                "add --allow-older to install it anyway"
            )

    def _version(self, environment: str) -> str:
        return self._slots.version_of(Path(environment))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Lock the folder, so that two updates never run at the same time."""
        self._slots.root.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = lock_file(self._slots.root / "lock", wait=False)
        except BlockingIOError:
            raise UpdateError("another update is running; wait until it ends") from None
        try:
            yield
        finally:
            os.close(descriptor)
