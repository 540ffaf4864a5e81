"""A good event, and what it takes to sign something else in its place."""

import json
from collections.abc import Callable
from typing import Any, Final

from contract import cast
from contract.unit import SteadyKey
from edge.contract.jose import b64url, from_b64url

Json = dict[str, Any]

TOKEN: Final = cast.unit().recorded().decode()
HEADER, PAYLOAD, SIGNATURE = TOKEN.split(".")
CONTENT: Final = from_b64url(PAYLOAD)


def parsed(part: str) -> Json:
    """Read a part of a JWS."""
    content: Json = json.loads(from_b64url(part))
    return content


def packed(content: Json) -> str:
    """Write a part of a JWS."""
    return b64url(json.dumps(content, separators=(",", ":")).encode())


def header(**changes: Any) -> Json:
    """Return the header of a good event with changes; None takes a member away."""
    content = {**parsed(HEADER), **changes}
    return {name: value for name, value in content.items() if value is not None}


def signed(content: bytes, key: SteadyKey = cast.ED25519, **changes: Any) -> str:
    """Sign with a unit's own key, as if it was the unit that went wrong."""
    fields = {"kid": key.kid, "alg": key.alg, **changes}
    return key.close(f"{packed(header(**fields))}.{b64url(content)}")


def changed(change: Callable[[Json], object], token: str = TOKEN, **members: Any) -> str:
    """Sign an event in which something was changed."""
    content = parsed(token.split(".")[1])
    change(content)
    return signed(json.dumps(content, separators=(",", ":")).encode(), **members)


def flipped(text: str, place: int) -> str:
    """Change the lowest bit that a character of base64url stands for."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = letters[letters.index(text[place]) ^ 1]
    return f"{text[:place]}{other}{text[place + 1 :]}"


def put(content: Json, path: str, value: Any) -> None:
    """Set what lies at `path`, names with dots between."""
    *parents, last = path.split(".")
    for parent in parents:
        content = content[parent]
    content[last] = value
