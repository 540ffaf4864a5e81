"""Commands judged, obeyed once and answered; without a broker."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orders import Commander, execute
from wireunit import UNIT, Signer, SteppedClock, UnknownTime

from edge.commands.actions import CommandActions, PreparedCommand
from edge.commands.command_log import KEEP, CommandEffect, CommandLog
from edge.commands.handler import AUDIT_SECONDS, CommandHandler
from edge.contract.authority import AuthorityFile, OrderRejectReason, Role
from edge.contract.commands import MAX_BYTES, AnyData, CommandName, Reply
from edge.contract.events import timestamp
from edge.contract.jose import from_b64url, parse
from edge.contract.refusal_counter import TELL_SECONDS, RefusalCounter
from edge.contract.topics import COMMAND
from edge.errors import OutboxUnusable, ReplayRefused, SettingsError
from edge.outbox.replay import ReplayRequest
from edge.roster.messages import RosterLoaded
from edge.system.clock import ClockState
from edge.types import CommandReceived, Cue, CueName


class Hands(CommandActions):
    """Prepares what the test wants, and keeps what was done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.told: list[Mapping[str, Any]] = []
        self.restarts = 0
        self.chain_works = True
        self.error: Exception | None = None
        self.prepared: PreparedCommand | None = None

    def prepare(
        self, name: CommandName, data: AnyData, delivered: int, loaded: RosterLoaded | None
    ) -> PreparedCommand:
        if self.error is not None:
            raise self.error
        if self.prepared is not None:
            return self.prepared
        audit = None if name is CommandName.PING else {"why": "asked"}
        return PreparedCommand("done", {"a": 1}, audit=audit, cue=Cue(CueName.IDENTIFY))


class Desk:
    """A unit's orders, with what it said."""

    def __init__(self, folder: Path, commander: Commander, *others: Commander) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.commander = commander
        self.clock = SteppedClock(time.time())
        self.signer = Signer(folder, self.clock)
        self.hands = Hands()
        self.said: list[tuple[str, str]] = []
        path = folder / "authorities.json"
        path.write_text(json.dumps({"keys": [c.registration for c in (commander, *others)]}))
        self.authorities = AuthorityFile(path)
        self.start()

    def start(self) -> None:
        self.refusals = RefusalCounter()
        self.ledger = CommandLog(self.folder / "commands.sqlite", SteppedClock(0.0))
        self.orders = self.handler()

    def handler(self) -> CommandHandler:
        return CommandHandler(
            self.authorities,
            self.ledger,
            self.signer.sealer,
            actions=self.hands,
            refusals=self.refusals,
        )

    def restart(self) -> None:
        self.ledger.close()
        self.start()

    def hear(self, token: str | bytes, name: str = "ping", *, retained: bool = False) -> None:
        raw = token.encode() if isinstance(token, str) else token
        topic = UNIT.subtopic(COMMAND, name)
        message = CommandReceived(topic, raw, retained)
        outcome, reply = execute(self.orders, message, stored=self.hands.chain_works)
        self.outcome = outcome
        if self.hands.chain_works:
            self.hands.told += [audit.detail for audit in outcome.audits]
        if outcome.cue is not None:
            self.hands.done.append(name)
        self.hands.restarts += reply.restart
        if reply.topic:
            self.said.append((reply.topic, reply.token))

    def send(self, name: str = "ping", data: object = None, **changes: object) -> Reply:
        """Hear a command of the commander's and return the answer."""
        before = len(self.said)
        self.hear(self.commander.command(name, data, **changes), name)
        assert len(self.said) == before + 1
        return self.answer()

    def answer(self) -> Reply:
        """Verify the last answer with the unit's key."""
        topic, token = self.said[-1]
        key = self.signer.keys.find(self.signer.key.kid)
        assert key is not None
        assert key.verifies(parse(token))
        header, payload, _ = token.split(".")
        assert json.loads(from_b64url(header)) == {
            "alg": "Ed25519",
            "kid": key.kid,
            "typ": "senyum-reply+jws",
        }
        reply = Reply.model_validate_json(from_b64url(payload))
        assert topic == UNIT.subtopic("reply", reply.to)
        assert reply.source == UNIT.source
        return reply


@pytest.fixture
def commander(tmp_path: Path) -> Commander:
    return Commander(tmp_path / "authority")


