"""Who plays in the test vectors: three units, their keys and the key set of central."""

from datetime import UTC, datetime
from typing import Any, Final

from contract.unit import SteadyKey, Unit
from edge.contract.topics import UnitName


def _year(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


DOOR_1, DOOR_2, DOOR_3 = (UnitName("example", "office", f"door-{n}") for n in (1, 2, 3))

ED25519: Final = SteadyKey("door 1")
ES256: Final = SteadyKey("door 2", "ES256")
NEIGHBOUR: Final = SteadyKey("door 3")
RETIRED: Final = SteadyKey("door 1, until 2026")
COMING: Final = SteadyKey("door 1, from 2027")
UNREGISTERED: Final = SteadyKey("nobody's")

_REGISTERED: Final = (
    (ED25519, DOOR_1, _year(2026), _year(2027)),
    (ES256, DOOR_2, _year(2026), _year(2027)),
    (NEIGHBOUR, DOOR_3, None, None),
    (RETIRED, DOOR_1, _year(2025), _year(2026)),
    (COMING, DOOR_1, _year(2027), _year(2028)),
)


def unit(key: SteadyKey = ED25519, **changes: Any) -> Unit:
    """Return a fresh unit at the beginning of its chain: door 2 for ES256, else door 1."""
    return Unit(DOOR_2 if key is ES256 else DOOR_1, key, **changes)


def public_keys() -> dict[str, Any]:
    """Return what central trusts in every vector."""
    return {"keys": [key.registration(name, since, to) for key, name, since, to in _REGISTERED]}


def private_keys() -> dict[str, Any]:
    """Return the private halves, so that other vectors can be made. Worthless: they are public."""
    every = (*(key for key, *_ in _REGISTERED), UNREGISTERED)
    return {
        "warning": "TEST ONLY. Everybody has these keys: never register them anywhere.",
        "keys": [{**key.private, "kid": key.kid, "alg": key.alg} for key in every],
    }
