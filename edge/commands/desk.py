"""Puts the parts of commanding together for one unit, and keeps them away where they fail."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from edge.commands.steward import Change, Steward, change_of, forget, with_overrides
from edge.errors import OutboxError
from edge.mqtt.authority import AuthorityFile
from edge.mqtt.clock import Clock, ClockState
from edge.mqtt.ledger import Ask, Ledger
from edge.mqtt.link import Link
from edge.mqtt.listening import Listener
from edge.mqtt.orders import Orders
from edge.mqtt.outbox import Outbox, Reader
from edge.mqtt.refusals import Refusals
from edge.mqtt.replay import Replay
from edge.mqtt.seal import Sealer, Vitals
from edge.roster import Gallery
from edge.settings import Settings
from edge.types import AuditCode, Cue

log = logging.getLogger(__name__)

FILE = "commands.sqlite"  # in the folder of the outbox


@dataclass(frozen=True, slots=True)
class Doors:
    """Where a command reaches the rest of the unit; for any thread."""

    changed: Callable[[Change], None]
    show: Callable[[Cue], None]
    audit: Callable[[AuditCode, Mapping[str, Any]], int]  # returns the number of the event
    stop: Callable[[], None]


class Commands:
    """A unit's commands. Where their ledger cannot be had, none is heard, and all else goes on.

    `settings` are the unit's, with what was set by command laid over them. Then `attach`, which
    needs the rest of the unit; then the link is built with `listeners` and `archive`, and told.
    """

    def __init__(self, base: Settings, clock: Clock, reread: Callable[[], Settings] | None) -> None:
        self.settings = base
        self.listeners: tuple[Listener, ...] = ()
        self.link: Link | None = None
        self._base = base
        self._doors: Doors | None = None
        self._reread = reread
        self.refusals = Refusals()
        self._ledger: Ledger | None = None
        self._orders: Orders | None = None
        self._steward: Steward | None = None
        self._replay: Replay | None = None
        self._opened = ExitStack()

        def now_us() -> int | None:
            reading = clock.read()
            known = reading.state is not ClockState.UNSYNCHRONIZED
            return reading.utc_ns // 1000 if known else None

        try:
            self._ledger = Ledger(base.outbox.file.parent / FILE, now_us)
            self._opened.callback(self._ledger.close)
            self.settings = with_overrides(base, self._ledger)
        except OutboxError as error:
            log.error("%s; no command is heard until the next start", error)  # noqa: TRY400 - told

    def attach(
        self,
        sealer: Sealer,
        outbox: Outbox,
        present: Change,
        load: Callable[[], Gallery],
        doors: Doors,
    ) -> None:
        """Make ready to obey. `load` reads the roster's file. Raises OutboxError."""
        self._doors = doors
        if self._ledger is None:
            return
        reader = Reader(outbox.file)
        self._opened.callback(reader.close)
        self._steward = Steward(
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
        self._orders = Orders(
            AuthorityFile(self._base.authority.keys),
            self._ledger,
            sealer,
            hands=self._steward,
            say=self._say,
            refusals=self.refusals,
        )
        self.listeners = (self._orders,)

    def use_roster(self, gallery: Gallery) -> None:
        """Have people recognised with another roster; for the listening thread."""
        if self._steward is not None:
            self._steward.use_roster(gallery)
        elif self._doors is not None:
            self._doors.changed(change_of(self.settings, gallery))

    def archive(self, reader: Reader) -> Replay:
        """Return what the link sends again, beginning with what a restart interrupted."""
        ledger = self._ledger
        finished = (lambda _: None) if ledger is None else (lambda ask: forget(ledger, ask))
        self._replay = Replay(reader, self._base.outbox.replay_rate, finished)
        if ledger is not None:
            self._replay.asked.extend(ledger.replays())
        return self._replay

    def begin(self) -> None:
        """Tell the chain of what was obeyed when the power went; in a thread of its own."""
        if self._orders is not None:
            threading.Thread(target=self._tell_untold, name="untold", daemon=True).start()

    def stored(self, ref: int, *, stored: bool) -> None:
        """Hear what became of an audit event."""
        if self._steward is not None:
            self._steward.stored(ref, stored=stored)

    def tell_refusals(self, *, ending: bool = False) -> None:
        """Tell the chain of refused commands, if it is time to."""
        if self._doors is None:
            return
        if (counts := self.refusals.due(time.monotonic(), ending=ending)) is not None:
            self._doors.audit(AuditCode.COMMANDS_REFUSED, counts)

    def vitals(self, vitals: Vitals) -> Vitals:
        """Add what was refused."""
        refusals = self.refusals
        return replace(vitals, refused_commands=refusals.total, last_refusal=refusals.last)

    def close(self) -> None:
        """Close the files."""
        self._opened.close()

    def _ask(self, ask: Ask) -> None:
        assert self._replay is not None
        self._replay.asked.append(ask)
        if self.link is not None:
            self.link.wake()

    def _say(self, topic: str, token: str) -> None:
        assert self.link is not None  # nothing is heard before there is one
        self.link.say(topic, token)

    def _tell_untold(self) -> None:
        try:
            if self._orders is not None:
                self._orders.tell_untold()
        except OutboxError as error:
            log.warning("%s", error)
