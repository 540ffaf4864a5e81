"""What this unit does when it is ordered: answers, shows itself, sends again, takes new settings.

Everything here runs in the listening thread, but for `resume`. What the main loop has to take
(rules, a roster) is handed to it as a Change, for a moment when nobody's attempt is under way.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.commands.command_log import CommandEffect, CommandLog
from edge.commands.handler import PreparedCommand
from edge.contract.commands import AnyData, CommandName, ReplayData, SettingsData
from edge.contract.remote_settings import RemoteSetting, values, with_overrides
from edge.errors import OutboxError, ReplayRefused, RosterError, SettingsError
from edge.gallery import Gallery
from edge.outbox.replay import REQUESTS, ReplayRequest, kept
from edge.outbox.store import OutboxReader
from edge.roster.thresholds import adaptive_thresholds
from edge.settings import Settings
from edge.types import Cue, CueName

log = logging.getLogger(__name__)

TELL_SECONDS = 5.0  # for an audit event to be stored
# What a running unit can take; all else needs a restart. A name that ends in a dot: all below it.
LIVE = (
    "attendance.",
    "liveness.",
    "roster.",
    "gpio.brightness",
    "gpio.volume",
    "broker.health_period",
)
_NOT_LIVE = ("roster.key", "roster.file")


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """What is to be in force from a quiet moment on."""

    settings: Settings  # adjusted, but for the roster's limits as they are in the file
    limits: Settings  # the same with the limits that the roster calls for
    gallery: Gallery


def current_overrides(ledger: CommandLog) -> dict[RemoteSetting, float]:
    """Return what was set by command; names of another version are left out."""
    known = {name.value: name for name in RemoteSetting}
    return {known[name]: value for name, value in ledger.settings().items() if name in known}


def with_stored_overrides(settings: Settings, ledger: CommandLog) -> Settings:
    """Lay what was set by command over the unit's own settings; what no longer fits is told."""
    for name, value in current_overrides(ledger).items():
        try:
            settings = with_overrides(settings, {name: value})
        except SettingsError as error:
            log.warning("set by command, and left out: %s", error)
    return settings


def change_of(settings: Settings, gallery: Gallery) -> RuntimeConfig:
    """Return the change to these settings and this roster."""
    rule = adaptive_thresholds(gallery, settings.roster)
    return RuntimeConfig(settings, settings.model_copy(update={"roster": rule}), gallery)


