import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import pytest
from central_parts import PERSON, START, Unit, keys_of
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge.contract.envelope import RejectReason, verify
from edge.contract.events import AttendanceEvent, AuditEvent
from edge.contract.topics import UnitName
from edge.outbox.event_signer import ChainHead
from edge.system.time_zones import find_zone
from edge.types import AuditCode
from senyum_central.ingest.console import SENTENCES, NoticePrinter, format_line
from senyum_central.ingest.message import Message
from senyum_central.ingest.notices import Failure, Notice, NoticeKind

ZONE = "Asia/Jakarta"
UNIT = Unit()


def notice_of(unit: Unit, message: Message, kind: NoticeKind = NoticeKind.EVENT) -> Notice:
    event = verify(message.payload, keys_of(unit), message.topic).event
    assert isinstance(event, AttendanceEvent | AuditEvent)
    return Notice(kind, event.moment, unit.name, event=event)


def unit_at_12(zone: str = ZONE) -> Unit:
    return Unit(head=ChainHead(11, "A" * 43), zone=zone)


def test_a_recorded_event_reads_as_one_line() -> None:
    unit = unit_at_12()
    assert format_line(notice_of(unit, unit.event()), ZONE) == (
        "07:31:04 WIB  depok/lobby-1  #12 recorded  person 4f2a…  smile 83  match 0.71 (+0.22)"
    )


def test_the_time_is_that_of_the_place() -> None:
    unit = unit_at_12("Asia/Jayapura")
    assert format_line(notice_of(unit, unit.event()), ZONE).startswith("09:31:04 WIT ")


def test_a_zone_that_nobody_knows_is_said_and_shown_in_utc() -> None:
    unit = unit_at_12("Atlantis/Capital")
    said = format_line(notice_of(unit, unit.event()), ZONE)
    assert said.startswith("00:31:04 UTC ")
    assert said.endswith("  (UTC: the time zone Atlantis/Capital is not known here)")


def test_refused_and_audit() -> None:
    unit = unit_at_12()
    assert format_line(notice_of(unit, unit.event(known=False)), ZONE).endswith(
        "#12 refused  not-known"
    )
    assert format_line(notice_of(unit, unit.audit()), ZONE).endswith(
        "#13 audit  started: the program started"
    )


def test_every_audit_has_a_sentence() -> None:
    assert SENTENCES.keys() == set(AuditCode)


def test_an_audit_tells_its_facts_and_nobodys_whole_id() -> None:
    unit = unit_at_12()
    lost = unit.audit(AuditCode.CAMERA_LOST, why="fro\x9bzen", tried=3)
    assert format_line(notice_of(unit, lost), ZONE).endswith(
        "#12 audit  camera-lost: no frames from the camera  why fro\\x9bzen  tried 3"
    )
    erased = unit.audit(AuditCode.PERSON_ERASED, person=PERSON, version=13, digest="ab" * 32)
    said = format_line(notice_of(unit, erased), ZONE)
    assert said.endswith("person 4f2a…  version 13  digest abababababab…")
    step = unit.audit(AuditCode.CLOCK_STEPPED, by_seconds=-1.5, expected=False, why=None)
    assert format_line(notice_of(unit, step), ZONE).endswith("by seconds -1.5  expected no  why -")


def test_a_suspected_photo_is_said_plainly_and_stands_out() -> None:
    unit = unit_at_12()
    notice = notice_of(unit, unit.suspected())
    assert format_line(notice, ZONE).endswith(
        "#12 refused  PHOTO OR SCREEN SUSPECTED  person 4f2a…  match 0.71 (+0.22)  alive 0.12"
    )
    assert "\x1b[1;33m" in printed(notice, terminal=True)
    assert "\x1b" not in printed(notice, terminal=False)
    content = json.loads(printed(notice, terminal=False, as_json=True))
    assert content["event"]["data"]["reason"] == "spoof-suspected"


