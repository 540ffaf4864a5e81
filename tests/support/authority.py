"""A certificate authority for the tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Authority:
    """A certificate authority in a folder."""

    folder: Path
    name: str
    days: float = 400.0  # that it is valid from now

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(
            self.name, self._key, self.name, [_basic(ca=True)], self.days
        )
        self.pem = self.folder / f"{self.name}.pem"
        self.pem.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, days: float = 1.0, tag: str = "") -> tuple[Path, Path]:
        """Return the certificate and the key of `name`, valid for so many days from now.

        Less than 0: it has expired. `tag` tells several of one name apart.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.SubjectAlternativeName([x509.DNSName(name)])]
        certificate = self._sign(name, key, self.name, names, days)
        stem = self.folder / f"{self.name}-{name}{tag}"
        files = Path(f"{stem}.pem"), Path(f"{stem}.key")
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].touch(0o600)
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def certify(self, name: str, key: Any, days: float = 1.0) -> x509.Certificate:
        """Return a certificate of somebody else's public key."""
        return self._sign_public(name, key, self.name, [_basic(ca=False)], days)

    def _sign(
        self,
        subject: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: str,
        extensions: Sequence[x509.ExtensionType],
        days: float = 400.0,
    ) -> x509.Certificate:
        return self._sign_public(subject, key.public_key(), issuer, extensions, days)

    def _sign_public(
        self,
        subject: str,
        key: Any,
        issuer: str,
        extensions: Sequence[x509.ExtensionType],
        days: float = 400.0,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(issuer))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
        )
        own = x509.SubjectKeyIdentifier.from_public_key
        issuing = self._key.public_key()
        extensions = [*extensions, own(key)]
        if subject == issuer:
            extensions.append(_usage())
        else:
            extensions.append(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing))
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _basic(*, ca: bool) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca=ca, path_length=None)


def _usage() -> x509.KeyUsage:
    others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    without = dict.fromkeys((*others, "key_agreement", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **without)
