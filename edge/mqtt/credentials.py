"""Files that a broker's settings name: certificate, key, CA bundle and password.

Every TLS connection of Senyum is verified with OpenSSL's strict rules (RFC 5280), which Python 3.13
turns on by itself and earlier versions do not. A CA certificate that breaks them would connect on
one machine and not on the next, so `unfit` reports it wherever a bundle is read.
"""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from edge.errors import CertificateError, ErrorCode, SecretError
from edge.setting_types import check_mqtt_text
from edge.settings import BrokerSettings
from edge.system.key_files import LARGEST, read_secret, read_secret_line, secret_path
from edge.system.supplied_files import read_regular
from edge.system.text import escaped, pluralize

# What Python 3.13 sets by itself. A CA certificate between two others may be the one to trust.
_STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
AHEAD = timedelta(days=30)  # how long before its expiry a certificate is reported

Stamp = tuple[tuple[int, int, int, int] | None, ...]
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----.*?-----END \1-----", re.DOTALL)
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE")
# By the first bytes of a file that is not PEM.
_NOT_PEM = (
    (  # a SEQUENCE of 256 bytes and more
        b"\x30\x82",
        "is DER, not PEM; convert it: openssl x509 -inform der -in FILE -out FILE.pem",
    ),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
)
# By the end of the name of a PEM block.
_OTHERS = (
    (
        b"PRIVATE KEY",
        "contains a private key, and others can read this file; remove it, and make a new key",
    ),
    (
        b"PKCS7",
        "is PKCS #7; convert it: openssl pkcs7 -print_certs -in FILE -out FILE.pem",
    ),
    (b"CERTIFICATE REQUEST", "is a certificate request; have a certificate issued for it"),
    (b"CRL", "contains a revocation list; remove it"),
)
# What the library raises for bytes that are not a certificate, or a damaged one.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
# Minimum key sizes of OpenSSL's security level 2, the default of Debian.
_RSA_BITS, _EC_BITS = 2048, 224
# Critical extensions that OpenSSL supports.
_KNOWN = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.NAME_CONSTRAINTS,
    }
)


@dataclass(frozen=True, slots=True)
class CaBundle:
    """The CA certificates of one file, without duplicates."""

    what: str  # begins every message
    fit: tuple[x509.Certificate, ...]  # at least one; may have expired
    unfit: tuple[tuple[x509.Certificate, str], ...]  # each with the reason

    def serving(self, now: datetime) -> tuple[x509.Certificate, ...]:
        """Return those that have not expired, and those not valid yet: clocks may be slow."""
        return tuple(one for one in self.fit if one.not_valid_after_utc >= now)

    def remarks(self, now: datetime) -> tuple[str, ...]:
        """Return a message for each certificate that cannot be used.

        Raises CertificateError, which is the first of them, if none does.
        """
        every = (*self.unfit, *((one, "") for one in self.fit))
        reasons = ((one, _expired(one, now) or why) for one, why in every)
        messages = (f"{self.what} ({named(one)}) {why}" for one, why in reasons if why)
        found = tuple(dict.fromkeys(messages))
        if not self.serving(now):
            raise CertificateError(found[0])
        return found


def _expired(one: x509.Certificate, now: datetime) -> str:
    ends = one.not_valid_after_utc
    again = "remove it, and add its successor if necessary"
    return f"expired on {ends:%Y-%m-%d}; {again}" if ends < now else ""


def read_bundle(content: bytes, what: str) -> CaBundle:
    """Read a PEM bundle of CA certificates.

    Raises CertificateError, which begins with `what`, if it is not a bundle or no certificate in it
    can be used; then it names the first fault.
    """
    judged = [(one, unfit(one)) for one in dict.fromkeys(read_certificates(content, what))]
    fit = tuple(one for one, why in judged if why is None)
    wrong = tuple((one, why) for one, why in judged if why is not None)
    if not fit:
        raise CertificateError(f"{what} ({named(wrong[0][0])}) {wrong[0][1]}")
    return CaBundle(what, fit, wrong)


