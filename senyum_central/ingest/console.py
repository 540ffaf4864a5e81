"""Print notices, one line each, in the local time of the unit.

A person is shown as the first characters of the opaque id, and nothing else.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from edge.contract.events import AttendanceEvent, AuditData, AuditEvent
from edge.contract.topics import UnitName
from edge.system.text import ascii_json, escaped
from edge.system.time_zones import find_zone
from edge.types import AuditCode, Outcome, Reason
from senyum_central.ingest.notices import Notice, NoticeKind

_STYLES = {
    NoticeKind.DUPLICATE: "dim",
    NoticeKind.STATE: "dim",
    NoticeKind.ASKED: "dim",
    NoticeKind.HEALED: "green",
    NoticeKind.REFUSED: "yellow",
}
_PERSON_CHARACTERS = 4  # enough to distinguish people in a queue


@lru_cache(maxsize=64)
def _zone(name: str) -> tuple[ZoneInfo, str]:
    """Return a time zone, and a remark if this machine's tzdata does not contain it (then UTC)."""
    found = find_zone(name)
    if found is not None:
        return found, ""
    return ZoneInfo("UTC"), f"  (UTC: the time zone {name} is not known here)"


def unit_label(unit: UnitName | None) -> str:
    """Return site and unit; the organisation is the same on nearly every line."""
    return "unknown unit" if unit is None else f"{unit.site}/{unit.name}"


def describe_event(event: AttendanceEvent | AuditEvent) -> str:
    """Describe an event: `#12 recorded  person 4f2a…  smile 83  match 0.71`."""
    if isinstance(event, AuditEvent):
        return f"#{event.number} audit  {describe_audit(event.data)}"
    data = event.data
    parts = [f"#{event.number} {data.outcome}"]
    if data.reason is Reason.SPOOF:
        parts.append("PHOTO OR SCREEN SUSPECTED")
    elif data.outcome is Outcome.REFUSED:
        parts.append(str(data.reason))
    if event.subject is not None:
        parts.append(f"person {event.subject[:_PERSON_CHARACTERS]}…")
    if data.smile is not None:
        parts.append(f"smile {data.smile:.0f}")
    if data.match is not None:
        ahead = "" if data.match.margin is None else f" ({data.match.margin:+.2f})"
        parts.append(f"match {data.match.similarity:.2f}{ahead}")
    if data.liveness.score is not None:
        parts.append(f"alive {data.liveness.score:.2f}")
    return "  ".join(parts)


def format_line(notice: Notice, zone: str) -> str:
    """Format a notice as one line; `zone` (IANA) is used for notices without an event.

    Untrusted text is escaped.
    """
    place = zone if notice.event is None else notice.event.data.place.zone
    if notice.kind is NoticeKind.EVENT and notice.event is not None:
        words = describe_event(notice.event)
    elif notice.flaw is not None:
        words = f"refused ({notice.flaw}): {notice.text}"
    else:
        words = notice.text
    if notice.kind is NoticeKind.FORK:
        words = f"fork in the chain: {words}"
    alarm = "ALARM  " if notice.is_warning else ""
    local, unknown = _zone(place)
    return escaped(
        f"{_local(notice.at, local):%H:%M:%S %Z}  {alarm}{unit_label(notice.unit)}"
        f"  {words}{unknown}"
    )


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:  # at the ends of the calendar, another zone's date may not exist
        return moment


