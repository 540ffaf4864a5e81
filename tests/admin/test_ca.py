"""The certificate authority: what it makes, what it refuses, and that OpenSSL agrees."""

import base64
import functools
import json
import os
import pty
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from wireunit import environment

from edge.cli import main
from edge.contract.certificate import request
from edge.errors import CertificateError, SecretError
from senyum_central.admin.ca import REASONS, CaDirectory, CertificateAuthority
from senyum_central.admin.certificates import CertificateKind, Subject

NOW = datetime.now(UTC).replace(microsecond=0)
PASSPHRASE = b"sixteen letters!"
UNIT = "depok/balaikota/lobby-1"


@pytest.fixture
def ca(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path / "ca", "Depok", PASSPHRASE, NOW)


@pytest.fixture
def shelf(tmp_path: Path) -> CaDirectory:
    return CaDirectory(tmp_path / "ca")


@pytest.fixture
def csr(tmp_path: Path) -> Path:
    request(UNIT, tmp_path / "unit.key", tmp_path / "unit.csr")
    return tmp_path / "unit.csr"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def openssl(*words: object) -> str:
    done = subprocess.run(
        ["openssl", *map(str, words)], check=False, capture_output=True, text=True, timeout=30
    )
    return done.stdout + done.stderr


def verify(folder: Path, certificate: Path, purpose: str) -> str:
    checks = ("-x509_strict", "-crl_check", "-CAfile", folder / "ca.pem")
    crl = ("-CRLfile", folder / "crl.pem")
    return openssl("verify", *checks, *crl, "-purpose", purpose, certificate)


# --- what it makes -----------------------------------------------------------------------------


def test_openssl_takes_each_certificate_for_its_one_purpose(
    tmp_path: Path, ca: CertificateAuthority, csr: Path
) -> None:
    unit, broker = tmp_path / "unit.pem", tmp_path / "broker.pem"
    ca.issue(Subject.client(UNIT), csr, NOW, out=unit)
    request("broker.example.go.id", tmp_path / "b.key", tmp_path / "b.csr")
    hosts = ["broker.example.go.id", "192.0.2.7", "2001:db8::7"]
    ca.issue(Subject.broker(hosts), tmp_path / "b.csr", NOW, out=broker)
    for certificate, good, bad in (
        (unit, "sslclient", "sslserver"),
        (broker, "sslserver", "sslclient"),
    ):
        assert verify(tmp_path / "ca", certificate, good).endswith(": OK\n")
        assert "unsuitable certificate purpose" in verify(tmp_path / "ca", certificate, bad)
    text = openssl("x509", "-in", broker, "-noout", "-ext", "subjectAltName")
    for host in hosts:
        assert host.upper() in text.upper().replace("2001:DB8:0:0:0:0:0:7", "2001:DB8::7")
    text = openssl("x509", "-in", unit, "-noout", "-subject", "-ext", "subjectAltName")
    assert UNIT in text
    assert "URI:urn:senyum:depok:balaikota:lobby-1" in text


def test_the_authority_makes_no_authorities(
    shelf: CaDirectory, ca: CertificateAuthority, csr: Path
) -> None:
    own = shelf.certificate.extensions
    basic = own.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = own.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (
        True,
        True,
        False,
    )
    issued = ca.issue(Subject.client(UNIT), csr, NOW).certificate.extensions
    assert issued.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert issued.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False


def test_serial_numbers_are_long_and_never_the_same(ca: CertificateAuthority, csr: Path) -> None:
    ca.issue(Subject.client(UNIT), csr, NOW)
    numbers = [ca.renew(UNIT, NOW).certificate.serial_number for _ in range(20)]
    assert len(set(numbers)) == 20
    assert max(numbers).bit_length() > 140


