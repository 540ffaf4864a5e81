"""Root with no other power than to become the daemon's user, as the service runs it."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from desk import Desk, claim, unit

NOBODY = pwd.getpwnam("nobody")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
)


def test_no_right_to_override_owners_is_needed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    os.chown(desk.state, NOBODY.pw_uid, NOBODY.pw_gid)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    for content in (claim(), claim(), claim(unit=unit(site="kecamatan"))):
        (desk.boot / "senyum-claim.toml").write_text(tomlkit.dumps(content))
        program = [sys.executable, "-m", "edge.cli", "provision", "--boot", "--user", "nobody"]
        said = subprocess.run(
            [
                *("setpriv", "--bounding-set", "-all,+setuid,+setgid", "--inh-caps", "-all"),
                *("--no-new-privs", *program),
                *("--boot-folder", str(desk.boot), "--config", str(desk.config)),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert said.returncode == 0, said.stderr
    for path in desk.state.iterdir():
        assert path.stat().st_uid == NOBODY.pw_uid, path
        assert path.stat().st_mode & 0o077 == 0, path
    assert desk.config.stat().st_uid == 0
    assert desk.settings.unit.site == "kecamatan"
