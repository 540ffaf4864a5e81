"""JWK set files (RFC 7517): their entries, of which the caller knows what they should be."""

from pathlib import Path
from typing import Any

from edge.contract.jose import json_object
from edge.errors import SecretError
from edge.system.supplied_files import read_regular

MOST_BYTES = 64_000_000  # of a key set; an entry takes about 300


def entries(path: Path) -> list[Any]:
    """Return the entries of a JWK set file, unread; SecretError."""
    try:
        return entries_of(read_regular(path, MOST_BYTES))
    except OSError as error:
        raise SecretError(f"{path}: the key set cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SecretError(f"{path}: {error}") from None


def entries_of(content: bytes) -> list[Any]:
    """Return the entries of a JWK set, unread; ValueError."""
    try:
        listed: Any = json_object(content).get("keys")
    except ValueError as error:
        raise ValueError(f'is not a JWK set, {{"keys": [...]}}: it {error}') from None
    if not isinstance(listed, list):
        raise ValueError('is not a JWK set, {"keys": [...]}')  # noqa: TRY004 - as for the rest
    return listed