def test_its_key_is_encrypted_and_its_owners_alone(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    del ca
    key = tmp_path / "ca" / "ca.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert key.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    with pytest.raises(CertificateError, match="wrong passphrase"):
        CertificateAuthority.open(key.parent, b"another passphrase")
    key.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        CertificateAuthority.open(key.parent, PASSPHRASE)


def test_a_revoked_certificate_is_in_the_list_by_name_or_by_number(
    tmp_path: Path, shelf: CaDirectory, ca: CertificateAuthority, csr: Path
) -> None:
    first = ca.issue(Subject.client(UNIT), csr, NOW, out=tmp_path / "1.pem")
    second = ca.renew(UNIT, NOW, out=tmp_path / "2.pem")
    assert ca.revoke(first.serial, NOW, REASONS["superseded"])[0].serial == first.serial
    assert "certificate revoked" in verify(shelf.folder, tmp_path / "1.pem", "sslclient")
    assert verify(shelf.folder, tmp_path / "2.pem", "sslclient").endswith(": OK\n")
    third = ca.renew(UNIT, NOW)
    assert [entry.serial for entry in ca.revoke(UNIT, NOW)] == [second.serial, third.serial]
    listed = shelf.revocation_list
    assert {entry.serial_number for entry in listed} == {
        entry.certificate.serial_number for entry in (first, second, third)
    }
    assert listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    reason = listed.get_revoked_certificate_by_serial_number(first.certificate.serial_number)
    assert reason is not None
    assert reason.extensions.get_extension_for_class(x509.CRLReason).value.reason is (
        x509.ReasonFlags.superseded
    )
    with pytest.raises(CertificateError, match="no valid certificate"):
        ca.revoke(UNIT, NOW)


def test_a_renewal_keeps_the_key_or_takes_a_new_one(
    tmp_path: Path, ca: CertificateAuthority, csr: Path
) -> None:
    first = ca.issue(Subject.client(UNIT), csr, NOW).certificate
    same = ca.renew(UNIT, NOW + timedelta(days=10)).certificate
    assert same.public_key() == first.public_key()
    assert same.subject == first.subject
    assert same.not_valid_after_utc == first.not_valid_after_utc + timedelta(days=10)
    request(UNIT, tmp_path / "new.key", tmp_path / "new.csr")
    other = ca.renew(UNIT, NOW, request=tmp_path / "new.csr").certificate
    assert other.public_key() != first.public_key()


def test_a_renewed_broker_keeps_its_hosts(tmp_path: Path, ca: CertificateAuthority) -> None:
    hosts = ["broker.example.go.id", "192.0.2.7", "2001:db8::7"]
    request(hosts[0], tmp_path / "b.key", tmp_path / "b.csr")
    first = ca.issue(Subject.broker(hosts), tmp_path / "b.csr", NOW).certificate
    again = ca.renew(hosts[0], NOW).certificate
    names = x509.SubjectAlternativeName
    assert first.extensions.get_extension_for_class(names) == (
        again.extensions.get_extension_for_class(names)
    )


def test_several_at_once_lose_nothing_of_the_register(
    ca: CertificateAuthority, shelf: CaDirectory, csr: Path
) -> None:
    ca.issue(Subject.client(UNIT), csr, NOW)
    with ThreadPoolExecutor(8) as pool:
        renewals = [pool.submit(ca.renew, UNIT, NOW) for _ in range(8)]
    made = {renewal.result().serial for renewal in renewals}
    assert made < {entry.serial for entry in shelf.register.entries}
    assert len(shelf.register.entries) == 9


def test_an_expired_name_can_be_issued_again(ca: CertificateAuthority, csr: Path) -> None:
    ca.issue(Subject.client(UNIT), csr, NOW - timedelta(days=9), days=8)
    ca.issue(Subject.client(UNIT), csr, NOW)
    with pytest.raises(CertificateError, match="renew it, or revoke it first"):
        ca.issue(Subject.client(UNIT), csr, NOW)


# --- what it refuses, and then changes nothing ---------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("", "#", "+/+/+", "central 1", "käse", "../../x", "Depok/balaikota/lobby-1"),
        *("depok/balaikota", "a/b/c/d", "a//c", "a/b/c\n", "depok/all/all"),
        *("a" * 65, "a/b/" + "c" * 33, f"{'a' * 32}/{'b' * 20}/{'c' * 20}"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|ORG/SITE/UNIT|characters"):
        Subject.client(name)


@pytest.mark.parametrize("hosts", [[], [""], ["*.example"], ["-a.example"], ["a b"], ["a" * 65]])
def test_a_host_that_is_none_is_refused(hosts: list[str]) -> None:
    with pytest.raises(ValueError, match="host"):
        Subject.broker(hosts)


@functools.cache
def weak_requests() -> dict[str, tuple[bytes, str]]:
    """Requests as strangers might send them, and what is said of each."""
    pem = serialization.Encoding.PEM

    def of(key: object, name: str = UNIT, digest: object = hashes.SHA256()) -> bytes:
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(named)
        return builder.sign(key, digest).public_bytes(pem)  # type: ignore[arg-type]

    good = of(ec.generate_private_key(ec.SECP256R1()))
    altered = x509.load_pem_x509_csr(good).public_bytes(serialization.Encoding.DER)
    altered = altered[:-1] + bytes([altered[-1] ^ 1])
    return {
        "another name": (of(ec.generate_private_key(ec.SECP256R1()), "depok/x/y"), "not for"),
        "weak RSA": (of(rsa.generate_private_key(65537, 1024)), "2048"),
        "weak curve": (of(ec.generate_private_key(ec.SECP192R1())), "P-256"),
        "Ed25519": (of(ed25519.Ed25519PrivateKey.generate(), digest=None), "P-256"),
        "no PEM": (b"\x00junk", "not a certificate request"),
        "empty": (b"", "not a certificate request"),
        "altered": (
            b"-----BEGIN CERTIFICATE REQUEST-----\n"
            + base64.b64encode(altered)
            + b"\n-----END CERTIFICATE REQUEST-----\n",
            "altered|not a certificate request",
        ),
    }


@pytest.mark.parametrize("what", sorted(weak_requests()))
def test_a_request_that_will_not_do_is_refused(
    tmp_path: Path, ca: CertificateAuthority, what: str
) -> None:
    content, says = weak_requests()[what]
    (tmp_path / "wrong.csr").write_bytes(content)
    before = tree(tmp_path)
    with pytest.raises(CertificateError, match=says):
        ca.issue(Subject.client(UNIT), tmp_path / "wrong.csr", NOW, out=tmp_path / "out.pem")
    assert tree(tmp_path) == before


def test_what_a_request_asks_for_beyond_its_key_is_not_granted(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("broker")]), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    (tmp_path / "g.csr").write_bytes(greedy.public_bytes(serialization.Encoding.PEM))
    issued = ca.issue(Subject.client("central-1"), tmp_path / "g.csr", NOW)
    assert issued.kind is CertificateKind.CLIENT
    extensions = issued.certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_key_that_was_compromised_is_never_certified_again(
    tmp_path: Path, ca: CertificateAuthority, csr: Path
) -> None:
    first = ca.issue(Subject.client(UNIT), csr, NOW)
    ca.renew(UNIT, NOW)
    ca.revoke(first.serial, NOW, REASONS["key-compromise"])
    with pytest.raises(CertificateError, match="make a new key"):
        ca.renew(UNIT, NOW)
    ca.revoke(UNIT, NOW)
    with pytest.raises(CertificateError, match="make a new key"):
        ca.issue(Subject.client(UNIT), csr, NOW)
    request(UNIT, tmp_path / "new.key", tmp_path / "new.csr")
    ca.issue(Subject.client(UNIT), tmp_path / "new.csr", NOW)


def test_no_certificate_outlives_its_authority(
    tmp_path: Path, ca: CertificateAuthority, csr: Path
) -> None:
    before = tree(tmp_path)
    with pytest.raises(CertificateError, match="longer than the CA"):
        ca.issue(Subject.client(UNIT), csr, NOW, days=4000)
    assert tree(tmp_path) == before


def test_nothing_is_written_over(tmp_path: Path, ca: CertificateAuthority, csr: Path) -> None:
    before = tree(tmp_path)
    with pytest.raises(CertificateError, match="never overwritten"):
        ca.issue(Subject.client(UNIT), csr, NOW, out=csr)
    with pytest.raises(CertificateError, match="not empty"):
        CertificateAuthority.create(tmp_path / "ca", "again", PASSPHRASE, NOW)
    with pytest.raises(CertificateError, match="never overwritten"):
        request(UNIT, tmp_path / "unit.key", csr)
    with pytest.raises(CertificateError, match="not a folder"):
        ca.issue(Subject.client(UNIT), csr, NOW, out=tmp_path / "none" / "unit.pem")
    assert tree(tmp_path) == before


def test_a_damaged_register_is_told_and_left_alone(
    tmp_path: Path, ca: CertificateAuthority, csr: Path
) -> None:
    register = tmp_path / "ca" / "register.json"
    register.write_text(register.read_text()[:-9])
    before = tree(tmp_path)
    for act in (
        lambda: ca.issue(Subject.client(UNIT), csr, NOW),
        lambda: ca.revoke(UNIT, NOW),
        lambda: ca.publish(NOW),
    ):
        with pytest.raises(CertificateError, match="is damaged"):
            act()
    assert tree(tmp_path) == before


def test_an_authority_that_was_cut_short_is_none(tmp_path: Path, ca: CertificateAuthority) -> None:
    del ca
    (tmp_path / "ca" / "ca.pem").unlink()
    with pytest.raises(CertificateError, match="not a CA folder"):
        CertificateAuthority.open(tmp_path / "ca", PASSPHRASE)


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="fewer than 16"):
        CertificateAuthority.create(tmp_path / "ca", "Depok", b"fifteen letters", NOW)
    assert not (tmp_path / "ca").exists()


