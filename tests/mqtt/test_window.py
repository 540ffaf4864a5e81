from hypothesis import given, settings
from hypothesis import strategies as st

from edge.mqtt.inflight import MAX_FAILURES, MAX_QUARANTINED_IN_A_ROW, InFlightWindow
from edge.mqtt.reason_codes import Action

TAKEN, AGAIN, ASIDE, BLAME = Action.DELIVERED, Action.RETRY, Action.QUARANTINE, Action.SUSPECT_EVENT


def window(size: int, delivered: int = 0) -> InFlightWindow:
    return InFlightWindow(size, delivered, 10.0, 40.0)


def test_delivered_moves_only_over_an_unbroken_run() -> None:
    w = window(3, 10)
    for mid, sequence in ((1, 11), (2, 12), (3, 13)):
        w.mark_sent(mid, sequence)
    assert w.room == 0
    w.acknowledge(2, TAKEN, 0.0)
    assert w.delivered == 10
    w.acknowledge(1, TAKEN, 0.0)
    assert w.delivered == 12
    assert (w.room, w.in_flight, w.live_position()) == (2, 1, 13)


def test_after_a_refusal_one_event_is_tried_and_then_the_full_window() -> None:
    w = window(5)
    w.mark_sent(1, 1)
    w.mark_sent(2, 2)
    w.acknowledge(1, AGAIN, 0.0)
    assert (w.room, w.refused) == (0, False)
    w.acknowledge(2, TAKEN, 0.0)
    assert (w.room, w.refused, w.delivered) == (0, True, 0)
    w.resume()
    assert (w.room, w.due_for_resend(0.0)) == (1, [1])  # and 2 is not sent twice
    w.mark_sent(3, 1)
    assert w.room == 0
    w.acknowledge(3, TAKEN, 0.0)
    assert (w.room, w.delivered) == (5, 2)


def test_the_answer_to_another_message_changes_nothing() -> None:
    w = window(5)
    w.mark_sent(1, 1)
    assert not w.acknowledge(9, TAKEN, 0.0)
    assert (w.delivered, w.in_flight) == (0, 1)


def test_an_event_set_aside_waits_longer_each_time_and_holds_nobody_up() -> None:
    w = window(5)
    for sequence in (1, 2, 3):
        w.mark_sent(sequence, sequence)
        w.acknowledge(sequence, ASIDE if sequence == 1 else TAKEN, 0.0)
    assert (w.delivered, w.quarantined, w.depth(5), w.room) == (0, 1, 3, 5)
    now = 0.0
    for mid, wait in ((11, 10.0), (12, 20.0), (13, 40.0), (14, 40.0)):
        assert w.due_for_resend(now + wait - 0.1) == []
        assert w.due_at == now + wait
        now += wait
        assert w.due_for_resend(now) == [1]
        w.mark_sent(mid, 1)
        w.acknowledge(mid, ASIDE, now)
    w.mark_sent(15, 1)
    w.acknowledge(15, TAKEN, now)
    assert (w.delivered, w.quarantined) == (3, 0)


def test_many_refused_in_a_row_are_the_brokers_fault() -> None:
    w = window(100)
    for sequence in range(1, MAX_QUARANTINED_IN_A_ROW + 1):
        assert not w.refused
        w.mark_sent(sequence, sequence)
        w.acknowledge(sequence, ASIDE, 0.0)
    assert w.refused
    w.resume()
    assert w.room == 1  # the next event is tried, alone
    w.mark_sent(99, MAX_QUARANTINED_IN_A_ROW + 1)
    w.acknowledge(99, TAKEN, 0.0)
    assert len(w.due_for_resend(0.0)) == MAX_QUARANTINED_IN_A_ROW  # and now all of them at once


def test_who_is_alone_in_flight_each_time_the_connection_ends_is_set_aside() -> None:
    w = window(5)
    for mid in range(1, MAX_FAILURES + 1):
        assert w.quarantined == 0
        w.mark_sent(mid, 1)
        w.connection_lost(0.0, blame=False)
        w.connected(5, 1, 0.0, elsewhere=False)
    assert w.quarantined == 1
    assert w.live_position() == 1


