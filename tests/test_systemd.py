"""The service files, judged by systemd's own tools without booting anything."""

import codecs
import itertools
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import gettempdir

import pytest
from authority import Authority as CertificateAuthority

from edge.cli import build_parser
from edge.contract.keys import SigningKey
from edge.errors import SecretError
from edge.mqtt.connection import new_client
from edge.settings import BrokerSettings
from senyum_central.ingest.gap_requests import ReplayAuthority
from senyum_central.ingest.service_status import START_S

SYSTEMD = Path(__file__).parent.parent / "systemd"
SERVICES = [*sorted(SYSTEMD.glob("*.service")), *sorted(SYSTEMD.glob("central/*.service"))]
UNITS = [*SERVICES, *sorted(SYSTEMD.glob("*.path"))]

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_every_line_is_understood(unit: Path, tmp_path: Path) -> None:
    """Only the programs' absence may be found fault with: nothing is installed here."""
    for other in UNITS:
        text = re.sub(r"(?m)^(Exec\w+)=\S+", r"\1=/bin/true", other.read_text(encoding="utf-8"))
        (tmp_path / other.name).write_text(text)
    verdict = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        check=False,
        capture_output=True,
        text=True,
    )
    about_us = [line for line in verdict.stderr.splitlines() if unit.name in line]
    assert (verdict.returncode, about_us) == (0, [])


@pytest.mark.parametrize("service", SERVICES, ids=lambda unit: unit.name)
def test_the_sandbox_is_tight(service: Path) -> None:
    """Exposure at most 1.5 of 10."""
    verdict = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(service)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert verdict.returncode == 0, verdict.stdout.splitlines()[-1]


def test_nothing_leaves_the_unit_dead_for_good() -> None:
    for service in SERVICES:
        text = service.read_text(encoding="utf-8")
        if "Type=oneshot" not in text:
            assert "\nRestart=always\n" in text, service.name
            assert "\nStartLimitIntervalSec=0\n" in text, service.name


RECEIVE = SYSTEMD / "central" / "senyum-receive.service"


def test_the_receivers_options_stand_in_the_page_as_the_command_takes_them() -> None:
    page = (SYSTEMD.parent / "docs" / "central.md").read_text(encoding="utf-8")
    (line,) = re.findall("(?m)^RECEIVE_OPTIONS=(.*)$", page)
    options = build_parser("receive").parse_args(["receive", *line.split()])
    text = RECEIVE.read_text(encoding="utf-8")
    credentials = re.findall("(?m)^LoadCredential=(.*)$", text)
    assert options.key.name in credentials
    assert all(f"`{name}`" in page for name in credentials)
    assert str(options.store).startswith("/var/lib/senyum-receive/")
    assert f"\nWatchdogSec={START_S}\n" in text


def test_a_credential_is_read_though_its_file_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the service's user sees it: /etc/credstore is for root alone, the copy is its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    nobody = pwd.getpwnam("nobody").pw_uid
    out_of_reach, copies = tmp_path / "credstore", tmp_path / "credentials"
    out_of_reach.mkdir(mode=0o700)
    copies.mkdir(mode=0o700)
    ca = CertificateAuthority(tmp_path, "ca")
    certificate, key = ca.issue("central")
    key.rename(copies / "receive.key")
    SigningKey.load_or_create(copies / "command.key")
    (copies / "receive.password").write_text("secret\n")
    for each in (copies, *copies.iterdir()):
        os.chown(each, nobody, nobody)
    ours = itertools.takewhile(lambda folder: folder != Path(gettempdir()), tmp_path.parents)
    for folder in (tmp_path, *ours):  # pytest keeps them for their owner
        folder.chmod(0o755)
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", str(copies))
    broker = BrokerSettings(
        host="localhost",
        tls=True,
        ca=ca.pem,
        certificate=certificate,
        certificate_key=out_of_reach / "receive.key",
        username="me",
        password=out_of_reach / "receive.password",
    )
    codecs.lookup("utf-8-sig")  # what Python loads late may be out of that user's reach too
    os.seteuid(nobody)
    try:
        with pytest.raises(PermissionError):
            (out_of_reach / "receive.key").exists()
        ReplayAuthority.load(out_of_reach / "command.key")
        new_client(broker, "me")
        with pytest.raises(SecretError, match="cannot be read: Permission denied"):
            ReplayAuthority.load(out_of_reach / "another.key")
    finally:
        os.seteuid(0)