@pytest.fixture
def desk(tmp_path: Path, commander: Commander) -> Desk:
    return Desk(tmp_path / "unit", commander)


def test_a_command_is_obeyed_and_answered(desk: Desk) -> None:
    reply = desk.send("identify")
    assert (reply.ok, reply.reason, reply.text, reply.data) == (True, None, "done", {"a": 1})
    assert (reply.name, reply.number) == ("identify", 1)
    assert desk.hands.done == ["identify"]
    kid = desk.commander.key.kid
    assert desk.hands.told == [{"command": "identify", "number": 1, "by": kid, "why": "asked"}]
    assert desk.refusals.total == 0


def test_a_ping_is_not_told_in_the_chain(desk: Desk) -> None:
    assert desk.send().ok
    assert desk.hands.told == []


def refused(desk: Desk, flaw: OrderRejectReason, count: int = 1) -> None:
    assert (desk.refusals.total, desk.refusals.last) == (count, flaw)
    assert desk.hands.done == []


def test_a_known_key_hears_why_it_was_refused(desk: Desk, commander: Commander) -> None:
    now_ns = int(desk.clock.utc * 1e9)  # it stands still, and setting up may take seconds
    soon, late, old = (timestamp(now_ns + seconds * 10**9) for seconds in (1, -1, -2))
    cases: list[tuple[OrderRejectReason, str, dict[str, Any]]] = [
        (OrderRejectReason.FOREIGN, "ping", {"aud": "urn:senyum:dinas:balai-kota:pintu-2"}),
        (OrderRejectReason.MALFORMED, "ping", {"aud": "urn:senyum:dinas:balai-kota:*"}),
        (OrderRejectReason.MALFORMED, "ping", {"number": 0}),
        (OrderRejectReason.MALFORMED, "ping", {"number": 0.5}),
        (OrderRejectReason.MALFORMED, "ping", {"number": "1"}),
        (OrderRejectReason.MALFORMED, "ping", {"number": True}),
        (OrderRejectReason.MALFORMED, "ping", {"exp": "tomorrow"}),
        (OrderRejectReason.MALFORMED, "ping", {"iat": soon, "exp": late}),
        (OrderRejectReason.MALFORMED, "ping", {"more": 1}),
        (OrderRejectReason.MALFORMED, "ping", {"data": []}),
        (OrderRejectReason.MALFORMED, "PING!", {}),
        (OrderRejectReason.EXPIRED, "ping", {"iat": old, "exp": late}),
        (OrderRejectReason.UNKNOWN_COMMAND, "open-the-door", {}),
        (OrderRejectReason.BAD_DATA, "ping", {"data": {"a": 1}}),
        (OrderRejectReason.BAD_DATA, "replay", {}),
        (OrderRejectReason.BAD_DATA, "replay", {"data": {"first": 2, "last": 1}}),
        (OrderRejectReason.BAD_DATA, "replay", {"data": {"first": 0, "last": 1}}),
        (OrderRejectReason.BAD_DATA, "replay", {"data": {"first": 1}}),
        (
            OrderRejectReason.BAD_DATA,
            "replay",
            {"data": {"first": 1, "last": 2, "begin": late, "end": soon}},
        ),
        (OrderRejectReason.BAD_DATA, "replay", {"data": {"begin": soon, "end": late}}),
        (OrderRejectReason.BAD_DATA, "settings", {"data": {"set": {"broker.host": 1}}}),
        (OrderRejectReason.BAD_DATA, "settings", {"data": {"set": {"gpio.volume": "loud"}}}),
        (
            OrderRejectReason.BAD_DATA,
            "settings",
            {"data": {"set": {"gpio.volume": float("1e999")}}},
        ),
        (
            OrderRejectReason.BAD_DATA,
            "settings",
            {"data": {"set": {"gpio.volume": 1}, "reset": ["gpio.volume"]}},
        ),
    ]
    for number, (flaw, name, changes) in enumerate(cases, 1):
        before = len(desk.said)
        desk.hear(commander.command(name, **changes), name)
        if "1e999" in repr(changes) or "inf" in repr(changes):
            assert desk.refusals.last is OrderRejectReason.MALFORMED  # not JSON at all
            continue
        refused(desk, flaw, number)
        assert len(desk.said) == before + 1, (flaw, name, changes)
        reply = desk.answer()
        assert (reply.ok, reply.reason, reply.data) == (False, flaw, {})
        assert reply.text
        assert "open-the-door" not in reply.text
    assert desk.send().ok  # nothing that was refused used up a number


