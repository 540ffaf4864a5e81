"""The algorithms of our signatures (JWS), and what tells the keys of one from those of others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeGuard

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from edge.contract.jose import b64url, from_b64url
from edge.errors import AlgorithmMissing

Key = OKPKey | ECKey
_MEMBER_BYTES = 32  # of each coordinate, and of a private key
# The order of the group of P-256 (SEC 2, version 2, section 2.4.2).
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What tells the keys of one JWS algorithm from all others."""

    kty: str
    crv: str
    members: tuple[str, ...]  # of the public key, beyond kty and crv
    generate: Callable[[], Key]
    load: Callable[[dict[str, Any]], Key]


ALGORITHMS = {
    # RFC 9864: the fully specified name; "EdDSA" would leave the curve to the key.
    "Ed25519": Algorithm(
        "OKP", "Ed25519", ("x",), lambda: OKPKey.generate_key("Ed25519"), OKPKey.import_key
    ),
    # For consumers without Ed25519.
    "ES256": Algorithm(
        "EC", "P-256", ("x", "y"), lambda: ECKey.generate_key("P-256"), ECKey.import_key
    ),
}
REGISTRY = jws.JWSRegistry(algorithms=list(ALGORITHMS))


def known(alg: object) -> TypeGuard[str]:
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


def normalize_low_s(token: str) -> str:
    """Return an ES256 JWS with the lower of the two values of `s` that are as valid.

    With (r, s) the pair (r, n - s) verifies too: whoever passes an event on could send another
    spelling of it, and have the genuine one taken for a fork. Only the lower `s` is accepted.
    """
    signed, _, signature = token.rpartition(".")
    content = from_b64url(signature)
    if is_low_s(content):
        return token
    s = _P256_ORDER - int.from_bytes(content[32:])
    return f"{signed}.{b64url(content[:32] + s.to_bytes(32))}"


def is_low_s(signature: bytes) -> bool:
    """Whether the `s` of an ES256 signature, 64 bytes, is the one that `lower_s` leaves."""
    return int.from_bytes(signature[32:]) <= _P256_ORDER // 2
