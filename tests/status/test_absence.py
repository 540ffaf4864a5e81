"""A camera that stays away over many runs: told once, and looked for ever more patiently."""

from pathlib import Path

import pytest

from edge.status.camera_outage import FILE, CameraOutage
from edge.system.run_log import FAILURES_PER_REBOOT
from edge.types import Audit, AuditCode

MINUTE = 60 * 10**9
BEGAN = 5 * MINUTE


class Chain:
    """Keeps the codes of the audits to record."""

    def __init__(self) -> None:
        self.said: list[AuditCode] = []

    def record(self, audits: list[Audit]) -> None:
        self.said += [audit.code for audit in audits]


@pytest.fixture
def chain() -> Chain:
    return Chain()


def run(folder: Path) -> CameraOutage:
    return CameraOutage({"RUNTIME_DIRECTORY": str(folder)}, BEGAN)


def lasts(absence: CameraOutage) -> int:
    """Minutes that a run bears without pictures."""
    return next(m for m in range(100) if not absence.keep_alive_without_frames(BEGAN + m * MINUTE))


def test_patience_begins_after_the_reboot_was_asked_for_and_doubles(
    tmp_path: Path, chain: Chain
) -> None:
    borne = []
    for _ in range(FAILURES_PER_REBOOT + 8):
        absence = run(tmp_path)
        borne.append(lasts(absence))
        chain.record(absence.record_outage("no camera"))
        chain.record(absence.record_outage("still none"))
    assert borne == [0] * FAILURES_PER_REBOOT + [1, 2, 4, 8, 16, 32, 60, 60]
    assert chain.said == [AuditCode.CAMERA_LOST]


def test_a_camera_that_is_back_in_this_run_is_told_and_ends_all_patience(
    tmp_path: Path, chain: Chain
) -> None:
    (tmp_path / FILE).write_text(f"{FAILURES_PER_REBOOT}\n")
    absence = run(tmp_path)
    chain.record(absence.record_outage("no camera"))
    chain.record(absence.clear())
    chain.record(absence.clear())
    assert chain.said == [AuditCode.CAMERA_BACK]
    assert not absence.keep_alive_without_frames(BEGAN)
    assert lasts(run(tmp_path)) == 0
    chain.record(absence.record_outage("again"))
    assert chain.said == [AuditCode.CAMERA_BACK, AuditCode.CAMERA_LOST]


def test_a_few_pictures_end_no_long_absence(tmp_path: Path, chain: Chain) -> None:
    """Of a camera that delivers some at each start, and dies again."""
    (tmp_path / FILE).write_text(f"{FAILURES_PER_REBOOT}\n")
    absence = run(tmp_path)
    for second in range(9):
        chain.record(absence.observe_frame(BEGAN + second * 10**9, useful=True))
    chain.record(absence.observe_frame(BEGAN + 9 * 10**9, useful=False))
    for second in range(10, 20):
        chain.record(absence.observe_frame(BEGAN + second * 10**9, useful=True))
    assert chain.said == []
    assert absence.keep_alive_without_frames(BEGAN)
    chain.record(absence.observe_frame(BEGAN + 20 * 10**9, useful=True))
    chain.record(absence.observe_frame(BEGAN + 21 * 10**9, useful=True))
    assert chain.said == [AuditCode.CAMERA_BACK]
    assert not absence.keep_alive_without_frames(BEGAN)


def test_a_run_that_never_lost_its_camera_leaves_nothing(tmp_path: Path, chain: Chain) -> None:
    absence = run(tmp_path)
    for second in range(60):
        chain.record(absence.observe_frame(BEGAN + second * 10**9, useful=True))
    assert chain.said == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"-3\n", b"many\n"])
def test_a_damaged_count_is_none(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(damage)
    assert lasts(run(tmp_path)) == 0


def test_an_absurd_count_is_as_patient_as_can_be(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"99999999999")
    assert lasts(run(tmp_path)) == 60


def test_without_a_directory_each_run_is_the_first(chain: Chain) -> None:
    absence = CameraOutage({}, BEGAN)
    chain.record(absence.record_outage("no camera"))
    chain.record(absence.clear())
    assert chain.said == [AuditCode.CAMERA_LOST, AuditCode.CAMERA_BACK]


def test_a_directory_that_cannot_be_written_is_said_and_survived(
    tmp_path: Path, chain: Chain, caplog: pytest.LogCaptureFixture
) -> None:
    chain.record(run(tmp_path / "gone").record_outage("no camera"))
    assert "cannot be written" in caplog.text
    assert chain.said == [AuditCode.CAMERA_LOST]
