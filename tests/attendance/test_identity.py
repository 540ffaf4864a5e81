import pytest

from edge.attendance.policy import IdentityVote, match_is_sure
from edge.settings import AttendanceSettings, RosterLimits, RosterSettings
from edge.types import Match

RULES, ROSTER = AttendanceSettings(agreeing_frames=3), RosterSettings(threshold=0.6, margin=0.1)


def seen(*matches: tuple[str, float, int]) -> IdentityVote:
    """Return what frames of (person, similarity, frames joined) agree on."""
    identity = IdentityVote()
    for person, similarity, frames in matches:
        identity.add(Match(person, similarity, 0.2, frames), ROSTER)
    return identity


@pytest.mark.parametrize(
    ("matches", "known"),
    [
        ([("ani", 0.7, 1), ("ani", 0.7, 2)], None),
        ([("ani", 0.7, 1), ("ani", 0.7, 2), ("ani", 0.7, 3)], "ani"),
        # The first frames alone were not near enough; with the third they are.
        ([("ani", 0.5, 1), ("ani", 0.5, 2), ("ani", 0.7, 3)], "ani"),
        ([("ani", 0.5, 1), ("ani", 0.5, 2), ("ani", 0.5, 3)], None),
        # Somebody else took the place: the frames before say nothing of them.
        ([("ani", 0.7, 1), ("ani", 0.7, 2), ("budi", 0.7, 1)], None),
        ([("ani", 0.7, 2), ("budi", 0.7, 1), ("budi", 0.7, 2)], None),
        # Frames that are not joined still count one by one.
        ([("ani", 0.7, 1), ("ani", 0.7, 1), ("ani", 0.7, 1)], "ani"),
    ],
)
def test_joined_frames_speak_together(
    matches: list[tuple[str, float, int]], known: str | None
) -> None:
    assert seen(*matches).known(RULES) == known


@pytest.mark.parametrize(
    ("likeness", "similarity", "known"),
    [
        (0.4, 0.65, True),
        (0.4, 0.59, False),
        (0.8, 0.75, False),
        (0.8, 0.85, True),
        (2.0, 0.91, True),
        (None, 0.71, True),
        (None, 0.69, False),
    ],
)
def test_a_match_like_others_must_be_nearer(
    likeness: float | None, similarity: float, known: bool
) -> None:
    limits = RosterLimits(threshold=0.7, max_threshold=0.9, least=0.6, base=0.2, weight=0.75)
    match = Match("ani", similarity, 0.2, likeness=likeness)
    assert match_is_sure(match, limits) is known
