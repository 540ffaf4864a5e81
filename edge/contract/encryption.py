"""The key that rosters are encrypted to: one per unit, generated there next to its signing key.

X25519. What is wrapped for it is a compact JWE (RFC 7516), `alg` ECDH-ES+A256KW, `enc` A256GCM,
`kid` the key's RFC 7638 thumbprint. The private half never leaves the unit.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from edge.contract.jose import from_b64url, json_object, load_jwk_set
from edge.contract.topics import UnitName
from edge.errors import SecretError
from edge.system.key_files import read_secret, write_secret

ALG = "ECDH-ES+A256KW"
ENC = "A256GCM"
USE = "enc"

_WHAT = "encryption key"
_NAMES = [ALG, ENC]
_LONGEST = 2048  # characters of a JWE; one takes about 400


def encryption_key_path(signing_key: Path) -> Path:
    """Return where a unit keeps its encryption key."""
    return signing_key.with_name("encryption.key")


class EncryptionKey:
    """The key of one unit."""

    def __init__(self, key: OKPKey) -> None:
        self._key = key
        self.kid = key.thumbprint()

    @classmethod
    def generate(cls) -> tuple[Self, bytes]:
        """Return a new key, and what its file holds."""
        key = OKPKey.generate_key("X25519")
        return cls(key), json.dumps({**key.as_dict(private=True), "alg": ALG}).encode()

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file (a private JWK, mode 0600), or make one. Raises SecretError."""
        try:
            if not path.exists():
                _create(path)
        except OSError as error:
            raise SecretError(f"{path}: the {_WHAT} cannot be made: {error.strerror}") from None
        try:
            return cls(_imported(json_object(read_secret(path, _WHAT)), ("d",)))
        except ValueError:
            raise SecretError(
                f"{path}: the {_WHAT} is no private JWK of X25519; bring the file back from a "
                "backup, or move it away and register the new key"
            ) from None

    def registration(self, unit: UnitName) -> dict[str, Any]:
        """Return the entry for a key set: the public key and whose it is."""
        public = self._key.as_dict(private=False)
        return {**public, "kid": self.kid, "alg": ALG, "use": USE, "unit": unit.source}

    def unwrap(self, token: str) -> bytes:
        """Return what was wrapped for this key; ValueError where nothing was."""
        if len(token) > _LONGEST:
            raise ValueError("is longer than any wrapped key")
        try:
            content = jwe.decrypt_compact(token, self._key, algorithms=_NAMES).plaintext
        # The library lets errors of what it is built on pass.
        except Exception:  # noqa: BLE001
            raise ValueError("is not wrapped for this unit's key") from None
        if content is None:
            raise ValueError("holds nothing")
        return content


@dataclass(frozen=True, slots=True)
class Recipient:
    """The public half, as a key set has it."""

    kid: str
    unit: UnitName
    key: OKPKey

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self:
        """Read one entry of a key set; ValueError where it is none of this kind."""
        key = _imported(entry, ())
        if entry.get("kid") != key.thumbprint():
            raise ValueError("kid: is not the key's RFC 7638 thumbprint")
        return cls(key.thumbprint(), UnitName.from_source(str(entry.get("unit"))), key)

    def wrap(self, secret: bytes) -> str:
        """Return a compact JWE of `secret` that only this recipient can open."""
        header = {"alg": ALG, "enc": ENC, "kid": self.kid}
        return jwe.encrypt_compact(header, secret, self.key, algorithms=_NAMES)


def recipients(path: Path) -> dict[UnitName, Recipient]:
    """Return the encryption key of each unit that a key set file names; the last one counts.

    Raises SecretError, which names the file and the entry.
    """
    found = {}
    encrypting = (
        entry for entry in load_jwk_set(path) if isinstance(entry, dict) and entry.get("use") == USE
    )
    for number, entry in enumerate(encrypting):
        try:
            recipient = Recipient.of(entry)
        except ValueError as error:
            raise SecretError(f"{path}: encryption key {number}: {error}") from None
        found[recipient.unit] = recipient
    return found


def _imported(jwk: Mapping[str, Any], more: tuple[str, ...]) -> OKPKey:
    """Make a key of the named members only; ValueError in words that hold none of its content."""
    try:
        if jwk.get("kty") != "OKP" or jwk.get("crv") != "X25519":
            raise ValueError("is not of kty OKP and crv X25519")  # noqa: TRY301
        key = OKPKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", *more)})
        key.thumbprint()
        # Refused here and not when a roster is wrapped: a point that has no secret with any key.
        public = X25519PublicKey.from_public_bytes(from_b64url(jwk["x"]))
        X25519PrivateKey.generate().exchange(public)
    except (AttributeError, KeyError, TypeError, ValueError, JoseError):
        raise ValueError("is no X25519 key") from None
    return key


def _create(path: Path) -> None:
    """Make a key file, unless another process made it meanwhile."""
    with contextlib.suppress(FileExistsError):
        write_secret(path, EncryptionKey.generate()[1])
