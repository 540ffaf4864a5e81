"""When people come to the units on a working morning. Pure: a seed gives the same morning again.

Most come late: arrivals follow a beta distribution (3, 2) over the minutes before work begins, so
that two thirds of the time have passed at the peak, where 1.8 times the mean arrive. Some doors
are busier than others (weights by a gamma distribution, shape 2), and at one door a person takes
two seconds, so that those behind wait.
"""

import random
from dataclasses import dataclass

DOOR_SECONDS = 2.0  # for one person at one unit
_PERSON_BITS = 128


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """One person is recorded."""

    at: float  # seconds after the beginning, compressed
    unit: int  # from 0
    person: str  # opaque id


def morning(units: int, people: int, minutes: float, speed: float, seed: int) -> list[Arrival]:
    """Return who is recorded where and when, in the order of time.

    `minutes` of the morning pass `speed` times as fast. At a crowded door the last may come later.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    weights = [chance.gammavariate(2.0, 1.0) for _ in range(units)]
    doors = chance.choices(range(units), weights, k=people)
    moments = sorted(chance.betavariate(3.0, 2.0) * minutes * 60.0 for _ in range(people))
    free = [0.0] * units  # when the door is free again
    arrivals = []
    for moment, door in zip(moments, doors, strict=True):
        at = max(moment, free[door])
        free[door] = at + DOOR_SECONDS
        arrivals.append(Arrival(at / speed, door, f"{chance.getrandbits(_PERSON_BITS):032x}"))
    return sorted(arrivals)
