"""A small private certificate authority (CA) in a folder, for the broker and its clients.

    ca.pem         its certificate: what broker and clients trust
    ca.key         its key, PKCS #8, encrypted with a passphrase, mode 0600
    register.json  what was issued and revoked
    crl.pem        the newest revocation list

Keep the folder off the broker and off the units. Every change is durable before it is shown, and
what is there is never overwritten. Times are arguments.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from edge.contract.certificate import check_absent, create_output, locked, new_key, replace_output
from edge.contract.topics import ROOT
from edge.errors import CertificateError
from edge.mqtt.credentials import read_certificates
from edge.system.key_files import LARGEST, read_secret
from edge.system.supplied_files import read_regular
from senyum_central.admin.certificate_index import CertificateEntry, CertificateIndex
from senyum_central.admin.certificates import (
    CertificateKind,
    PublicKey,
    Subject,
    Validity,
    make_authority,
    make_certificate,
    make_revocation_list,
    read_request,
    usable_key,
)

# The file format uses only 2048 rounds of PBKDF2, so the passphrase must be long.
SHORTEST_PASSPHRASE = 16
AUTHORITY_DAYS = 3653
CERTIFICATE_DAYS = 730
CRL_DAYS = 365
_KEY, _CERTIFICATE, _REGISTER, _CRL = "ca.key", "ca.pem", "register.json", "crl.pem"
_REVOCABLE = (
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
)
# The leaves of a unit's topics in docs/broker/access.acl.
WRITES = ("event", "state", "health", "reply/+")
READS = ("command/+", "roster", "roster/+")
REASONS = {reason.name.replace("_", "-"): reason for reason in _REVOCABLE}


@dataclass(frozen=True, slots=True)
class CaDirectory:
    """The CA folder without its key; needs no passphrase. Raises CertificateError."""

    folder: Path

    @property
    def certificate(self) -> x509.Certificate:
        path = str(self.folder / _CERTIFICATE)
        return read_certificates(self._read(_CERTIFICATE), path)[0]

    @property
    def revocation_list(self) -> x509.CertificateRevocationList:
        try:
            return x509.load_pem_x509_crl(self._read(_CRL))
        except ValueError:
            raise CertificateError(f"{self.crl_file}: is damaged; rewrite it with crl") from None

    @property
    def register(self) -> CertificateIndex:
        self._read(_CERTIFICATE)  # raises if the folder is not a CA
        return CertificateIndex.load(self.folder / _REGISTER)

    @property
    def crl_file(self) -> Path:
        return self.folder / _CRL

    def newest(self, name: str) -> CertificateEntry:
        """Return the newest certificate of `name` that is not revoked."""
        entries = [entry for entry in self.register.named(name) if entry.revoked is None]
        if not entries:
            raise CertificateError(f"{self.folder}: no valid certificate of {name}; see list")
        return entries[-1]

    def _read(self, name: str) -> bytes:
        try:
            return read_regular(self.folder / name, LARGEST)
        except FileNotFoundError:
            raise CertificateError(
                f"{self.folder}: not a CA folder: {name} is missing; create a CA with init"
            ) from None
        except OSError as error:
            raise CertificateError(
                f"{self.folder / name}: cannot be read: {error.strerror}"
            ) from None


class CertificateAuthority:
    """The CA with its key. Its methods raise CertificateError."""

    def __init__(self, shelf: CaDirectory, key: ec.EllipticCurvePrivateKey) -> None:
        self._shelf = shelf
        self._key = key
        self._certificate = shelf.certificate

    @classmethod
    def create(
        cls, folder: Path, name: str, passphrase: bytes, now: datetime, days: int = AUTHORITY_DAYS
    ) -> Self:
        """Create a CA in a folder that does not exist or is empty."""
        if len(passphrase) < SHORTEST_PASSPHRASE:
            raise CertificateError(
                f"the passphrase has fewer than {SHORTEST_PASSPHRASE} characters; use a longer one"
            )
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise CertificateError("the name of the CA must be 1 to 64 printable characters")
        try:
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            taken = any(folder.iterdir())
        except OSError as error:
            raise CertificateError(f"{folder}: cannot be created: {error.strerror}") from None
        if taken:
            raise CertificateError(f"{folder}: is not empty; name a folder that does not exist")
        key = new_key()
        encryption = BestAvailableEncryption(passphrase)
        certificate = make_authority(name, key, Validity.of(now, days))
        # The certificate is written last: without it, after a power loss, the folder is not a CA.
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        create_output(folder / _KEY, private, mode=0o600)
        CertificateIndex().save(folder / _REGISTER)
        create_output(folder / _CERTIFICATE, certificate.public_bytes(Encoding.PEM))
        made = cls(CaDirectory(folder), key)
        made.publish(now)
        return made

    @classmethod
    def open(cls, folder: Path, passphrase: bytes) -> Self:
        """Read the key. Also raises SecretError if others can read the file."""
        shelf = CaDirectory(folder)
        authority = shelf.certificate
        path = folder / _KEY
        try:
            key = load_pem_private_key(read_secret(path, "the authority's key"), passphrase)
        except (ValueError, TypeError):
            raise CertificateError(f"{path}: wrong passphrase, or not a key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or (
            key.public_key() != authority.public_key()
        ):
            raise CertificateError(f"{path}: is not the key of {_CERTIFICATE} in this folder")
        return cls(shelf, key)

    def issue(
        self,
        subject: Subject,
        request: Path,
        now: datetime,
        days: int = CERTIFICATE_DAYS,
        out: Path | None = None,
    ) -> CertificateEntry:
        """Issue a certificate for the key of a request, and write it to `out`.

        Refused where the name has a certificate that is still good: `renew` or `revoke` that.
        """
        public_key = _requested(request, subject.name)
        check_absent(out)
        with locked(self._shelf.folder):
            register = self._shelf.register
            for entry in register.named(subject.name):
                if entry.live(now):
                    raise CertificateError(
                        f"{subject.name}: has a certificate that is valid until "
                        f"{entry.ends:%Y-%m-%d}; renew it, or revoke it first"
                    )
            return self._certify(register, subject, public_key, Validity.of(now, days), out)

    def renew(
        self,
        name: str,
        now: datetime,
        days: int = CERTIFICATE_DAYS,
        request: Path | None = None,
        out: Path | None = None,
    ) -> CertificateEntry:
        """Reissue a certificate, with the same key or with that of a new request.

        The old certificate stays valid until it expires, so that there is time to
        install the new one.
        """
        check_absent(out)
        with locked(self._shelf.folder):
            register = self._shelf.register
            old = self._shelf.newest(name)
            public_key = (
                usable_key(old.certificate.public_key())
                if request is None
                else _requested(request, name)
            )
            subject = _subject_of(old)
            return self._certify(register, subject, public_key, Validity.of(now, days), out)

    def revoke(
        self,
        name_or_serial: str,
        now: datetime,
        reason: x509.ReasonFlags = x509.ReasonFlags.unspecified,
    ) -> list[CertificateEntry]:
        """Revoke all certificates of a name, or the one of a serial number; publish the list."""
        with locked(self._shelf.folder):
            register = self._shelf.register
            found = [
                entry
                for entry in register.entries
                if name_or_serial in (entry.name, entry.serial) and entry.revoked is None
            ]
            if not found:
                raise CertificateError(
                    f"{name_or_serial}: no valid certificate of this name or serial; see list"
                )
            for entry in found:
                register.revoke(entry, now, reason)
            self._publish(register, now, CRL_DAYS)
        return found

    def publish(self, now: datetime, days: int = CRL_DAYS) -> x509.CertificateRevocationList:
        """Rewrite the revocation list, valid for `days`."""
        with locked(self._shelf.folder):
            self._publish(self._shelf.register, now, days)
        return self._shelf.revocation_list

    def _certify(
        self,
        register: CertificateIndex,
        subject: Subject,
        public_key: PublicKey,
        validity: Validity,
        out: Path | None,
    ) -> CertificateEntry:
        for other in register.entries:
            leaked = other.revoked and other.revoked.reason is x509.ReasonFlags.key_compromise
            if leaked and other.certificate.public_key() == public_key:
                raise CertificateError(
                    f"{subject.name}: its key is compromised (see revoked serial {other.serial}); "
                    "make a new key"
                )
        try:
            certificate = make_certificate(
                subject, public_key, validity, self._certificate, self._key
            )
        except ValueError as error:
            raise CertificateError(f"{subject.name}: {error}") from None
        entry = CertificateEntry(subject.kind, certificate)
        register.entries.append(entry)
        # Record it first: a certificate that is not in the index could not be revoked.
        register.save(self._shelf.folder / _REGISTER)
        if out is not None:
            create_output(out, entry.pem)
        return entry

    def _publish(self, register: CertificateIndex, now: datetime, days: int) -> None:
        register.crl += 1
        revoked = list(register.revoked())
        validity = Validity.of(now, days)
        made = make_revocation_list(revoked, register.crl, validity, self._certificate, self._key)
        # The index first: after a power loss between the two, the list can be rewritten.
        register.save(self._shelf.folder / _REGISTER)
        replace_output(self._shelf.crl_file, made.public_bytes(Encoding.PEM))


def _requested(path: Path, name: str) -> PublicKey:
    try:
        own, key = read_request(read_regular(path, LARGEST))
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CertificateError(f"{path}: {error}; make it with senyum csr") from None
    if own not in (None, name):
        raise CertificateError(f"{path}: is a request for {str(own)[:80]!r}, not for {name}")
    return key


def _subject_of(entry: CertificateEntry) -> Subject:
    if entry.kind is not CertificateKind.BROKER:
        return Subject.client(entry.name)
    names = entry.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return Subject.broker([str(getattr(name, "value", "")) for name in names.value])


def expand_acl(unit: str) -> str:
    """Return the lines of mosquitto's access list for one unit, ORG/SITE/UNIT.

    docs/broker/access.acl gives the same rights by a pattern.
    """
    rights = (("write", WRITES), ("read", READS))
    lines = [f"topic {right} {ROOT}/{unit}/{leaf}" for right, leaves in rights for leaf in leaves]
    shared = f"topic read {ROOT}/{unit.partition('/')[0]}/all/all/roster/+"
    return "\n".join((f"user {unit}", *lines, shared)) + "\n"
