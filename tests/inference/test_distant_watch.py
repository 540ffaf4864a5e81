import itertools

import numpy as np

from edge.inference.distant_watch import (
    AGAIN_NS,
    EARN_NS,
    FOLLOW_NS,
    GAP_NS,
    KEEP_NS,
    SAVED,
    STILL_NS,
    DistantWatch,
)
from edge.types import Box, Bytes2D

SECOND = 1_000_000_000
FRAME_NS = SECOND // 8
FACE = Box(600, 400, 50, 50)


def room(shift: int = 0, height: int = 240, width: int = 320) -> Bytes2D:
    """A grey room, a person with a head of a twenty-fifth of its width somewhere in it."""
    luma = np.full((height, width), 90, np.uint8)
    luma[100:113, 100 + shift : 113 + shift] = 180
    luma[113:160, 92 + shift : 121 + shift] = 40
    return luma


def looks(
    seconds: float, *, moving: bool, watch: DistantWatch | None = None, start: float = 0
) -> list[int]:
    """Return the times of all looks at a room in which no face is found."""
    watch = watch or DistantWatch()
    times = []
    for number in range(round(seconds * SECOND / FRAME_NS)):
        now, luma = round(start * SECOND) + number * FRAME_NS, room(number % 50 if moving else 0)
        if watch.due(luma, now):
            watch.looked(luma, now, None)
            times.append(now)
    return times


def test_the_first_frame_is_looked_at() -> None:
    assert DistantWatch().due(room(), 0)


def test_a_still_room_is_looked_at_now_and_then() -> None:
    times = looks(60, moving=False)
    assert 1 < len(times) <= 60 * SECOND / STILL_NS + 1
    assert min(b - a for a, b in itertools.pairwise(times)) >= STILL_NS


def test_somebody_who_moves_is_looked_at_at_once_and_then_within_the_ration() -> None:
    times = looks(120, moving=True)
    first = [at for at in times if at < SAVED * GAP_NS]
    assert len(first) >= SAVED / 2
    assert min(b - a for a, b in itertools.pairwise(times)) >= GAP_NS
    assert len(times) <= SAVED + 1 + 120 * SECOND / EARN_NS


def test_the_ration_is_saved_up_again_in_a_still_room() -> None:
    watch = DistantWatch()
    looks(120, moving=True, watch=watch)
    assert len(looks(20, moving=True, watch=watch, start=120)) <= 20 * SECOND / EARN_NS + 1
    looks(2 * SAVED * EARN_NS / SECOND, moving=False, watch=watch, start=140)
    later = 140 + 2 * SAVED * EARN_NS / SECOND
    assert len(looks(SAVED * GAP_NS / SECOND, moving=True, watch=watch, start=later)) >= SAVED / 2


def test_noise_is_no_change() -> None:
    watch, numbers = DistantWatch(), np.random.default_rng(1)

    def noisy() -> Bytes2D:
        luma: Bytes2D = np.clip(room() + numbers.normal(0, 8, room().shape), 0, 255).astype(
            np.uint8
        )
        return luma

    watch.looked(noisy(), 0, None)
    assert not watch.due(noisy(), 2 * GAP_NS)
    assert watch.due(room(16), 2 * GAP_NS)


def test_another_size_of_the_small_picture_is_a_change() -> None:
    watch = DistantWatch()
    watch.looked(room(), 0, None)
    assert watch.due(room(height=320, width=240), GAP_NS)


def test_a_distant_face_is_kept_and_looked_at_again() -> None:
    watch = DistantWatch()
    watch.looked(room(), 0, FACE)
    assert watch.face(KEEP_NS - 1) == FACE
    assert not watch.due(room(), AGAIN_NS - 1)
    assert watch.due(room(), AGAIN_NS)
    watch.looked(room(), AGAIN_NS, None)
    assert watch.face(KEEP_NS) is None


def test_a_face_that_was_judged_is_followed_frame_by_frame() -> None:
    watch = DistantWatch()
    watch.looked(room(), 0, FACE)
    watch.judged(FRAME_NS)
    assert watch.face(FRAME_NS) is None
    assert watch.due(room(), 2 * FRAME_NS)
    watch.looked(room(), 2 * FRAME_NS, None)
    assert watch.due(room(), 3 * FRAME_NS)
    assert not watch.due(room(), 2 * FRAME_NS + FOLLOW_NS)


def test_a_clock_that_steps_back_is_no_reason_to_stop() -> None:
    watch = DistantWatch()
    watch.looked(room(), 60 * SECOND, None)
    assert watch.due(room(), SECOND)
