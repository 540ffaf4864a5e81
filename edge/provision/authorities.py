"""Whether a file of public keys can be one of those who may send commands and rosters."""

import json

from edge.errors import ProvisionError


def check_authority_keys(content: bytes, what: str) -> None:
    """Raise ProvisionError for what is no JWK set of public keys; the daemon reads the rest."""
    try:
        keys = json.loads(content)["keys"]
    except (ValueError, KeyError, TypeError):
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ProvisionError(f'{what} is not a JWK set, {{"keys": [...]}}')
    for number, key in enumerate(keys):
        if "d" in key:
            raise ProvisionError(
                f"{what}: keys[{number}] is a private key, which belongs on no unit; "
                "give the public one, and make a new pair"
            )
        if "kid" not in key or "kty" not in key:
            raise ProvisionError(f"{what}: keys[{number}] has no kid or no kty")
