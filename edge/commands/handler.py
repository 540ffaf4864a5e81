"""Verifies commands, executes each once and answers it.

A command has to pass the rules of `edge.contract.authority` and then these, in this order:

1. it is a Command, its `name` that of the topic, `exp` not before `iat` (malformed), and it is
   not retained (retained);
2. if it is a command that was executed before a restart, delivered again because it had not been
   acknowledged, its reply is published again and nothing else happens;
3. its `number` is above that of every executed command of this key, and it was signed after the
   command log began (stale);
4. its name is known (unknown-command);
5. the clock is known, except for ping and identify (clock-unknown); and `exp` is not past, as
   far as it is known (expired);
6. its `data` is of its kind, and within the bounds of the settings (bad-data).

Then number, effect and reply are stored in one transaction. Then the command takes effect, its
audit event is recorded, and the reply is published once that event is stored. Every refusal is
counted; only those that a known key signed are answered.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from edge.commands.actions import CommandActions, PreparedCommand, RosterNeeded, RuntimeConfig
from edge.commands.command_log import CommandLog, CompletedCommand
from edge.contract.authority import (
    AuthorityFile,
    OrderRejected,
    OrderRejectReason,
    Role,
    VerifiedOrder,
)
from edge.contract.commands import (
    COMMAND_TYP,
    DATA,
    MAX_BYTES,
    TIMELESS,
    Command,
    CommandName,
    CommandResult,
)
from edge.contract.events import describe_errors
from edge.contract.limits import as_text
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.topics import REPLY, UnitName
from edge.errors import OutboxError, SenyumError, SettingsError
from edge.outbox.event_signer import EventSigner
from edge.outbox.replay import ReplayRequest
from edge.roster.messages import RosterLoaded
from edge.settings import RosterSettings
from edge.types import Audit, AuditCode, CommandReceived, Cue

log = logging.getLogger(__name__)

AUDIT_SECONDS = 5.0  # for an audit event to be stored before the command is answered without it
REMEMBERED = 256  # commands of this process; a second copy of one is refused as stale
_NAMED = ("id", "name", "number")


@dataclass(frozen=True, slots=True)
class CommandReply:
    """What ends a command."""

    delivery: int  # to be acknowledged to the broker
    topic: str = ""  # where to publish the reply; empty: nobody to answer
    token: str = ""  # the reply, signed
    restart: bool = False  # then close, so that systemd starts the daemon again


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """What the main loop has to do about a command."""

    cue: Cue | None = None
    change: RuntimeConfig | None = None
    replay: ReplayRequest | None = None
    audits: Sequence[Audit] = ()
    reply: CommandReply | None = None  # None: it follows once the audit is stored
    load_roster: RosterSettings | None = None  # the roster has to be loaded with these first


@dataclass(frozen=True, slots=True)
class _Unaudited:
    done: CompletedCommand
    reply: CommandReply | None  # still to be sent
    deadline: float  # time.monotonic(), by which the reply is sent without the audit


class CommandHandler:
    """Executes commands on the main loop, one after another.

    A command is under way until its audit event is stored, or AUDIT_SECONDS have passed; then it
    is answered and the next may run.
    """

    def __init__(
        self,
        authorities: AuthorityFile,
        command_log: CommandLog,
        signer: EventSigner,
        *,
        actions: CommandActions,
        refusals: RefusalCounter,
    ) -> None:
        self._unit = UnitName.of(signer.context.unit)
        self._authorities = authorities
        self._log = command_log
        self._signer = signer
        self._actions = actions
        self._refusals = refusals
        self._received: deque[CommandReceived] = deque()
        self._loading: CommandReceived | None = None  # waits for the roster to be loaded
        self._unaudited: dict[int, _Unaudited] = {}  # by the reference of the audit event
        self._incomplete = True  # whether the chain may lack a command that was executed
        self._answered: deque[str] = deque(maxlen=REMEMBERED)  # digests

    def receive(self, message: CommandReceived) -> None:
        """Queue a command."""
        self._received.append(message)

    def execute_next(self, delivered: int) -> CommandOutcome | None:
        """Execute the oldest command; None if none waits, or another one is under way.

        `delivered` is the newest event that the broker has taken.
        """
        if not self._received or self._loading is not None or self._awaits_audit():
            return None
        return self._execute(self._received.popleft(), delivered, None)

    def resume(self, delivered: int, loaded: RosterLoaded) -> CommandOutcome | None:
        """Execute the command that had to wait for the roster."""
        message, self._loading = self._loading, None
        return None if message is None else self._execute(message, delivered, loaded)

    def event_stored(self, ref: int, *, stored: bool) -> CommandReply | None:
        """Note whether an audit event was stored; return the reply that waited for it."""
        waiting = self._unaudited.pop(ref, None)
        if waiting is None:
            return None
        try:
            if stored:
                self._log.mark_audited(waiting.done)
        except OutboxError as error:
            log.warning("%s; the command is audited again later", error)
            stored = False
        if not stored:
            self._incomplete = True
        return waiting.reply

    def overdue(self, now: float) -> list[CommandReply]:
        """Return the replies whose audit events were not stored in time (time.monotonic())."""
        replies = []
        for ref, waiting in self._unaudited.items():
            if waiting.reply is not None and now >= waiting.deadline:
                self._unaudited[ref] = replace(waiting, reply=None)
                replies.append(waiting.reply)
        return replies

    def audit_after_power_loss(self) -> list[Audit]:
        """Return audits of commands that were executed and are missing in the event chain.

        The power failed before the audit was stored, or the disk did not accept it; each is
        returned again after a failure. Raises OutboxError.
        """
        if not self._incomplete:
            return []
        under_way = {waiting.done.digest for waiting in self._unaudited.values()}
        missing = [each for each in self._log.unaudited() if each.digest not in under_way]
        self._incomplete = False
        return [self._audit(each, None) for each in missing]

    def _awaits_audit(self) -> bool:
        return any(waiting.reply is not None for waiting in self._unaudited.values())

    # --- verified ----------------------------------------------------------------------------

    def _execute(
        self, message: CommandReceived, delivered: int, loaded: RosterLoaded | None
    ) -> CommandOutcome:
        try:
            order = self._authorities.current().verify(
                message.payload,
                COMMAND_TYP,
                Role.COMMAND,
                self._unit,
                now=self._signer.now_if_known(),
                most_bytes=MAX_BYTES,
            )
            name = message.topic.rpartition("/")[2]
            command = _command(order, name, retained=message.retained)
            return self._obey(order, command, message.delivery, delivered, loaded)
        except RosterNeeded as needed:
            self._loading = message
            return CommandOutcome(load_roster=needed.rule)
        except OrderRejected as refusal:
            self._refusals.add(refusal.flaw, str(refusal))
            claims = None if refusal.order is None else refusal.order.claims
            return CommandOutcome(reply=self._rejection(message.delivery, claims, refusal))
        except Exception as error:  # noqa: BLE001 - a message never ends the main loop
            # Without a traceback, which may quote the message.
            log.error("a command was not understood (%s)", type(error).__name__)  # noqa: TRY400
            return CommandOutcome(reply=CommandReply(message.delivery))

    def _obey(
        self,
        order: VerifiedOrder,
        command: Command,
        delivery: int,
        delivered: int,
        loaded: RosterLoaded | None,
    ) -> CommandOutcome:
        try:
            return self._obey_once(order, command, delivery, delivered, loaded)
        except OutboxError as error:  # nothing was stored, and so nothing done
            raise OrderRejected(OrderRejectReason.FAILED, as_text(str(error)), order) from None

    def _obey_once(
        self,
        order: VerifiedOrder,
        command: Command,
        delivery: int,
        delivered: int,
        loaded: RosterLoaded | None,
    ) -> CommandOutcome:
        done = self._log.find(order.kid, order.digest)
        if done is not None and order.digest not in self._answered:
            log.info(
                "command %d (%s) was delivered again; it is done", command.number, command.name
            )
            return self._finish(done, CommandReply(delivery, done.topic, done.reply))
        self._fresh(order, command)
        if command.name not in list(CommandName):
            raise OrderRejected(
                OrderRejectReason.UNKNOWN_COMMAND,
                f"this unit knows {', '.join(CommandName)}",
                order,
            )
        name = CommandName(command.name)
        self._in_time(order, command, name)
        prepared = self._prepared(order, name, command.data, delivered, loaded)
        answer = CommandResult(
            to=command.id,
            name=command.name,
            number=command.number,
            ok=True,
            reason=None,
            text=as_text(prepared.text),
            data=dict(prepared.data),
        )
        audit: dict[str, Any] | None = None
        if prepared.audit is not None:
            audit = {"command": name.value, "number": command.number, "by": order.kid}
            audit.update(prepared.audit)
        done = CompletedCommand(
            order.kid,
            command.number,
            order.digest,
            self._unit.subtopic(REPLY, command.id),
            self._signer.reply(answer),
            audit,
        )
        replay = self._log.add(done, prepared.effect)
        log.info("command %d (%s) of key %s is done", command.number, name, order.kid)
        if prepared.base is not None:
            self._actions.use_base(prepared.base)
        reply = CommandReply(delivery, done.topic, done.reply, prepared.restart)
        outcome = self._finish(done, reply)
        return replace(outcome, cue=prepared.cue, change=prepared.change, replay=replay)

    def _fresh(self, order: VerifiedOrder, command: Command) -> None:
        last = self._log.last(order.kid)
        if command.number <= last:
            raise OrderRejected(
                OrderRejectReason.STALE,
                f"number {command.number} is not above {last}, which was the last",
                order,
            )
        began = self._log.created_at_us
        if began is not None and _moment(command.iat).timestamp() * 1e6 < began:
            raise OrderRejected(
                OrderRejectReason.STALE,
                "was signed before this unit began to count commands",
                order,
            )

    def _in_time(self, order: VerifiedOrder, command: Command, name: CommandName) -> None:
        now = self._signer.now_if_known()
        if now is None:
            if name not in TIMELESS:
                raise OrderRejected(
                    OrderRejectReason.CLOCK_UNKNOWN, "the unit does not know the time yet", order
                )
        elif now > _moment(command.exp):
            raise OrderRejected(OrderRejectReason.EXPIRED, f"expired at {command.exp}", order)

    def _prepared(
        self,
        order: VerifiedOrder,
        name: CommandName,
        content: Mapping[str, Any],
        delivered: int,
        loaded: RosterLoaded | None,
    ) -> PreparedCommand:
        try:
            data = DATA[name].model_validate_json(json.dumps(content))
            return self._actions.prepare(name, data, delivered, loaded)
        except RosterNeeded:
            raise
        except ValidationError as error:
            raise OrderRejected(OrderRejectReason.BAD_DATA, describe_errors(error), order) from None
        except SenyumError as error:
            bad = name is CommandName.SETTINGS and isinstance(error, SettingsError)
            flaw = OrderRejectReason.BAD_DATA if bad else OrderRejectReason.FAILED
            raise OrderRejected(flaw, as_text(str(error)), order) from None
        except Exception as error:
            raise OrderRejected(
                OrderRejectReason.FAILED, f"failed ({type(error).__name__})", order
            ) from error

    # --- answered --------------------------------------------------------------------------------

    def _finish(self, done: CompletedCommand, reply: CommandReply) -> CommandOutcome:
        """Answer once the audit event is stored, or at once if there is nothing to audit."""
        self._answered.append(done.digest)
        waiting = next(
            (r for r, w in self._unaudited.items() if w.done.digest == done.digest), None
        )
        if waiting is not None:  # it is being audited since the start
            self._unaudited[waiting] = replace(
                self._unaudited[waiting], reply=reply, deadline=time.monotonic() + AUDIT_SECONDS
            )
            return CommandOutcome()
        if done.audit is None:
            return CommandOutcome(reply=reply)
        return CommandOutcome(audits=[self._audit(done, reply)])

    def _audit(self, done: CompletedCommand, reply: CommandReply | None) -> Audit:
        audit = Audit.now(AuditCode.COMMAND_DONE, **(done.audit or {}))
        deadline = time.monotonic() + AUDIT_SECONDS
        self._unaudited[audit.ref] = _Unaudited(done, reply, deadline)
        return audit

    def _rejection(
        self, delivery: int, claims: Mapping[str, Any] | None, refusal: OrderRejected
    ) -> CommandReply:
        """Answer if the signed claims say whom; quotes only claims that have the right form."""
        rejection = {"ok": False, "reason": refusal.flaw, "text": as_text(str(refusal)), "data": {}}
        if claims is None:
            return CommandReply(delivery)
        for known in (("id", "name", "number"), ("id",)):
            to, name, number = (claims.get(each) if each in known else None for each in _NAMED)
            try:
                result = CommandResult.model_validate(
                    {"to": to, "name": name, "number": number, **rejection}
                )
            except ValidationError:
                continue
            topic = self._unit.subtopic(REPLY, result.to)
            return CommandReply(delivery, topic, self._signer.reply(result))
        return CommandReply(delivery)


def _command(order: VerifiedOrder, topic_name: str, *, retained: bool) -> Command:
    try:
        command = Command.model_validate(dict(order.claims))
    except ValidationError as error:
        raise OrderRejected(OrderRejectReason.MALFORMED, describe_errors(error), order) from None
    if command.name != topic_name:
        raise OrderRejected(OrderRejectReason.MALFORMED, "the topic names another command", order)
    if command.exp < command.iat:
        raise OrderRejected(OrderRejectReason.MALFORMED, "exp is before iat", order)
    if retained:
        raise OrderRejected(
            OrderRejectReason.RETAINED, "was published retained; commands never are", order
        )
    return command


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