class CommandActions:
    """The hands of one unit.

    `base` are its settings without what was set by command; `reread` reads them anew. `changed`
    takes a Change over, `load` reads the roster's file, `asked` takes a replay, `show` a cue;
    `delivered` is the newest event that the broker took; `audit` takes an event and returns its
    number (`stored` tells of it), and `stop` ends the unit.
    """

    def __init__(
        self,
        base: Settings,
        present: RuntimeConfig,
        ledger: CommandLog,
        reader: OutboxReader,
        *,
        software: str,
        session: int,
        load: Callable[[], Gallery],
        reread: Callable[[], Settings] | None,
        changed: Callable[[RuntimeConfig], None],
        asked: Callable[[ReplayRequest], None],
        delivered: Callable[[], int],
        show: Callable[[Cue], None],
        audit: Callable[[Mapping[str, Any]], int],
        stop: Callable[[], None],
        supervised: bool = "INVOCATION_ID" in os.environ,
    ) -> None:
        self._base = base
        self._present = present
        self._ledger = ledger
        self._reader = reader
        self._software, self._session, self._load = software, session, load
        self._reread = reread
        self._changed, self._asked, self._show = changed, asked, show
        self._delivered = delivered
        self._audit, self._stop = audit, stop
        self._supervised = supervised
        self._began = time.monotonic()
        self._taking = threading.Lock()
        self._telling = threading.Condition()
        self._awaited: int | None = None
        self._outcome: bool | None = None

    # --- Hands -----------------------------------------------------------------------------------

    def prepare(self, name: CommandName, data: AnyData) -> PreparedCommand:
        """Look whether a command can be obeyed; a SenyumError says why not."""
        match name, data:
            case CommandName.REPLAY, ReplayData():
                return self._replay(data)
            case CommandName.SETTINGS, SettingsData():
                return self._settings(data)
            case CommandName.RELOAD, _:
                return self._reload()
            case CommandName.IDENTIFY, _:
                return PreparedCommand(
                    "blinks and sounds for six seconds, unless somebody stands in front",
                    audit={},
                    act=lambda _: self._show(Cue(CueName.IDENTIFY)),
                )
            case _:
                return self._ping()

    def wait_for_audit(self, detail: Mapping[str, Any]) -> bool:
        """Put an audit event into the chain; False where it was not stored in time.

        For one thread at a time.
        """
        with self._telling:
            self._outcome = None
            self._awaited = self._audit(detail)
            self._telling.wait_for(lambda: self._outcome is not None, TELL_SECONDS)
            self._awaited = None
            return bool(self._outcome)

    def restart(self) -> None:
        """End in good order; the service manager starts the unit anew."""
        log.info("restarts, as ordered")
        self._stop()

    def use_roster(self, gallery: Gallery) -> None:
        """Take a roster that was delivered, with the settings as they are or are about to be."""
        with self._taking:
            self._take(change_of(self._present.settings, gallery))

    def resume(self) -> None:
        """Apply what was set by command before the start, if the ledger could not be read then.

        Raises OutboxError.
        """
        with self._taking:
            settings = with_stored_overrides(self._base, self._ledger)
            if settings != self._present.settings:
                self._take(change_of(settings, self._present.gallery))

    # --- for the main loop -----------------------------------------------------------------------

    def event_stored(self, ref: int, *, stored: bool) -> None:
        """Hear what became of an event that `audit` was asked for."""
        with self._telling:
            if ref == self._awaited:
                self._outcome = stored
                self._telling.notify()

    # --- each command ----------------------------------------------------------------------------

    def _ping(self) -> PreparedCommand:
        head = self._reader.head()
        uptime = int(time.monotonic() - self._began)
        return PreparedCommand(
            f"runs senyum {self._software} for {uptime} s, newest event {head.sequence}",
            {
                "software": self._software,
                "uptime_s": uptime,
                "session": self._session,
                "sequence": head.sequence,
                "head": head.digest,
            },
        )

    def _replay(self, data: ReplayData) -> PreparedCommand:
        if len(self._ledger.replays()) >= REQUESTS:
            raise ReplayRefused(f"{REQUESTS} requests wait already; ask again when they are done")
        delivered = self._delivered()
        if data.first is not None and data.last is not None:
            found = kept(self._reader, data.first, data.last, delivered)
            said = f"sends events {found.first} to {found.last} again"
        else:
            found = kept(self._reader, 1, delivered, delivered)
            said = f"sends those of events {found.first} to {found.last} that are of that time"
        return PreparedCommand(
            said,
            {"first": found.first, "last": found.last},
            CommandEffect(replay=ReplayRequest(0, found.first, found.last, data.begin, data.end)),
            audit={"first": found.first, "last": found.last, "begin": data.begin, "end": data.end},
            act=lambda ask: None if ask is None else self._asked(ask),
        )

    def _settings(self, data: SettingsData) -> PreparedCommand:
        before = current_overrides(self._ledger)
        wanted = {**before, **data.set}
        for name in data.reset:
            wanted.pop(name, None)
        changed = sorted(data.set.keys() | set(data.reset))
        own = values(self._base)
        changes = {**data.set, **{name: own[name] for name in data.reset}}
        settings = with_overrides(with_stored_overrides(self._base, self._ledger), changes)
        now = values(settings)
        said = ", ".join(f"{name} is {now[name]:g}" for name in changed) or "nothing was changed"
        answer = {"settings": now, "set": sorted(wanted)}
        if not changed:
            return PreparedCommand(said, answer)

        def take(_: ReplayRequest | None) -> None:
            # The roster is as it was, so its limits are, which take a second to find.
            with self._taking:
                limits = settings.model_copy(update={"roster": self._present.limits.roster})
                self._take(RuntimeConfig(settings, limits, self._present.gallery))

        stored: dict[str, float | None] = {name.value: None for name in data.reset}
        stored.update({name.value: new for name, new in data.set.items()})
        return PreparedCommand(
            said,
            answer,
            CommandEffect(stored),
            audit={_as_detail(name): now[name] for name in changed},
            act=take,
        )

    def _reload(self) -> PreparedCommand:
        base = self._base if self._reread is None else self._reread()
        settings = with_stored_overrides(base, self._ledger)
        changed = sorted(_differences(self._present.settings, settings))
        heavy = [name for name in changed if not _live_settings(name)]
        if heavy and not self._supervised:
            raise SettingsError(f"needs a restart for {', '.join(heavy)}: restart the service")
        gallery = self._present_file()
        if gallery.digest != self._present.gallery.digest:
            changed.append("roster")
        said = ", ".join(changed) or "nothing"
        detail = {"changed": said[:200], "restart": bool(heavy)}
        data = {"changed": changed, "restart": bool(heavy)}
        if heavy:
            return PreparedCommand(f"restarts to take {said}", data, audit=detail, restart=True)

        def take(_: ReplayRequest | None) -> None:
            with self._taking:
                self._base = base
                if changed:
                    self._take(change_of(settings, gallery))

        return PreparedCommand(f"changed: {said}", data, audit=detail, act=take)

    def _present_file(self) -> Gallery:
        """Return the roster to go on with: a unit that waits for one may go on waiting."""
        present = self._present.gallery
        try:
            gallery = self._load()
        except RosterError:
            if present.size:
                raise
            return present
        if gallery.size == 0 and present.size:
            raise RosterError("nobody is enrolled in the roster; the present one is kept")
        return gallery

    def _take(self, change: RuntimeConfig) -> None:
        self._present = change
        self._changed(change)


def mark_replayed(ledger: CommandLog, ask: int) -> None:
    """Note that a replay is done; at worst it is sent once more after a restart."""
    try:
        ledger.replayed(ask)
    except OutboxError as error:
        log.warning("%s", error)


def _as_detail(name: str) -> str:
    """Spell a setting as a name in an audit event's detail may be spelt."""
    return name.replace(".", "-")


def _live_settings(name: str) -> bool:
    if name in _NOT_LIVE:
        return False
    return name == "roster" or any(
        name == each or (each.endswith(".") and name.startswith(each)) for each in LIVE
    )


def _differences(one: Settings, other: Settings) -> Iterator[str]:
    """Yield the dotted names of the settings that are not the same."""
    for section in Settings.model_fields:
        before, after = getattr(one, section), getattr(other, section)
        for field in type(before).model_fields:
            if getattr(before, field) != getattr(after, field):
                yield f"{section}.{field}"
