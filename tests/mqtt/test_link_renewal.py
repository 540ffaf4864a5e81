"""Certificate, key and password replaced while the unit runs, and certificates that end."""

import logging
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from authority import Authority
from private_servers import PrivateBroker
from wireunit import FAST, Listener, SteppedClock, WireUnit, until

from edge.errors import ErrorCode
from edge.mqtt.backoff import LinkTiming
from edge.mqtt.credentials import CredentialFiles, expiry
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


class TlsBroker(PrivateBroker):
    """Asks every client for a certificate of `authority`, and logs whose it was."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        certificate, key = authority.issue(HOST)
        options = (
            f"cafile {authority.pem}",
            f"certfile {certificate}",
            f"keyfile {key}",
            "require_certificate true",
            "use_identity_as_username true",
            "log_type all",
        )
        super().__init__(folder, options=options)

    def came_as(self, name: str) -> int:
        return self.log.read_text(errors="replace").count(f"u'{name}'")


def place(pair: tuple[Path, Path], target: tuple[Path, Path]) -> None:
    """Put a certificate and its key where the settings say, each whole or not at all."""
    for source, at in zip(pair, target, strict=True):
        source.replace(at)


def settings(port: int, ours: Authority, folder: Path) -> tuple[BrokerSettings, tuple[Path, Path]]:
    target = folder / "unit.pem", folder / "unit.key"
    broker = BrokerSettings(
        host=HOST,
        port=port,
        tls=True,
        ca=ours.pem,
        certificate=target[0],
        certificate_key=target[1],
    )
    return broker, target


def test_a_new_certificate_is_used_without_a_restart_and_without_a_loss(
    tmp_path: Path, ours: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "edge"),
        TlsBroker(tmp_path / "broker", ours) as broker,
    ):
        known, target = settings(broker.port, ours, tmp_path)
        place(ours.issue("first"), target)
        with Listener(known) as listener, WireUnit(tmp_path, known) as unit:
            unit.record(5)
            until(lambda: unit.link.delivered == 5, 5.0)
            place(ours.issue("second"), target)
            until(lambda: broker.came_as("second") > 0, 5.0)
            unit.record(5)
            until(lambda: unit.link.delivered == 10, 5.0)
            assert unit.changes == [True]
            until(lambda: len(listener.events()) == 10, 5.0)
            time.sleep(0.5)
            assert broker.came_as("second") == 1  # once
    assert caplog.text.count("reconnecting with the new certificate or password") == 1


def test_half_a_new_pair_keeps_the_connection_and_is_told(
    tmp_path: Path, ours: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with TlsBroker(tmp_path / "broker", ours) as broker:
        known, target = settings(broker.port, ours, tmp_path)
        place(ours.issue("first"), target)
        with WireUnit(tmp_path, known) as unit:
            until(lambda: unit.changes == [True], 5.0)
            certificate, key = ours.issue("second")
            certificate.replace(target[0])
            until(lambda: unit.link.error_code is ErrorCode.CREDENTIALS, 5.0)
            time.sleep(0.5)
            assert unit.changes == [True]
            key.replace(target[1])
            until(lambda: broker.came_as("second") > 0, 5.0)
            until(lambda: unit.link.error_code is None, 5.0)
            assert unit.changes == [True]
    said = [r for r in caplog.records if "the old one is kept" in r.message]
    assert len(said) == 1
    assert "certificate" in said[0].message


def test_a_new_certificate_that_the_broker_refuses_keeps_the_connection(
    tmp_path: Path, ours: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = Authority(tmp_path, "theirs")
    with TlsBroker(tmp_path / "broker", ours) as broker:
        known, target = settings(broker.port, ours, tmp_path)
        place(ours.issue("first"), target)
        with Listener(known) as listener, WireUnit(tmp_path, known) as unit:
            until(lambda: unit.changes == [True], 5.0)
            place(theirs.issue("second"), target)
            until(lambda: unit.link.error_code is ErrorCode.CREDENTIALS, 5.0)
            unit.record(3)
            until(lambda: len(listener.events()) == 3, 5.0)
            assert unit.changes == [True]
            place(ours.issue("third"), target)
            until(lambda: broker.came_as("third") > 0, 10.0)
            until(lambda: unit.link.error_code is None, 5.0)
            assert unit.changes == [True]
    assert len([r for r in caplog.records if "is kept" in r.message]) <= 2


def test_a_certificate_that_has_expired_is_refused_told_and_mended_by_a_new_one(
    tmp_path: Path, ours: Authority
) -> None:
    with TlsBroker(tmp_path / "broker", ours) as broker:
        known, target = settings(broker.port, ours, tmp_path)
        place(ours.issue("old", days=-1), target)
        with WireUnit(tmp_path, known) as unit:
            unit.record(2)
            until(lambda: unit.link.error_code is ErrorCode.CERTIFICATE_REFUSED, 10.0)
            place(ours.issue("new"), target)
            until(lambda: unit.changes == [True], 5.0)


def test_a_broker_whose_certificate_has_expired_is_refused(tmp_path: Path, ours: Authority) -> None:
    certificate, key = ours.issue(HOST, days=-1)
    options = (f"cafile {ours.pem}", f"certfile {certificate}", f"keyfile {key}")
    with PrivateBroker(tmp_path / "broker", options=options) as broker:
        known = BrokerSettings(host=HOST, port=broker.port, tls=True, ca=ours.pem)
        with WireUnit(tmp_path, known) as unit:
            until(lambda: unit.link.error_code is ErrorCode.BROKER_CERTIFICATE, 10.0)
            assert unit.changes == []


def test_a_refused_password_is_tried_at_once_when_its_file_is_mended(tmp_path: Path) -> None:
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", passwords, "unit", "right"], check=True, timeout=10
    )
    secret.touch(0o600)
    secret.write_text("wrong")
    options = ("allow_anonymous false", f"password_file {passwords}")
    with PrivateBroker(tmp_path / "broker", options=options) as broker:
        known = broker.settings.model_copy(update={"username": "unit", "password": secret})
        with WireUnit(
            tmp_path, known, pace=LinkTiming(operator_retry=600.0, credential_poll=0.1)
        ) as unit:
            until(lambda: unit.link.error_code is ErrorCode.NOT_AUTHORIZED, 5.0)
            time.sleep(0.3)
            assert unit.changes == []
            secret.write_text("right\n")
            until(lambda: unit.changes == [True], 5.0)


# --- the end of a certificate ----------------------------------------------------------------


def ending(ours: Authority, days: float) -> BrokerSettings:
    certificate, key = ours.issue("unit", days=days)
    return BrokerSettings(tls=True, ca=ours.pem, certificate=certificate, certificate_key=key)


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (30.5, None),
        (29.5, "expires in 29 days"),
        (0.5, "expires in 0 days"),
        (-1, "expired on "),
    ],
)
def test_an_end_is_announced_thirty_days_ahead(
    ours: Authority, days: float, says: str | None
) -> None:
    found = expiry(ending(ours, days), datetime.now(UTC))
    if says is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] is ErrorCode.CERTIFICATE_EXPIRES
        assert says in found[1]
        assert "unit.pem" in found[1]


def test_the_end_of_the_authority_is_announced_too(ours: Authority) -> None:
    later = datetime.now(UTC) + timedelta(days=380)
    found = expiry(BrokerSettings(tls=True, ca=ours.pem), later)
    assert found is not None
    assert found[0] is ErrorCode.AUTHORITY_EXPIRES
    assert expiry(BrokerSettings(tls=True, ca=ours.pem), datetime.now(UTC)) is None
    assert expiry(BrokerSettings(tls=True), later) is None


def test_a_file_that_is_no_certificate_has_no_end(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    assert expiry(BrokerSettings(tls=True, ca=junk), datetime.now(UTC)) is None
    junk.write_text("junk")
    assert expiry(BrokerSettings(tls=True, ca=junk), datetime.now(UTC)) is None


def test_health_tells_of_the_end_and_the_log_once_a_day(
    tmp_path: Path, ours: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with TlsBroker(tmp_path / "broker", ours) as broker:
        known, target = settings(broker.port, ours, tmp_path)
        place(ours.issue("unit", days=10), target)
        clock = SteppedClock(time.time())
        pace = LinkTiming(health_interval=0.1, credential_poll=0.05)
        with (
            Listener(known) as listener,
            WireUnit(tmp_path, known, pace=pace, clock=clock) as unit,
        ):

            def last_error() -> str | None:
                bodies = [body for topic, body, _ in listener.messages if topic.endswith("/health")]
                return unit.health(bodies[-1]).data.last_error if bodies else None

            until(lambda: last_error() == "certificate-expires", 5.0)
            time.sleep(0.3)
            place(ours.issue("unit", days=300, tag="-next"), target)
            until(lambda: last_error() is None, 5.0)
            assert unit.changes == [True]
    said = [r.message for r in caplog.records if "expires in" in r.message]
    assert len(said) == 1


def test_a_clock_that_nobody_set_announces_no_end(
    tmp_path: Path, ours: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with TlsBroker(tmp_path / "broker", ours) as broker:
        known, target = settings(broker.port, ours, tmp_path)
        place(ours.issue("unit", days=3), target)
        clock = SteppedClock(time.time())
        clock.state = clock.state.UNSYNCHRONIZED
        with WireUnit(tmp_path, known, pace=FAST, clock=clock) as unit:
            until(lambda: unit.changes == [True], 5.0)
            time.sleep(0.5)
            assert unit.link.error_code is None
    assert "expires" not in caplog.text


def test_a_replaced_file_is_noticed(tmp_path: Path, ours: Authority) -> None:
    broker = ending(ours, 10)
    files = CredentialFiles(broker)
    assert not files.changed()
    assert broker.certificate is not None
    content = broker.certificate.read_bytes()
    again = tmp_path / "again"
    again.write_bytes(content)
    again.replace(broker.certificate)
    assert files.changed()
    files.mark_used()
    assert not files.changed()
    broker.certificate.unlink()
    assert files.changed()
