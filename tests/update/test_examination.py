"""The unit in which a version examines this machine."""

import shutil
import subprocess
from pathlib import Path

import pytest

from edge.appliance.update.selftest_runner import NAME, unit_text

DAEMON = Path(__file__).parents[2] / "systemd/senyum.service"
SEALED = "\n# added\n[Service]\nLoadCredential=\nLoadCredentialEncrypted=roster.key\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_it_and_it_is_as_confined_as_the_daemon(tmp_path: Path) -> None:
    environment = tmp_path / "version"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python3").symlink_to("/bin/true")
    text = unit_text(DAEMON.read_text() + SEALED, environment, tmp_path / "told")
    unit = tmp_path / NAME
    unit.write_text(text)
    # Of the daemon's alone, not of what it wants: none of that is installed here.
    lines = [line for line in text.splitlines() if not line.startswith(("Wants=", "After="))]
    unit.write_text("\n".join(lines))
    verify = ["systemd-analyze", "verify", "--man=no", str(unit)]
    verdict = subprocess.run(verify, check=False, capture_output=True, text=True)
    about_it = [line for line in verdict.stderr.splitlines() if NAME in line]
    assert (verdict.returncode, about_it) == (0, [])
    secure = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(unit)]
    assert subprocess.run(secure, check=False, capture_output=True).returncode == 0
    assert "LoadCredentialEncrypted=roster.key" in text