def read_certificates(content: bytes, what: str) -> list[x509.Certificate]:
    """Read the certificates of a PEM file and ignore other text.

    Raises CertificateError, which begins with `what` and names the faulty block.
    """
    if wrong := next((why for start, why in _NOT_PEM if content.lstrip().startswith(start)), None):
        raise CertificateError(f"{what} {wrong}")
    blocks = list(_BLOCK.finditer(content))
    if len(blocks) < len(_BEGIN.findall(content)):
        raise CertificateError(f"{what} is cut short, or is not a certificate in PEM")
    found = []
    for number, block in enumerate(blocks, start=1):
        if wrong := next((why for kind, why in _OTHERS if block[1].endswith(kind)), None):
            raise CertificateError(f"{what} {wrong} (block {number})")
        if block[1] in _CERTIFICATES:
            try:
                found += x509.load_pem_x509_certificates(block[0])
            except UNREADABLE:
                raise CertificateError(
                    f"{what}: block {number} is not a certificate in PEM"
                ) from None
    if not found:
        empty = "" if content.strip() else "is empty, and "
        raise CertificateError(f"{what} {empty}is not a certificate in PEM")
    return found


def unfit(one: x509.Certificate) -> str | None:
    """Return why TLS with strict rules refuses a certificate as a CA, or None if it does not.

    The validity period is not checked.
    """
    try:
        return next(iter(_faults(one, one.extensions)), None)
    except UNREADABLE:
        return "has fields that cannot be read; have it issued again"


def named(one: x509.Certificate) -> str:
    """Return the common name of a certificate, or its full subject."""
    try:
        return name_of(one.subject)
    except UNREADABLE:
        return "without a readable name"


