"""Where a certificate begins: a key that never leaves its machine, and a request for it."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from edge.contract.certificate import (
    as_pem,
    check_absent,
    create_output,
    load_key,
    make_request,
    new_key,
)
from edge.errors import CertificateError
from edge.system.key_files import read_secret, write_secret


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
