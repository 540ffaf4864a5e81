from collections.abc import Sequence

import pytest

from edge.mqtt.retained_fetcher import GROUP, LONGEST_SECONDS, RetainedFetcher

TOPICS = [f"roster/{number}" for number in range(2 * GROUP + 3)]


class Broker:
    """Notes what is subscribed to."""

    def __init__(self) -> None:
        self.here: list[str] = []
        self.asked: list[str] = []

    def subscribe(self, filters: Sequence[str], *, retained: bool) -> int:
        assert retained
        self.here += filters
        self.asked += filters
        return 1

    def unsubscribe(self, filters: Sequence[str]) -> None:
        self.here = [each for each in self.here if each not in filters]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def fetching() -> RetainedFetcher:
    return RetainedFetcher(10.0)


def test_a_group_at_a_time_each_once_and_left_at_the_end(
    broker: Broker, fetching: RetainedFetcher
) -> None:
    left = list(TOPICS)
    fetching.want(left)
    now = 0.0
    while left:
        fetching.work(broker, now)
        assert len(broker.here) <= GROUP
        got = next(each for each in broker.here if each in left)
        assert fetching.wants(got)
        left.remove(got)
        fetching.want(left)
        now += 1.0
    fetching.work(broker, now)
    assert broker.here == []
    assert broker.asked == TOPICS
    assert fetching.due_at == float("inf")
    assert not fetching.wants(TOPICS[0])


def test_what_does_not_come_is_asked_for_again_less_and_less(
    broker: Broker, fetching: RetainedFetcher
) -> None:
    fetching.want(["a", "b"])
    waits = []
    now = 0.0
    for _ in range(9):
        fetching.work(broker, now)
        fetching.work(broker, fetching.due_at - 0.1)  # too early: nothing happens
        waits.append(fetching.due_at - now)
        now = fetching.due_at
    assert broker.asked == ["a", "b"] * 9
    assert waits == [10, 20, 40, 80, 160, *[LONGEST_SECONDS] * 4]
    fetching.want(["b"])  # one came: the next is waited for as at first
    fetching.work(broker, now)
    assert fetching.due_at == now + 10.0
    assert broker.asked == ["a", "b"] * 9


def test_a_new_connection_is_asked_anew(broker: Broker, fetching: RetainedFetcher) -> None:
    fetching.want(["a"])
    fetching.work(broker, 0.0)
    again = Broker()
    fetching.begin()
    fetching.work(again, 1.0)
    assert again.asked == ["a"]


def test_nothing_wanted_is_nothing_asked(broker: Broker, fetching: RetainedFetcher) -> None:
    fetching.work(broker, 0.0)
    fetching.want(["a"])
    fetching.work(broker, 0.0)
    fetching.want([])
    fetching.work(broker, 0.0)
    assert (broker.asked, broker.here) == (["a"], [])
