"""X.509 as this fleet uses it: keys, requests, certificates, revocation lists. Pure: no files.

Profile (RFC 5280): ECDSA P-256 with SHA-256, which every OpenSSL and mosquitto since 2016 takes;
version 3; random serial numbers of 159 bits; the extensions that say what a certificate is for,
so that a unit cannot pass as a broker, a broker as a client, nor either as an authority.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.contract.certificate import LONGEST_NAME, common_name, distinguished
from edge.contract.topics import UnitName
from edge.errors import CertificateError

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
BACKDATED = timedelta(days=1)  # a unit's clock may be behind until a time service sets it
_CLIENT = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.ASCII)
_SMALLEST_RSA = 2048


class CertificateKind(StrEnum):
    """The purpose of a certificate."""

    UNIT = "unit"
    CLIENT = "client"  # a receiver, or a sender of commands and rosters
    BROKER = "broker"


@dataclass(frozen=True, slots=True)
class Subject:
    """The name in a certificate. Raises ValueError for an invalid name.

    `name` is the common name, which the broker's access list goes by: ORG/SITE/UNIT of a unit, as
    in its topics, one level of another client, and the first of the host names of a broker.
    """

    name: str
    kind: CertificateKind
    hosts: tuple[str, ...] = ()

    @classmethod
    def client(cls, name: str) -> Self:
        """Parse the name of a unit or another client."""
        if "/" not in name:
            if not _CLIENT.fullmatch(name):
                raise ValueError(
                    f"{name[:80]!r} is not a valid name: ORG/SITE/UNIT, or 1 to 64 of a-z 0-9 -"
                )
            return cls(name, CertificateKind.CLIENT)
        parts = name.split("/")
        if len(parts) != 3:
            raise ValueError(f"{name[:110]!r} is not ORG/SITE/UNIT")
        try:
            return cls(common_name(UnitName(*parts)), CertificateKind.UNIT)
        except CertificateError as error:
            raise ValueError(str(error)) from None

    @classmethod
    def broker(cls, hosts: Sequence[str]) -> Self:
        """Parse host names and IP addresses."""
        for host in hosts:
            if not _is_address(host) and (len(host) > 253 or not _HOST.fullmatch(host)):
                raise ValueError(f"{host[:80]!r} is not a host name (in lower case) or IP address")
        if not hosts or len(hosts[0]) > LONGEST_NAME:
            raise ValueError(f"the first host needs 1 to {LONGEST_NAME} characters")
        return cls(hosts[0], CertificateKind.BROKER, tuple(hosts))

    @property
    def alternative(self) -> x509.SubjectAlternativeName | None:
        """The subject alternative names: the hosts of a broker, or the URN of a unit."""
        names: list[x509.GeneralName]
        if self.kind is CertificateKind.UNIT:
            names = [x509.UniformResourceIdentifier(UnitName(*self.name.split("/")).source)]
        else:
            names = [
                x509.IPAddress(ipaddress.ip_address(host))
                if _is_address(host)
                else x509.DNSName(host)
                for host in self.hosts
            ]
        return x509.SubjectAlternativeName(names) if names else None


@dataclass(frozen=True, slots=True)
class Validity:
    """The period of validity, in UTC."""

    begin: datetime
    end: datetime

    @classmethod
    def of(cls, now: datetime, days: int) -> Self:
        return cls(now - BACKDATED, now + timedelta(days=days))


def read_request(pem: bytes) -> tuple[str | None, PublicKey]:
    """Return the name that a request gives itself, if any, and its key; ValueError says why not.

    What else it asks for is ignored: the authority decides that.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        raise ValueError("is not a certificate request in PEM") from None
    if not signed:
        raise ValueError("was altered: its signature does not match its key")
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) > 1:
        raise ValueError("contains several names")
    return (str(names[0].value) if names else None), usable_key(request.public_key())


def usable_key(key: object) -> PublicKey:
    """Return the key if brokers accept its type and size, else raise ValueError."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1
    ):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        return key
    raise ValueError(f"has a key that is not P-256, P-384, or RSA of {_SMALLEST_RSA} bits and more")


def make_authority(
    name: str, key: ec.EllipticCurvePrivateKey, validity: Validity
) -> x509.Certificate:
    """Return a self-signed CA certificate that cannot issue further CA certificates."""
    own = distinguished(name)
    return (
        _dated(own, own, key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def make_certificate(
    subject: Subject,
    public_key: PublicKey,
    validity: Validity,
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Return a certificate for one purpose. Raises ValueError if it would outlive the CA."""
    ends = authority.not_valid_after_utc
    if validity.end > ends:
        raise ValueError(
            f"would be valid longer than the CA, which expires on {ends:%Y-%m-%d}; "
            "give fewer --days, or make a new authority"
        )
    purpose = (
        ExtendedKeyUsageOID.SERVER_AUTH
        if subject.kind is CertificateKind.BROKER
        else ExtendedKeyUsageOID.CLIENT_AUTH
    )
    of_key, of_authority = x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier
    builder = (
        _dated(distinguished(subject.name), authority.subject, public_key, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(of_key.from_public_key(public_key), critical=False)
        .add_extension(of_authority.from_issuer_public_key(key.public_key()), critical=False)
    )
    if (alternative := subject.alternative) is not None:
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(key, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked certificate."""

    serial: int
    time: datetime
    reason: x509.ReasonFlags


def make_revocation_list(
    revoked: Sequence[Revocation],
    number: int,
    validity: Validity,
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
) -> x509.CertificateRevocationList:
    """Return a full list (version 2); `number` increases from one to the next."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(validity.begin)
        .next_update(validity.end)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    for each in revoked:
        entry = (
            x509.RevokedCertificateBuilder().serial_number(each.serial).revocation_date(each.time)
        )
        if each.reason is not x509.ReasonFlags.unspecified:  # RFC 5280: omit this reason
            entry = entry.add_extension(x509.CRLReason(each.reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _dated(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begin)
        .not_valid_after(validity.end)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
