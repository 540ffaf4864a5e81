"""base64url as JOSE spells it, JSON within the limits, and the digest that links two events."""

import base64
import binascii
import codecs
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from edge.contract.limits import MAX_DEPTH, MAX_NUMBER, is_number, is_text, too_deep


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


def header_of(token: str) -> dict[str, Any]:
    """Return the header of a compact JWS, unverified. Raises ValueError."""
    return json_object(from_b64url(token.partition(".")[0]))


def payload_of(token: str) -> dict[str, Any]:
    """Return the payload of a compact JWS, unverified. Raises ValueError."""
    return json_object(from_b64url(token.partition(".")[2].partition(".")[0]))


def key_id(token: str) -> str | None:
    """Return the `kid` of a compact JWS, unverified; None if it cannot be read."""
    try:
        kid = header_of(token).get("kid")
    except ValueError:
        return None
    return kid if isinstance(kid, str) else None


def json_object(content: bytes) -> dict[str, Any]:
    """Read a JSON object in UTF-8 within the limits of `edge.contract.limits`.

    ValueError, which quotes nothing of it, says what is wrong. A name given twice is refused, for
    readers differ in which of the two they take; so is a byte order mark, which some drop.
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
    # Only an escape can give such a character: JSON and UTF-8 refuse it as it is.
    if "\\" in text and not all(is_text(each) for each in _texts(value)):
        raise ValueError("holds a control character or a lone surrogate, escaped")
    return value


class _BeyondLimit(ValueError):
    """JSON that is no JSON of the contract."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise _BeyondLimit("gives a name twice")
    return content


def _integer(digits: str) -> int:
    # The length first: to turn thousands of digits into a number takes long, or fails.
    value = int(digits) if len(digits) <= len(str(-MAX_NUMBER)) else MAX_NUMBER + 1
    return int(_checked(value))


def _checked(value: float) -> float:
    if not is_number(value):
        raise _BeyondLimit(f"holds a number beyond {MAX_NUMBER}")
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, the names of members included."""
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
