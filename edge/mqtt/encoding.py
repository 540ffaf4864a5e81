"""base64url as JOSE spells it, strict JSON, and the digest that links one event to the next."""

import base64
import binascii
import hashlib
import json
from typing import Any


def b64url(content: bytes) -> str:
    """Encode without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def from_b64url(text: str) -> bytes:
    """Decode; ValueError where `text` is not the one spelling that `b64url` gives.

    Lenient decoders take several spellings of the same bytes (padding, stray characters, unused
    bits of the last character), so that a message could be altered and still verify.
    """
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64url") from None
    if b64url(content) != text:
        raise ValueError("not canonical base64url")
    return content


def digest(token: str) -> str:
    """base64url SHA-256 of a compact JWS, 43 characters: what the next event's `previous` holds."""
    return b64url(hashlib.sha256(token.encode("ascii")).digest())


def json_object(content: bytes) -> dict[str, Any]:
    """Read a JSON object in UTF-8; ValueError, which quotes nothing of it, where it is none.

    A name given twice is refused, for readers differ in which of the two they take; so are NaN
    and the infinities, which Python reads and JSON has not.
    """
    try:
        value = _DECODER.decode(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("is not JSON, or names a field twice") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - one error class for wrong JSON
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name is given twice")
    return content


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)
