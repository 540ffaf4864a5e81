from pathlib import Path

import pytest

from edge.appliance.watchdog.reboot_limiter import (
    DAYS,
    REBOOTS,
    WITHIN_S,
    main,
    may_reboot,
    record_failure,
)
from edge.system.run_log import FAILURES_PER_REBOOT

NOW = 1_800_000_000.0


def test_as_many_strikes_as_it_takes_ask_for_a_reboot(tmp_path: Path) -> None:
    times = [100.0 + 70.0 * n for n in range(FAILURES_PER_REBOOT)]
    requested = [record_failure("watchdog", tmp_path, at) for at in times]
    assert requested == [False] * (FAILURES_PER_REBOOT - 1) + [True]
    assert not record_failure("timeout", tmp_path, 1000.0)  # counted anew


@pytest.mark.parametrize("result", ["success", "exit-code", "signal", "core-dump", ""])
def test_a_wrong_setting_or_a_kill_is_no_strike(result: str, tmp_path: Path) -> None:
    assert not any(record_failure(result, tmp_path, float(n)) for n in range(20))
    assert list(tmp_path.iterdir()) == []


def test_strikes_far_apart_are_forgotten(tmp_path: Path) -> None:
    apart = WITHIN_S / (FAILURES_PER_REBOOT - 2)
    assert not any(record_failure("watchdog", tmp_path, apart * n) for n in range(20))


def test_a_damaged_count_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "strikes").write_text("what\n" * 10)
    assert not record_failure("watchdog", tmp_path, 5.0)
    assert (tmp_path / "strikes").read_text() == "5\n"


def test_reboots_are_counted_and_end(tmp_path: Path) -> None:
    given = [may_reboot(tmp_path, NOW + n) for n in range(REBOOTS + 2)]
    assert given == [True] * REBOOTS + [False, False]
    assert may_reboot(tmp_path, NOW + DAYS * 86_400 + REBOOTS)


def test_a_clock_that_was_set_back_makes_no_loop(tmp_path: Path) -> None:
    assert [may_reboot(tmp_path, NOW - 86_400.0 * n) for n in range(REBOOTS + 1)][-1] is False


def test_the_exit_status_is_what_process_1_goes_by(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = {"STATE_DIRECTORY": str(tmp_path)}
    assert [main("allow", where) for _ in range(REBOOTS + 1)] == [0] * REBOOTS + [1]
    assert "<3>no reboot" in capfd.readouterr().err
    assert main("strike", {"SERVICE_RESULT": "success"}) == 0
