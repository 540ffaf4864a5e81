"""Commands: judged, obeyed once, answered.

A command passes the rules of `edge.contract.authority` and then these, in this order:

1. it is a Command, its `name` that of the topic, `exp` not before `iat` (malformed), and it is
   not retained (retained);
2. if it is the very command that was obeyed before a restart cut its acknowledgement short, its
   answer is given again and nothing else happens;
3. its `number` is above every one of this authority that was obeyed, and it was signed since the
   ledger began (stale);
4. its name is known (unknown-command);
5. the clock is known, except for ping and identify (clock-unknown); and `exp` is not past, as
   far as it is known (expired);
6. its `data` is of its kind, and within the bounds of the settings (bad-data).

Then number, effect and answer are stored in one transaction; then it takes effect outside; then
the chain is told, and the authority answered. Every refusal is counted; answered are only those
that a known key signed.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from edge.commands.command_log import CommandEffect, CommandLog, CompletedCommand
from edge.commands.refusal_counter import RefusalCounter
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
    AnyData,
    Command,
    CommandName,
    CommandResult,
)
from edge.contract.events import describe_errors
from edge.contract.limits import as_text
from edge.contract.topics import REPLY, UnitName
from edge.errors import OutboxError, SenyumError, SettingsError
from edge.outbox.event_signer import EventSigner
from edge.outbox.replay import ReplayRequest

log = logging.getLogger(__name__)

REMEMBERED = 256  # commands of this process that a second one of is a replay
_NAMED = ("id", "name", "number")


def _nothing(_: ReplayRequest | None) -> None:
    return


@dataclass(frozen=True, slots=True)
class PreparedCommand:
    """A command that can be obeyed: nothing has happened yet."""

    text: str  # one sentence for a person
    data: Mapping[str, Any] = field(default_factory=dict)
    effect: CommandEffect = field(default_factory=CommandEffect)
    audit: Mapping[str, Any] | None = None  # further detail for the chain; None: it is not told
    act: Callable[[ReplayRequest | None], None] = _nothing  # once it is stored
    restart: bool = False  # once it is answered


class CommandExecutor(Protocol):
    """What a unit can do."""

    def prepare(self, name: CommandName, data: AnyData) -> PreparedCommand:
        """Look whether it can be done; a SenyumError says why not."""
        ...

    def wait_for_audit(self, detail: Mapping[str, Any]) -> bool:
        """Put an audit event into the chain; False where that took too long."""
        ...

    def restart(self) -> None:
        """End in good order; the service manager starts the unit anew."""
        ...


class CommandHandler:
    """The listener for commands. `say` sends an answer. One thread calls `heard`."""

    def __init__(
        self,
        authorities: AuthorityFile,
        ledger: CommandLog,
        sealer: EventSigner,
        *,
        hands: CommandExecutor,
        say: Callable[[str, str], None],
        refusals: RefusalCounter,
    ) -> None:
        self._unit = UnitName.of(sealer.context.unit)
        self._authorities = authorities
        self._ledger = ledger
        self._sealer = sealer
        self._hands = hands
        self._say = say
        self._refusals = refusals
        self._telling = threading.Lock()
        self._owing = True  # whether the chain may lack what was obeyed
        self._answered: deque[str] = deque(maxlen=REMEMBERED)  # digests

    def heard(self, topic: str, payload: bytes, retained: bool) -> None:
        """Judge, obey and answer one command."""
        name = topic.rpartition("/")[2]
        try:
            order = self._authorities.current().verify(
                payload,
                COMMAND_TYP,
                Role.COMMAND,
                self._unit,
                now=self._sealer.now_if_known(),
                most_bytes=MAX_BYTES,
            )
            restart = self._try(order, _command(order, name, retained=retained))
        except OrderRejected as refusal:
            self._refusals.add(refusal.flaw, str(refusal))
            if refusal.order is not None:
                self._refuse(refusal.order.claims, refusal)
            return
        if restart:
            self._hands.restart()

    def audit_after_power_loss(self) -> None:
        """Add to the chain what was obeyed and is missing there. Raises OutboxError.

        The power went before it was added, or the disk did not take it. What it does not take now
        is left for the next call.
        """
        if not self._owing:
            return
        self._owing = False
        try:
            for done in self._ledger.unaudited():
                self._tell(done)
        except OutboxError:
            self._owing = True
            raise

    # --- judged ----------------------------------------------------------------------------------

    def _try(self, order: VerifiedOrder, command: Command) -> bool:
        try:
            return self._obey(order, command)
        except OutboxError as error:  # nothing was stored, and so nothing done
            raise OrderRejected(OrderRejectReason.FAILED, as_text(str(error)), order) from None

    def _obey(self, order: VerifiedOrder, command: Command) -> bool:
        """Obey and answer; returns whether to restart then."""
        done = self._ledger.find(order.kid, order.digest)
        if done is not None and order.digest not in self._answered:
            log.info("command %d (%s) came again; it is done", command.number, command.name)
            self._finish(done)
            return False
        self._fresh(order, command)
        if command.name not in list(CommandName):
            raise OrderRejected(
                OrderRejectReason.UNKNOWN_COMMAND,
                f"this unit knows {', '.join(CommandName)}",
                order,
            )
        name = CommandName(command.name)
        self._in_time(order, command, name)
        prepared = self._prepared(order, name, command.data)
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
            self._sealer.reply(answer),
            audit,
        )
        ask = self._ledger.add(done, prepared.effect)
        log.info("command %d (%s) of key %s is done", command.number, name, order.kid)
        try:
            prepared.act(ask)
        except Exception as error:  # noqa: BLE001 - stored and signed: it is to be answered
            log.error("command %s: %s", name, error)  # noqa: TRY400
        self._finish(done)
        return prepared.restart

    def _fresh(self, order: VerifiedOrder, command: Command) -> None:
        last = self._ledger.last(order.kid)
        if command.number <= last:
            raise OrderRejected(
                OrderRejectReason.STALE,
                f"number {command.number} is not above {last}, which was the last",
                order,
            )
        began = self._ledger.created_at_us
        if began is not None and _moment(command.iat).timestamp() * 1e6 < began:
            raise OrderRejected(
                OrderRejectReason.STALE,
                "was signed before this unit began to count commands",
                order,
            )

    def _in_time(self, order: VerifiedOrder, command: Command, name: CommandName) -> None:
        now = self._sealer.now_if_known()
        if now is None:
            if name not in TIMELESS:
                raise OrderRejected(
                    OrderRejectReason.CLOCK_UNKNOWN, "the unit does not know the time yet", order
                )
        elif now > _moment(command.exp):
            raise OrderRejected(OrderRejectReason.EXPIRED, f"expired at {command.exp}", order)

    def _prepared(
        self, order: VerifiedOrder, name: CommandName, content: Mapping[str, Any]
    ) -> PreparedCommand:
        try:
            data = DATA[name].model_validate_json(json.dumps(content))
            return self._hands.prepare(name, data)
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

    def _finish(self, done: CompletedCommand) -> None:
        self._answered.append(done.digest)
        try:
            self._tell(done)
        except OutboxError as error:
            self._owing = True
            log.warning("%s; it is added to the chain later", error)
        self._say(done.topic, done.reply)

    def _tell(self, done: CompletedCommand) -> None:
        """Tell the chain, unless another thread just did."""
        with self._telling:
            present = self._ledger.find(done.kid, done.digest)
            if present is None or present.audit is None:
                return
            if self._hands.wait_for_audit(present.audit):
                self._ledger.mark_audited(present)
            else:
                self._owing = True

    def _refuse(self, claims: Mapping[str, Any], refusal: OrderRejected) -> None:
        """Answer, as far as what was signed says whom; quotes nothing that is not of its form."""
        said = {"ok": False, "reason": refusal.flaw, "text": as_text(str(refusal)), "data": {}}
        for known in (("id", "name", "number"), ("id",)):
            to, name, number = (claims.get(each) if each in known else None for each in _NAMED)
            try:
                answer = CommandResult.model_validate(
                    {"to": to, "name": name, "number": number, **said}
                )
            except ValidationError:
                continue
            self._say(self._unit.subtopic(REPLY, answer.to), self._sealer.reply(answer))
            return


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
