import random

from hypothesis import given
from hypothesis import strategies as st

from edge.mqtt.backoff import Backoff
from edge.mqtt.window import Window


def test_delivered_moves_only_over_an_unbroken_run() -> None:
    window = Window(3, 10)
    for mid, sequence in ((1, 11), (2, 12), (3, 13)):
        window.send(mid, sequence)
    assert window.room == 0
    window.answer(2, taken=True)
    assert window.delivered == 10
    window.answer(1, taken=True)
    assert window.delivered == 12
    assert (window.room, window.flying, window.last) == (2, 1, 13)


def test_after_a_refusal_one_event_is_tried_and_then_the_full_window() -> None:
    window = Window(5, 0)
    window.send(1, 1)
    window.send(2, 2)
    window.answer(1, taken=False)
    assert (window.room, window.refused) == (0, False)
    window.answer(2, taken=True)
    assert (window.room, window.refused, window.delivered) == (0, True, 0)
    window.again()
    assert (window.room, window.last) == (1, 0)
    window.send(3, 1)
    assert window.room == 0
    window.answer(3, taken=True)
    assert (window.room, window.delivered) == (5, 1)


def test_the_answer_to_another_message_changes_nothing() -> None:
    window = Window(5, 0)
    window.send(1, 1)
    assert not window.answer(9, taken=True)
    assert (window.delivered, window.flying) == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60), st.integers(1, 5))
def test_nothing_counts_as_delivered_that_was_not_taken(
    answers: list[tuple[int, bool]], size: int
) -> None:
    window = Window(size, 0)
    taken: set[int] = set()
    flying: dict[int, int] = {}
    mid = 0
    for which, good in answers:
        while window.room > 0:
            mid += 1
            flying[mid] = window.last + 1
            window.send(mid, flying[mid])
        if flying:
            answered = sorted(flying)[which % len(flying)]
            sequence = flying.pop(answered)
            if good:
                taken.add(sequence)
            window.answer(answered, taken=good)
        if window.refused:
            window.again()
        assert window.flying <= size
        assert set(range(1, window.delivered + 1)) <= taken


def test_back_off_doubles_within_its_bounds_and_begins_anew() -> None:
    random.seed(1)
    backoff = Backoff(0.5, 4.0)
    waits = [backoff.next() for _ in range(6)]
    for wait, top in zip(waits, (0.5, 1.0, 2.0, 4.0, 4.0, 4.0), strict=True):
        assert top / 2 <= wait <= top
    backoff.reset()
    assert backoff.next() <= 0.5
