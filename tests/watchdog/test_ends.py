"""What a dead run leaves for the next, and what the next puts into the chain."""

import time
from pathlib import Path
from typing import Any

import pytest

from edge.appliance.watchdog.reboot_limiter import main
from edge.status.restart_audit import GRACE_S, RestartAudit
from edge.system import run_log as ends
from edge.system.run_log import FAILURES_PER_REBOOT
from edge.types import Audit, AuditCode


def said(audits: list[Audit]) -> list[tuple[AuditCode, dict[str, Any]]]:
    return [(audit.code, dict(audit.detail)) for audit in audits]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    made = {f"{name}_DIRECTORY": tmp_path / name for name in ("RUNTIME", "STATE")}
    for folder in made.values():
        folder.mkdir()
    return {name: str(folder) for name, folder in made.items()}


def end(places: dict[str, str], result: str, status: str = "") -> None:
    """Run what systemd runs after each end of the daemon."""
    assert main("strike", {**places, "SERVICE_RESULT": result, "EXIT_STATUS": status}) == 0


def told(places: dict[str, str]) -> list[tuple[AuditCode, dict[str, Any]]]:
    return said(RestartAudit(places).report())


def test_ends_in_a_row_are_told_once_they_are_over_and_forgotten_once_stored(
    places: dict[str, str],
) -> None:
    end(places, "watchdog", "ABRT")
    end(places, "signal", "KILL")
    past = RestartAudit(places)
    audits = past.report()
    detail = {"why": "signal", "status": "KILL", "times": 2}
    assert said(audits) == [(AuditCode.RESTARTED, detail)]
    assert told(places) == said(audits)  # not stored yet, so it is told again
    past.stored(audits[0].ref)
    past.stored(audits[0].ref)
    assert told(places) == []


def test_a_good_end_leaves_nothing(places: dict[str, str]) -> None:
    end(places, "success", "0")
    assert told(places) == []


def test_so_many_ends_fill_no_memory(places: dict[str, str]) -> None:
    for _ in range(ends.KEPT + 5):
        ends.record(Path(places["RUNTIME_DIRECTORY"]), "exit-code", "2")
    assert told(places)[0][1]["times"] == ends.KEPT


def test_the_last_resort_is_told_after_the_reboot(places: dict[str, str]) -> None:
    for _ in range(FAILURES_PER_REBOOT):
        end(places, "watchdog", "ABRT")
    assert (Path(places["RUNTIME_DIRECTORY"]) / "rescue").exists()
    note = Path(places["STATE_DIRECTORY"]) / ends.ASKED
    _, uptime = note.read_text().split()
    assert [code for code, _ in told(places)] == [AuditCode.RESTARTED]  # the same boot still
    note.write_text(f"00000000-0000-4000-8000-000000000000 {uptime}\n")
    codes = [code for code, _ in told(places)]
    assert codes == [AuditCode.REBOOTED, AuditCode.RESTARTED]


def test_a_reboot_that_was_refused_is_told_when_it_is_late(places: dict[str, str]) -> None:
    state = Path(places["STATE_DIRECTORY"])
    ends.request_reboot(state, time.monotonic())
    past = RestartAudit(places)
    assert past.report() + past.poll(time.monotonic_ns()) == []
    ends.request_reboot(state, time.monotonic() - GRACE_S - 1)
    past = RestartAudit(places)
    audits = past.report() + past.poll(time.monotonic_ns()) + past.poll(time.monotonic_ns())
    assert said(audits) == [(AuditCode.REBOOT_REFUSED, {})]
    past.stored(audits[0].ref)
    assert told(places) == []


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"one\n", b"a b c d\n", b"boot late\n"])
def test_damaged_words_are_no_words(damage: bytes, places: dict[str, str]) -> None:
    (Path(places["STATE_DIRECTORY"]) / ends.ASKED).write_bytes(damage)
    assert told(places) == []


def test_outside_systemd_nothing_is_told() -> None:
    assert told({}) == []
