"""The algorithms of our signatures (JWS), and what tells the keys of one from those of others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from edge.mqtt.encoding import b64url, from_b64url

Key = OKPKey | ECKey
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
    """Make a key of the named members only; ValueError in words that hold none of its content."""
    kind = ALGORITHMS[alg]
    if jwk.get("kty") != kind.kty or jwk.get("crv") != kind.crv:
        raise ValueError(f"is not of kty {kind.kty} and crv {kind.crv}, as {alg} needs")
    try:
        content = {name: jwk[name] for name in ("kty", "crv", *kind.members, *members)}
        key = kind.load(content)
        key.thumbprint()
    except (KeyError, TypeError, ValueError, JoseError):
        raise ValueError(f"is not a complete {alg} key") from None
    return key


def lower_s(token: str) -> str:
    """Return an ES256 JWS with the lower of the two values of `s` that are as valid.

    With (r, s) the pair (r, n - s) verifies too: whoever passes an event on could send another
    spelling of it, and have the genuine one taken for a fork. Only the lower `s` is accepted.
    """
    signed, _, signature = token.rpartition(".")
    content = from_b64url(signature)
    if is_lower_s(content):
        return token
    s = _P256_ORDER - int.from_bytes(content[32:])
    return f"{signed}.{b64url(content[:32] + s.to_bytes(32))}"


def is_lower_s(signature: bytes) -> bool:
    """Whether the `s` of an ES256 signature, 64 bytes, is the one that `lower_s` leaves."""
    return int.from_bytes(signature[32:]) <= _P256_ORDER // 2
