"""`verify` names the keys of a chain, and a change of key that nothing explains."""

import json
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from central_parts import Unit
from days import Door, exported, take

from edge.cli import main
from edge.contract.keys import KeySet
from edge.types import AuditCode
from senyum_central.evidence.chain import ChainDefect
from senyum_central.evidence.verifier import VerificationReport, verify_export
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import ReceivedAt
from senyum_central.store.event_store import Store
from senyum_central.store.queries import Period

DAY = Period(date(2026, 3, 2), date(2026, 3, 2))
NOON = datetime(2026, 3, 2, 2, tzinfo=UTC)


def door(other: Unit | None = None, *, key: str = "lobby-1", name: str = "lobby-1") -> Door:
    """Return a unit that goes on from another one's chain, perhaps with another key."""
    found = Door(name, key=key)
    if other is not None:
        found.head = other.head
    when = "2026-03-02T01:00:00" if other is None else "2026-03-02T03:00:00"
    return found.at(when, monotonic_s=1)


def keys(*entries: tuple[Unit, datetime | None, datetime | None]) -> KeySet:
    return KeySet.of([unit.key.registration(unit.name, *bounds) for unit, *bounds in entries])


def judged(
    tmp_path: Path, messages: list[object], key_set: KeySet, *units: Unit
) -> VerificationReport:
    """Judge what is exported of messages that were stored under whatever keys are theirs."""
    everything = keys(*((unit, None, None) for unit in units))
    with closing(Store(tmp_path / "events.db")) as store:
        take_with(store, messages, everything)
        content = exported(store, DAY, everything)
    return verify_export(content.splitlines(keepends=True), key_set)


def take_with(store: Store, messages: list[object], key_set: KeySet) -> None:
    now = ReceivedAt(datetime(2026, 3, 2, 12, tzinfo=UTC), 0)
    Ingestor(store, key_set, 60.0, now).ingest(messages, now)  # type: ignore[arg-type] # of messages


def chain(*parts: tuple[Unit, int]) -> list[object]:
    """Sign the given number of events for each unit in turn, and the health of the last one."""
    messages: list[object] = []
    head = parts[0][0].head
    for unit, count in parts:
        unit.head = head
        messages += [unit.event() for _ in range(count)]
        head = unit.head
    return [*messages, parts[-1][0].health()]


def test_the_key_of_each_part_is_named(tmp_path: Path) -> None:
    first, second = door(), door(key="second").at("2026-03-02T03:00:00", monotonic_s=1)
    ended = keys((first, None, NOON), (second, NOON, None))
    verdict = judged(tmp_path, chain((first, 3), (second, 2)), ended, first, second)
    assert verdict.findings == []
    (account,) = verdict.units
    assert [(part.kid, part.first, part.last) for part in account.keys] == [
        (first.key.kid, 1, 3),
        (second.key.kid, 4, 5),
    ]


@pytest.mark.parametrize(
    ("first_ends", "second_begins", "expected"),
    [
        (None, None, {ChainDefect.KEYS}),
        (None, NOON, {ChainDefect.KEYS}),
        (NOON, None, set()),
        (NOON, NOON, set()),
        (NOON + timedelta(hours=2), None, {ChainDefect.KEYS}),  # both were valid at that time
        (NOON + timedelta(seconds=1), NOON, {ChainDefect.KEYS}),
    ],
)
def test_another_key_is_right_if_the_one_before_had_ended(
    tmp_path: Path,
    first_ends: datetime | None,
    second_begins: datetime | None,
    expected: set[ChainDefect],
) -> None:
    first, second = door(), door(key="second").at("2026-03-02T03:00:00", monotonic_s=1)
    key_set = keys((first, None, first_ends), (second, second_begins, None))
    verdict = judged(tmp_path, chain((first, 3), (second, 2)), key_set, first, second)
    assert {found.fault for found in verdict.findings} == expected


def test_two_keys_in_turn_are_named_once(tmp_path: Path) -> None:
    first, second = door(), door(key="second")
    both = keys((first, None, None), (second, None, None))
    parts = chain((first, 2), (second, 1), (first, 1), (second, 1), (first, 1))
    verdict = judged(tmp_path, parts, both, first, second)
    (found,) = verdict.findings
    assert found.fault is ChainDefect.KEYS
    assert f"key {first.key.kid} signed up to event 2, and key {second.key.kid}" in found.text
    assert "and then the first one again" in found.text
    assert len(verdict.units[0].keys) == 5


def moved(
    first: Door, *, preliminary: bool = False, other: bool = False
) -> tuple[list[object], Door, Door]:
    """Go to another name and come back, with a third key."""
    messages: list[object] = [first.event(), first.event()]
    gate = door(first, key="gate", name="gate-2")
    gone = {"from": first.name.source, "last": first.head.sequence}
    messages += [gate.audit(AuditCode.MOVED, **gone), gate.event()]
    home = door(gate, key="third").at("2026-03-02T04:00:00", monotonic_s=1)
    if preliminary:
        messages.append(home.audit(AuditCode.CLOCK_STEPPED, seconds=1.0))
    if other:
        messages.append(home.event())
    back = {"from": gate.name.source, "last": home.head.sequence}
    messages += [home.audit(AuditCode.MOVED, **back), home.event(), home.health(), gate.health()]
    return messages, gate, home


@pytest.mark.parametrize("preliminary", [False, True])
def test_a_key_that_begins_with_a_move_is_right(tmp_path: Path, *, preliminary: bool) -> None:
    first = door()
    messages, gate, home = moved(first, preliminary=preliminary)
    all_keys = keys((first, None, None), (gate, None, None), (home, None, None))
    verdict = judged(tmp_path, messages, all_keys, first, gate, home)
    assert ChainDefect.KEYS not in {found.fault for found in verdict.findings}


def test_a_move_after_an_event_with_the_other_key_explains_nothing(tmp_path: Path) -> None:
    first = door()
    messages, gate, home = moved(first, other=True)
    all_keys = keys((first, None, None), (gate, None, None), (home, None, None))
    verdict = judged(tmp_path, messages, all_keys, first, gate, home)
    assert ChainDefect.KEYS in {found.fault for found in verdict.findings}


def test_the_command_names_the_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = door(), door(key="second")
    entries = [unit.key.registration(unit.name) for unit in (first, second)]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": entries}))
    with closing(Store(tmp_path / "events.db")) as store:
        take(store, *chain((first, 2)), units=(first,), at="2026-03-02T12:00:00")  # type: ignore[arg-type]
        (tmp_path / "one.jsonl").write_bytes(exported(store, DAY, keys((first, None, None))))
    assert main(["verify", f"--keys={tmp_path / 'keys.json'}", str(tmp_path / "one.jsonl")]) == 0
    assert f"; signed with key {first.key.kid}" in capsys.readouterr().out
    options = [f"--keys={tmp_path / 'keys.json'}", "--json", str(tmp_path / "one.jsonl")]
    assert main(["verify", *options]) == 0
    (unit,) = json.loads(capsys.readouterr().out)["units"]
    assert unit["keys"] == [{"kid": first.key.kid, "first": 1, "last": 2}]
