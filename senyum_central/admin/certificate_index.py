"""The certificates that a CA has issued and revoked: one JSON file, replaced atomically.

    {"crl": 3, "certificates": [{"kind": "unit", "pem": "-----BEGIN …", "revoked": null},
      {"kind": "unit", "pem": "…", "revoked": {"time": "2026-05-01T…Z", "reason": "superseded"}}]}

`crl` is the number of the newest revocation list. Each certificate is kept for good, so that it can
be shown again and so that a serial number can be traced.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from edge.contract.certificate import replace_output
from edge.errors import CertificateError
from senyum_central.admin.certificates import CertificateKind, Revocation


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """A certificate and its revocation."""

    kind: CertificateKind
    certificate: x509.Certificate
    revoked: Revocation | None = None

    @property
    def name(self) -> str:
        (attribute,) = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(attribute.value)

    @property
    def serial(self) -> str:
        """The serial number, 40 hexadecimal digits."""
        return f"{self.certificate.serial_number:040x}"

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def ends(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def live(self, now: datetime) -> bool:
        """Whether a broker accepts it."""
        return self.revoked is None and now <= self.ends


@dataclass(slots=True)
class CertificateIndex:
    """All certificates in the order of issue."""

    crl: int = 0
    entries: list[CertificateEntry] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file. Raises CertificateError if it is missing or damaged."""
        try:
            content = json.loads(path.read_bytes())
            return cls(int(content["crl"]), [_read(entry) for entry in content["certificates"]])
        except OSError as error:
            raise CertificateError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CertificateError(
                f"{path}: is damaged; restore it from a backup; it lists revoked certificates"
            ) from None

    def save(self, path: Path) -> None:
        """Replace the file. Raises CertificateError if it cannot be written."""
        content = {"crl": self.crl, "certificates": [_written(entry) for entry in self.entries]}
        replace_output(path, json.dumps(content, indent=1).encode() + b"\n", mode=0o600)

    def named(self, name: str) -> list[CertificateEntry]:
        return [entry for entry in self.entries if entry.name == name]

    def revoked(self) -> Iterator[Revocation]:
        return (entry.revoked for entry in self.entries if entry.revoked is not None)

    def revoke(self, entry: CertificateEntry, time: datetime, reason: x509.ReasonFlags) -> None:
        revoked = Revocation(entry.certificate.serial_number, time, reason)
        self.entries[self.entries.index(entry)] = replace(entry, revoked=revoked)


def _read(content: Mapping[str, Any]) -> CertificateEntry:
    certificate = x509.load_pem_x509_certificate(content["pem"].encode())
    revoked = content["revoked"]
    return CertificateEntry(
        CertificateKind(content["kind"]),
        certificate,
        revoked
        and Revocation(
            certificate.serial_number,
            datetime.fromisoformat(revoked["time"]),
            x509.ReasonFlags(revoked["reason"]),
        ),
    )


def _written(entry: CertificateEntry) -> dict[str, object]:
    revoked = entry.revoked
    return {
        "kind": entry.kind,
        "pem": entry.pem.decode(),
        "revoked": revoked
        and {"time": revoked.time.isoformat(timespec="seconds"), "reason": revoked.reason.value},
    }