ALARMS = [
    (Notice(NoticeKind.GAP, START, UNIT.name, "event 2 is missing"), "event 2 is missing"),
    (
        Notice(NoticeKind.FORK, START, UNIT.name, "another event 2"),
        "fork in the chain: another event 2",
    ),
    (
        Notice(NoticeKind.REFUSED, START, UNIT.name, "forged", flaw=RejectReason.BAD_SIGNATURE),
        "refused (bad-signature): forged",
    ),
]


@pytest.mark.parametrize(("notice", "words"), ALARMS)
def test_an_alarm_is_loud(notice: Notice, words: str) -> None:
    assert format_line(notice, ZONE) == f"07:31:04 WIB  ALARM  depok/lobby-1  {words}"
    assert "\x1b[1;31m" in printed(notice, terminal=True)
    assert "\x1b" not in printed(notice, terminal=False)


def test_an_event_is_not_loud() -> None:
    unit = unit_at_12()
    assert "ALARM" not in format_line(notice_of(unit, unit.event()), ZONE)


def test_a_strangers_text_does_not_steer_the_terminal() -> None:
    hostile = Notice(
        NoticeKind.REFUSED, START, None, "topic \x1b[2J\r\n[bold]x[/]", flaw=RejectReason.TOPIC
    )
    out = printed(hostile, terminal=False)
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert "[bold]x[/]" in out


def test_a_long_line_stays_one_line() -> None:
    out = printed(replace(ALARMS[0][0], text="long " * 100), terminal=True)
    assert out.count("\n") == 1


def test_json_holds_the_event_and_the_alarm() -> None:
    unit = unit_at_12()
    said = json.loads(printed(notice_of(unit, unit.event()), terminal=False, as_json=True))
    assert (said["kind"], said["alarm"], said["at"]) == ("event", False, "2026-03-02T00:31:04Z")
    assert said["event"]["subject"] == PERSON
    said = json.loads(printed(ALARMS[2][0], terminal=True, as_json=True))
    assert (said["alarm"], said["flaw"], said["unit"]) == (True, "bad-signature", UNIT.name.source)


NAMES = st.none() | st.builds(UnitName, *[st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)] * 3)


@given(
    kind=st.sampled_from(NoticeKind),
    at=st.datetimes(timezones=st.just(UTC)),
    unit=NAMES,
    text=st.text(st.characters()),
    flaw=st.none() | st.sampled_from(RejectReason) | st.sampled_from(Failure),
)
def test_every_notice_can_be_shown_as_one_line(
    kind: NoticeKind,
    at: datetime,
    unit: UnitName | None,
    text: str,
    flaw: RejectReason | Failure | None,
) -> None:
    notice = Notice(kind, at, unit, text, flaw=flaw)
    said = format_line(notice, ZONE)
    assert said.isprintable()
    assert (said.split("  ")[1] == "ALARM") == notice.is_warning
    out = printed(notice, terminal=False, as_json=True)
    assert out.removesuffix("\n").isprintable()
    assert out.isascii()
    assert json.loads(out)["kind"] == kind


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("zone", ["Asia/Jakarta", "America/Adak", "Atlantis/Capital"])
def test_the_ends_of_the_calendar_can_be_shown(year: int, zone: str) -> None:
    """Jakarta has no date for the last hours of the year 9999 in UTC, Adak none for the first."""
    unit = unit_at_12(zone)
    notice = notice_of(unit, unit.event())
    for at in (datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)):
        assert "#12 recorded" in format_line(
            replace(notice, at=at), zone if "/C" not in zone else ZONE
        )


def printed(notice: Notice, *, terminal: bool, as_json: bool = False) -> str:
    out = io.StringIO()
    colour: Literal["standard"] | None = "standard" if terminal else None
    console = Console(file=out, width=60, force_terminal=terminal, color_system=colour)
    NoticePrinter(console, ZONE, as_json=as_json).show(notice)
    return out.getvalue()


@pytest.mark.parametrize(
    "zone", ["localtime", "posixrules", "Factory", "posix/Asia/Tokyo", "right/Asia/Tokyo"]
)
def test_a_zone_that_each_machine_has_another_of_is_not_known(zone: str) -> None:
    assert find_zone(zone) is None
    assert find_zone("Asia/Tokyo") is not None
