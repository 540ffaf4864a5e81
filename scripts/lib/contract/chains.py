"""What a store adds to the proof of one message: duplicates, gaps, forks."""

from collections.abc import Iterator
from dataclasses import replace

from contract import cast
from contract.unit import Unit
from contract.vector import GENUINE, Vector
from edge.contract.events import OnlineStatus
from edge.contract.jose import digest
from edge.contract.topics import TopicKind
from edge.outbox.event_signer import ChainHead
from edge.types import AuditCode
from senyum_central.store.chain_rules import Classification

DUPLICATE, FORK = Classification.DUPLICATE.value, Classification.FORK.value
Row = tuple[bytes, TopicKind, str, str, str]  # message, topic, verdict, missing afterwards, about


def _row(
    message: bytes,
    about: str,
    verdict: str = GENUINE,
    missing: str = "-",
    leaf: TopicKind = TopicKind.EVENT,
) -> Row:
    return message, leaf, verdict, missing, about


def vectors() -> Iterator[Vector]:
    """Yield every series."""
    topic = cast.unit()
    for series, rows in _series().items():
        for number, (message, leaf, verdict, missing, about) in enumerate(rows, 1):
            yield Vector(
                name=f"{series}-{number}",
                series=series,
                topic=topic.topic(leaf),
                message=message,
                verdict=verdict,
                missing=missing,
                about=about,
            )
    yield from _ids_of_two_units()


def _ids_of_two_units() -> Iterator[Vector]:
    """Yield events of two units that use the same id: both are stored."""
    door, neighbour = cast.unit(), Unit(cast.DOOR_3, cast.NEIGHBOUR)
    first, second = door.recorded(), neighbour.recorded()
    for number, (unit, message, verdict, about) in enumerate(
        (
            (door, first, GENUINE, "event 1 of door 1"),
            (neighbour, second, GENUINE, "event 1 of door 3 with the same id: unique for its unit"),
            (door, first, DUPLICATE, "the first again"),
            (neighbour, second, DUPLICATE, "the second again"),
        ),
        1,
    ):
        yield Vector(
            name=f"chain-id-of-two-units-{number}",
            series="chain-id-of-two-units",
            topic=unit.topic(),
            message=message,
            verdict=verdict,
            about=about,
        )


def _chain(count: int) -> tuple[list[bytes], list[Unit]]:
    """Return events 1 to `count`, and the unit as it stood before each of them and at the end."""
    unit = cast.unit()
    events, stood = [], [_copy(unit)]
    for number in range(1, count + 1):
        first = number == 1
        events.append(unit.audit(AuditCode.STARTED) if first else unit.recorded())
        stood.append(_copy(unit, first_id=number + 1))
    return events, stood


def _copy(unit: Unit, first_id: int = 1, head: ChainHead | None = None) -> Unit:
    return Unit(unit.name, unit.key, replace(unit.clock), head or unit.head, first_id)


def _series() -> dict[str, list[Row]]:
    e, stood = _chain(10)
    one, two, three, four = e[:4]

    def other(number: int) -> Unit:
        """Return the unit after a number of events, to continue differently."""
        return _copy(stood[number], first_id=100)

    second = other(1)
    stranger = second.recorded(person="e" * 32)
    return {
        "chain": [_row(event, f"event {n} of a chain of ten") for n, event in enumerate(e, 1)],
        "chain-gap": [
            _row(one, "event 1"),
            _row(four, "event 4: 2 and 3 have not come", missing="2-3"),
            _row(three, "event 3 comes late: judge by number, never by arrival", missing="2"),
            _row(two, "event 2: nothing is missing any more"),
        ],
        "chain-twice": [
            _row(one, "event 1"),
            _row(one, "the same again: at least once on the wire, once in the store", DUPLICATE),
            _row(two, "event 2"),
            _row(one, "the same once more, late", DUPLICATE),
        ],
        "chain-cut-tail": [
            _row(one, "event 1"),
            _row(stood[2].health(), "health names event 2", missing="2", leaf=TopicKind.HEALTH),
            _row(stood[4].state(), "state names event 4", missing="2-4", leaf=TopicKind.STATE),
            _row(two, "event 2", missing="3-4"),
        ],
        "chain-fork": [
            _row(one, "event 1"),
            _row(two, "event 2"),
            _row(other(1).recorded(person="f" * 32), "another event 2, signed too", FORK),
            _row(three, "event 3 follows the first of the two"),
        ],
        "chain-fork-second": [
            _row(one, "event 1"),
            _row(two, "event 2"),
            _row(stranger, "another event 2", FORK),
            _row(second.recorded(), "event 3 follows the second of the two: it follows one"),
        ],
        "chain-named-twice": [
            _row(
                other(1).health(head=ChainHead(2, digest("another"))),
                "health names another event 2",
                missing="1-2",
                leaf=TopicKind.HEALTH,
            ),
            _row(stood[2].state(), "state names the true event 2", FORK, "1-2", TopicKind.STATE),
            _row(one, "event 1", missing="2"),
            _row(two, "event 2, as the state named it and the health did not", FORK),
        ],
        "chain-begun-anew": [
            _row(one, "event 1"),
            _row(two, "event 2"),
            _row(other(0).recorded(), "event 1 anew: a unit that lost its outbox", FORK),
        ],
        "chain-break": [
            _row(one, "event 1"),
            _row(two, "event 2"),
            _row(
                _copy(stood[2], 200, ChainHead(2, digest("an event that never was"))).recorded(),
                "event 3 whose previous is not event 2",
                FORK,
            ),
        ],
        "chain-break-late": [
            _row(one, "event 1"),
            _row(three, "event 3", missing="2"),
            _row(other(1).recorded(), "event 2, which is not the previous of event 3", FORK),
        ],
        "chain-reordered": [
            _row(one, "event 1"),
            _row(
                _copy(stood[3], 200, ChainHead(2, digest(one.decode()))).recorded(),
                "event 3 that follows event 1: 2 and 3 were exchanged",
                missing="2",
            ),
            _row(
                _copy(stood[2], 201, ChainHead(1, digest(three.decode()))).recorded(),
                "event 2 that follows event 3",
                FORK,
            ),
        ],
        "chain-same-id": [
            _row(one, "event 1"),
            _row(
                _copy(stood[1], first_id=1).recorded(),
                "event 2 under the id of event 1: kept as evidence, not stored as an event",
                FORK,
            ),
            _row(two, "the true event 2"),
        ],
        "chain-other-head": [
            _row(one, "event 1"),
            _row(two, "event 2"),
            _row(
                stood[2].state(OnlineStatus.OFFLINE, ChainHead(2, digest("another"))),
                "state names another event 2",
                FORK,
                leaf=TopicKind.STATE,
            ),
            _row(stood[2].health(), "health names the event 2 that came", leaf=TopicKind.HEALTH),
        ],
        "chain-named-head": [
            _row(stood[2].health(), "health names event 2", missing="1-2", leaf=TopicKind.HEALTH),
            _row(one, "event 1", missing="2"),
            _row(other(1).recorded(), "an event 2 that is not the named one", FORK),
        ],
    }
