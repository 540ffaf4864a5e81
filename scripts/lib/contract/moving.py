"""A unit that is moved: its chain goes on under another name, and nothing is missing for that."""

from collections.abc import Iterator

from contract import cast
from contract.chains import FORK
from contract.unit import Unit
from contract.vector import GENUINE, Vector
from edge.contract.jose import digest
from edge.contract.topics import TopicKind
from edge.outbox.event_signer import ChainHead
from edge.types import AuditCode

Row = tuple[Unit, bytes, str, str, str]  # whose, message, verdict, missing of that unit, about


def vectors() -> Iterator[Vector]:
    """Yield every series."""
    for series, rows in _series().items():
        for number, (unit, message, verdict, missing, about) in enumerate(rows, 1):
            yield Vector(
                name=f"{series}-{number}",
                series=series,
                topic=unit.topic(TopicKind.EVENT if b"." in message else TopicKind.STATE),
                message=message,
                verdict=verdict,
                missing=missing,
                about=about,
            )


def _door(number: int, head: ChainHead | None = None, first_id: int = 1) -> Unit:
    """Return door 1 or 3, which go on from the same chain as if they were one unit."""
    name, key = {1: (cast.DOOR_1, cast.ED25519), 3: (cast.DOOR_3, cast.NEIGHBOUR)}[number]
    return Unit(name, key, head=head or ChainHead(), first_id=first_id)


def _moved(unit: Unit, origin: Unit, last: object) -> bytes:
    return unit.audit(AuditCode.MOVED, **{"from": origin.name.source, "last": last})


def _series() -> dict[str, list[Row]]:
    return {
        **_alone(),
        "moved-gap": _gap(),
        "moved-follows": _follows(),
        "moved-late": _late(),
        "moved-fork": _fork(),
        "moved-back": _back(),
    }


def _alone() -> dict[str, list[Row]]:
    """Return one `moved` each, with number 5 and nothing before it."""
    rows = {}
    for name, last, missing, about in (
        ("", 4, "-", "moved at 5, last 4: nothing is missing"),
        ("-float", 4.0, "-", "last is 4.0, which is 4"),
        ("-other-last", 3, "1-4", "last is 3, not 4: it contradicts itself and counts for nothing"),
        ("-text-last", "4", "1-4", "last is a text: it counts for nothing"),
        ("-truth-last", True, "1-4", "last is a truth value: it counts for nothing"),
    ):
        unit = _door(1, ChainHead(4, "A" * 43))
        message = _moved(unit, _door(3), last)
        rows[f"moved{name}"] = [(unit, message, GENUINE, missing, about)]
    unit = _door(1, ChainHead(4, "A" * 43))
    about = "moved from its own name: it counts for nothing"
    rows["moved-own-name"] = [(unit, _moved(unit, unit, 4), GENUINE, "1-4", about)]
    unit = _door(1, ChainHead(4, "A" * 43))
    message = unit.audit(AuditCode.MOVED, **{"from": "the hall", "last": 4})
    about = "moved from what is no name of a unit: it counts for nothing"
    rows["moved-no-name"] = [(unit, message, GENUINE, "1-4", about)]
    return rows


def _gap() -> list[Row]:
    unit = _door(1, ChainHead(4, "A" * 43))
    moved, six, seven = _moved(unit, _door(3), 4), unit.recorded(), unit.recorded()
    return [
        (unit, seven, GENUINE, "1-6", "event 7: nothing is known of a move yet"),
        (unit, moved, GENUINE, "6", "moved at 5: the numbers before it were given elsewhere"),
        (unit, six, GENUINE, "-", "event 6"),
    ]


def _pair() -> tuple[Unit, list[bytes], Unit]:
    """Return a unit, its first two events, and the unit under its new name."""
    old = _door(3, first_id=300)
    events = [old.recorded(), old.recorded()]
    return old, events, _door(1, old.head)


def _follows() -> list[Row]:
    old, (one, two), new = _pair()
    return [
        (old, one, GENUINE, "-", "event 1 of door 3"),
        (old, two, GENUINE, "-", "event 2 of door 3"),
        (new, _moved(new, old, 2), GENUINE, "-", "door 3 becomes door 1 and goes on with 3"),
        (new, new.recorded(), GENUINE, "-", "event 4, of door 1"),
    ]


def _late() -> list[Row]:
    old, (one, two), new = _pair()
    return [
        (new, _moved(new, old, 2), GENUINE, "-", "door 3 becomes door 1 and goes on with 3"),
        (old, two, GENUINE, "1", "event 2 of door 3 comes late: of that name, 1 is missing"),
        (old, one, GENUINE, "-", "event 1 of door 3"),
    ]


def _fork() -> list[Row]:
    old, (one, two), _ = _pair()
    new = _door(1, ChainHead(2, digest("an event that never was")))
    return [
        (old, one, GENUINE, "-", "event 1 of door 3"),
        (old, two, GENUINE, "-", "event 2 of door 3"),
        (new, _moved(new, old, 2), FORK, "-", "moved, and it does not follow event 2 of door 3"),
    ]


def _back() -> list[Row]:
    home = _door(1)
    one, _ = home.recorded(), home.recorded()
    away = _door(3, home.head, first_id=300)
    gone, four = _moved(away, home, 2), away.recorded()
    home = _door(1, away.head, first_id=100)
    return [
        (home, one, GENUINE, "-", "event 1 of door 1"),
        (
            home,
            _moved(home, away, 4),
            GENUINE,
            "-",
            "back from door 3 at 5: 1 to 4 were elsewhere",
        ),
        (away, gone, GENUINE, "-", "door 1 became door 3 with 3"),
        (home, home.recorded(), GENUINE, "2", "event 6: 2 was given by door 1, before it went"),
        (away, four, GENUINE, "-", "event 4, of door 3"),
    ]
