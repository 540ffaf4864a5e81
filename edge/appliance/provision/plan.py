"""Checks a claim against the machine, and lists the files that change. Changes nothing."""

import contextlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edge.appliance.provision.atomic_apply import NewFile
from edge.appliance.provision.certificate import check_certificate, is_request_for
from edge.appliance.provision.claim import Claim, Documents
from edge.appliance.provision.current_config import (
    AUTHORITIES,
    CA,
    CERTIFICATE,
    PASSWORD,
    REQUEST,
    TLS_KEY,
    Content,
    CurrentConfig,
    checked,
)
from edge.contract.authority import Authorities
from edge.contract.certificate import as_pem, common_name, load_key, make_request, new_key
from edge.contract.encryption import EncryptionKey, encryption_key_path
from edge.contract.keys import SigningKey, sequence_log_path
from edge.contract.topics import UnitName
from edge.errors import CertificateError, OutboxDamaged, ProvisionError
from edge.mqtt.credentials import UNREADABLE, read_bundle, read_certificates
from edge.outbox.integrity import check_integrity
from edge.outbox.summary import is_locked, summarize
from edge.roster.keys import KEY_BYTES
from edge.settings import STATE_DIR, Settings, respelt
from edge.system.key_files import LARGEST, read_secret
from edge.system.privileges import Owner, run_as
from edge.system.supplied_files import read_regular

PUBLIC, PRIVATE = 0o644, 0o600


@dataclass(frozen=True, slots=True)
class ProvisioningTarget:
    """The unit's files and the machine's properties."""

    config: Path  # senyum.toml; public files are in the same folder
    root: Owner  # of those files
    owner: Owner  # of the state folder: the daemon's user
    cameras: Callable[[], int | None] = lambda: None  # number of cameras; None: unknown
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class ProvisioningPlan:
    """The result of `prepare`."""

    settings: Settings
    unit: UnitName
    moved_from: UnitName | None  # the previous name, if it changes
    request: bytes  # for a certificate, PEM
    registration: Mapping[str, Any]  # of the signing key, for the server
    recipient: Mapping[str, Any]  # of the key that rosters are encrypted to, for the server
    remarks: tuple[str, ...]  # values that are used in another spelling, unusable certificates
    files: tuple[NewFile, ...] = field(repr=False)  # only those that change