def test_what_nobody_known_signed_is_counted_and_not_answered(
    desk: Desk, tmp_path: Path, commander: Commander
) -> None:
    stranger = Commander(tmp_path / "stranger")
    forged = stranger.key.sign(
        {"alg": "Ed25519", "kid": commander.key.kid, "typ": "senyum-command+jws"}, b"{}"
    )
    long = commander.command("ping", {"a": "x" * MAX_BYTES})
    for number, (flaw, token) in enumerate(
        [
            (OrderRejectReason.UNKNOWN_KEY, stranger.command()),
            (OrderRejectReason.FORGED, forged),
            (OrderRejectReason.TOO_LARGE, long),
            (OrderRejectReason.MALFORMED, "hello"),
        ],
        1,
    ):
        desk.hear(token)
        refused(desk, flaw, number)
    assert desk.said == []


def test_signed_but_with_nobody_to_answer(desk: Desk, commander: Commander) -> None:
    for changes in ({"id": "7"}, {"id": 7}, {"id": "../../state"}, {"id": "\ud800"}):
        desk.hear(commander.command("ping", **changes))
        assert desk.refusals.last is OrderRejectReason.MALFORMED
    assert desk.said == []


def test_other_than_commanders(tmp_path: Path, commander: Commander) -> None:
    roster = Commander(tmp_path / "roster", roles=[Role.ROSTER])
    desk = Desk(tmp_path / "unit", commander, roster)
    desk.hear(roster.command())
    assert desk.answer().reason is OrderRejectReason.WRONG_ROLE


def test_retained_and_misplaced(desk: Desk, commander: Commander) -> None:
    desk.hear(commander.command(), retained=True)
    assert desk.answer().reason is OrderRejectReason.RETAINED
    desk.hear(commander.command("identify"), "ping")
    assert desk.answer().reason is OrderRejectReason.MALFORMED
    refused(desk, OrderRejectReason.MALFORMED, 2)


def test_a_replayed_command_is_stale(desk: Desk, commander: Commander) -> None:
    token = commander.command("identify")
    later = commander.command("identify")
    desk.hear(later, "identify")
    assert desk.answer().ok
    for again in (token, later, token):
        desk.hear(again, "identify")
        assert desk.answer().reason is OrderRejectReason.STALE
    assert desk.hands.done == ["identify"]
    assert desk.refusals.total == 3


def test_numbers_are_of_each_authority(tmp_path: Path, commander: Commander) -> None:
    other = Commander(tmp_path / "other")
    desk = Desk(tmp_path / "unit", commander, other)
    commander.number = 100
    assert desk.send().ok
    desk.hear(other.command())
    assert desk.answer().ok


def test_numbers_outlive_a_restart(desk: Desk, commander: Commander) -> None:
    token = commander.command("identify")
    desk.send("identify")
    desk.restart()
    desk.hear(token, "identify")
    assert desk.answer().reason is OrderRejectReason.STALE
    assert desk.hands.done == ["identify"]


def test_delivered_again_after_a_restart_it_is_answered_as_done(
    desk: Desk, commander: Commander
) -> None:
    """Between effect and acknowledgement the power went: obeyed once, answered twice the same."""
    token = commander.command("identify")
    desk.hear(token, "identify")
    desk.restart()
    desk.hear(token, "identify")
    assert desk.said[0] == desk.said[1]
    assert desk.hands.done == ["identify"]
    assert desk.refusals.total == 0
    desk.hear(token, "identify")
    assert desk.answer().reason is OrderRejectReason.STALE


def test_while_the_clock_is_unknown_only_the_timeless_run(desk: Desk) -> None:
    desk.clock.state = ClockState.UNSYNCHRONIZED
    desk.clock.utc = 1000.0  # and would refuse everything for its date
    past = "2020-01-01T00:00:00.000000Z"
    assert desk.send("ping", iat=past, exp=past).ok
    assert desk.send("identify").ok
    for name in ("reload", "settings"):
        assert desk.send(name).reason is OrderRejectReason.CLOCK_UNKNOWN
    assert desk.send("replay", {"first": 1, "last": 2}).reason is OrderRejectReason.CLOCK_UNKNOWN
    desk.clock.state, desk.clock.utc = ClockState.HOLDOVER, time.time()
    assert desk.send("reload").ok
    assert desk.send("settings", iat=past, exp=past).reason is OrderRejectReason.EXPIRED


