from itertools import pairwise

from senyum_lab.simulate.fleet import DOOR_SECONDS, morning


def test_everybody_arrives_once_in_chronological_order() -> None:
    arrivals = morning(40, 700, 15.0, 10.0, seed=1)
    assert len({arrival.person for arrival in arrivals}) == 700
    assert {arrival.unit for arrival in arrivals} <= set(range(40))
    assert arrivals == sorted(arrivals)
    assert arrivals[0].at >= 0.0
    assert arrivals[-1].at < 120.0


def test_a_seed_gives_the_same_morning_again() -> None:
    assert morning(5, 50, 15.0, 10.0, 7) == morning(5, 50, 15.0, 10.0, 7)
    assert morning(5, 50, 15.0, 10.0, 7) != morning(5, 50, 15.0, 10.0, 8)


def test_a_unit_serves_one_person_at_a_time() -> None:
    arrivals = morning(3, 300, 1.0, 2.0, 1)  # far more than three doors let in
    for unit in range(3):
        moments = [arrival.at for arrival in arrivals if arrival.unit == unit]
        apart = [later - before for before, later in pairwise(moments)]
        assert min(apart) > DOOR_SECONDS / 2.0 - 1e-6


def test_most_people_arrive_late() -> None:
    moments = [arrival.at for arrival in morning(400, 7000, 15.0, 1.0, 1)]
    thirds = [sum(low <= at < low + 300 for at in moments) for low in (0, 300, 600)]
    assert thirds[0] < thirds[1]
    assert thirds[0] < thirds[2]
