"""PEM bundles of CA certificates: judged as TLS with strict rules judges them, on every Python."""

import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract.certificate import distinguished
from edge.errors import CertificateError, SecretError
from edge.mqtt.credentials import read_bundle, read_certificates, tls_context, unfit
from edge.mqtt.reason_codes import connect_error
from edge.settings import BrokerSettings
from senyum_central.admin.certificates import (
    Subject,
    Validity,
    make_authority,
    make_certificate,
)

NOW = datetime.now(UTC)
HOST = "broker.example"
inputs = settings.get_profile("inputs")
Extension = tuple[x509.ExtensionType, bool]


@cache
def key(kind: str) -> Any:
    if kind == "short":
        return rsa.generate_private_key(65537, 1024)
    return ec.generate_private_key(ec.SECP256R1())


def usage(**changes: bool) -> x509.KeyUsage:
    first = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    last = ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    names = (*first, *last)
    return x509.KeyUsage(**{**dict.fromkeys(names, False), **changes})


def issue(
    name: str,
    public: Any,
    issuer: str,
    by: Any,
    extensions: Sequence[Extension],
    days: float = 30.0,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(distinguished(name) if name else x509.Name([]))
        .issuer_name(distinguished(issuer) if issuer else x509.Name([]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=365))
        .not_valid_after(NOW + timedelta(days=days))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(by, hashes.SHA256())


@cache
def root(name: str = "Root", days: float = 30.0, kind: str = "ca") -> x509.Certificate:
    return issue(name, key(kind).public_key(), name, key(kind), [*GOOD.values()], days)


GOOD: Mapping[str, Extension] = {
    "basic": (x509.BasicConstraints(ca=True, path_length=None), True),
    "usage": (usage(key_cert_sign=True, crl_sign=True), True),
    "own": (x509.SubjectKeyIdentifier.from_public_key(key("ca").public_key()), False),
}


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def leaf(issuer: str, kind: str) -> x509.Certificate:
    ours: list[Extension] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([x509.DNSName(HOST)]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key("leaf").public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key(kind).public_key()), False),
    ]
    return issue(HOST, key("leaf").public_key(), issuer, key(kind), ours)


def connects(client: ssl.SSLContext, chain: bytes, folder: Path) -> bool:
    """Whether a handshake in memory succeeds."""
    try:
        handshake(client, chain, folder)
    except ssl.SSLError:
        return False
    return True


