"""The judgements that the table rests on, each a few lines; times are monotonic nanoseconds."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

from edge.attendance.liveness_window import LivenessWindow
from edge.attendance.motion import motion
from edge.settings import AttendanceSettings, RosterSettings
from edge.types import FaceObservation, Floats, FrameResult, LivenessRules, Match, QualityProblem

NOTICE_FRAMES = 2  # a face, or several, in one frame may be a mistake of the detector
STORE_WAIT_S = 2.0  # for Stored or StoreFailed; a commit takes milliseconds
REST_S = 10.0  # after a refusal, before a face that stays is prompted again
TRIES = 3  # prompts for one track
STRANGER_GAP_S = 10.0  # between two not-known events, should the tracker lose and find a face
HINT_AFTER_S = 0.7  # of the same problem; people are still walking before
HINT_AGAIN_S = 3.0
HINTS = 3  # then no more, because of people who work next to the unit
STUCK_S = 2.0  # of a smile that does not count
RECALL_S = 2.0  # a smile is held against the face as it was so long ago, or later
# Votes if this person was not prompted for a smile.
SILENT: Mapping[str, float | None] = {"motion": None, "onset": None, "continuity": None}
# Of a mouth's way into a smile: no face makes more of it in so short a time, but another photo, put
# in the first one's place, makes all of it (docs/accuracy.md).
LEAP, LEAP_S = 0.67, 0.15
# Between two sure frames: what was before a longer gap, or before more frames in which the face was
# covered, cut off or not found, may be another thing. Behind a hand photos are exchanged.
GAP_S, LOST = 0.5, 1


def seconds_to_ns(seconds: float) -> int:
    """Seconds as nanoseconds."""
    return round(seconds * 1e9)


def match_is_sure(match: Match | None, roster: RosterSettings) -> bool:
    """Whether the best match is near enough and clearly ahead of the runner-up."""
    if match is None or not match.similarity >= roster.required(match.likeness):
        return False
    return match.margin is None or match.margin >= roster.margin


def has_several_people(view: FrameResult, ratio: float) -> bool:
    """Whether the second face is about as near as the leading one, and that one is near."""
    if len(view.sightings) < 2:
        return False
    first, second = view.sightings[:2]
    if first.quality is not None and first.quality.problem is QualityProblem.TOO_FAR:
        return False
    return second.box.width >= ratio * first.box.width


def is_judged_lead(view: FrameResult, track: int) -> bool:
    """Whether the leading face is that one, and was seen well enough to be judged."""
    lead = view.sightings[0] if view.sightings else None
    if lead is None or lead.track != track or lead.quality is None:
        return False
    return lead.quality.problem is None


@dataclass(slots=True)
class IdentityVote:
    """Who the judged frames of one face agree on."""

    judged: int = 0
    streak: int = 0  # frames that speak for the person together, or one after the other
    person: str | None = None  # whom the streak is about

    def add(self, match: Match | None, roster: RosterSettings) -> None:
        self.judged += 1
        if match is None or not match_is_sure(match, roster):
            self.streak, self.person = 0, None
        elif match.person == self.person:
            self.streak = max(self.streak + 1, match.frames)
        else:
            self.streak, self.person = match.frames, match.person

    def known(self, rules: AttendanceSettings) -> str | None:
        return self.person if self.streak >= rules.agreeing_frames else None

    def unknown(self, rules: AttendanceSettings) -> bool:
        """Whether to stop waiting; a streak under way is given the frames to end."""
        patience = rules.unknown_frames + (rules.agreeing_frames if self.streak else 0)
        return self.judged >= patience


@dataclass(frozen=True, slots=True)
class FaceSample:
    """What one frame that is surely this person showed."""

    captured_ns: int
    smile: float  # 0 to 100
    points: Floats | None  # as `FaceObservation.points`

    def moved(self, later: "FaceSample") -> float:
        """Return the mouth's motion since, 0 where one of the two has no points."""
        if self.points is None or later.points is None:
            return 0.0
        return motion(self.points, later.points)


@dataclass(slots=True)
class SampleWindow:
    """The last RECALL_S of one person's frames, without a gap."""

    _looks: deque[FaceSample] = field(default_factory=deque)
    _lost: int = 0

    def lose(self) -> None:
        """Note a frame in which the face could not be judged."""
        self._lost += 1

    def add(self, look: FaceSample) -> None:
        looks = self._looks
        follows = looks and 0 < look.captured_ns - looks[-1].captured_ns <= seconds_to_ns(GAP_S)
        if self._lost > LOST or not follows:
            looks.clear()
        self._lost = 0
        looks.append(look)
        while look.captured_ns - looks[0].captured_ns > seconds_to_ns(RECALL_S):
            looks.popleft()

    @property
    def newest(self) -> FaceSample:
        """The last one added."""
        return self._looks[-1]

    def rest(self) -> FaceSample:
        """Return the frame of the lowest score, the newest where several have it."""
        return min(reversed(self._looks), key=lambda look: look.smile)

    def moved(self, least: float) -> float:
        """Return the mouth's motion from rest to now, in distances between the eyes.

        0 where it is `least` or more, and most of it was made within LEAP_S, or from one frame to
        the next.
        """
        rest = self.rest()
        moved = rest.moved(self.newest)
        if not moved >= least > 0:
            return moved
        way = [look for look in self._looks if look.captured_ns >= rest.captured_ns]
        places = [rest.moved(look) for look in way]
        leap = max(
            places[after] - places[before]
            for before, after in combinations(range(len(way)), 2)
            if after == before + 1
            or way[after].captured_ns - way[before].captured_ns <= seconds_to_ns(LEAP_S)
        )
        return 0.0 if leap > LEAP * moved else moved

    def began_ns(self) -> int:
        """Return when the score was last within a third of the way from its lowest to now's."""
        low = self.rest().smile
        third = low + (self._looks[-1].smile - low) / 3
        return max(look.captured_ns for look in self._looks if look.smile <= third)


