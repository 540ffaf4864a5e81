import pytest

from edge.mqtt.subscriber import FETCH_GROUP, LONGEST_FETCH_SECONDS, RetainedFetcher

TOPICS = [f"roster/{number}" for number in range(2 * FETCH_GROUP + 3)]


class Broker:
    """Keeps the subscriptions that a fetcher makes."""

    def __init__(self) -> None:
        self.subscribed: list[str] = []
        self.requested: list[str] = []

    def poll(self, fetcher: RetainedFetcher, now: float) -> None:
        step = fetcher.poll(now)
        self.subscribed = [each for each in self.subscribed if each not in step.unsubscribe]
        self.subscribed += step.subscribe
        self.requested += step.subscribe


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def fetcher() -> RetainedFetcher:
    return RetainedFetcher(10.0)


def test_groups_are_requested_once_and_unsubscribed_at_the_end(
    broker: Broker, fetcher: RetainedFetcher
) -> None:
    left = list(TOPICS)
    fetcher.fetch(left)
    now = 0.0
    while left:
        broker.poll(fetcher, now)
        assert len(broker.subscribed) <= FETCH_GROUP
        got = next(each for each in broker.subscribed if each in left)
        assert fetcher.is_wanted(got)
        left.remove(got)
        fetcher.fetch(left)
        now += 1.0
    broker.poll(fetcher, now)
    assert broker.subscribed == []
    assert broker.requested == TOPICS
    assert fetcher.due_at == float("inf")
    assert not fetcher.is_wanted(TOPICS[0])


def test_a_missing_message_is_requested_again_with_back_off(
    broker: Broker, fetcher: RetainedFetcher
) -> None:
    fetcher.fetch(["a", "b"])
    waits = []
    now = 0.0
    for _ in range(9):
        broker.poll(fetcher, now)
        broker.poll(fetcher, fetcher.due_at - 0.1)  # too early: nothing happens
        waits.append(fetcher.due_at - now)
        now = fetcher.due_at
    assert broker.requested == ["a", "b"] * 9
    assert waits == [10, 20, 40, 80, 160, *[LONGEST_FETCH_SECONDS] * 4]
    fetcher.fetch(["b"])  # one came: the next is waited for as at first
    broker.poll(fetcher, now)
    assert fetcher.due_at == now + 10.0
    assert broker.requested == ["a", "b"] * 9


def test_a_new_connection_is_subscribed_again(broker: Broker, fetcher: RetainedFetcher) -> None:
    fetcher.fetch(["a"])
    broker.poll(fetcher, 0.0)
    again = Broker()
    fetcher.connected()
    again.poll(fetcher, 1.0)
    assert again.requested == ["a"]


def test_nothing_wanted_means_no_subscription(broker: Broker, fetcher: RetainedFetcher) -> None:
    broker.poll(fetcher, 0.0)
    fetcher.fetch(["a"])
    broker.poll(fetcher, 0.0)
    fetcher.fetch([])
    broker.poll(fetcher, 0.0)
    assert (broker.requested, broker.subscribed) == (["a"], [])