def test_a_new_ledger_takes_nothing_from_before_it(tmp_path: Path, commander: Commander) -> None:
    """What was obeyed by a ledger that is gone must not be obeyed again."""
    token = commander.command("identify")
    desk = Desk(tmp_path / "unit", commander)
    assert desk.ledger.created_at_us == 0
    desk.ledger.close()
    (tmp_path / "unit" / "commands.sqlite").unlink()
    later = time.time() + 1
    desk.ledger = CommandLog(tmp_path / "unit" / "commands.sqlite", SteppedClock(later))
    desk.orders = desk.handler()
    desk.hear(token, "identify")
    assert desk.answer().reason is OrderRejectReason.STALE
    after = timestamp(int((later + 1) * 1e9))
    assert desk.send("identify", iat=after, exp=after).ok


def test_what_fails_is_said_and_may_be_tried_again(desk: Desk) -> None:
    desk.hands.error = ReplayRefused("none of the events is kept")
    reply = desk.send("replay", {"first": 1, "last": 2})
    assert (reply.reason, reply.text) == (OrderRejectReason.FAILED, "none of the events is kept")
    desk.hands.error = SettingsError("gpio.volume is 7.0: too loud")
    assert desk.send("settings").reason is OrderRejectReason.BAD_DATA
    assert desk.send("reload").reason is OrderRejectReason.FAILED
    desk.hands.error = RuntimeError("a secret")
    reply = desk.send("reload")
    assert reply.reason is OrderRejectReason.FAILED
    assert "secret" not in reply.text
    desk.hands.error = None
    assert desk.send("reload").ok


def test_a_restart_comes_after_the_answer(desk: Desk) -> None:
    desk.hands.prepared = PreparedCommand("restarts", restart=True)
    assert desk.send("reload").ok
    assert desk.hands.restarts == 1


def test_number_and_effect_are_one(desk: Desk) -> None:
    effect = CommandEffect({"gpio.volume": 0.25}, ReplayRequest(0, 1, 5))
    desk.hands.prepared = PreparedCommand("set", effect=effect)
    desk.send("settings")
    assert desk.outcome.replay == ReplayRequest(1, 1, 5)
    desk.restart()
    assert desk.ledger.settings() == {"gpio.volume": 0.25}
    assert desk.ledger.replays() == [ReplayRequest(1, 1, 5)]
    desk.ledger.replayed(1)
    assert desk.ledger.replays() == []
    desk.hands.prepared = PreparedCommand("reset", effect=CommandEffect({"gpio.volume": None}))
    desk.send("settings")
    assert desk.ledger.settings() == {}


def test_what_cannot_be_stored_is_not_done(desk: Desk) -> None:
    desk.ledger.close()
    assert desk.send("identify").reason is OrderRejectReason.FAILED
    refused(desk, OrderRejectReason.FAILED)


def test_what_the_chain_did_not_take_is_told_after_a_restart(desk: Desk) -> None:
    desk.hands.chain_works = False
    assert desk.send("identify").ok
    desk.restart()
    desk.hands.chain_works = True
    (audit,) = desk.orders.audit_after_power_loss()
    assert desk.orders.audit_after_power_loss() == []
    assert audit.detail["command"] == "identify"
    assert desk.orders.event_stored(audit.ref, stored=True) is None
    assert list(desk.ledger.unaudited()) == []


def test_the_next_command_waits_for_the_audit_of_the_one_before(
    desk: Desk, commander: Commander
) -> None:
    for name in ("identify", "ping"):
        payload = commander.command(name).encode()
        desk.orders.receive(CommandReceived(UNIT.subtopic(COMMAND, name), payload, False))
    outcome = desk.orders.execute_next(0)
    assert outcome is not None
    assert outcome.reply is None
    assert desk.orders.execute_next(0) is None
    assert desk.orders.overdue(time.monotonic()) == []
    (reply,) = desk.orders.overdue(time.monotonic() + AUDIT_SECONDS)
    assert reply.topic
    assert desk.orders.overdue(time.monotonic() + AUDIT_SECONDS) == []
    answered = desk.orders.execute_next(0)
    assert answered is not None
    assert answered.reply is not None
    # Stored late: it is not recorded a second time.
    assert desk.orders.event_stored(outcome.audits[0].ref, stored=True) is None
    assert list(desk.ledger.unaudited()) == []


