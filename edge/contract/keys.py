"""The unit's signing key, and the set of public keys that a central server trusts.

`keys.json` of a central server is a JWK set (RFC 7517) in which each key says whose it is:

    {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "...", "kid": "...", "alg": "Ed25519",
               "use": "sig", "unit": "urn:senyum:ORG:SITE:UNIT", "nbf": 1767225600, "exp": ...}]}

`kid` is the key's RFC 7638 thumbprint. `nbf` and `exp` (seconds since 1970, each may be absent)
bound the times at which the unit may have signed with it, both inclusive; a replaced key keeps
its entry with an `exp`, so that what it signed still verifies.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeGuard, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from edge.contract.encryption import USE, Recipient
from edge.contract.jose import (
    REGISTRY,
    Key,
    ParsedJws,
    b64url,
    from_b64url,
    json_object,
    load_jwk_set,
    normalize_low_s,
    verify,
)
from edge.contract.limits import EARLIEST, LATEST, whole
from edge.contract.topics import UnitName
from edge.errors import AlgorithmMissing, SecretError
from edge.system.files import replace_file
from edge.system.key_files import read_secret, secret_path, write_secret

log = logging.getLogger(__name__)

_WHAT = "signing key"
_MEMBER_BYTES = 32  # of each coordinate, and of a private key


@dataclass(frozen=True, slots=True)
class Algorithm:
    """The properties of the keys of one JWS algorithm."""

    kty: str
    crv: str
    members: tuple[str, ...]  # of the public key, beyond kty and crv
    generate: Callable[[], Key]
    load: Callable[[dict[str, Any]], Key]


ALGORITHMS = {
    "Ed25519": Algorithm(
        "OKP", "Ed25519", ("x",), lambda: OKPKey.generate_key("Ed25519"), OKPKey.import_key
    ),
    "ES256": Algorithm(
        "EC", "P-256", ("x", "y"), lambda: ECKey.generate_key("P-256"), ECKey.import_key
    ),
}


def is_known_algorithm(alg: object) -> TypeGuard[str]:
    """Whether this is the name of one of them."""
    return isinstance(alg, str) and alg in ALGORITHMS


def imported(jwk: Mapping[str, Any], alg: str, members: tuple[str, ...]) -> Key:
    """Make a key of the named members only; ValueError in words that hold none of its content.

    Raises AlgorithmMissing.
    """
    require(alg)
    kind = ALGORITHMS[alg]
    if jwk.get("kty") != kind.kty or jwk.get("crv") != kind.crv:
        raise ValueError(f"is not of kty {kind.kty} and crv {kind.crv}, as {alg} needs")
    try:
        content = {name: jwk[name] for name in ("kty", "crv", *kind.members, *members)}
        raw = {name: _coordinate(content[name]) for name in (*kind.members, *members)}
        key = kind.load(content)
        key.thumbprint()
    except (KeyError, TypeError, ValueError, JoseError):
        raise ValueError(f"is not a complete {alg} key") from None
    if alg == "Ed25519" and not _is_key_of_edwards(raw["x"]):
        raise ValueError("is not an Ed25519 key: its point is of small order, or not on the curve")
    return key


@lru_cache
def require(alg: str) -> None:
    """Try an algorithm once; raises AlgorithmMissing, for without it nothing can be verified.

    A library that lacks it would otherwise make every genuine message look forged.
    """
    try:
        key, model = ALGORITHMS[alg].generate(), REGISTRY.get_alg(alg)
        works = model.verify(b"", model.sign(b"", key), key)
    except (JoseError, UnsupportedAlgorithm, AttributeError, KeyError, TypeError, ValueError):
        works = False
    if not works:
        raise AlgorithmMissing(
            f"the installed joserfc or cryptography cannot sign and verify {alg}; "
            "install newer versions of both"
        )


def _coordinate(text: str) -> bytes:
    content = from_b64url(text)
    if len(content) != _MEMBER_BYTES:
        raise ValueError(f"is not of {_MEMBER_BYTES} bytes")
    return content


# Ed25519 (RFC 8032, section 5.1): -x² + y² = 1 + d·x²·y² modulo p; a key is y and the sign of x.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN = 1 << 255
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# With a key of small order a signature can be made that verifies for every message, or many.
_SMALL_ORDER = (0, 1, _P - 1, _ORDER_8, _P - _ORDER_8)
# What stands for one of them, and every spelling that is not the one of its point.
REFUSED_POINTS = frozenset(
    (y | sign).to_bytes(_MEMBER_BYTES, "little")
    for y in (*_SMALL_ORDER, *range(_P, _SIGN))
    for sign in (0, _SIGN)
)


def _is_key_of_edwards(point: bytes) -> bool:
    if point in REFUSED_POINTS:
        return False
    y = int.from_bytes(point, "little") % _SIGN
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P  # of x, if there is such a number
    return pow(square, (_P - 1) // 2, _P) == 1


class SigningKey:
    """The key that a unit signs with. It never leaves the unit."""

    def __init__(self, key: Key, alg: str) -> None:
        self._key = key
        self.alg = alg
        self.kid = key.thumbprint()

    @classmethod
    def load_or_create(cls, path: Path, alg: str = "Ed25519") -> Self:
        """Read the key file (a private JWK, mode 0600), or make one on the first start.

        `alg` is Ed25519 or ES256, for a key that is made; a key that is there keeps its own.
        Raises SecretError, which names the file and never its content; also where the key has
        signed (see `begun`) and is gone.
        """
        marker = sequence_log_path(path)
        try:
            missing = not secret_path(path).exists()
            lost = missing and marker.exists()
        except OSError as error:
            raise SecretError(f"{path}: the {_WHAT} cannot be read: {error.strerror}") from None
        if lost:
            raise SecretError(
                f"{path}: the {_WHAT} is gone, and it has signed events; bring the file back from "
                f"a backup, or move {marker} away and register the new key with central"
            )
        if missing:
            _create(path, alg)
        text = read_secret(path, _WHAT)
        try:
            key = cls(*_private(text))
        except ValueError as error:
            raise SecretError(
                f"{path}: the {_WHAT} {error}; bring the file back from a backup, or move it "
                f"and {marker.name} away and register the new key with central"
            ) from None
        if key.alg != alg:
            log.warning("%s: goes on signing with %s; %s is for a new key", path, key.alg, alg)
        return key

    @classmethod
    def generate(cls, alg: str) -> tuple[Self, bytes]:
        """Make a key that is in no file yet; returns it and what its file is to hold."""
        require(alg)
        key = ALGORITHMS[alg].generate()
        return cls(key, alg), json.dumps({**key.as_dict(private=True), "alg": alg}).encode()

    def sign(self, header: Mapping[str, str], payload: bytes) -> str:
        """Return a compact JWS of `payload`. The header is ours: nothing in it is checked."""
        content = f"{_protected(tuple(header.items()))}.{b64url(payload)}"
        signature = REGISTRY.get_alg(self.alg).sign(content.encode("ascii"), self._key)
        token = f"{content}.{b64url(signature)}"
        return normalize_low_s(token) if self.alg == "ES256" else token

    def verifies(self, parsed: ParsedJws) -> bool:
        """Return whether this very key signed a JWS."""
        return verify(parsed, self._key, self.alg)

    def registration(
        self,
        unit: UnitName,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> dict[str, Any]:
        """Return the entry for a central server's `keys.json`: the public key and whose it is."""
        return {**self.public(not_before, not_after), "unit": unit.source}

    def public(
        self, not_before: datetime | None = None, not_after: datetime | None = None
    ) -> dict[str, Any]:
        """Return the public key as an entry of a JWK set that says nothing of whose it is."""
        bounds = {"nbf": not_before, "exp": not_after}
        return {
            **self._key.as_dict(private=False),
            "kid": self.kid,
            "alg": self.alg,
            "use": "sig",
            **{name: int(moment.timestamp()) for name, moment in bounds.items() if moment},
        }


