"""base64url as JOSE spells it, and the digest that links one event to the next."""

import base64
import binascii
import hashlib


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
