import math

import pytest
from central_parts import Unit, keys_of

from edge.contract.jose import digest
from senyum_lab.simulate.checks import SimulationResult, check_store, percentile

UNIT = Unit()
URN = UNIT.name.source
EVENTS = [message.payload.decode() for message in UNIT.events(5)]
OTHERS = [message.payload.decode() for message in Unit().events(5)]  # the same numbers, other ids
RECORDED = {URN: {number: digest(token) for number, token in enumerate(EVENTS, 1)}}


def look(*tokens: str) -> SimulationResult:
    return check_store(RECORDED, [(URN, token) for token in tokens], keys_of(UNIT))


def test_a_store_that_holds_all() -> None:
    verdict = look(*EVENTS)
    assert verdict == SimulationResult(5, 5, 0, 0, 0, 0)
    assert verdict.good


@pytest.mark.parametrize(
    ("tokens", "lost", "doubled", "strange"),
    [
        (EVENTS[:4], 1, 0, 0),
        (EVENTS[1:], 1, 0, 0),
        ([], 5, 0, 0),
        ([*EVENTS, EVENTS[2]], 0, 1, 0),
        ([*EVENTS[:4], OTHERS[4]], 1, 0, 1),
        ([*EVENTS[:4], EVENTS[4][:-2]], 1, 0, 1),
        ([*EVENTS, "no token"], 0, 0, 1),
    ],
)
def test_a_store_that_does_not(tokens: list[str], lost: int, doubled: int, strange: int) -> None:
    verdict = look(*tokens)
    assert (verdict.lost, verdict.doubled, verdict.strange) == (lost, doubled, strange)
    assert not verdict.good


def test_a_chain_that_was_recorded_broken_is_seen() -> None:
    """Two chains of one unit, as a unit would write that forgot its head."""
    mixed = [*EVENTS[:2], *OTHERS[2:]]
    recorded = {URN: {number: digest(token) for number, token in enumerate(mixed, 1)}}
    verdict = check_store(recorded, [(URN, token) for token in mixed], keys_of(UNIT))
    assert verdict.broken == 1
    assert (verdict.lost, verdict.strange) == (0, 0)


def test_an_event_of_an_unknown_unit_is_strange() -> None:
    verdict = check_store({}, [(URN, EVENTS[0])], keys_of(UNIT))
    assert verdict.strange == 1


def test_percentiles() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([5.0], 0.0) == percentile([5.0], 1.0) == 5.0
    assert math.isnan(percentile([], 0.5))
