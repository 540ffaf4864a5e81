"""Where a certificate begins: a key that never leaves its machine, and a request for it."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edge.admin import files
from edge.admin.certificates import make_request, new_key
from edge.errors import CertificateError
from edge.secrets import read_secret, write_secret


def request(name: str, key_file: Path, out: Path | None = None) -> bytes:
    """Return a certificate request for `name`, and write it to `out` if given.

    The key is that of `key_file` (PEM, P-256, not encrypted, mode 0600), which is made where it is
    missing and never changed. Raises CertificateError, or SecretError where others can read it.
    """
    files.check_absent(out)
    pem = make_request(name, _load_or_create(key_file))
    if out is not None:
        files.create(out, pem)
    return pem


def _load_or_create(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if not path.exists():
            key = new_key()
            plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_secret(path, plain)
            return key
    except OSError as error:
        raise CertificateError(f"{path}: the key cannot be made: {error.strerror}") from None
    try:
        found = load_pem_private_key(read_secret(path, "the certificate's key"), None)
    except (ValueError, TypeError):  # a passphrase is a TypeError
        raise CertificateError(
            f"{path}: is no PEM key without a passphrase; move it away"
        ) from None
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{path}: is no elliptic curve key; move it away for a new one")
    return found
