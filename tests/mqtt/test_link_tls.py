"""TLS and passwords against a real broker, with authorities made for the test."""

import logging
import ssl
import subprocess
from pathlib import Path

import pytest
from authority import Authority
from private_servers import PrivateBroker
from wireunit import Listener, WireUnit, until

from edge.errors import SecretError
from edge.mqtt.credentials import tls_context
from edge.settings import BrokerSettings

pytestmark = [
    pytest.mark.broker,
    # paho leaves the socket of a failed handshake to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "localhost"


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "theirs")


@pytest.fixture
def tls_broker(tmp_path: Path, ours: Authority) -> PrivateBroker:
    """A broker, not started, that asks every client for a certificate of `ours`."""
    certificate, key = ours.issue(HOST)
    return PrivateBroker(
        tmp_path / "broker",
        options=(
            f"cafile {ours.pem}",
            f"certfile {certificate}",
            f"keyfile {key}",
            "require_certificate true",
        ),
    )


def settings(
    broker: PrivateBroker, trusted: Authority, own: tuple[Path, Path] | None
) -> BrokerSettings:
    certificate, key = own or (None, None)
    return BrokerSettings(
        host=HOST,
        port=broker.port,
        tls=True,
        ca=trusted.pem,
        certificate=certificate,
        certificate_key=key,
    )


def test_events_pass_through_tls_with_a_client_certificate(
    tls_broker: PrivateBroker, tmp_path: Path, ours: Authority
) -> None:
    good = settings(tls_broker, ours, ours.issue("unit"))
    with tls_broker, Listener(good) as listener, WireUnit(tmp_path, good) as unit:
        unit.record(30)
        until(lambda: len(listener.events()) == 30, 10.0)


@pytest.mark.parametrize("who", ["nobody", "stranger", "imposter-broker"])
def test_a_refused_certificate_is_told_once_and_no_event_is_lost(
    tls_broker: PrivateBroker,
    tmp_path: Path,
    ours: Authority,
    theirs: Authority,
    who: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = {
        "nobody": settings(tls_broker, ours, None),
        "stranger": settings(tls_broker, ours, theirs.issue("unit")),
        "imposter-broker": settings(tls_broker, theirs, ours.issue("unit")),
    }[who]
    says = "certificate was refused" if who == "imposter-broker" else "alert"
    with tls_broker, caplog.at_level(logging.DEBUG, "edge"):
        with WireUnit(tmp_path, wrong) as unit:
            unit.record(3)
            until(lambda: caplog.text.lower().count(says) >= 3, 10.0)
            assert unit.changes == []
        loud = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert len({r.message for r in loud}) == len(loud)
        right = settings(tls_broker, ours, ours.issue("unit"))
        with Listener(right) as listener, WireUnit(tmp_path, right):
            until(lambda: len(listener.events()) == 3, 10.0)


def test_a_broker_by_another_name_is_refused(
    tls_broker: PrivateBroker, tmp_path: Path, ours: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    by_address = settings(tls_broker, ours, ours.issue("unit")).model_copy(
        update={"host": "127.0.0.1"}
    )
    with tls_broker, WireUnit(tmp_path, by_address):
        until(lambda: "IP address mismatch" in caplog.text, 10.0)


def test_a_refused_password_is_told_and_no_event_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", passwords, "unit", "right"], check=True, timeout=10
    )
    secret.touch(0o600)
    options = ("allow_anonymous false", f"password_file {passwords}")
    with PrivateBroker(tmp_path / "broker", options=options) as broker:
        known = broker.settings.model_copy(update={"username": "unit", "password": secret})
        secret.write_text("wrong\n")
        with WireUnit(tmp_path, known) as unit:
            unit.record(2)
            until(lambda: "refused us: Not authorized" in caplog.text, 10.0)
        assert "wrong" not in caplog.text
        secret.write_text("right\n")
        with Listener(known) as listener, WireUnit(tmp_path, known):
            until(lambda: len(listener.events()) == 2, 10.0)


@pytest.mark.parametrize("broken", ["ca", "certificate", "certificate_key"])
def test_a_file_that_is_no_pem_is_named(tmp_path: Path, ours: Authority, broken: str) -> None:
    junk = tmp_path / "junk"
    junk.touch(0o600)
    junk.write_text("not a certificate")
    certificate, key = ours.issue("unit")
    files = {"ca": ours.pem, "certificate": certificate, "certificate_key": key, broken: junk}
    with pytest.raises(SecretError, match=f"broker.{broken}"):
        tls_context(BrokerSettings.model_validate({"tls": True, **files}))


def test_a_certificates_key_that_others_can_read_is_refused(
    tmp_path: Path, ours: Authority
) -> None:
    certificate, key = ours.issue("unit")
    key.chmod(0o640)
    settings = BrokerSettings(tls=True, ca=ours.pem, certificate=certificate, certificate_key=key)
    with pytest.raises(SecretError, match="chmod 600"):
        tls_context(settings)


def test_without_an_authority_the_systems_are_trusted() -> None:
    context = tls_context(BrokerSettings(tls=True))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
