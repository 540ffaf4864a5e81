"""What each command does: ping, identify, replay, settings and reload.

Nothing here changes the unit: a command is prepared, and the main loop applies the result.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from edge.commands.command_log import CommandEffect, CommandLog
from edge.contract.commands import AnyData, CommandName, ReplayData, SettingsData
from edge.contract.remote_settings import RemoteSetting, values, with_overrides
from edge.errors import ReplayRefused, RosterError, SenyumError, SettingsError
from edge.gallery import Gallery
from edge.outbox.replay import REQUESTS, ReplayRequest, kept
from edge.outbox.store import OutboxReader
from edge.roster.messages import RosterLoaded
from edge.settings import RosterSettings, Settings, SettingsFile
from edge.types import Cue, CueName

log = logging.getLogger(__name__)

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
    """The settings and the roster that the main loop works with."""

    settings: Settings  # with remote settings, and the roster thresholds as in the file
    limits: Settings  # the same with the thresholds that the roster requires
    gallery: Gallery

    @classmethod
    def of(cls, settings: Settings, gallery: Gallery, thresholds: RosterSettings) -> Self:
        """Build it; `thresholds` are those that the roster requires."""
        return cls(settings, settings.model_copy(update={"roster": thresholds}), gallery)


def current_overrides(ledger: CommandLog) -> dict[RemoteSetting, float]:
    """Return what was set by command; names of another version are left out."""
    known = {name.value: name for name in RemoteSetting}
    return {known[name]: value for name, value in ledger.settings().items() if name in known}


def with_stored_overrides(settings: Settings, ledger: CommandLog) -> Settings:
    """Return the settings with the remote ones applied; those that no longer fit are logged."""
    for name, value in current_overrides(ledger).items():
        try:
            settings = with_overrides(settings, {name: value})
        except SettingsError as error:
            log.warning("set by command, and left out: %s", error)
    return settings


class RosterNeeded(SenyumError):
    """The roster has to be loaded, which takes seconds, before the command can be prepared."""

    def __init__(self, rule: RosterSettings) -> None:
        super().__init__("the roster is not loaded yet")
        self.rule = rule  # the settings to compute its thresholds from


@dataclass(frozen=True, slots=True)
class PreparedCommand:
    """A command that can be executed: nothing has happened yet."""

    text: str  # one sentence for a person
    data: Mapping[str, Any] = field(default_factory=dict)
    effect: CommandEffect = field(default_factory=CommandEffect)
    audit: Mapping[str, Any] | None = None  # further detail for the chain; None: not audited
    cue: Cue | None = None  # to show once it is stored
    change: RuntimeConfig | None = None  # to apply once it is stored
    base: Settings | None = None  # the settings as they were read again
    restart: bool = False  # once it is answered


class CommandActions:
    """Prepares commands, and remembers the configuration that the unit works with."""

    def __init__(
        self,
        base: Settings,
        present: RuntimeConfig,
        command_log: CommandLog,
        reader: OutboxReader,
        *,
        software: str,
        session: int,
        settings_file: SettingsFile | None = None,
        supervised: bool = "INVOCATION_ID" in os.environ,
    ) -> None:
        """Work on `base`, the settings without remote ones, which `settings_file` contains.

        `supervised`: whether a service manager starts the daemon again after it has ended.
        """
        self.present = present
        self._base = base
        self._log = command_log
        self._reader = reader
        self._software, self._session = software, session
        self._settings_file = settings_file
        self._supervised = supervised
        self._began = time.monotonic()

    def prepare(
        self, name: CommandName, data: AnyData, delivered: int, loaded: RosterLoaded | None
    ) -> PreparedCommand:
        """Return what a command would do.

        `delivered` is the newest event that the broker has taken; `loaded` is the roster file, if
        it was loaded for this command. Raises RosterNeeded, and SenyumError if the command cannot
        be executed.
        """
        match name, data:
            case CommandName.REPLAY, ReplayData():
                return self._replay(data, delivered)
            case CommandName.SETTINGS, SettingsData():
                return self._settings(data)
            case CommandName.RELOAD, _:
                return self._reload(loaded)
            case CommandName.IDENTIFY, _:
                return PreparedCommand(
                    "blinks and sounds for six seconds, unless somebody stands in front",
                    audit={},
                    cue=Cue(CueName.IDENTIFY),
                )
            case _:
                return self._ping()

    def apply_stored(self) -> RuntimeConfig | None:
        """Return the configuration with the remote settings, if it differs from the present one.

        Raises OutboxError.
        """
        settings = with_stored_overrides(self._base, self._log)
        return None if settings == self.present.settings else self._with_settings(settings)

    def use(self, change: RuntimeConfig) -> None:
        """Note that the unit works with another configuration now."""
        self.present = change

    def use_base(self, base: Settings) -> None:
        """Note that the settings file was read again by a command."""
        self._base = base

    def _with_settings(self, settings: Settings) -> RuntimeConfig:
        # The roster is the same, and so are its thresholds, which take seconds to compute.
        return RuntimeConfig.of(settings, self.present.gallery, self.present.limits.roster)

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

    def _replay(self, data: ReplayData, delivered: int) -> PreparedCommand:
        if len(self._log.replays()) >= REQUESTS:
            raise ReplayRefused(f"{REQUESTS} requests wait already; ask again when they are done")
        if data.first is not None and data.last is not None:
            found = kept(self._reader, data.first, data.last, delivered)
            text = f"sends events {found.first} to {found.last} again"
        else:
            found = kept(self._reader, 1, delivered, delivered)
            text = f"sends those of events {found.first} to {found.last} that are of that time"
        return PreparedCommand(
            text,
            {"first": found.first, "last": found.last},
            CommandEffect(replay=ReplayRequest(0, found.first, found.last, data.begin, data.end)),
            audit={"first": found.first, "last": found.last, "begin": data.begin, "end": data.end},
        )

    def _settings(self, data: SettingsData) -> PreparedCommand:
        before = current_overrides(self._log)
        wanted = {**before, **data.set}
        for name in data.reset:
            wanted.pop(name, None)
        changed = sorted(data.set.keys() | set(data.reset))
        own = values(self._base)
        changes = {**data.set, **{name: own[name] for name in data.reset}}
        settings = with_overrides(with_stored_overrides(self._base, self._log), changes)
        now = values(settings)
        text = ", ".join(f"{name} is {now[name]:g}" for name in changed) or "nothing was changed"
        answer = {"settings": now, "set": sorted(wanted)}
        if not changed:
            return PreparedCommand(text, answer)

        stored: dict[str, float | None] = {name.value: None for name in data.reset}
        stored.update({name.value: new for name, new in data.set.items()})
        return PreparedCommand(
            text,
            answer,
            CommandEffect(stored),
            audit={_as_detail(name): now[name] for name in changed},
            change=self._with_settings(settings),
        )

    def _reload(self, loaded: RosterLoaded | None) -> PreparedCommand:
        base = self._base if self._settings_file is None else self._settings_file.load()
        settings = with_stored_overrides(base, self._log)
        changed = sorted(_differences(self.present.settings, settings))
        needs_restart = [name for name in changed if not _live_settings(name)]
        if needs_restart and not self._supervised:
            raise SettingsError(
                f"needs a restart for {', '.join(needs_restart)}: restart the service"
            )
        if loaded is None:
            raise RosterNeeded(settings.roster)
        gallery = self._gallery(loaded)
        if gallery.digest != self.present.gallery.digest:
            changed.append("roster")
        text = ", ".join(changed) or "nothing"
        detail = {"changed": text[:200], "restart": bool(needs_restart)}
        data = {"changed": changed, "restart": bool(needs_restart)}
        if needs_restart:
            return PreparedCommand(f"restarts to take {text}", data, audit=detail, restart=True)
        change = RuntimeConfig.of(settings, gallery, loaded.thresholds) if changed else None
        return PreparedCommand(f"changed: {text}", data, audit=detail, change=change, base=base)

    def _gallery(self, loaded: RosterLoaded) -> Gallery:
        """Return the roster to use: a unit that waits for one may go on waiting."""
        present = self.present.gallery
        if loaded.error is not None:
            if present.size:
                raise RosterError(loaded.error)
            return present
        if loaded.gallery.size == 0 and present.size:
            raise RosterError("nobody is enrolled in the roster; the present one is kept")
        return loaded.gallery


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
        for name in type(before).model_fields:
            if getattr(before, name) != getattr(after, name):
                yield f"{section}.{name}"
