"""The name, key and signing request of a certificate, as every command creates them.

ECDSA P-256, PKCS #8, and a PKCS #10 request. A unit's common name is ORG/SITE/UNIT: brokers hold
topics against it.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from edge.contract.topics import UnitName
from edge.errors import CertificateError, SecretError
from edge.system.files import create_file, lock_folder, replace_file
from edge.system.key_files import read_secret, write_secret

LONGEST_NAME = 64  # characters of a common name (RFC 5280, ub-common-name)


def common_name(unit: UnitName) -> str:
    """Return the name that a unit's certificate carries; CertificateError where none can."""
    name = f"{unit.org}/{unit.site}/{unit.name}"
    if unit.site == unit.name == "all":
        raise CertificateError(f"{name} is nobody's name: what is for all units lies there")
    if len(name) > LONGEST_NAME:
        raise CertificateError(
            f"{name} has {len(name)} characters, and a certificate's name at most {LONGEST_NAME}; "
            "shorten unit.org, unit.site or unit.name"
        )
    return name


def distinguished(name: str) -> x509.Name:
    """Return a name that is a common name and nothing else."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def as_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as it lies in its file, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(pem: bytes, path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key; SecretError names the file and never its content."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):  # a passphrase is a TypeError
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SecretError(
            f"{path}: is no unencrypted elliptic curve key in PEM; move it away, and a new one is "
            "made, which needs a new certificate"
        )
    return key


def make_request(name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a PKCS #10 request, PEM, that proves who holds the key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(distinguished(name))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def request(name: str, key_file: Path, out: Path | None = None) -> bytes:
    """Return a certificate request for `name`, and write it to `out` if given.

    The key is that of `key_file` (PEM, P-256, not encrypted, mode 0600), which is made where it is
    missing and never changed. Raises CertificateError, and SecretError for a file that is not such
    key, or that others can read.
    """
    check_absent(out)
    pem = make_request(name, _load_or_create(key_file))
    if out is not None:
        create_output(out, pem)
    return pem


def _load_or_create(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if not path.exists():
            key = new_key()
            write_secret(path, as_pem(key))
            return key
    except OSError as error:
        raise CertificateError(f"{path}: the key cannot be made: {error.strerror}") from None
    return load_key(read_secret(path, "the certificate's key"), path)


def create_output(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a new file durably. Raises CertificateError if it exists or cannot be written."""
    with _file_errors(path):
        create_file(path, content, mode=mode)


def replace_output(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file durably. Raises CertificateError if it cannot be written."""
    with _file_errors(path):
        replace_file(path, content, mode=mode)


def check_absent(path: Path | None) -> None:
    """Raise CertificateError if the file to be made exists already, or its folder does not."""
    if path is None:
        return
    if path.exists() or path.is_symlink():
        raise CertificateError(f"{path}: exists and is never overwritten; move it away first")
    if not path.parent.is_dir():
        raise CertificateError(f"{path}: {path.parent} is not a folder; make it first")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes of ours out of `folder` meanwhile."""
    with _file_errors(folder):
        descriptor = lock_folder(folder)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise CertificateError(
            f"{path}: exists and is never overwritten; move it away first"
        ) from None
    except OSError as error:
        raise CertificateError(f"{path}: cannot be written: {error.strerror}") from None
