from hypothesis import given
from hypothesis import strategies as st

from edge.inference.tracker import Tracker
from edge.types import Box

FRAME_NS = 66_000_000


def box(x: float, y: float = 100, width: float = 100) -> Box:
    return Box(x, y, width, width)


def test_face_that_moves_a_little_keeps_its_number() -> None:
    tracker = Tracker()
    numbers = {tracker.update([box(100 + 20 * i)], i * FRAME_NS)[0] for i in range(10)}
    assert len(numbers) == 1


def test_face_that_jumps_is_another() -> None:
    tracker = Tracker()
    assert tracker.update([box(0)], 0) != tracker.update([box(400)], FRAME_NS)


def test_face_that_grows_at_once_is_another() -> None:
    tracker = Tracker()
    assert tracker.update([box(100)], 0) != tracker.update([box(50, 50, 200)], FRAME_NS)


def test_two_faces_keep_their_numbers_in_whichever_order_they_come() -> None:
    tracker = Tracker()
    left, right = tracker.update([box(100), box(300)], 0)
    assert tracker.update([box(310), box(95)], FRAME_NS) == (right, left)


def test_nearest_wins_and_the_other_is_new() -> None:
    tracker = Tracker()
    (first,) = tracker.update([box(100)], 0)
    near, far = tracker.update([box(105), box(140)], FRAME_NS)
    assert near == first
    assert far != first


def test_track_survives_two_missed_frames_and_not_three() -> None:
    for missed, same in ((1, True), (2, True), (3, False)):
        tracker = Tracker()
        (first,) = tracker.update([box(100)], 0)
        for i in range(missed):
            tracker.update([], (i + 1) * FRAME_NS)
        (again,) = tracker.update([box(100)], (missed + 1) * FRAME_NS)
        assert (again == first) is same


def test_after_a_long_gap_anybody_may_stand_there() -> None:
    tracker = Tracker()
    assert tracker.update([box(100)], 0) != tracker.update([box(100)], 2_000_000_000)


def test_time_that_runs_backwards_starts_anew() -> None:
    tracker = Tracker()
    assert tracker.update([box(100)], 5 * FRAME_NS) != tracker.update([box(100)], 0)


def test_alive_names_what_may_still_come_back() -> None:
    tracker = Tracker()
    (first,) = tracker.update([box(100)], 0)
    for i in range(2):
        tracker.update([], (i + 1) * FRAME_NS)
        assert tracker.alive == {first}
    tracker.update([], 3 * FRAME_NS)
    assert tracker.alive == frozenset()


@given(
    st.lists(
        st.lists(st.builds(box, st.floats(0, 600), st.floats(0, 400), st.floats(0, 200))),
        max_size=12,
    )
)
def test_numbers_are_distinct_and_never_come_back(frames: list[list[Box]]) -> None:
    tracker = Tracker()
    gone: set[int] = set()
    seen: set[int] = set()
    for i, boxes in enumerate(frames):
        numbers = tracker.update(boxes, i * FRAME_NS)
        assert len(set(numbers)) == len(boxes)
        assert not gone & set(numbers)
        assert set(numbers) <= tracker.alive
        seen |= set(numbers)
        gone = seen - tracker.alive
