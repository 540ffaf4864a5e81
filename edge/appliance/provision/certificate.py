"""Whether a request is this unit's, and whether a certificate fits it."""

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


def asks_for(pem: bytes | None, unit: UnitName, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether a request is already this one: of this name and this key."""
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
    """Raise CertificateError where the unit's certificate, the first of `chain`, does not fit.

    It is held against the unit's key, its name, the time, and the authorities, where any are
    given: one of them has to have issued it, or the last of the chain. A certificate that is not
    valid yet passes: a unit's clock may lag until a time service has set it.
    """
    own = chain[0]
    if _public(own.public_key()) != _public(key):
        raise CertificateError(
            "certificate is not for this unit's key; have one issued for the request of this unit"
        )
    wanted = common_name(unit)
    if named(own) != wanted:
        raise CertificateError(f"certificate names {named(own)}, and the unit is {wanted}")
    for one in chain:
        _check_not_expired(one, now, f"certificate of {named(one)}")
    for issued, issuer in pairwise(chain):
        if not _issued(issued, issuer):
            raise CertificateError(f"certificate of {named(issued)} is not from the next in file")
    if authorities and not any(_issued(chain[-1], one) for one in authorities):
        known = ", ".join(map(named, authorities))
        raise CertificateError(
            f"certificate was issued by {name_of(chain[-1].issuer)}, which is not in broker.ca "
            f"({known}); add that authority's certificate there"
        )


def _check_not_expired(one: x509.Certificate, now: datetime, what: str) -> None:
    if one.not_valid_after_utc < now:
        raise CertificateError(
            f"{what} expired on {one.not_valid_after_utc:%Y-%m-%d}; have a new one issued"
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
