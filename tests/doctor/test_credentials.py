"""Models, roster, keys and certificates."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from authority import Authority
from diagnostic_fixture import make_context, outcome

from edge.appliance.doctor import credentials
from edge.appliance.doctor.model_selfcheck import differences
from edge.contract.keys import SigningKey
from edge.gallery import DIMENSION
from edge.inference.models import Models, shipped
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.roster.keys import make_key


def test_the_shipped_networks_give_what_they_gave(tmp_path: Path) -> None:
    """Where this fails after models changed, run scripts/write_goldens."""
    assert differences(Models()) == dict.fromkeys(Models().digests(), True)
    assert outcome(credentials.check_models(make_context(tmp_path))) == ("good", None)


def test_a_network_that_was_altered_or_gives_something_else(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(shipped(), folder)
    goldens = (folder / "goldens.toml").read_text()
    other = tmp_path / "goldens.toml"
    other.write_text(goldens.replace("149.706", "140.0"))
    assert differences(Models(), other)["detector"] is False
    other.write_text(goldens.replace('sha256 = "3', 'sha256 = "4'))
    assert None in differences(Models(), other).values()
    (folder / "detector.tflite").write_bytes(b"no model")
    found = credentials.check_models(make_context(tmp_path, {"inference": {"models": folder}}))
    assert outcome(found) == ("bad", "model-wrong")


def test_what_is_written_otherwise_and_what_waits_on_the_boot_partition(tmp_path: Path) -> None:
    remark = "unit.place.zone is 'Asia/Ujung_Pandang': Asia/Makassar is used; write that"
    context = make_context(tmp_path, boot=[tmp_path], remarks=[remark])
    assert credentials.check_settings(context).text == remark
    assert list(credentials.check_claim(context)) == []
    (tmp_path / "senyum-claim.toml.txt").touch()
    (result,) = credentials.check_claim(context)
    assert outcome(result) == ("bad", "claim-not-applied")
    assert "rename it to senyum-claim.toml" in result.text


def test_a_ca_that_does_not_serve_is_named_beside_one_that_does(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old", days=-1.0), Authority(tmp_path, "new")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(old.pem.read_bytes() + new.pem.read_bytes())
    context = make_context(tmp_path, {"broker": {"host": "b", "tls": True, "ca": ca}})
    (result,) = credentials.check_certificates(context)
    assert outcome(result) == ("good", None)
    assert "broker.ca (old) expired on" in result.text
    ca.write_bytes(old.pem.read_bytes())
    (result,) = credentials.check_certificates(context)
    assert outcome(result) == ("bad", "authority-expires")


def test_the_roster(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert outcome(credentials.check_roster(context)) == ("bad", "roster-unusable")
    key = make_key(tmp_path / "roster.key", "roster key")
    embedder = Models().digests()["identity"]
    template = np.eye(1, DIMENSION, dtype=np.float32)
    person = Person(
        "0123456789abcdef" * 2, "198503022010011003", "B", exempt=False, templates=template
    )
    save(tmp_path / "roster.senyum", key, Roster(3, datetime.now(UTC), embedder, (person,)))
    assert credentials.check_roster(context).text == "1 person, version 3"


def test_the_signing_key(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert outcome(credentials.check_signing_key(context)) == ("bad", "key-unusable")
    assert not (tmp_path / "signing.key").exists()  # a doctor makes none
    key = SigningKey.load_or_create(tmp_path / "signing.key")
    assert credentials.check_signing_key(context).details["kid"] == key.kid
    (tmp_path / "signing.key").chmod(0o644)
    assert "chmod 600" in credentials.check_signing_key(context).text


@pytest.mark.parametrize(
    ("days", "found"),
    [
        (90.0, ("good", None)),
        (3.0, ("bad", "certificate-expires")),
        (-1.0, ("bad", "certificate-expires")),
    ],
)
def test_certificates(tmp_path: Path, days: float, found: tuple[str, str | None]) -> None:
    authority = Authority(tmp_path, "fleet")
    certificate, key = authority.issue("unit", days=days)
    broker = {
        "tls": True,
        "ca": authority.pem,
        "certificate": certificate,
        "certificate_key": key,
    }
    (result,) = credentials.check_certificates(make_context(tmp_path, {"broker": broker}))
    assert outcome(result) == found
    assert days < 0 or re.search(r"until \d{4}-\d\d-\d\d$|in \d days", result.text)
    key.write_text("no key")
    (broken,) = credentials.check_certificates(make_context(tmp_path, {"broker": broker}))
    assert outcome(broken) == ("bad", "credentials-unusable")
