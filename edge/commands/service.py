"""The commands of one unit, and what is tried again while their log cannot be opened."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from edge.commands.actions import CommandActions, RuntimeConfig, with_stored_overrides
from edge.commands.command_log import CommandLog
from edge.commands.handler import CommandHandler
from edge.contract.refusal_counter import RefusalCounter
from edge.errors import ErrorCode, OutboxError
from edge.outbox.event_signer import HealthReport
from edge.outbox.replay import ReplayRequest
from edge.settings import Settings
from edge.system.journald import log_fields
from edge.system.log_once import LogOnce
from edge.types import Audit, AuditCode

log = logging.getLogger(__name__)

FILE = "commands.sqlite"  # in the folder of the outbox
RETRY_SECONDS = 10.0  # between two attempts at what the disk refused


class RemoteConfig:
    """What the command log held at the start: remote settings and unfinished replays."""

    def __init__(self, base: Settings, command_log: CommandLog) -> None:
        """Read the log; if it cannot be opened, `trouble` is set and `settings` are `base`."""
        self.settings = base
        self.replays: Sequence[ReplayRequest] = ()
        self.trouble: ErrorCode | None = None
        try:
            self.settings = with_stored_overrides(base, command_log)
            self.replays = command_log.replays()
        except OutboxError as error:
            self.trouble = ErrorCode.COMMANDS
            log.error(  # noqa: TRY400 - expected
                "%s; commands are refused, and remote settings are not applied, until it can be "
                "opened",
                error,
                extra=log_fields(code=self.trouble),
            )


class CommandService:
    """Catches up with what a power cut or the disk interrupted. One thread only."""

    def __init__(
        self,
        command_log: CommandLog,
        handler: CommandHandler,
        actions: CommandActions,
        refusals: RefusalCounter,
        trouble: ErrorCode | None,
    ) -> None:
        """`trouble`: why the log could not be read at the start, if it could not."""
        self.trouble = trouble
        self._log = command_log
        self._handler = handler
        self._actions = actions
        self._refusals = refusals
        self._retry_at = 0.0
        self._about = LogOnce()

    def poll(self, now: float) -> tuple[list[Audit], RuntimeConfig | None, list[ReplayRequest]]:
        """Return what there is to record, to apply and to replay (`now`: time.monotonic())."""
        audits: list[Audit] = []
        if now < self._retry_at:
            return audits, None, []
        self._retry_at = now + RETRY_SECONDS
        change: RuntimeConfig | None = None
        replays: list[ReplayRequest] = []
        try:
            if self.trouble is not None:
                change, replays = self._actions.apply_stored(), self._log.replays()
                self.trouble = None
                log.info("%s: can be opened again; commands are executed", self._log.file)
            audits += self._handler.audit_after_power_loss()
        except OutboxError as error:
            self._about.warn(str(error))
        else:
            self._about.reset()
        return audits, change, replays

    def mark_replayed(self, request: int) -> None:
        """Note that a replay is finished; if the log fails, it is repeated after a restart."""
        try:
            self._log.replayed(request)
        except OutboxError as error:
            log.warning("%s", error)

    def audit_refusals(self, now: float, *, ending: bool = False) -> list[Audit]:
        """Return what to record about refused commands; with `ending` without delay."""
        counts = self._refusals.due(now, ending=ending)
        return [] if counts is None else [Audit.now(AuditCode.COMMANDS_REFUSED, **counts)]

    def add_to(self, report: HealthReport) -> HealthReport:
        """Add the refused commands, and the trouble with the log if nothing worse is reported."""
        return replace(
            report,
            refused_commands=self._refusals.total,
            last_refusal=self._refusals.last,
            last_error=report.last_error or self.trouble,
        )
