"""The files of docs/broker beside what they must agree with."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from secured_broker import FILES

DEBIANS = Path("/lib/systemd/system/mosquitto.service")


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not DEBIANS.is_file(),
    reason="needs systemd-analyze and Debian's mosquitto.service",
)
def test_the_drop_in_is_understood_and_tight(tmp_path: Path) -> None:
    """Exposure at most 1.5 together with Debian's own file."""
    dropped = (FILES / "mosquitto.service.d" / "senyum.conf").read_text()
    placed = tmp_path / "mosquitto.service"
    placed.write_text(DEBIANS.read_text() + dropped)
    for command in (
        ["verify", "--man=no"],
        ["security", "--offline=true", "--threshold=15"],
    ):
        said = subprocess.run(
            ["systemd-analyze", *command, str(placed)], check=False, capture_output=True, text=True
        )
        assert said.returncode == 0, said.stdout[-300:] + said.stderr[-300:]
        assert "mosquitto.service:" not in said.stderr


def test_what_the_page_links_to_is_there() -> None:
    text = (FILES / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (FILES / link).exists(), link


def test_the_limits_hold_what_the_contract_allows() -> None:
    limit = re.search(r"(?m)^max_packet_size (\d+)$", (FILES / "mosquitto.conf").read_text())
    assert limit is not None
    assert int(limit[1]) >= 2 * 65_536
