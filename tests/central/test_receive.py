"""`senyum receive` as an operator starts it: a process, a real broker, signed events."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from central_parts import Unit
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from private_servers import PrivateBroker
from processes import PROGRAM, Process, publish

from edge.contract.keys import add_registration
from senyum_central.ingest.message import Message
from senyum_central.store.event_store import Store

UNITS = (Unit("lobby-1"), Unit("gate-2"))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    for unit in UNITS:
        add_registration(path, unit.key.registration(unit.name))
    return path


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[PrivateBroker]:
    with PrivateBroker(tmp_path / "broker") as broker:
        yield broker


@contextmanager
def receiving(
    folder: Path, broker: PrivateBroker, *options: str, name: str = "one"
) -> Iterator[Process]:
    one = Process(folder, broker.port, *options, name=name)
    try:
        one.ready()
        yield one
    finally:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


def tokens(messages: list[Message]) -> list[str]:
    return [message.payload.decode() for message in messages]


@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signed_events_are_stored_and_a_signal_ends_it(
    tmp_path: Path, mosquitto: PrivateBroker, keys: Path, number: int
) -> None:
    unit = Unit()
    messages = [unit.audit(), *unit.events(3)]
    with receiving(tmp_path, mosquitto) as one:
        publish(mosquitto, *messages, messages[2])
        one.until(lambda: len(one.said) == 5)
        assert one.end(number) == 0
    assert one.tokens() == tokens(messages)
    assert [said["kind"] for said in one.said] == ["event"] * 4 + ["duplicate"]
    assert not any(said["alarm"] for said in one.said)


@pytest.mark.broker
def test_bad_messages_among_good_ones(tmp_path: Path, mosquitto: PrivateBroker, keys: Path) -> None:
    unit = Unit()
    good = unit.events(2)
    forged = good[1].payload[:-8] + b"AAAAAAAA"
    bad = {
        "malformed": unit.message(b"\xff\x00 nothing of ours"),
        "oversized": unit.message(b"A" * 100_000),
        "bad-signature": unit.message(forged),
        "foreign-key": unit.message(Unit(key="gate-2").event().payload),
    }
    with receiving(tmp_path, mosquitto) as one:
        publish(mosquitto, good[0], *bad.values(), good[1])
        one.until(lambda: len(one.said) == 6)
        assert one.end() == 0
    assert [said.get("flaw") for said in one.said] == [None, *bad, None]
    assert one.tokens() == tokens(good)


@pytest.mark.broker
def test_killed_and_started_again_it_misses_nothing(
    tmp_path: Path, mosquitto: PrivateBroker, keys: Path
) -> None:
    messages = Unit().events(60)
    with receiving(tmp_path, mosquitto) as one:
        publish(mosquitto, *messages[:20])
        one.until(lambda: len(one.said) > 5)
        one.end(signal.SIGKILL)
    publish(mosquitto, *messages[20:40])
    with receiving(tmp_path, mosquitto, "--grace=1") as one:
        publish(mosquitto, *messages[40:])
        one.until(lambda: len(one.tokens()) == 60)
        time.sleep(2.5)
        assert one.end() == 0
    assert one.tokens() == tokens(messages)
    assert not any(said["alarm"] for said in one.said)


@pytest.mark.broker
def test_what_the_broker_forgot_is_named_by_number(
    tmp_path: Path, mosquitto: PrivateBroker, keys: Path
) -> None:
    unit = Unit()
    messages = unit.events(10)
    with receiving(tmp_path, mosquitto, "--grace=1") as one:
        publish(mosquitto, unit.state(), retain=True)
        publish(mosquitto, *messages[:7])
        one.until(lambda: "gap" in [said["kind"] for said in one.said])
        publish(mosquitto, *messages[7:])
        one.until(lambda: "healed" in [said["kind"] for said in one.said])
        assert one.end() == 0
    (gap,) = [said for said in one.said if said["alarm"]]
    assert gap["text"] == "events 8–10 are missing"  # noqa: RUF001 - a range
    assert gap["unit"] == unit.name.source


@pytest.mark.broker
def test_two_receivers_of_a_group_share_the_load(
    tmp_path: Path, mosquitto: PrivateBroker, keys: Path
) -> None:
    messages = Unit().events(30)
    with (
        receiving(tmp_path, mosquitto, "--group=central", name="one") as one,
        receiving(tmp_path, mosquitto, "--group=central", name="two") as two,
    ):
        publish(mosquitto, *messages)
        one.until(lambda: len(one.tokens() + two.tokens()) == 30)
        assert (one.end(), two.end()) == (0, 0)
    assert one.tokens()
    assert two.tokens()
    assert set(one.tokens()) | set(two.tokens()) == set(tokens(messages))


@pytest.mark.broker
def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    tmp_path: Path, mosquitto: PrivateBroker, keys: Path
) -> None:
    """A file size limit of the process stands in for the disk: the same failing write."""
    messages = Unit().events(40)
    with receiving(tmp_path, mosquitto) as one:
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (70_000, resource.RLIM_INFINITY))
        publish(mosquitto, *messages)
        one.until(lambda: "the store does not answer" in one.log)
        resource.prlimit(
            one.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        one.until(lambda: len(one.tokens()) == 40, seconds=60.0)
        one.until(lambda: "the store answers again" in one.log)
        assert one.end() == 0
        assert "Traceback" not in one.log
    assert one.tokens() == tokens(messages)


# --- TLS ---------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of the test, and what it signs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        certificate = self._certificate(self._name, self._key, authority=True)
        self.file = self._write("ca.pem", certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certificate(subject, key, authority=False)
        pem = serialization.Encoding.PEM
        secret = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return (
            self._write(f"{name}.pem", certificate.public_bytes(pem)),
            self._write(f"{name}.key", secret),
        )

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        of_authority = self._key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(of_authority), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not authority,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def secured(tmp_path: Path, authority: Authority) -> PrivateBroker:
    certificate, key = authority.issue("broker")
    options = [
        f"cafile {authority.file}",
        f"certfile {certificate}",
        f"keyfile {key}",
        "require_certificate true",
    ]
    return PrivateBroker(tmp_path / "broker", options=options)


@pytest.mark.broker
def test_with_certificates_it_receives(
    tmp_path: Path, secured: PrivateBroker, authority: Authority, keys: Path
) -> None:
    certificate, key = authority.issue("central")
    options = [f"--broker=mqtts://localhost:{secured.port}", f"--ca={authority.file}"]
    with secured:
        with receiving(tmp_path, secured, *options, f"--cert={certificate}", f"--key={key}") as one:
            assert one.end() == 0
        without = Process(tmp_path, secured.port, *options, name="two")
        assert without.process.wait(20.0) == 2
    assert "--cert and --key" in without.log.splitlines()[-1]
    assert "Traceback" not in without.log


@pytest.mark.broker
@pytest.mark.parametrize(("scheme", "words"), [("mqtts", "(mqtt://"), ("mqtt", "(mqtts://")])
def test_tls_where_there_is_none_and_the_other_way_round(
    tmp_path: Path, authority: Authority, keys: Path, scheme: str, words: str
) -> None:
    """It may be a proxy whose broker is not up yet, so it is said once and tried again."""
    certificate, key = authority.issue("broker")
    tls = [f"certfile {certificate}", f"keyfile {key}"]
    with PrivateBroker(tmp_path / "broker", options=tls if scheme == "mqtt" else []) as broker:
        one = Process(tmp_path, broker.port, f"--broker={scheme}://localhost:{broker.port}")
        one.until(lambda: bool(one.log))
        time.sleep(1.0)
        assert one.end() == 0
    (line,) = one.log.splitlines()
    assert words in line


@pytest.mark.broker
def test_a_refused_password_is_the_callers_mistake(tmp_path: Path, keys: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    options = ["allow_anonymous false", f"password_file {passwords}"]
    with PrivateBroker(tmp_path / "broker", options=options) as broker:
        one = Process(tmp_path, broker.port, "--username=central")
        assert one.process.wait(20.0) == 2
    (line,) = one.log.splitlines()
    assert "--password-file" in line


@pytest.mark.broker
def test_a_certificate_of_a_stranger_is_refused(
    tmp_path: Path, secured: PrivateBroker, keys: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = Authority(folder)
    with secured:
        one = Process(
            tmp_path,
            secured.port,
            f"--broker=mqtts://localhost:{secured.port}",
            f"--ca={other.file}",
        )
        assert one.process.wait(20.0) == 2
    (_,) = one.log.splitlines()
    assert "its certificate was refused" in one.log
    assert "--ca" in one.log
    assert "Traceback" not in one.log


# --- the caller's mistakes ---------------------------------------------------------------------


def told(tmp_path: Path, *options: str) -> str:
    """Run with a mistake; return the one line that says so."""
    command = [*PROGRAM, "receive", "--broker=localhost", f"--store={tmp_path / 'e.db'}", *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ}
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


def test_a_key_set_that_is_missing(tmp_path: Path) -> None:
    assert "keys.json" in told(tmp_path, f"--keys={tmp_path / 'keys.json'}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JWK set"),
        ('{"keys": []}', "holds no key"),
        ('{"keys": [{"kty": "OKP"}]}', "keys[0]"),
    ],
)
def test_a_key_set_that_is_none(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    assert words in told(tmp_path, f"--keys={path}")


def test_a_key_that_names_no_unit(tmp_path: Path) -> None:
    registration = UNITS[0].key.registration(UNITS[0].name)
    del registration["unit"]
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [registration]}))
    assert "keys[0]" in told(tmp_path, f"--keys={path}")


def test_a_store_that_is_none(tmp_path: Path, keys: Path) -> None:
    foreign, text, newer = (tmp_path / name for name in ("foreign.db", "text.db", "newer.db"))
    with closing(sqlite3.connect(foreign)) as db:
        db.execute("CREATE TABLE theirs (name TEXT)")
    text.write_text("not a database, and long enough to be sure of it" * 30)
    Store(newer).close()
    with closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version = 99")
    for path, words in (
        (foreign, "another program"),
        (text, "not a database"),
        (newer, "schema 99"),
        (tmp_path, "it is a folder, not a regular file"),
    ):
        said = told(tmp_path, f"--keys={keys}", f"--store={path}")
        assert str(path) in said
        assert words in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--broker=http://localhost"], "mqtts://"),
        (["--broker=localhost:99999"], "--broker localhost:99999"),
        (["--broker=mqtt://me:secret@localhost"], "--password-file"),
        (["--broker=mqtt://localhost", "--ca=ca.pem"], "need tls"),
        (["--cert=c.pem"], "go together"),
        (["--ca=/nonexistent/ca.pem"], "/nonexistent/ca.pem"),
        (["--group=A B"], "--group"),
        (["--zone=Mars/Base"], "Mars/Base"),
        (["--grace=0"], "--grace"),
        (["--store=/nonexistent/e.db"], "/nonexistent"),
        (["--username=me", "--password-file=/nonexistent/p"], "/nonexistent/p"),
    ],
)
def test_a_wrong_option(tmp_path: Path, keys: Path, options: list[str], words: str) -> None:
    said = told(tmp_path, f"--keys={keys}", *options)
    assert words in said
    assert "secret" not in said
