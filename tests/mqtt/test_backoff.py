"""400 units that lose their broker in the same second: by simulation, no clock and no socket."""

import random
from collections import Counter

import pytest

from edge.mqtt.backoff import Backoff
from edge.settings import BrokerSettings

UNITS = 400
CONNECT_S = 0.05  # what a refused try takes


def arrivals(outage: float, seed: int) -> tuple[list[float], list[float]]:
    """Return when each unit got in, and every try, in seconds since the broker was lost."""
    least, most = BrokerSettings().backoff_min, BrokerSettings().backoff_max
    entries, tries = [], []
    for unit in range(UNITS):
        backoff = Backoff(least, most, random.Random(seed * UNITS + unit))
        now = backoff.spread()
        while True:
            now += backoff.next()
            tries.append(now)
            if now >= outage:
                entries.append(now)
                break
            now += CONNECT_S
    return entries, tries


def most_in_a_second(moments: list[float]) -> int:
    return max(Counter(int(moment) for moment in moments).values())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("outage", "most_a_second", "all_back_within"),
    [
        (0.0, 240, 5.0),  # the broker was only restarted
        (5.0, 130, 40.0),
        (60.0, 40, 70.0),
        (600.0, 30, 70.0),
        (8 * 3600.0, 30, 70.0),
    ],
)
def test_a_broker_that_returns_is_not_stormed(
    outage: float, most_a_second: int, all_back_within: float, seed: int
) -> None:
    entries, tries = arrivals(outage, seed)
    assert len(entries) == UNITS
    assert most_in_a_second(entries) <= most_a_second
    assert max(entries) <= outage + all_back_within
    late = [moment for moment in tries if 120.0 < moment < outage]
    assert not late or most_in_a_second(late) <= 35


def test_units_that_march_in_step_would_show() -> None:
    """The simulation is able to fail: without jitter all come in the same second."""

    class InStep(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    waits = []
    for _ in range(UNITS):
        backoff = Backoff(2.0, 60.0, InStep())
        waits.append(backoff.next())
    assert most_in_a_second(waits) == UNITS


def test_the_limit_doubles_within_its_bounds_and_begins_anew() -> None:
    tops = []
    for seed in range(200):
        backoff = Backoff(0.5, 4.0, random.Random(seed))
        tops.append([backoff.next() for _ in range(6)])
        backoff.reset()
        assert backoff.next() <= 0.5
    for place, top in enumerate((0.5, 1.0, 2.0, 4.0, 4.0, 4.0)):
        waits = [waits[place] for waits in tops]
        assert max(waits) <= top
        assert max(waits) > 0.9 * top
        assert min(waits) < 0.1 * top
        assert 0.4 * top < sum(waits) / len(waits) < 0.6 * top


def test_a_spread_counts_as_no_failure() -> None:
    backoff = Backoff(0.5, 60.0, random.Random(1))
    for _ in range(20):
        assert backoff.spread() <= 0.5
    assert backoff.next() <= 0.5