# --- keys and requests ---------------------------------------------------------------------------


def test_the_key_stays_and_is_its_owners_alone(tmp_path: Path) -> None:
    key = tmp_path / "unit.key"
    first = request(UNIT, key)
    content = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    second = request(UNIT, key)
    assert key.read_bytes() == content
    keys = [x509.load_pem_x509_csr(pem).public_key() for pem in (first, second)]
    assert keys[0] == keys[1]
    assert b"PRIVATE" not in first
    key.chmod(0o640)
    with pytest.raises(SecretError, match="chmod 600"):
        request(UNIT, key)


@pytest.mark.parametrize("content", [b"junk", b"", b"rsa", b"locked"])
def test_a_key_file_that_is_no_key_of_ours_is_left_alone(tmp_path: Path, content: bytes) -> None:
    plain: serialization.KeySerializationEncryption = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    if content == b"rsa":
        content = rsa.generate_private_key(65537, 2048).private_bytes(pem, pkcs8, plain)
    elif content == b"locked":
        locked = serialization.BestAvailableEncryption(PASSPHRASE)
        content = ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, pkcs8, locked)
    key = tmp_path / "unit.key"
    key.touch(0o600)
    key.write_bytes(content)
    with pytest.raises(SecretError, match="move it away"):
        request(UNIT, key, tmp_path / "unit.csr")
    assert tree(tmp_path) == {"unit.key": content}