@lru_cache(maxsize=64)  # a unit has one for each kind of message
def _protected(header: tuple[tuple[str, str], ...]) -> str:
    """Return the first part of a compact JWS."""
    return b64url(json.dumps(dict(header), separators=(",", ":")).encode("ascii"))


def sequence_log_path(path: Path) -> Path:
    """Return the file next to a signing key that shows that events were signed with it.

    Such a key goes on with its outbox and with no other: a second event of the same number, under
    the same key, would look like a forgery. `Outbox` makes the file; `edge.outbox.sequence_log`
    says what is in it.
    """
    return path.with_name(path.name + ".begun")


def _private(text: bytes) -> tuple[Key, str]:
    jwk = json_object(text)
    if not is_known_algorithm(jwk.get("alg")):
        raise ValueError("is not a JWK with a known alg")
    return imported(jwk, jwk["alg"], ("d",)), jwk["alg"]


def _create(path: Path, alg: str) -> None:
    _, content = SigningKey.generate(alg)
    try:
        with contextlib.suppress(FileExistsError):  # another process made one meanwhile
            write_secret(path, content)
    except OSError as error:
        raise SecretError(f"{path}: the {_WHAT} cannot be made: {error.strerror}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyingKey:
    """The public half of a key, and when it was valid."""

    kid: str
    alg: str
    not_before: datetime | None
    not_after: datetime | None
    key: Key

    def valid_at(self, moment: datetime) -> bool:
        return (self.not_before is None or self.not_before <= moment) and (
            self.not_after is None or moment <= self.not_after
        )

    def verifies(self, parsed: ParsedJws) -> bool:
        """Return whether this key signed a JWS, with this key's own algorithm."""
        return verify(parsed, self.key, self.alg)


_K = TypeVar("_K", bound=VerifyingKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey(VerifyingKey):
    """One registered key of a unit."""

    unit: UnitName


def verifying(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Read what every entry of a JWK set has: the fields of a VerifyingKey.

    ValueError names the field. Raises AlgorithmMissing.
    """
    if not isinstance(entry, Mapping):
        raise ValueError("is not an object")  # noqa: TRY004 - one error class for a wrong file
    if "d" in entry:
        raise ValueError("d: is a private key; keep it where it signs and register the public one")
    if entry.get("use", "sig") != "sig":
        raise ValueError("use: is not sig")
    alg = entry.get("alg")
    if not is_known_algorithm(alg):
        raise ValueError(f"alg: {alg!r} is not one of {', '.join(ALGORITHMS)}")
    key = imported(entry, alg, ())
    if entry.get("kid") != key.thumbprint():
        raise ValueError("kid: is not the key's RFC 7638 thumbprint")
    return {
        "kid": entry["kid"],
        "alg": alg,
        "not_before": parse_timestamp(entry, "nbf"),
        "not_after": parse_timestamp(entry, "exp"),
        "key": key,
    }


def _registered(entry: Mapping[str, Any]) -> PublicKey:
    """Read one entry of a key set; ValueError names the field."""
    fields = verifying(entry)
    if entry.get("unit") is None:
        raise ValueError('names no unit; add "unit": "urn:senyum:ORG:SITE:UNIT"')
    return PublicKey(unit=UnitName.from_source(str(entry["unit"])), **fields)


def parse_timestamp(entry: Mapping[str, Any], name: str) -> datetime | None:
    """Return the moment in a field of a key (seconds since 1970), or None; ValueError names it."""
    if name not in entry:
        return None
    seconds = whole(entry[name])
    if type(seconds) is not int:
        raise ValueError(f"{name}: is not a whole number of seconds since 1970")
    if not EARLIEST.timestamp() <= seconds <= LATEST.timestamp():
        raise ValueError(f"{name}: is not from {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}")
    return datetime.fromtimestamp(seconds, UTC)


def _signing(entry: Mapping[str, Any]) -> PublicKey | None:
    """Read one entry of a key set; None for a key that signs nothing."""
    if isinstance(entry, Mapping) and entry.get("use") == USE:
        Recipient.of(entry)
        return None
    return _registered(entry)


def unique_keys(
    registrations: Iterable[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], _K | None]
) -> Iterable[_K]:
    """Return the keys that `read` makes of entries; ValueError names the entry and the field."""
    keys: list[_K] = []
    seen: set[str] = set()
    for number, entry in enumerate(registrations):
        try:
            key = read(entry)
        except ValueError as error:
            raise ValueError(f"keys[{number}] {error}") from None
        if entry["kid"] in seen:
            raise ValueError(f"keys[{number}] kid: is listed twice")
        seen.add(entry["kid"])
        if key is not None:
            keys.append(key)
    return keys


class KeySet:
    """Every key that a central server accepts, by `kid`."""

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self._keys = {key.kid: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str) -> PublicKey | None:
        return self._keys.get(kid)

    def of_unit(self, unit: UnitName) -> list[PublicKey]:
        """Return the keys of one unit."""
        return [key for key in self._keys.values() if key.unit == unit]

    def units(self) -> set[UnitName]:
        """Return the units that have a key."""
        return {key.unit for key in self._keys.values()}

    @classmethod
    def of(cls, registrations: Iterable[Mapping[str, Any]]) -> Self:
        """Build from entries of a JWK set; ValueError names the entry and the field."""
        return cls(unique_keys(registrations, _signing))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a JWK set file; SecretError names the file, the entry and the field."""
        try:
            return cls.of(load_jwk_set(path))
        except ValueError as error:
            raise SecretError(f"{path}: {error}") from None


def add_registration(
    path: Path,
    registration: Mapping[str, Any],
    check: Callable[[list[Any]], object] = KeySet.of,
) -> bool:
    """Put one entry into a key set file, making the file if need be.

    Returns whether it took the place of another entry of the same key. `check` raises ValueError
    for entries that are none. Raises SecretError, and then leaves the file as it was.
    """
    try:
        before = load_jwk_set(path) if path.exists() else []
        check(before)
        others = [key for key in before if key["kid"] != registration["kid"]]
        content = json.dumps({"keys": [*others, dict(registration)]}, indent=2)
        replace_file(path, content.encode() + b"\n", mode=0o644)
    except ValueError as error:
        raise SecretError(f"{path}: {error}") from None
    except OSError as error:
        raise SecretError(f"{path}: the key set cannot be written: {error.strerror}") from None
    return len(others) < len(before)