def prepare(documents: Documents, machine: ProvisioningTarget) -> ProvisioningPlan:
    """Check the claim completely. Raises UsageError with one line that names the problem."""
    current = CurrentConfig.read(machine.config)
    content = current.merged(documents, _state(current))
    both = f"{documents.where} with {current.file}" if current.content else documents.where
    settings = checked(content, both)
    unit = UnitName.of(settings.unit)
    _check_camera(documents.claim, settings, machine)
    _check_state(settings, machine.owner)
    moved_from = _moved_from(settings, current, unit, machine.owner)
    drafts = _Drafts(machine, settings.outbox.file.parent)
    tls_key = _tls_key(drafts, settings.outbox.file.parent / TLS_KEY)
    request = make_request(common_name(unit), tls_key)
    remarks = _check_documents(documents, settings, unit, tls_key, machine.now)
    if documents.certificate is not None:
        pair = str(machine.config.parent / CERTIFICATE), str(drafts.state / TLS_KEY)
        settings = _with_certificate(content, pair, documents.where)
    elif current.certificate is not None and moved_from is None and settings.broker.tls:
        settings = _with_certificate(content, current.certificate, documents.where)
    signing_key = _signing_key(drafts, settings, renew=moved_from is not None)
    encrypting = _encryption_key(drafts, encryption_key_path(settings.outbox.signing_key))
    if drafts.read(settings.roster.key) is None:
        drafts.secret(settings.roster.key, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    if (broker := documents.claim.broker) is not None and broker.password is not None:
        drafts.secret(drafts.state / PASSWORD, broker.password.get_secret_value().encode())
    drafts.public(CA, documents.ca)
    drafts.public(CERTIFICATE, documents.certificate)
    drafts.public(AUTHORITIES, documents.authorities)
    if not is_request_for(drafts.read(machine.config.parent / REQUEST), unit, tls_key):
        drafts.public(REQUEST, request)
    if content != current.content:
        text, rewritten = current.updated(content)
        drafts.public(machine.config.name, text.encode())
        remarks += rewritten
    public = signing_key.registration(unit), encrypting.registration(unit)
    written = respelt(content, settings.model_dump(mode="json"))
    remarks = (*documents.remarks, *sorted(written), *remarks)
    return ProvisioningPlan(
        settings, unit, moved_from, request, *public, remarks, tuple(drafts.files)
    )


class _Drafts:
    """Collects the files that change."""

    def __init__(self, machine: ProvisioningTarget, state: Path) -> None:
        self.state = state
        self.files: list[NewFile] = []
        self._machine = machine

    def public(self, name: str, content: bytes | None) -> None:
        """Write a file next to the settings; None leaves it unchanged."""
        if content is not None:
            path = self._machine.config.parent / name
            self._add(NewFile(path, content, PUBLIC, self._machine.root))

    def secret(self, path: Path, content: bytes, *, retire: bool = False) -> None:
        """Write a secret; it belongs to the daemon in the state folder, else to root."""
        self._add(NewFile(path, content, PRIVATE, self.owner(path), retire))

    def read(self, path: Path) -> bytes | None:
        """Return the current content of a file, or None. Raises ProvisionError."""
        try:
            with run_as(self.owner(path)):
                return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ProvisionError(f"{path}: cannot be read: {error.strerror}") from None

    def read_secret(self, path: Path, what: str) -> bytes | None:
        """Return the current secret, or None. Raises SecretError."""
        with run_as(self.owner(path)):
            return read_secret(path, what) if path.exists() else None

    def owner(self, path: Path) -> Owner:
        """Return the owner of a file: the daemon in the state folder, else root."""
        inside = path.is_relative_to(self.state)
        return self._machine.owner if inside else self._machine.root

    def _add(self, file: NewFile) -> None:
        if self.read(file.path) != file.content:
            self.files.append(file)


def _state(current: CurrentConfig) -> Path:
    outbox = current.content.get("outbox", {}).get("file")
    return STATE_DIR if outbox is None else Path(outbox).parent


def _with_certificate(content: Content, pair: tuple[str, str], where: str) -> Settings:
    content["broker"]["certificate"], content["broker"]["certificate_key"] = pair
    return checked(content, where)


# --- checks --------------------------------------------------------------------------------------


def _check_camera(claim: Claim, settings: Settings, machine: ProvisioningTarget) -> None:
    given = claim.camera is not None and "number" in claim.camera.model_fields_set
    if not given or settings.camera.driver != "picamera2":
        return
    found = machine.cameras()
    if found is not None and settings.camera.number >= found:
        raise ProvisionError(
            f"camera.number is {settings.camera.number}, but {found or 'no'} camera(s) were found; "
            "check the ribbon cable; numbers start at 0"
        )


def _check_state(settings: Settings, owner: Owner) -> None:
    outbox = settings.outbox
    state = outbox.file.parent
    _check_owner(state, owner, state)
    with run_as(owner), contextlib.suppress(OutboxDamaged):  # the daemon repairs it when it starts
        for path in (outbox.file, outbox.signing_key):
            _check_owner(path, owner, state)
        if outbox.file.exists():
            check_integrity(outbox.file, None)


def _check_owner(path: Path, owner: Owner, state: Path) -> None:
    try:
        found = Owner.owner_of(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ProvisionError(f"{path}: cannot be read: {error.strerror}") from None
    if found.uid != owner.uid:
        raise ProvisionError(
            f"{path}: belongs to {found.name}, but the daemon runs as {owner.name}; "
            f"run: chown -R {owner.name}: {state}"
        )


def _moved_from(
    settings: Settings, current: CurrentConfig, unit: UnitName, owner: Owner
) -> UnitName | None:
    """Return the previous name if it changes. Raises ProvisionError while its events wait."""
    file = settings.outbox.file
    with run_as(owner):
        contents, busy = summarize(file), is_locked(file)
    signed_as = None if contents.source is None else UnitName.from_source(contents.source)
    if signed_as is not None and signed_as != unit and contents.waiting:
        raise ProvisionError(
            f"{contents.waiting} event(s) of {signed_as.source} are not delivered yet and "
            "cannot be sent under another name; run the unit with its old name until senyum status "
            "shows none, stop it, then provision it again"
        )
    before = current.unit or signed_as
    if before is None or before == unit:
        return None
    if busy:
        raise ProvisionError(
            f"the unit is running as {before.source}; run: systemctl stop senyum, then provision "
            "it again"
        )
    return before


def _check_documents(
    documents: Documents,
    settings: Settings,
    unit: UnitName,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> tuple[str, ...]:
    """Return remarks on certificates that are accepted but unusable. Raises UsageError."""
    where = documents.where
    ca = settings.broker.ca
    authorities: list[x509.Certificate] = []
    remarks: tuple[str, ...] = ()
    try:
        if documents.ca is not None:
            bundle = read_bundle(documents.ca, "broker.ca")
            remarks, authorities = bundle.remarks(now), list(bundle.serving(now))
        elif ca is not None and documents.certificate is not None:
            authorities = read_certificates(read_regular(ca, LARGEST), str(ca))
        if documents.certificate is not None:
            chain = read_certificates(documents.certificate, "certificate")
            check_certificate(chain, key.public_key(), unit, authorities, now)
    except CertificateError as error:
        raise CertificateError(f"{where}: {error}") from None
    except UNREADABLE:
        raise CertificateError(f"{where}: certificate has fields that cannot be read") from None
    except OSError as error:
        raise ProvisionError(f"{ca}: cannot be read: {error.strerror}") from None
    if documents.authorities is not None:
        try:
            Authorities.read(documents.authorities)
        except ValueError as error:
            raise ProvisionError(f"{where}: authorities {error}") from None
    return remarks


# --- keys ----------------------------------------------------------------------------------------


def _tls_key(drafts: _Drafts, path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of the certificate; it contains no name, so a renamed unit keeps it."""
    pem = drafts.read_secret(path, "the certificate's key")
    if pem is None:
        pem = as_pem(new_key())
        drafts.secret(path, pem)
    return load_key(pem, path)


def _signing_key(drafts: _Drafts, settings: Settings, *, renew: bool) -> SigningKey:
    """Return the key that signs events. It belongs to one name: a renamed unit gets a new one."""
    path, alg = settings.outbox.signing_key, settings.outbox.signing_algorithm
    with run_as(drafts.owner(path)):
        known, signed = path.exists(), sequence_log_path(path).exists()
        if (known and not renew) or (signed and not known):
            return SigningKey.load_or_create(
                path, alg
            )  # refuses if a key that has signed is missing
    key, content = SigningKey.generate(alg)
    drafts.secret(path, content, retire=known)
    return key


def _encryption_key(drafts: _Drafts, path: Path) -> EncryptionKey:
    """Return the key that rosters are encrypted to; a renamed unit keeps it."""
    with run_as(drafts.owner(path)):
        if path.exists():
            return EncryptionKey.load_or_create(path)
    key, content = EncryptionKey.generate()
    drafts.secret(path, content)
    return key
