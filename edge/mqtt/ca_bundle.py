"""Bundles of CA certificates in PEM, and which of them can serve.

Every TLS connection of Senyum verifies with OpenSSL's strict rules (RFC 5280), which Python 3.13
turns on by itself and older versions do not. A CA certificate that breaks them would connect on
one machine and not on the next, so `unfit` says it wherever a bundle is read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from edge.errors import CertificateError
from edge.system.text import escaped

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----.*?-----END \1-----", re.DOTALL)
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE")
# By how a file that is not PEM begins.
_NOT_PEM = (
    (  # a SEQUENCE of 256 bytes and more
        b"\x30\x82",
        "is DER, not PEM; convert it: openssl x509 -inform der -in FILE -out FILE.pem",
    ),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
)
# By how the name of a PEM block ends.
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
# Bits that OpenSSL's security level 2, Debian's, asks of a key.
_RSA_BITS, _EC_BITS = 2048, 224
# Critical extensions that OpenSSL knows of.
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
    """The CA certificates of one file, each once."""

    what: str  # begins every sentence
    fit: tuple[x509.Certificate, ...]  # at least one; whatever the time
    unfit: tuple[tuple[x509.Certificate, str], ...]  # each with what is wrong with it

    def serving(self, now: datetime) -> tuple[x509.Certificate, ...]:
        """Return those that have not expired. One that is not valid yet counts: clocks lag."""
        return tuple(one for one in self.fit if one.not_valid_after_utc >= now)

    def remarks(self, now: datetime) -> tuple[str, ...]:
        """Return a sentence for each certificate that does not serve.

        Raises CertificateError, which is the first of them, if none does.
        """
        every = (*self.unfit, *((one, "") for one in self.fit))
        said = ((one, _expired(one, now) or why) for one, why in every)
        sentences = (f"{self.what} ({named(one)}) {why}" for one, why in said if why)
        found = tuple(dict.fromkeys(sentences))
        if not self.serving(now):
            raise CertificateError(found[0])
        return found


def _expired(one: x509.Certificate, now: datetime) -> str:
    ends = one.not_valid_after_utc
    again = "remove it, and add its successor if need be"
    return f"expired on {ends:%Y-%m-%d}; {again}" if ends < now else ""


def read_bundle(content: bytes, what: str) -> CaBundle:
    """Read a PEM bundle of CA certificates.

    Raises CertificateError, which begins with `what`, if it is not one or no certificate is fit;
    then it names the first fault.
    """
    judged = [(one, unfit(one)) for one in dict.fromkeys(read_certificates(content, what))]
    fit = tuple(one for one, why in judged if why is None)
    wrong = tuple((one, why) for one, why in judged if why is not None)
    if not fit:
        raise CertificateError(f"{what} ({named(wrong[0][0])}) {wrong[0][1]}")
    return CaBundle(what, fit, wrong)


def read_certificates(content: bytes, what: str) -> list[x509.Certificate]:
    """Read the certificates of a PEM file, whatever text is around them.

    Raises CertificateError, which begins with `what` and says which block is wrong.
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

    The time is not judged.
    """
    try:
        return next(iter(_faults(one, one.extensions)), None)
    except UNREADABLE:
        return "has fields that cannot be read; have it issued again"


def named(one: x509.Certificate) -> str:
    """Return the common name of a certificate, or its whole name."""
    try:
        return name_of(one.subject)
    except UNREADABLE:
        return "without a readable name"


def name_of(name: x509.Name) -> str:
    """Return the common name of a subject or issuer, or all of it, as it can be shown."""
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
