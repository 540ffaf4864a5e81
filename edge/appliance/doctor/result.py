"""What a check may find; what each code means stands in docs/troubleshooting.md."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edge.errors import ErrorCode


class DiagnosticCode(StrEnum):
    """What the doctor finds beyond the troubles that a running unit has a word for."""

    SETTINGS = "settings-wrong"
    CLAIM = "claim-not-applied"
    NOT_RUNNING = "daemon-not-running"
    HANGS = "daemon-hangs"
    UNDER_VOLTAGE = "under-voltage"
    THROTTLED = "throttled"
    HOT = "too-hot"
    CLOCK = "clock-unsynchronized"
    READ_ONLY = "disk-read-only"
    DISK_ERRORS = "disk-errors"
    WORN = "disk-worn"
    MEMORY = "memory-unlimited"
    DARK = "picture-dark"
    BRIGHT = "picture-bright"
    BLURRED = "picture-blurred"
    SLOW = "camera-slow"
    LIGHT = "light-dead"
    SOUND = "sound-dead"
    MODEL = "model-wrong"
    ROSTER = "roster-unusable"
    KEY = "key-unusable"
    NAME_UNKNOWN = "broker-name-unknown"


Code = ErrorCode | DiagnosticCode


class CheckStatus(StrEnum):
    """How a check ended."""

    GOOD = "good"
    BAD = "bad"
    UNCHECKED = "unchecked"  # and `text` says why


@dataclass(frozen=True, slots=True)
class DiagnosticResult:
    """One line of the report."""

    check: str
    verdict: CheckStatus
    text: str  # what was seen
    code: Code | None = None  # where it is bad
    do: str = ""  # the next thing to do
    facts: Mapping[str, Any] = field(default_factory=dict)


def ok(check: str, text: str, **facts: Any) -> DiagnosticResult:
    """Return what is as it should be."""
    return DiagnosticResult(check, CheckStatus.GOOD, text, facts=facts)


def failed(check: str, code: Code, text: str, do: str = "", **facts: Any) -> DiagnosticResult:
    """Return what has to be mended."""
    return DiagnosticResult(check, CheckStatus.BAD, text, code, do, facts)


def skipped(check: str, text: str, do: str = "", **facts: Any) -> DiagnosticResult:
    """Return what could not be looked at, and why."""
    return DiagnosticResult(check, CheckStatus.UNCHECKED, text, None, do, facts)


def healthy(findings: Iterable[DiagnosticResult]) -> bool:
    """Whether nothing is bad; what could not be checked is neither."""
    return all(finding.verdict is not CheckStatus.BAD for finding in findings)