def test_the_ledger_stays_small(desk: Desk) -> None:
    for _ in range(KEEP + 40):
        desk.send()
    rows = desk.ledger._rows("SELECT number FROM done ORDER BY number")
    assert [number for (number,) in rows] == list(range(41, KEEP + 41))


def test_a_damaged_ledger_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "commands.sqlite"
    first = CommandLog(file, UnknownTime())
    assert first.created_at_us is None
    first.close()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"nonsense" * 1000)
    ledger = CommandLog(file, SteppedClock(5e-6))
    assert ledger.created_at_us == 5
    assert ledger.renewed
    assert len(list(tmp_path.glob("commands.sqlite.damaged-*"))) == 1
    ledger.close()
    again = CommandLog(file, SteppedClock(9e-6))
    assert (again.created_at_us, again.renewed) == (5, False)
    again.close()


def test_keys_are_valid_in_their_time(tmp_path: Path) -> None:
    ended = Commander(tmp_path / "a", not_after=datetime.now(UTC) - timedelta(days=1))
    desk = Desk(tmp_path / "unit", ended)
    desk.hear(ended.command())
    refused(desk, OrderRejectReason.UNKNOWN_KEY)
    desk.clock.state = ClockState.UNSYNCHRONIZED
    assert desk.send().ok


def test_refusals_are_summed_up() -> None:
    refusals = RefusalCounter()
    assert refusals.due(0.0) is None
    refusals.add(OrderRejectReason.FORGED, "a")
    assert refusals.due(1.0) == {"count": 1, "forged": 1}
    for _ in range(10_000):
        refusals.add(OrderRejectReason.FORGED, "b")
    refusals.add(OrderRejectReason.STALE, "c")
    assert refusals.due(2.0) is None
    assert refusals.due(1.0 + TELL_SECONDS) == {"count": 10_001, "forged": 10_000, "stale": 1}
    refusals.add(OrderRejectReason.STALE, "d")
    assert refusals.due(2.0 + TELL_SECONDS, ending=True) == {"count": 1, "stale": 1}
    assert (refusals.total, refusals.last) == (10_003, OrderRejectReason.STALE)


# --- whatever is signed ---------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
_FIELDS = ["id", "aud", "name", "number", "iat", "exp", "data"]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("fuzz")
    return Desk(folder / "unit", Commander(folder / "authority"))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from([*CommandName, "other"]),
    data=_JSON,
    spoilt=st.dictionaries(st.sampled_from([*_FIELDS, "more"]), _JSON, max_size=2),
)
def test_no_signed_payload_breaks_the_unit(
    target: Desk, name: str, data: Any, spoilt: dict[str, Any]
) -> None:
    total, done, said = target.refusals.total, len(target.hands.done), len(target.said)
    command = target.commander.command(name, data, **spoilt)
    target.hear(command, name)
    refusals, obeyed = target.refusals.total - total, len(target.hands.done) - done
    assert refusals + obeyed == 1
    if obeyed:
        assert not spoilt or set(spoilt) <= {"data", "iat", "exp", "number"}
    if len(target.said) > said:
        assert target.answer().ok == bool(obeyed)
    else:
        assert refusals


@settings(max_examples=200)
@given(payload=st.binary(max_size=300), topic=st.sampled_from(["ping", "", "+", "x" * 40]))
def test_no_bytes_break_the_unit(target: Desk, payload: bytes, topic: str) -> None:
    said = len(target.said)
    target.hear(payload, topic)
    assert len(target.said) == said


def test_a_command_log_of_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    ledger = CommandLog(file, UnknownTime())
    assert ledger.last("kid") == 0
    ledger.close()
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 2")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    with pytest.raises(OutboxUnusable, match=r"orders\.db: was written by a newer Senyum"):
        CommandLog(file, UnknownTime()).last("kid")
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("*.damaged-*"))
