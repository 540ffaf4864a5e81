"""The formats of JOSE (RFC 7515, 7517) as this contract narrows them, for every reader and writer.

base64url in its canonical spelling, JSON within the limits of `edge.contract.limits`, compact JWS,
JWK sets, and the digest that links two events.
"""

import base64
import binascii
import codecs
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from edge.contract.limits import MAX_DEPTH, MAX_NUMBER, is_number, is_text, too_deep
from edge.errors import SecretError
from edge.system.supplied_files import read_regular

Key = OKPKey | ECKey
# RFC 9864: the fully specified name; "EdDSA" would leave the curve to the key.
# ES256 is for consumers without Ed25519.
REGISTRY: Final = jws.JWSRegistry(algorithms=["Ed25519", "ES256"])
MAX_KEY_SET_BYTES: Final = 64_000_000  # an entry takes about 300
_HEADER_NAMES = {"alg", "kid", "typ", "cty"}
_CACHED_HEADER = (
    512  # characters; a unit's header takes about 170, and is the same in all its events
)
# The order of the group of P-256 (SEC 2, version 2, section 2.4.2).
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class ParsedJws:
    """A compact JWS split into its parts. Its signature is not verified yet."""

    token: str
    header: Mapping[str, str]  # no names other than alg, kid, typ and cty
    payload: bytes
    signing_input: bytes  # the ASCII bytes before the second dot
    signature: bytes


class JwsTooLarge(ValueError):
    """A JWS of more bytes than its reader allows."""


def parse(token: bytes | str, max_bytes: int | None = None) -> ParsedJws:
    """Split a compact JWS and read its header; no value of its payload is read.

    Raises ValueError, whose message does not quote the token: JwsTooLarge beyond `max_bytes`, else
    for anything but three parts of canonical base64url, for a header that is not a JSON object of
    strings named alg, kid, typ or cty, and for a payload nested deeper than MAX_DEPTH.
    """
    if max_bytes is not None and len(token) > max_bytes:
        raise JwsTooLarge(f"{len(token)} bytes are more than the {max_bytes} allowed")
    try:
        text = token if isinstance(token, str) else token.decode("ascii")
        signing_input = text.rpartition(".")[0].encode("ascii")
    except UnicodeError:
        raise ValueError("is not a compact JWS: contains non-ASCII bytes") from None
    parts = text.split(".", 3)
    if len(parts) != 3:
        raise ValueError("is not a compact JWS: does not have three parts")
    try:
        payload, signature = map(from_b64url, parts[1:])
    except ValueError as error:
        raise ValueError(f"is not a compact JWS: {error}") from None
    if too_deep(payload):
        raise ValueError(f"the payload is nested deeper than {MAX_DEPTH} levels")
    read_header = _cached_header if len(parts[0]) <= _CACHED_HEADER else _header
    return ParsedJws(text, read_header(parts[0]), payload, signing_input, signature)


def _header(part: str) -> Mapping[str, str]:
    try:
        content = from_b64url(part)
    except ValueError as error:
        raise ValueError(f"is not a compact JWS: {error}") from None
    try:
        header = json_object(content)
    except ValueError as error:
        raise ValueError(f"the header {error}") from None
    if not header.keys() <= _HEADER_NAMES or not all(
        isinstance(each, str) for each in header.values()
    ):
        raise ValueError("the header contains more than alg, kid, typ and cty, or not only text")
    return header


_cached_header = lru_cache(maxsize=1024)(_header)  # errors are not cached


def verify(parsed: ParsedJws, key: Key, alg: str) -> bool:
    """Return whether `key` made the signature with `alg`, and the header names that algorithm."""
    if parsed.header.get("alg") != alg or (alg == "ES256" and not is_low_s(parsed.signature)):
        return False
    try:
        return REGISTRY.get_alg(alg).verify(parsed.signing_input, parsed.signature, key)
    except (JoseError, ValueError):
        return False


