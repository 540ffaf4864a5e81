"""Checks certificate requests and certificates against this unit."""

from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.contract.certificate import common_name
from edge.contract.topics import UnitName
from edge.errors import CertificateError
from edge.mqtt.credentials import UNREADABLE, name_of, named


def is_request_for(pem: bytes | None, unit: UnitName, key: ec.EllipticCurvePrivateKey) -> bool:
    """Return whether `pem` is a request for this name and this key."""
    try:
        found = x509.load_pem_x509_csr(pem or b"")
    except ValueError:
        return False
    same_name = name_of(found.subject) == common_name(unit)
    return same_name and _public(found.public_key()) == _public(key.public_key())


def check_certificate(
    chain: list[x509.Certificate],
    key: ec.EllipticCurvePublicKey,
    unit: UnitName,
    authorities: list[x509.Certificate],
    now: datetime,
) -> None:
    """Raise CertificateError if the unit's certificate, the first of `chain`, is not usable.

    It is checked against the unit's key, its name and the time. If `authorities` are given, one of
    them must have issued the last certificate of the chain. A certificate that is not valid yet
    passes, because a unit's clock may be behind until a time service sets it.
    """
    own = chain[0]
    if _public(own.public_key()) != _public(key):
        raise CertificateError(
            "certificate is not for this unit's key; get one for this unit's request"
        )
    wanted = common_name(unit)
    if named(own) != wanted:
        raise CertificateError(f"certificate is for {named(own)}, but the unit is {wanted}")
    for one in chain:
        _check_not_expired(one, now, f"certificate of {named(one)}")
    for issued, issuer in pairwise(chain):
        if not _issued(issued, issuer):
            raise CertificateError(
                f"certificate of {named(issued)} was not issued by the next one in the file"
            )
    if authorities and not any(_issued(chain[-1], one) for one in authorities):
        known = ", ".join(map(named, authorities))
        raise CertificateError(
            f"certificate was issued by {name_of(chain[-1].issuer)}, which is not in broker.ca "
            f"({known}); add that CA's certificate there"
        )


def _check_not_expired(one: x509.Certificate, now: datetime, what: str) -> None:
    if one.not_valid_after_utc < now:
        raise CertificateError(
            f"{what} expired on {one.not_valid_after_utc:%Y-%m-%d}; get a new one"
        )


def _issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined] # every kind of key has it
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