def handshake(client: ssl.SSLContext, chain: bytes, folder: Path) -> None:
    private = key("leaf").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(chain + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(here, there, server_hostname=HOST)
    theirs = server.wrap_bio(there, here, server_side=True)
    waiting = [ours, theirs]
    for _ in range(8):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not waiting


def strict(authority: x509.Certificate) -> ssl.SSLContext:
    """Return a context as Python 3.13 makes it, without our own judgement."""
    context = ssl.create_default_context(cadata=authority.public_bytes(Encoding.DER))
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


@st.composite
def authorities(draw: st.DrawFn) -> tuple[x509.Certificate, str, str]:
    """CA certificates with any extension missing, wrong or of another criticality."""
    name = draw(st.sampled_from(["Root", "Root", ""]))
    kind = draw(st.sampled_from(["ca", "ca", "ca", "short"]))
    public = key(kind).public_key()
    choices: list[st.SearchStrategy[x509.ExtensionType | None]] = [
        st.sampled_from(
            [
                None,
                *(x509.BasicConstraints(ca=True, path_length=n) for n in (None, 0, 3)),
                x509.BasicConstraints(ca=False, path_length=None),
            ]
        ),
        st.sampled_from(
            [
                None,
                usage(key_cert_sign=True),
                usage(key_cert_sign=True, digital_signature=True),
                usage(crl_sign=True),
            ]
        ),
        st.sampled_from([None, x509.SubjectKeyIdentifier.from_public_key(public)]),
        st.sampled_from([None, x509.AuthorityKeyIdentifier.from_issuer_public_key(public)]),
        st.sampled_from(
            [
                None,
                None,
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
            ]
        ),
        st.sampled_from(
            [
                None,
                None,
                x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"),
                x509.NameConstraints([x509.DNSName("example")], None),
                x509.IssuerAlternativeName([x509.DNSName("ca.example")]),
            ]
        ),
    ]
    extensions = [
        (extension, draw(st.booleans()))
        for choice in choices
        if (extension := draw(choice)) is not None
    ]
    return issue(name, public, name, key(kind), extensions), name, kind


@given(case=authorities())
@inputs
def test_a_ca_certificate_is_judged_as_openssl_judges_it(
    case: tuple[x509.Certificate, str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority, name, kind = case
    folder = tmp_path_factory.getbasetemp()
    works = connects(strict(authority), pem(leaf(name, kind)), folder)
    assert (unfit(authority) is None) == works


@cache
def unfit_root() -> x509.Certificate:
    return issue("Bare", key("ca").public_key(), "Bare", key("ca"), [GOOD["basic"]])


@st.composite
def bundles(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A bundle, damaged or not, and whether a certificate of it serves now."""
    sound, old = root(), root(days=-1.0)
    bare = unfit_root()
    private = key("ca").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    parts: list[bytes] = draw(
        st.lists(
            st.sampled_from(
                [
                    pem(sound),
                    pem(old),
                    pem(bare),
                    b"subject=CN = Root\n",
                    b"Bag Attributes: <Empty Attributes>\n\n",
                    b"\xef\xbb\xbf",
                ]
            ),
            max_size=5,
        )
    )
    content = b"".join(parts)
    good = pem(sound) in content
    spoilt = draw(st.sampled_from(["", "", "crlf", "cut", "byte", "key", "der", "utf-16", "noise"]))
    if spoilt == "crlf":
        content = content.replace(b"\n", b"\r\n")
    elif spoilt == "cut":
        content = content[: draw(st.integers(0, len(content)))]
    elif spoilt == "byte" and content:
        at = draw(st.integers(0, len(content) - 1))
        content = content[:at] + draw(st.binary(min_size=1, max_size=1)) + content[at + 1 :]
    elif spoilt == "key":
        content += private
    elif spoilt == "der":
        content = sound.public_bytes(Encoding.DER)
    elif spoilt == "utf-16":
        content = content.decode("utf-8").encode("utf-16")
    elif spoilt == "noise":
        content += draw(st.binary(max_size=60))
    return content, good and spoilt in {"", "crlf"}


@given(case=bundles())
@inputs
def test_a_bundle_serves_or_its_fault_is_named(case: tuple[bytes, bool]) -> None:
    content, serves = case
    try:
        bundle = read_bundle(content, "broker.ca")
        remarks = bundle.remarks(NOW)
        served = bundle.serving(NOW)
    except CertificateError as error:
        remarks, served = (str(error),), ()
    assert served or not serves
    assert all(each.startswith("broker.ca") and "\n" not in each for each in remarks)
    assert len(remarks) == len(set(remarks))
    assert "PRIVATE" not in str(remarks)


def test_an_expired_ca_beside_its_successor_serves(tmp_path: Path) -> None:
    file = tmp_path / "bundle.pem"
    old = issue(
        "Expired Root", key("ca").public_key(), "Expired Root", key("ca"), [GOOD["basic"]], -1.0
    )
    for expired in (old, root(days=-1.0)):
        file.write_bytes(pem(expired, root()))
        bundle = read_bundle(file.read_bytes(), "broker.ca")
        assert bundle.serving(NOW) == (root(),)
        (remark,) = bundle.remarks(NOW)
        assert "Root) expired on" in remark
        context = tls_context(BrokerSettings(host=HOST, tls=True, ca=file))
        assert connects(context, pem(leaf("Root", "ca")), tmp_path)


def test_the_ca_is_named_as_the_fault(tmp_path: Path) -> None:
    file = tmp_path / "rootnc.pem"
    extensions = [(GOOD["basic"][0], False), GOOD["own"]]
    file.write_bytes(pem(issue("RootNC", key("ca").public_key(), "RootNC", key("ca"), extensions)))
    with pytest.raises(SecretError, match=r"RootNC.* basicConstraints that are not critical"):
        tls_context(BrokerSettings(host=HOST, tls=True, ca=file))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("unknown", "add the certificate of the CA that issued it"),
        ("expired", "renewed"),
        ("name", "use a host name for which it was issued"),
        ("rules", "violates RFC 5280"),
    ],
)
def test_a_broker_that_is_refused_is_told_why(tmp_path: Path, made: str, says: str) -> None:
    (tmp_path / "ca.pem").write_bytes(pem(root()))
    public = key("leaf").public_key()
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key("ca").public_key())
    extensions: dict[str, Extension] = {
        "name": (x509.SubjectAlternativeName([x509.DNSName(HOST)]), False),
        "rules": (identifier, False),
    }
    if made == "name":
        extensions["name"] = (x509.SubjectAlternativeName([x509.DNSName("other.example")]), False)
    if made == "rules":
        del extensions["rules"]
    by = "stranger" if made == "unknown" else "ca"
    days = -1.0 if made == "expired" else 1.0
    chain = pem(issue(HOST, public, "Root", key(by), [*extensions.values()], days))
    context = tls_context(BrokerSettings(host=HOST, tls=True, ca=tmp_path / "ca.pem"))
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        handshake(context, chain, tmp_path)
    assert says in str(connect_error(HOST, caught.value))


def test_every_context_is_strict(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(pem(root()))
    for ca in (None, tmp_path / "ca.pem"):
        flags = tls_context(BrokerSettings(host=HOST, tls=True, ca=ca)).verify_flags
        assert flags & ssl.VERIFY_X509_STRICT
        assert flags & ssl.VERIFY_X509_PARTIAL_CHAIN


def test_our_own_ca_passes_strict_verification(tmp_path: Path) -> None:
    validity = Validity.of(NOW, 30)
    authority = make_authority("fleet", key("ca"), Validity.of(NOW, 60))
    assert unfit(authority) is None
    broker = make_certificate(
        Subject.broker([HOST]), key("leaf").public_key(), validity, authority, key("ca")
    )
    (tmp_path / "ca.pem").write_bytes(pem(authority))
    context = tls_context(BrokerSettings(host=HOST, tls=True, ca=tmp_path / "ca.pem"))
    assert connects(context, pem(broker), tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"no certificate", "not a certificate in PEM"),
        (root().public_bytes(Encoding.DER), "openssl x509 -inform der"),
        (b"-----BEGIN PKCS7-----\nAA==\n-----END PKCS7-----\n", "openssl pkcs7"),
        (pem(root())[:-40], "cut short"),
        (pem(root()) + b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "block 2"),
        (b"-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----", "private key"),
        (
            b"-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----",
            "request",
        ),
    ],
)
def test_what_is_no_bundle_says_what_it_is(content: bytes, says: str) -> None:
    with pytest.raises(CertificateError, match=says):
        read_certificates(content, "broker.ca")


def test_a_certificate_that_is_not_for_the_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "unit.pem").write_bytes(pem(leaf("Root", "ca")))
    private = key("other").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = tmp_path / "tls.key"
    file.touch(0o600)
    file.write_bytes(private)
    broker = BrokerSettings(
        host=HOST, tls=True, certificate=tmp_path / "unit.pem", certificate_key=file
    )
    with pytest.raises(SecretError, match=r"broker\.certificate is not for the key"):
        tls_context(broker)


def test_names_of_certificates_are_shown_on_one_line() -> None:
    odd = issue("Two\nlines \x1b[31m", key("ca").public_key(), "x", key("ca"), [GOOD["basic"]])
    assert odd.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    with pytest.raises(CertificateError) as caught:
        read_bundle(pem(odd), "broker.ca")
    assert str(caught.value).isprintable()