# --- the commands --------------------------------------------------------------------------------


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.touch(0o600)
    file.write_bytes(PASSPHRASE + b"\n")
    return file


def test_the_commands_from_init_to_revoke(
    tmp_path: Path,
    passphrase: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    own = f"--ca ca --passphrase-file {passphrase}"
    for line in (
        f"admin ca init {own} --name Depok",
        f"csr --name {UNIT} --key unit.key --out unit.csr",
        "csr --name localhost --key broker.key --out broker.csr",
        f"admin ca issue {own} {UNIT} --csr unit.csr --out unit.pem",
        f"admin ca server {own} localhost 127.0.0.1 --csr broker.csr --out broker.pem --days 90",
        f"admin ca renew {own} {UNIT} --out renewed.pem --days 20",
        f"admin ca crl {own} --days 30",
    ):
        assert main(line.split()) == 0, line
    capsys.readouterr()
    assert main(["admin", "ca", "show", "--ca", "ca", UNIT]) == 0
    assert capsys.readouterr().out == Path("renewed.pem").read_text()
    assert main(["admin", "ca", "list", "--ca", "ca"]) == 0
    said = capsys.readouterr().out
    assert re.search("ends in (19|20) days SOON", said)
    assert "broker  localhost" in said
    assert main(f"admin ca revoke {own} {UNIT} --reason key-compromise".split()) == 0
    capsys.readouterr()
    assert main(["admin", "ca", "list", "--ca", "ca", "--json"]) == 0
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states[0] == states[2] == "revoked"
    assert verify(Path("ca"), Path("broker.pem"), "sslserver").endswith(": OK\n")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("issue {own} depok/x --csr unit.csr", "is not ORG/SITE/UNIT"),
        ("issue {own} depok/x/y --csr none.csr", "none.csr: cannot be read"),
        ("issue {own} depok/x/y --csr unit.csr --days 0", "--days 0"),
        ("issue --ca ca depok/x/y --csr unit.csr", "use --passphrase-file"),
        ("server {own} UPPER --csr unit.csr", "not a host name"),
        ("renew {own} depok/x/y", "no valid certificate of depok/x/y"),
        ("list --ca nowhere", "not a CA folder"),
        ("init {own}", "not empty"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    tmp_path: Path,
    ca: CertificateAuthority,
    passphrase: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    says: str,
) -> None:
    del ca
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    own = f"--ca ca --passphrase-file {passphrase}"
    assert main(f"admin ca {line.format(own=own)}".split()) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert tree(tmp_path) == before


def test_a_unit_asks_by_its_own_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "senyum.toml"
    config.write_text(
        '[unit]\norg = "depok"\nsite = "balaikota"\nname = "lobby-1"\n'
        f'[broker]\ntls = true\ncertificate = "{tmp_path}/u.pem"\n'
        f'certificate_key = "{tmp_path}/u.key"\n'
    )
    assert main(["csr", "--config", str(config)]) == 0
    made = x509.load_pem_x509_csr(capsys.readouterr().out.encode())
    assert made.subject.rfc4514_string() == f"CN={UNIT}"
    assert (tmp_path / "u.key").is_file()
    monkeypatch.setenv("SENYUM_UNIT__SITE", "s" * 32)
    monkeypatch.setenv("SENYUM_UNIT__NAME", "n" * 32)
    assert main(["csr", "--config", str(config)]) == 2
    assert "at most 64; shorten" in capsys.readouterr().err


@pytest.mark.timeout(30)
@pytest.mark.parametrize("second", [PASSPHRASE, b"something other"])
def test_a_passphrase_that_is_typed_is_asked_for_twice(tmp_path: Path, second: bytes) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "admin", "ca", "init", "--ca", tmp_path / "ca"],
        stdin=slave,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # without a terminal of its own, it asks on this one
        env=environment(),
    )
    said = b""
    with process, os.fdopen(master, "wb", buffering=0) as keyboard:
        assert process.stderr is not None
        for typed, prompt in ((PASSPHRASE, b"key: "), (second, b"it: ")):
            while not said.endswith(prompt):  # what is typed before is thrown away
                heard = process.stderr.read(1)
                assert heard, said
                said += heard
            keyboard.write(typed + b"\n")
        said += process.stderr.read()
    os.close(slave)
    assert PASSPHRASE not in said
    if second == PASSPHRASE:
        assert process.returncode == 0, said
        CertificateAuthority.open(tmp_path / "ca", PASSPHRASE)
    else:
        assert process.returncode == 2
        assert b"the passphrases differ; nothing was created" in said
        assert not (tmp_path / "ca").exists()