def normalize_low_s(token: str) -> str:
    """Return an ES256 JWS with the lower of the two equally valid values of `s`.

    If (r, s) verifies, (r, n - s) does too. Anyone who forwards an event could send it in another
    spelling, and the genuine one would look like a fork. Only the lower `s` is accepted.
    """
    signing_input, _, signature = token.rpartition(".")
    content = from_b64url(signature)
    if is_low_s(content):
        return token
    s = _P256_ORDER - int.from_bytes(content[32:])
    return f"{signing_input}.{b64url(content[:32] + s.to_bytes(32))}"


def is_low_s(signature: bytes) -> bool:
    """Return whether the `s` of an ES256 signature, 64 bytes, is the lower of the two."""
    return int.from_bytes(signature[32:]) <= _P256_ORDER // 2


def claim(token: str, *path: str) -> Any:
    """Return a member of the payload of a stored JWS, or None if it cannot be read.

    Nothing is verified: for events that this device signed, which a failing disk may have changed.
    """
    try:
        value: Any = json.loads(from_b64url(token.split(".")[1]))
        for name in path:
            value = value[name]
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return None
    return value


def key_id(token: str) -> str | None:
    """Return the `kid` of a compact JWS, unverified, or None if it cannot be read."""
    try:
        return parse(token).header.get("kid")
    except ValueError:
        return None


def load_jwk_set(path: Path) -> list[Any]:
    """Return the entries of a JWK set file, not validated. Raises SecretError."""
    try:
        return parse_jwk_set(read_regular(path, MAX_KEY_SET_BYTES))
    except OSError as error:
        raise SecretError(f"{path}: the key set cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SecretError(f"{path}: {error}") from None


def parse_jwk_set(content: bytes) -> list[Any]:
    """Return the entries of a JWK set, not validated. Raises ValueError."""
    try:
        listed: Any = json_object(content).get("keys")
    except ValueError as error:
        raise ValueError(f'is not a JWK set, {{"keys": [...]}}: it {error}') from None
    if not isinstance(listed, list):
        raise ValueError('is not a JWK set, {"keys": [...]}')  # noqa: TRY004 - as for the rest
    return listed


def b64url(content: bytes) -> str:
    """Return base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def from_b64url(text: str) -> bytes:
    """Return the decoded bytes. ValueError unless `text` is exactly what `b64url` produces.

    Lenient decoders accept several spellings of the same bytes (padding, stray characters, unused
    bits of the last character), so that an altered message could still verify.
    """
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64url") from None
    if b64url(content) != text:
        raise ValueError("not canonical base64url")
    return content


def digest(token: str) -> str:
    """Return the base64url SHA-256 of a compact JWS, 43 characters: the next event's `previous`."""
    return b64url(hashlib.sha256(token.encode("ascii")).digest())


def json_object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object in UTF-8 within the limits of `edge.contract.limits`.

    Raises ValueError, whose message does not quote the content. Duplicate names are refused because
    readers differ in which of the two they use; a byte order mark because some readers drop it.
    """
    if content.startswith(codecs.BOM_UTF8):
        raise ValueError("begins with a byte order mark; save it as UTF-8 without one")
    if too_deep(content):
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    try:
        text = content.decode("utf-8")
        value = _DECODER.decode(text)
    except _BeyondLimit as error:
        raise ValueError(str(error)) from None
    except ValueError:
        raise ValueError("is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - one error class for wrong JSON
    # Such a character is only possible as an escape: JSON and UTF-8 refuse it verbatim.
    if "\\" in text and not all(is_text(each) for each in _texts(value)):
        raise ValueError("contains an escaped control character or lone surrogate")
    return value


class _BeyondLimit(ValueError):
    """JSON beyond the limits of the contract."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise _BeyondLimit("contains a name twice")
    return content


def _integer(digits: str) -> int:
    # The length first: converting thousands of digits is slow, or fails.
    value = int(digits) if len(digits) <= len(str(-MAX_NUMBER)) else MAX_NUMBER + 1
    return int(_checked(value))


def _checked(value: float) -> float:
    if not is_number(value):
        raise _BeyondLimit(f"contains a number beyond {MAX_NUMBER}")
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _texts(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value, including the names of members."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            waiting += part


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer,
    parse_float=lambda digits: _checked(float(digits)),
    parse_constant=_no_number,
)