@dataclass(slots=True)
class SmilePrompt:
    """One prompt for a smile, and its result."""

    prompted_ns: int  # CLOCK_MONOTONIC
    highest: float = 0.0  # score since
    answered: bool = False  # whether the score rose in answer to it
    moved: float | None = None  # the mouth's motion from rest, eye distances, the most since
    frames: int = 0  # judged since
    sure: int = 0  # of these, frames that were surely this person

    def counts(self, looks: SampleWindow, rules: AttendanceSettings, living: LivenessRules) -> bool:
        """Whether the last of `looks` shows a smile in answer to this prompt."""
        rest, look = looks.rest(), looks.newest
        self.highest = max(look.smile, self.highest)
        moved = looks.moved(living.motion)
        if look.points is not None and rest.points is not None:
            self.moved = max(moved, self.moved or 0.0)
        rose = look.smile - rest.smile >= rules.smile_rise
        answers = looks.began_ns() - self.prompted_ns > seconds_to_ns(living.reaction)
        self.answered = self.answered or (rose and answers)
        return rose and answers and look.smile >= rules.smile_threshold and moved >= living.motion

    def votes(self, living: LivenessRules) -> dict[str, float | None]:
        """Return what speaks for a living person, 0 to 1 each; None where nothing was seen."""
        motion = None
        if self.moved is not None and living.motion > 0:
            motion = min(1.0, self.moved / (2 * living.motion))
        seen = self.frames > 0
        return {
            "motion": motion,  # half is the threshold
            "onset": float(self.answered) if seen else None,
            "continuity": self.sure / self.frames if seen else None,
        }


@dataclass(slots=True)
class HintThrottle:
    """When a lasting problem of one face is worth a hint."""

    what: str | None = None
    since_ns: int = 0
    last_ns: int | None = None
    given: int = 0

    def due(self, what: str | None, after_s: float, now: int) -> bool:
        """Record the problem of this frame (None: none), and return whether to show it now."""
        if what is None:
            self.given = 0
        if what != self.what:
            self.what, self.since_ns = what, now
        if what is None or self.given >= HINTS or now - self.since_ns < seconds_to_ns(after_s):
            return False
        if self.last_ns is not None and now - self.last_ns < seconds_to_ns(HINT_AGAIN_S):
            return False
        self.last_ns = now
        self.given += 1
        return True


@dataclass(slots=True)
class TrackedFace:
    """The followed face: one track, and what was learned of the person."""

    track: int
    frames: int = 0
    identity: IdentityVote = field(default_factory=IdentityVote)
    hints: HintThrottle = field(default_factory=HintThrottle)
    person: str | None = None  # once known
    match: Match | None = None  # of the last judged frame; once known, of the last sure one
    smile: float | None = None  # the last score of the same frames
    looks: SampleWindow = field(default_factory=SampleWindow)  # at this person
    evidence: LivenessWindow = field(default_factory=LivenessWindow)
    prompt: SmilePrompt | None = None
    tries: int = 0  # prompts so far
    reported_unknown: bool = False

    def look(self, sighting: FaceObservation, captured_ns: int, roster: RosterSettings) -> None:
        """Learn from a judged frame while the person is not known."""
        before = self.identity.person
        self.identity.add(sighting.match, roster)
        if self.identity.person != before:
            self.looks, self.evidence = SampleWindow(), LivenessWindow()
        self.evidence.add(sighting.liveness)
        self.match, self.smile = sighting.match, sighting.smile
        if self.identity.person is not None:
            self.recall(sighting, captured_ns)

    def recall(self, sighting: FaceObservation, captured_ns: int) -> None:
        """Keep what a frame that is surely this person shows."""
        if sighting.smile is not None:
            self.looks.add(FaceSample(captured_ns, sighting.smile, sighting.points))

    def start_over(self) -> None:
        """Forget the person; keep the track and what was shown to it."""
        self.identity, self.looks, self.evidence = IdentityVote(), SampleWindow(), LivenessWindow()
        self.person = self.match = self.smile = self.prompt = None


class CooldownRegister:
    """Who was recorded lately. Holds at most the people recorded within one cool-down."""

    def __init__(self, cool_down_s: float) -> None:
        self.use_cool_down(cool_down_s)
        self._at: dict[str, int] = {}  # person -> when; oldest first
        self._open: dict[int, str] = {}  # ref -> person, while the disk has not answered

    def use_cool_down(self, cool_down_s: float) -> None:
        """Take another time."""
        self._cool_down = seconds_to_ns(cool_down_s)

    def add(self, ref: int, person: str, now: int) -> None:
        self._at[person] = now
        self._open[ref] = person

    def stored(self, ref: int) -> None:
        self._open.pop(ref, None)

    def failed(self, ref: int) -> None:
        if (person := self._open.pop(ref, None)) is not None:
            del self._at[person]

    def in_cooldown(self, person: str, now: int) -> bool:
        return person in self._at and now - self._at[person] < self._cool_down

    def pending(self, person: str) -> bool:
        return person in self._open.values()

    def expire(self, now: int) -> None:
        """Forget what the cool-down no longer covers."""
        while self._at:
            person = next(iter(self._at))
            if now - self._at[person] < self._cool_down:
                return
            del self._at[person]
            self._open = {ref: who for ref, who in self._open.items() if who != person}
