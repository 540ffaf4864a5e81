"""The judgements that the table rests on, each a few lines; times are monotonic nanoseconds."""

from dataclasses import dataclass, field

from edge.settings import AttendanceSettings, RosterSettings
from edge.types import Match, Problem, Sighting, View

NOTICE_FRAMES = 2  # a face, or several, in one frame may be a mistake of the detector
STORE_WAIT_S = 2.0  # for Stored or StoreFailed; a commit takes milliseconds
REST_S = 10.0  # after a refusal, before a face that stays is asked again
TRIES = 3  # prompts for one track
STRANGER_GAP_S = 10.0  # between two not-known events, should the tracker lose and find a face
HINT_AFTER_S = 0.7  # of the same problem; people are still walking before
HINT_AGAIN_S = 3.0
HINTS = 3  # then it stays quiet, for someone who works beside the unit
STUCK_S = 2.0  # of a smile that does not count


def ns(seconds: float) -> int:
    """Seconds as nanoseconds."""
    return round(seconds * 1e9)


def agrees(match: Match | None, roster: RosterSettings) -> bool:
    """Whether the best match is near enough and clearly ahead of the runner-up."""
    if match is None or not match.similarity >= roster.threshold:
        return False
    return match.margin is None or match.margin >= roster.margin


def several(view: View, ratio: float) -> bool:
    """Whether the second face is about as near as the leading one, and that one is near."""
    if len(view.sightings) < 2:
        return False
    first, second = view.sightings[:2]
    if first.quality is not None and first.quality.problem is Problem.TOO_FAR:
        return False
    return second.box.width >= ratio * first.box.width


@dataclass(slots=True)
class Identity:
    """Who the judged frames of one face agree on."""

    judged: int = 0
    streak: int = 0  # frames in a row that agree
    person: str | None = None  # whom the streak is about

    def add(self, match: Match | None, roster: RosterSettings) -> None:
        self.judged += 1
        if match is None or not agrees(match, roster):
            self.streak, self.person = 0, None
        elif match.person == self.person:
            self.streak += 1
        else:
            self.streak, self.person = 1, match.person

    def known(self, rules: AttendanceSettings) -> str | None:
        return self.person if self.streak >= rules.agreeing_frames else None

    def unknown(self, rules: AttendanceSettings) -> bool:
        """Whether to stop waiting; a streak under way is given the frames to end."""
        patience = rules.unknown_frames + (rules.agreeing_frames if self.streak else 0)
        return self.judged >= patience


@dataclass(slots=True)
class Prompt:
    """One time that a smile was asked, and the scores seen since."""

    captured_ns: int  # of the frame in which it was asked
    lowest: float | None  # of the frames that are surely this person
    highest: float = 0.0

    def counts(self, score: float, captured_ns: int, rules: AttendanceSettings) -> bool:
        """Whether this score is a smile that began, or widened, after the prompt."""
        self.lowest = score if self.lowest is None else min(score, self.lowest)
        self.highest = max(score, self.highest)
        return (
            captured_ns > self.captured_ns
            and score >= rules.smile_threshold
            and score - self.lowest >= rules.smile_rise
        )


@dataclass(slots=True)
class Hints:
    """When a lasting problem of one face is worth a hint."""

    what: str | None = None
    since_ns: int = 0
    last_ns: int | None = None
    given: int = 0

    def due(self, what: str | None, after_s: float, now: int) -> bool:
        """Note the problem of this frame, None for no problem; whether to tell of it now."""
        if what is None:
            self.given = 0
        if what != self.what:
            self.what, self.since_ns = what, now
        if what is None or self.given >= HINTS or now - self.since_ns < ns(after_s):
            return False
        if self.last_ns is not None and now - self.last_ns < ns(HINT_AGAIN_S):
            return False
        self.last_ns = now
        self.given += 1
        return True


@dataclass(slots=True)
class Face:
    """The followed face: one track, and what was learned of the person."""

    track: int
    frames: int = 0
    identity: Identity = field(default_factory=Identity)
    hints: Hints = field(default_factory=Hints)
    person: str | None = None  # once known
    match: Match | None = None  # of the last judged frame; once known, of the last sure one
    smile: float | None = None  # the last score of the same frames
    prompt: Prompt | None = None
    tries: int = 0  # prompts so far
    told_unknown: bool = False

    def look(self, sighting: Sighting, roster: RosterSettings) -> None:
        """Learn from a judged frame while the person is not known."""
        self.identity.add(sighting.match, roster)
        self.match, self.smile = sighting.match, sighting.smile

    def start_over(self) -> None:
        """Forget the person; the track and what it was told stay."""
        self.identity = Identity()
        self.person = self.match = self.smile = self.prompt = None


class Records:
    """Who was recorded lately. Holds at most the people recorded within one cool-down."""

    def __init__(self, cool_down_s: float) -> None:
        self._cool_down = ns(cool_down_s)
        self._at: dict[str, int] = {}  # person -> when; oldest first
        self._open: dict[int, str] = {}  # ref -> person, while the disk has not answered

    def add(self, ref: int, person: str, now: int) -> None:
        self._at[person] = now
        self._open[ref] = person

    def stored(self, ref: int) -> None:
        self._open.pop(ref, None)

    def failed(self, ref: int) -> None:
        if (person := self._open.pop(ref, None)) is not None:
            del self._at[person]

    def lately(self, person: str, now: int) -> bool:
        return person in self._at and now - self._at[person] < self._cool_down

    def unanswered(self, person: str) -> bool:
        return person in self._open.values()

    def expire(self, now: int) -> None:
        """Forget what the cool-down no longer covers."""
        while self._at:
            person = next(iter(self._at))
            if now - self._at[person] < self._cool_down:
                return
            del self._at[person]
            self._open = {ref: who for ref, who in self._open.items() if who != person}