def to_json(notice: Notice, **more: object) -> str:
    """Return a notice as one JSON object in one line of ASCII, extended by `more`.

    The event has the signed values; the encoding of strings may differ.
    """
    content: dict[str, Any] = {
        "kind": notice.kind,
        "alarm": notice.is_warning,
        "unit": notice.unit.source if notice.unit else None,
        "at": _utc(notice.at),
    }
    if notice.flaw is not None:
        content["flaw"] = notice.flaw
    if notice.text:
        content["text"] = notice.text
    if notice.gaps:
        content["first"], content["last"] = notice.gaps[0].first, notice.gaps[-1].last
        content["count"] = sum(gap.last - gap.first + 1 for gap in notice.gaps)
        content["outage"], content["over"] = notice.outage, notice.over
    text = ascii_json(json.dumps(content | more))
    if notice.event is None:
        return text
    # Encoded by pydantic directly: a dictionary would take several times as long.
    return f'{text[:-1]}, "event": {ascii_json(notice.event.model_dump_json())}}}'


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _suspected(notice: Notice) -> bool:
    """Return whether this is an attempt with a suspected photo or screen."""
    event = notice.event if notice.kind is NoticeKind.EVENT else None
    return isinstance(event, AttendanceEvent) and event.data.reason is Reason.SPOOF


class NoticePrinter:
    """Prints notices; alarms are bold red on a terminal and begin with ALARM everywhere.

    Output to a file or pipe is buffered until `flush`.
    """

    def __init__(self, console: Console, zone: str, *, as_json: bool = False) -> None:
        self._console = console
        self._zone = zone
        self._as_json = as_json

    def show(self, notice: Notice) -> None:
        if self._as_json:
            self._write(to_json(notice))
        elif not self._console.is_terminal:
            self._write(format_line(notice, self._zone))
        else:
            style = "bold red" if notice.is_warning else _STYLES.get(notice.kind, "")
            if _suspected(notice):
                style = "bold yellow"
            # Never wrapped: one notice is one line.
            text = Text(format_line(notice, self._zone), style=style)
            self._console.print(text, soft_wrap=True, highlight=False)

    def _write(self, text: str) -> None:
        """Write a line without rich, which would take as long as verifying an event."""
        self._console.file.write(f"{text}\n")

    def flush(self) -> None:
        """Write buffered lines."""
        self._console.file.flush()


SENTENCES: Mapping[AuditCode, str] = MappingProxyType(
    {
        AuditCode.STARTED: "the program started",
        AuditCode.STOPPED: "the program stopped normally",
        AuditCode.RESTARTED: "the previous run did not shut down cleanly",
        AuditCode.REBOOTED: "rebooted because restarting the service did not help",
        AuditCode.REBOOT_REFUSED: "no reboot after too many reboots; operator action required",
        AuditCode.MOVED: "the unit was renamed",
        AuditCode.CAMERA_LOST: "no frames from the camera",
        AuditCode.CAMERA_BACK: "frames from the camera again",
        AuditCode.PINS_LOST: "lights and buzzer unavailable; nobody is recorded",
        AuditCode.PINS_BACK: "lights and buzzer available again",
        AuditCode.STORE_FAILED: "events could not be stored durably for a while",
        AuditCode.OUTBOX_RENEWED: "a damaged outbox was set aside; earlier numbers may be missing",
        AuditCode.ROSTER_INSTALLED: "another version of the face roster was installed",
        AuditCode.PERSON_ERASED: "a person was erased from this and all earlier face rosters",
        AuditCode.CLOCK_STEPPED: "the clock was stepped",
        AuditCode.CLOCK_ANCHOR: "reference time for the events of this boot without a certain time",
        AuditCode.COMMAND_DONE: "a command was executed",
        AuditCode.COMMANDS_REFUSED: "commands were refused",
    }
)
# Values that are shortened: enough to distinguish them, and never a complete id.
_SHORT = MappingProxyType({"person": 4, "digest": 12, "by": 12})


def describe_audit(data: AuditData) -> str:
    """Describe an audit: `camera-lost: no frames from the camera  why frozen`."""
    facts = [
        f"{name.replace('_', ' ')} {_format_value(name, value)}"
        for name, value in data.detail.items()
    ]
    return "  ".join([f"{data.code}: {SENTENCES[data.code]}", *facts])


def _format_value(name: str, value: str | float | bool | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    most = _SHORT.get(name, len(text))
    return text if len(text) <= most else f"{text[:most]}…"