def test_of_several_that_are_blamed_each_is_tried_alone() -> None:
    w = window(5)
    for sequence in (1, 2, 3):
        w.mark_sent(sequence, sequence)
    assert w.connection_lost(0.0, blame=True) is None
    w.connected(5, 3, 0.0, elsewhere=False)
    w.mark_sent(11, w.due_for_resend(0.0)[0])
    w.acknowledge(11, TAKEN, 0.0)
    assert (w.room, w.due_for_resend(0.0)) == (1, [2])
    w.mark_sent(12, 2)
    assert w.connection_lost(0.0, blame=True) == 2
    w.connected(5, 3, 0.0, elsewhere=False)
    assert w.due_for_resend(0.0) == [3]
    w.mark_sent(13, 3)
    w.acknowledge(13, TAKEN, 0.0)
    assert (w.delivered, w.quarantined, w.room) == (1, 1, 5)


def test_what_one_broker_refused_another_is_asked_at_once() -> None:
    w = window(5)
    w.mark_sent(1, 1)
    w.acknowledge(1, ASIDE, 0.0)
    w.connected(5, 1, 1.0, elsewhere=False)
    assert w.due_for_resend(1.0) == []
    w.connected(5, 1, 2.0, elsewhere=True)
    assert w.due_for_resend(2.0) == [1]


def test_while_a_backlog_drains_what_is_recorded_goes_first() -> None:
    w = window(4)
    w.connected(4, 1000, 0.0, elsewhere=False)
    assert (w.live_position(), w.backlog()) == (1000, (0, 1000))
    w.mark_sent(1, 1)
    w.acknowledge(1, TAKEN, 0.0)
    w.mark_sent(2, 1001)
    w.acknowledge(2, TAKEN, 0.0)
    assert (w.live_position(), w.backlog(), w.delivered, w.depth(1002)) == (
        1001,
        (1, 1000),
        1,
        1000,
    )
    for sequence in range(2, 1001):
        w.mark_sent(sequence + 5, sequence)
        w.acknowledge(sequence + 5, TAKEN, 0.0)
    assert (w.live_position(), w.delivered, w.depth(1002)) == (1001, 1001, 1)


class Model:
    """A window, the link's part, and a plain set of what was taken."""

    def __init__(self, size: int, head: int) -> None:
        self.window = window(size)
        self.size, self.head = size, head
        self.taken: set[int] = set()
        self.flying: dict[int, int] = {}
        self.mid = 0
        self.now = 0.0
        self.window.connected(size, head, 0.0, elsewhere=False)

    def fill(self) -> None:
        self.now += 1.0
        w = self.window
        if w.refused:
            w.resume()
        while w.room > 0:
            front, end = w.backlog()
            newest = [w.live_position() + 1] if w.live_position() < self.head else []
            backlog = [front + 1] if front < end else []
            candidates = [*w.due_for_resend(self.now), *newest, *backlog]
            if not candidates:
                break
            self.mid += 1
            assert candidates[0] not in self.flying.values()
            self.flying[self.mid] = candidates[0]
            w.mark_sent(self.mid, candidates[0])
        self.check()

    def answer(self, which: int, remedy: Action) -> None:
        if self.flying:
            mid = sorted(self.flying)[which % len(self.flying)]
            sequence = self.flying.pop(mid)
            if remedy is TAKEN:
                self.taken.add(sequence)
            self.window.acknowledge(mid, remedy, self.now)
        self.check()

    def lose(self, *, blame: bool, elsewhere: bool) -> None:
        self.flying.clear()
        self.window.connection_lost(self.now, blame=blame)
        self.window.connected(self.size, self.head, self.now, elsewhere=elsewhere)
        self.check()

    def check(self) -> None:
        assert self.window.in_flight == len(self.flying) <= self.size
        assert set(range(1, self.window.delivered + 1)) <= self.taken
        assert self.window.depth(self.head) == self.head - len(self.taken)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([TAKEN, TAKEN, AGAIN, ASIDE, BLAME, None])),
        max_size=80,
    ),
    st.integers(1, 5),
    st.integers(0, 40),
)
def test_nothing_counts_as_delivered_that_was_not_taken_and_nothing_is_forgotten(
    answers: list[tuple[int, Action | None]], size: int, head: int
) -> None:
    """None is a lost connection."""
    model = Model(size, head)
    for which, remedy in answers:
        model.head += which % 2
        model.fill()
        if remedy is None:
            model.lose(blame=which > 5, elsewhere=which == 9)
        else:
            model.answer(which, remedy)
    for _ in range(20 * model.head + 100):  # a broker that takes everything gets everything
        model.now += 100.0
        model.fill()
        for _ in range(model.window.in_flight):
            model.answer(0, TAKEN)
    assert model.window.delivered == model.head