def name_of(name: x509.Name) -> str:
    """Return the common name of a subject or issuer, or all of it, escaped for display."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(found[0].value) if found else name.rfc4514_string()
    return escaped(text[:80]) or "without a name"


def _faults(one: x509.Certificate, extensions: x509.Extensions) -> Iterator[str]:
    by_oid = {extension.oid: extension for extension in extensions}
    basic = by_oid.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage = by_oid.get(ExtensionOID.KEY_USAGE)
    purposes = by_oid.get(ExtensionOID.EXTENDED_KEY_USAGE)
    odd = [oid.dotted_string for oid, each in by_oid.items() if each.critical and oid not in _KNOWN]
    if basic is not None and not basic.value.ca:
        yield "is not a CA certificate; give the certificate of the CA that issued the broker's"
        return
    wrong = {
        "has no basicConstraints (RFC 5280, 4.2.1.9)": basic is None,
        "has basicConstraints that are not critical (RFC 5280, 4.2.1.9)": basic is not None
        and not basic.critical,
        "has no keyUsage keyCertSign (RFC 5280, 4.2.1.3)": usage is None
        or not usage.value.key_cert_sign,
        "has no subjectKeyIdentifier (RFC 5280, 4.2.1.2)": ExtensionOID.SUBJECT_KEY_IDENTIFIER
        not in by_oid,
        "may not issue certificates of servers (extendedKeyUsage)": purposes is not None
        and ExtendedKeyUsageOID.SERVER_AUTH not in purposes.value,
        f"has a critical extension that TLS refuses ({', '.join(odd)})": odd,
        "has an empty name (RFC 5280, 4.1.2)": not (list(one.subject) and list(one.issuer)),
        "is of version 1": one.version is not x509.Version.v3,
        f"has a key that is too short (RSA under {_RSA_BITS} bits, ECDSA under {_EC_BITS})": not (
            _strong(one)
        ),
    }
    for fault, applies in wrong.items():
        if applies:
            yield f"{fault}, so TLS with strict rules refuses it; have the CA issue a new one"


def _strong(one: x509.Certificate) -> bool:
    key = one.public_key()
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        return key.key_size >= _RSA_BITS
    return not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size >= _EC_BITS


def tls_context(broker: BrokerSettings) -> ssl.SSLContext:
    """Return a context that verifies the broker's name and certificate, and presents our own.

    Raises SecretError, which names the file and its fault.
    """
    context = ssl.create_default_context(cadata=_authorities(broker))
    context.verify_flags |= _STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if broker.certificate is None or broker.certificate_key is None:
        return context
    # OpenSSL can only read these files by name. Check the mode as for every secret.
    read_secret(broker.certificate_key, "the certificate's key")
    key = secret_path(broker.certificate_key)
    try:
        read_certificates(read_regular(broker.certificate, LARGEST), "broker.certificate")
        context.load_cert_chain(broker.certificate, key, password="")
    except CertificateError as error:
        raise SecretError(f"{broker.certificate}: {error}") from None
    except (OSError, ssl.SSLError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise SecretError(
                f"{broker.certificate}: broker.certificate is not for the key in {key}; have one "
                "issued for the request of this unit"
            ) from None
        raise SecretError(
            f"{broker.certificate}: broker.certificate and broker.certificate_key "
            f"({key}) are not a PEM certificate and its unencrypted key"
        ) from None
    return context


def _authorities(broker: BrokerSettings) -> bytes | None:
    """Return the usable CA certificates, DER; None for those of the operating system."""
    if broker.ca is None:
        return None
    try:
        content = read_regular(broker.ca, LARGEST)
        bundle = read_bundle(content, "broker.ca")
    except OSError as error:
        raise SecretError(f"{broker.ca}: broker.ca cannot be read: {error.strerror}") from None
    except CertificateError as error:
        raise SecretError(f"{broker.ca}: {error}") from None
    # Pass the bytes that were checked; the file may have changed since.
    return b"".join(one.public_bytes(Encoding.DER) for one in bundle.fit)


def read_password(broker: BrokerSettings) -> str | None:
    """Return the broker password, or None if no file is set. Raises SecretError."""
    if (path := broker.password) is None:
        return None
    try:
        return check_mqtt_text(read_secret_line(path, "the broker password"))
    except ValueError as error:
        raise SecretError(f"{path}: the broker password {error}") from None


def check_credentials(broker: BrokerSettings) -> None:
    """Read every file that a connection needs; raises SecretError if one is unusable."""
    if broker.tls:
        tls_context(broker)
    read_password(broker)


class CredentialFiles:
    """The certificate, key, CA and password files of one broker, as they were when last read."""

    def __init__(self, broker: BrokerSettings) -> None:
        secrets = (broker.certificate_key, broker.password)
        self._secrets = tuple(path for path in secrets if path is not None)
        self._plain = tuple(path for path in (broker.certificate, broker.ca) if path is not None)
        self._used = self._stamp()

    def changed(self) -> bool:
        """Whether any file was replaced since `mark_used`."""
        return self._stamp() != self._used

    def mark_used(self) -> None:
        """Note that the files are about to be read."""
        self._used = self._stamp()

    def _stamp(self) -> Stamp:
        paths = (*self._plain, *(secret_path(path) for path in self._secrets))
        return tuple(_stamp_of(path) for path in paths)


def _stamp_of(path: Path) -> tuple[int, int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size


def expiry(broker: BrokerSettings, now: datetime) -> tuple[ErrorCode, str] | None:
    """Return what to report about a certificate that expires within AHEAD, or has expired.

    Our own certificate comes before the CA certificates of `broker.ca`, of which the last to expire
    counts, because the file may already contain a successor. `remarks` names the others.
    """
    files = (
        (ErrorCode.CERTIFICATE_EXPIRES, "the unit's certificate", broker.certificate, min),
        (ErrorCode.AUTHORITY_EXPIRES, "the broker's authority", broker.ca, max),
    )
    for trouble, what, path, which in files:
        ends = which(_ends(path), default=None)
        if path is None or ends is None or ends - now > AHEAD:
            continue
        days = (ends - now).days
        when = f"expired on {ends:%Y-%m-%d}" if days < 0 else f"expires in {pluralize(days, 'day')}"
        return trouble, f"{path}: {what} {when}; put a new one in its place, no restart is needed"
    return None


def remarks(broker: BrokerSettings, now: datetime) -> tuple[str, ...]:
    """Return a message for each certificate of `broker.ca` that is unusable or expires soon."""
    try:
        bundle = None if broker.ca is None else _bundle(broker.ca)
        if bundle is None:
            return ()
        ending = (one for one in bundle.serving(now) if one.not_valid_after_utc - now <= AHEAD)
        soon = (f"{named(one)} ends on {one.not_valid_after_utc:%Y-%m-%d}" for one in ending)
        return (*bundle.remarks(now), *soon)
    except (OSError, CertificateError):  # reported when a connection uses it
        return ()


def ends_at(path: Path) -> datetime | None:
    """Return when the first certificate of a PEM file expires; None if it is not readable."""
    return min(_ends(path), default=None)


def _ends(path: Path | None) -> list[datetime]:
    try:
        content = b"" if path is None else read_regular(path, LARGEST)
        return [one.not_valid_after_utc for one in read_certificates(content, str(path))]
    except (OSError, CertificateError):  # reported when a connection uses it
        return []


def _bundle(path: Path) -> CaBundle:
    return read_bundle(read_regular(path, LARGEST), "broker.ca")
