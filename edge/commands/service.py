"""Puts the parts of commanding together for one unit, and tries again what the disk refuses."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edge.commands.actions import (
    CommandActions,
    RuntimeConfig,
    change_of,
    mark_replayed,
    with_stored_overrides,
)
from edge.commands.command_log import CommandLog
from edge.commands.handler import CommandHandler
from edge.commands.refusal_counter import RefusalCounter
from edge.contract.authority import AuthorityFile
from edge.errors import ErrorCode, OutboxError, SenyumError
from edge.gallery import Gallery
from edge.mqtt.link import ConnectionManager
from edge.outbox.event_signer import EventSigner, HealthReport
from edge.outbox.replay import Replay, ReplayRequest
from edge.outbox.store import Outbox, OutboxReader
from edge.settings import Settings
from edge.system.clock import Clock, ClockState
from edge.system.journald import log_fields
from edge.system.log_once import LogOnce
from edge.types import AuditCode, Cue

log = logging.getLogger(__name__)

FILE = "commands.sqlite"  # in the folder of the outbox
AGAIN_S = 10.0  # between two tries of what the disk refused


@dataclass(frozen=True, slots=True)
class DaemonHooks:
    """Where a command reaches the rest of the unit; for any thread."""

    changed: Callable[[RuntimeConfig], None]
    show: Callable[[Cue], None]
    audit: Callable[[AuditCode, Mapping[str, Any]], int]  # returns the number of the event
    stop: Callable[[], None]


class CommandService:
    """A unit's commands. While their ledger cannot be opened, each is refused; all else goes on.

    `settings` are the unit's, with what was set by command laid over them. Then `attach`, which
    needs the rest of the unit; then the link is built with `archive`, and told.
    """

    def __init__(self, base: Settings, clock: Clock, reread: Callable[[], Settings] | None) -> None:
        self.settings = base
        self.link: ConnectionManager | None = None
        self._base = base
        self._doors: DaemonHooks | None = None
        self._reread = reread
        self.refusals = RefusalCounter()
        self.trouble: ErrorCode | None = None  # what was set or asked for by command is not applied
        self.handler: CommandHandler | None = None
        self._steward: CommandActions | None = None
        self._replay: Replay | None = None
        self._ending = threading.Event()
        self._opened = ExitStack()

        def now_us() -> int | None:
            reading = clock.read()
            known = reading.state is not ClockState.UNSYNCHRONIZED
            return reading.utc_ns // 1000 if known else None

        self._ledger = CommandLog(base.outbox.file.parent / FILE, now_us)
        self._opened.callback(self._ledger.close)
        self._opened.callback(self._ending.set)
        self._asks: Sequence[ReplayRequest] = ()
        try:
            self.settings = with_stored_overrides(base, self._ledger)
            self._asks = self._ledger.replays()
        except OutboxError as error:
            self.trouble = ErrorCode.COMMANDS
            log.error(  # noqa: TRY400 - expected
                "%s; commands are refused, and what was set by command is not applied, until it "
                "can be opened",
                error,
                extra=log_fields(code=self.trouble),
            )

    def attach(
        self,
        sealer: EventSigner,
        outbox: Outbox,
        present: RuntimeConfig,
        load: Callable[[], Gallery],
        doors: DaemonHooks,
    ) -> None:
        """Make ready to obey. `load` reads the roster's file. Raises OutboxError."""
        self._doors = doors
        reader = OutboxReader(outbox.file)
        self._opened.callback(reader.close)
        self._steward = CommandActions(
            self._base,
            present,
            self._ledger,
            reader,
            software=sealer.context.software,
            session=outbox.session,
            load=load,
            reread=self._reread,
            changed=doors.changed,
            asked=self._ask,
            delivered=lambda: 0 if self.link is None else self.link.delivered,
            show=doors.show,
            audit=lambda detail: doors.audit(AuditCode.COMMAND_DONE, detail),
            stop=doors.stop,
        )
        self.handler = CommandHandler(
            AuthorityFile(self._base.authority.keys),
            self._ledger,
            sealer,
            hands=self._steward,
            say=self._say,
            refusals=self.refusals,
        )

    def use_roster(self, gallery: Gallery) -> None:
        """Have people recognised with another roster; for the listening thread."""
        if self._steward is not None:
            self._steward.use_roster(gallery)
        elif self._doors is not None:
            self._doors.changed(change_of(self.settings, gallery))

    def archive(self, reader: OutboxReader) -> Replay:
        """Return what the link sends again, beginning with what a restart interrupted."""
        ledger = self._ledger
        finished = partial(mark_replayed, ledger)
        self._replay = Replay(reader, self._base.outbox.replay_rate, finished)
        self._replay.asked.extend(self._asks)
        return self._replay

    def begin(self, retry: Callable[[], None] = lambda: None) -> None:
        """Do what the power, or the disk, cut short; in a thread of its own, until `close`.

        `retry` does what others could not, and raises a SenyumError while it cannot.
        """
        threading.Thread(target=self._catch_up, args=(retry,), name="retry", daemon=True).start()

    def stored(self, ref: int, *, stored: bool) -> None:
        """Hear what became of an audit event."""
        if self._steward is not None:
            self._steward.event_stored(ref, stored=stored)

    def tell_refusals(self, *, ending: bool = False) -> None:
        """Tell the chain of refused commands, if it is time to."""
        if self._doors is None:
            return
        if (counts := self.refusals.due(time.monotonic(), ending=ending)) is not None:
            self._doors.audit(AuditCode.COMMANDS_REFUSED, counts)

    def vitals(self, vitals: HealthReport) -> HealthReport:
        """Add what was refused, and what is wrong if nothing worse is."""
        refusals = self.refusals
        return replace(
            vitals,
            refused_commands=refusals.total,
            last_refusal=refusals.last,
            last_error=vitals.last_error or self.trouble,
        )

    def close(self) -> None:
        """Close the files."""
        self._opened.close()

    def _ask(self, ask: ReplayRequest) -> None:
        assert self._replay is not None
        self._replay.asked.append(ask)
        if self.link is not None:
            self.link.wake()

    def _say(self, topic: str, token: str) -> None:
        assert self.link is not None  # nothing is heard before there is one
        self.link.publish_reply(topic, token)

    def _catch_up(self, retry: Callable[[], None]) -> None:
        tries = [self._resume, self._tell_untold, retry]
        about = [LogOnce() for _ in tries]
        while True:
            for one, grumble in zip(tries, about, strict=True):
                try:
                    one()
                except SenyumError as error:
                    grumble.warn(str(error))
                else:
                    grumble.reset()
            if self._ending.wait(AGAIN_S):
                return

    def _tell_untold(self) -> None:
        if self.handler is not None and self.trouble is None:
            self.handler.audit_after_power_loss()

    def _resume(self) -> None:
        """Apply what the ledger holds, if it could not be read at the start. Raises OutboxError."""
        if self.trouble is None or self._steward is None:
            return
        self._steward.resume()
        for ask in self._ledger.replays():
            self._ask(ask)
        self.trouble = None
        log.info("%s: can be opened again; commands are obeyed", self._ledger.file)
