"""The session as a table: state and sign in, next state, cue and event out.

Rules

1. One face is followed at a time: the leading one. A new leading face is noticed in its second
   frame. When the followed face is out of sight for `leave_after`, it has left.
2. Nobody is credited for somebody else. A person is known after `agreeing_frames` judged frames
   of one face that, joined, match them, near enough and ahead of the runner-up (without a second
   person in the roster, the best is ahead). From then on the attempt belongs to this
   track and this person: another leading face, or one frame that shows another person, and it
   starts over.
3. A face is unknown after `unknown_frames` judged frames that did not make a person known. That
   is one event a track, and at most one in 10 s, whatever the tracker does. The search goes on
   quietly, so a person taken for a stranger at first is still known later.
4. A frame with a quality problem decides nothing. The same problem for 0.7 s brings a hint, every
   3 s at most and three times at most, and never a refusal.
5. What is wanted of a known person comes at a random moment, up to `prompt_delay` later, so that
   a replayed smile does not answer it. A smile counts in a frame in which the face is surely the
   same person, at or above `smile_threshold`, and `smile_rise` points above the lowest score of
   this person's last 2 s (anew after half a second without a sure frame, and after two frames in a
   row in which the face cannot be judged: `LOST`). It must have begun (been a third of the way)
   more than `reaction` after the prompt, and the mouth must have moved by `motion` as no photo does
   that is moved, turned or bent (`motion`), and not by a leap, most of its way within 0.15 s, as an
   exchanged photo does (`LEAP`). Somebody who smiles already when asked only has to smile more, or
   to stop and smile again; after 2 s without either a hint says that something is still wanted.
6. No smile within `smile_timeout` is a refusal with the person's id. A face that stays is asked
   again after 10 s, three times in all.
7. Exempt people see what everybody sees: the wait, the prompt, its level rising by itself for
   `exempt_pause`, and then they are recorded in the next frame that is surely them.
8. RECORDED is shown only after Stored. Without an answer for 2 s, or after StoreFailed, the unit is
   out of order for this person.
9. A person has one record in `cool_down`. It counts from the event, ends at once with
   StoreFailed, and while the answer is open the person is told neither "recorded" nor
   "already recorded".
10. Several faces about equally near, in two frames in a row: no identity, no event. A leading
    face that is too far away is not near.
11. Someone who leaves before an end was not there: no event.
12. Every state with a face in it ends by a decision, by the time-out in LASTS, or by the face
    leaving. A clock that steps back is taken to have stood still, and time goes on from there.
13. While a network judges liveness, nobody is recorded without `liveness.frames` judged frames of
    this person on this track, whose mean (without the highest and the lowest, of the last 30)
    reaches `liveness.threshold`: exempt people and units that ask nobody to smile are no
    exception. Twice as many frames with a mean below it are a refusal with the person's id, which
    rests as one without a smile does, and counts as one of the three.

A sign is what one stimulus means, with what is remembered of the face (`session`). Signs that
change nothing in a state are IGNORED, signs that cannot occur are left out, and `rule_for`
refuses them: a defect, not something a person did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge.attendance.policy import REST_S, STORE_WAIT_S
from edge.types import Cue, CueName, Reason


class State(StrEnum):
    """Where the attempt in front of the unit stands."""

    NOBODY = "nobody"
    NOTICED = "noticed"
    UNKNOWN = "unknown"
    KNOWN = "known"
    ASKED = "asked"
    PAUSED = "paused"
    RECORDING = "recording"
    DONE = "done"
    REFUSED = "refused"
    SEVERAL = "several"
    FAULTY = "faulty"


class Sign(StrEnum):
    """What a stimulus means."""

    EMPTY = "empty"
    LEFT = "left"
    FACE = "face"
    CROWD = "crowd"
    HINT = "hint"
    SAME = "same"
    STRANGER = "stranger"
    STRANGER_AGAIN = "stranger-again"
    KNOWN = "known"
    ASK = "ask"
    EXEMPT = "exempt"
    ALREADY = "already"
    UNANSWERED = "unanswered"
    ANOTHER = "another"
    SMILE = "smile"
    READY = "ready"
    SPOOF = "spoof"
    STORED = "stored"
    STORED_AWAY = "stored-away"
    FAILED = "failed"
    TIMEOUT = "time-out"
    FAULT = "fault"
    MENDED = "mended"
    NOTHING = "nothing"


STATES: Mapping[State, str] = {
    State.NOBODY: "no face is followed",
    State.NOTICED: "a face leads, and nobody knows yet who it is",
    State.UNKNOWN: "not known so far; the search goes on",
    State.KNOWN: "known; what is wanted comes at a random moment",
    State.ASKED: "known, a smile is wanted",
    State.PAUSED: "known and exempt; looks like asked",
    State.RECORDING: "the event is on its way to the disk",
    State.DONE: "told the outcome; waiting for the face to leave",
    State.REFUSED: "told that no smile, or no living person, was seen; rests, then may try again",
    State.SEVERAL: "faces equally near; waiting for one to lead",
    State.FAULTY: "the unit cannot do its work",
}

SIGNS: Mapping[Sign, str] = {
    Sign.EMPTY: "the followed face, or any face, is not in this frame",
    Sign.LEFT: "it has not been in view for `leave_after`",
    Sign.FACE: "another face leads, for the second frame",
    Sign.CROWD: "several faces equally near, for the second frame",
    Sign.HINT: "the same problem for long enough to tell",
    Sign.SAME: "the followed face is in view; nothing is decided",
    Sign.STRANGER: "enough judged frames, and nobody known",
    Sign.STRANGER_AGAIN: "the same, already recorded for this track or less than 10 s ago",
    Sign.KNOWN: "enough frames agree on a person",
    Sign.ASK: "the random wait is over, and this person is asked to smile",
    Sign.EXEMPT: "the random wait is over, and this person is exempt",
    Sign.ALREADY: "enough frames agree on a person with a record in `cool_down`",
    Sign.UNANSWERED: "the same, and whether that record is stored is not known",
    Sign.ANOTHER: "one frame shows another person than before",
    Sign.SMILE: "a smile that counts, surely of this person, who looks alive",
    Sign.READY: "no smile is wanted, no pause is left; it is surely this person, who looks alive",
    Sign.SPOOF: "enough frames look like a photo or a screen",
    Sign.STORED: "the event is durable",
    Sign.STORED_AWAY: "the event is durable, and the broker is away",
    Sign.FAILED: "the event could not be stored",
    Sign.TIMEOUT: "the state lasted as long as it may",
    Sign.FAULT: "the unit cannot do its work",
    Sign.MENDED: "the unit can do its work again",
    Sign.NOTHING: "nothing for the attempt in hand",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What one sign does in one state."""

    to: State
    cue: Cue | None = None  # the level of SMILE_ASKED is filled in by the session
    event: Reason | None = None  # the attempt ends so
    anew: bool = False  # what was learned of the followed face's person is forgotten


def _to(state: State, name: CueName | None = None, level: float = 0.0) -> Rule:
    return Rule(state, None if name is None else Cue(name, level))


_AWAY = _to(State.NOBODY, CueName.IDLE)
_NOTICED = _to(State.NOTICED, CueName.NOTICED)
_AGAIN = Rule(State.NOTICED, Cue(CueName.NOTICED), anew=True)
_SEVERAL = _to(State.SEVERAL, CueName.SEVERAL)
_BROKEN = _to(State.DONE, CueName.OUT_OF_ORDER, 1.0)
_ASKED = _to(State.ASKED, CueName.SMILE_ASKED)
_PAUSED = _to(State.PAUSED, CueName.SMILE_ASKED)
_FAULT = _to(State.FAULTY, CueName.OUT_OF_ORDER)
_FAULT_HEARD = _to(State.FAULTY, CueName.OUT_OF_ORDER, 1.0)

# What becomes of a face as soon as its person is known.
_IDENTITY = {
    Sign.KNOWN: _to(State.KNOWN),
    Sign.ALREADY: _to(State.DONE, CueName.ALREADY_RECORDED),
    Sign.UNANSWERED: _BROKEN,
}
_ACCEPTED = Rule(State.RECORDING, event=Reason.ACCEPTED)
_SUSPECTED = Rule(State.REFUSED, Cue(CueName.SPOOF), Reason.SPOOF)
# What can happen to every followed face.
_FOLLOWED = {
    Sign.FACE: _NOTICED,
    Sign.CROWD: _SEVERAL,
    Sign.LEFT: _AWAY,
    Sign.FAULT: _FAULT_HEARD,
}

TABLE: Mapping[State, Mapping[Sign, Rule]] = {
    State.NOBODY: {
        Sign.EMPTY: _AWAY,
        Sign.FACE: _NOTICED,
        Sign.CROWD: _SEVERAL,
        Sign.FAULT: _FAULT,
    },
    State.NOTICED: {
        **_FOLLOWED,
        **_IDENTITY,
        Sign.HINT: _to(State.NOTICED, CueName.HINT),
        Sign.STRANGER: Rule(State.UNKNOWN, Cue(CueName.NOT_KNOWN), Reason.NOT_KNOWN),
        Sign.STRANGER_AGAIN: _to(State.UNKNOWN, CueName.NOT_KNOWN),
    },
    State.UNKNOWN: {
        **_FOLLOWED,
        **_IDENTITY,
        Sign.HINT: _to(State.UNKNOWN, CueName.HINT),
    },
    State.KNOWN: {
        **_FOLLOWED,
        Sign.HINT: _to(State.KNOWN, CueName.HINT),
        Sign.ANOTHER: _AGAIN,
        Sign.ASK: _ASKED,
        Sign.EXEMPT: _PAUSED,
        Sign.READY: _ACCEPTED,
        Sign.SPOOF: _SUSPECTED,
        Sign.TIMEOUT: _AGAIN,
    },
    State.ASKED: {
        **_FOLLOWED,
        Sign.SAME: _ASKED,
        Sign.HINT: _to(State.ASKED, CueName.HINT),
        Sign.ANOTHER: _AGAIN,
        Sign.SMILE: _ACCEPTED,
        Sign.SPOOF: _SUSPECTED,
        Sign.TIMEOUT: Rule(State.REFUSED, Cue(CueName.NO_SMILE), Reason.NO_SMILE),
    },
    State.PAUSED: {
        **_FOLLOWED,
        Sign.SAME: _PAUSED,
        Sign.HINT: _to(State.PAUSED, CueName.HINT),
        Sign.ANOTHER: _AGAIN,
        Sign.READY: _ACCEPTED,
        Sign.SPOOF: _SUSPECTED,
        Sign.TIMEOUT: _AGAIN,
    },
    State.RECORDING: {
        Sign.FACE: _NOTICED,
        Sign.FAULT: _FAULT_HEARD,
        Sign.STORED: _to(State.DONE, CueName.RECORDED),
        Sign.STORED_AWAY: _to(State.DONE, CueName.RECORDED_AWAY),
        Sign.FAILED: _BROKEN,
        Sign.TIMEOUT: _BROKEN,
    },
    State.DONE: {
        **_FOLLOWED,
        Sign.ANOTHER: _AGAIN,
    },
    State.REFUSED: {
        **_FOLLOWED,
        Sign.ANOTHER: _AGAIN,
        Sign.TIMEOUT: _AGAIN,
    },
    State.SEVERAL: {
        Sign.LEFT: _AWAY,
        Sign.FACE: _NOTICED,
        Sign.FAULT: _FAULT_HEARD,
    },
    State.FAULTY: {
        Sign.FACE: _FAULT_HEARD,
        Sign.MENDED: _AWAY,
    },
}

_OF_A_FACE = {Sign.HINT, Sign.SAME}  # signs of every frame of a followed face

IGNORED: Mapping[State, frozenset[Sign]] = {
    State.NOBODY: frozenset({Sign.NOTHING, Sign.MENDED}),
    State.NOTICED: frozenset({Sign.NOTHING, Sign.MENDED, Sign.EMPTY, Sign.SAME}),
    State.UNKNOWN: frozenset(
        {Sign.NOTHING, Sign.MENDED, Sign.EMPTY, Sign.SAME, Sign.STRANGER_AGAIN}
    ),
    State.KNOWN: frozenset({Sign.NOTHING, Sign.MENDED, Sign.EMPTY, Sign.SAME}),
    State.ASKED: frozenset({Sign.NOTHING, Sign.MENDED, Sign.EMPTY}),
    State.PAUSED: frozenset({Sign.NOTHING, Sign.MENDED, Sign.EMPTY}),
    # The answer comes within 2 s: until then only another face takes the attempt away.
    State.RECORDING: frozenset(
        {Sign.NOTHING, Sign.MENDED, Sign.EMPTY, Sign.LEFT, Sign.CROWD, Sign.ANOTHER} | _OF_A_FACE
    ),
    State.DONE: frozenset({Sign.NOTHING, Sign.MENDED, Sign.EMPTY} | _OF_A_FACE),
    State.REFUSED: frozenset({Sign.NOTHING, Sign.MENDED, Sign.EMPTY} | _OF_A_FACE),
    State.SEVERAL: frozenset({Sign.NOTHING, Sign.MENDED, Sign.EMPTY, Sign.CROWD}),
    State.FAULTY: frozenset(
        {Sign.NOTHING, Sign.FAULT, Sign.EMPTY, Sign.LEFT, Sign.CROWD, Sign.ANOTHER}
        | {Sign.STRANGER, Sign.STRANGER_AGAIN}
        | _OF_A_FACE
        | _IDENTITY.keys()
    ),
}

# How long a state may last: the setting of this name, or seconds.
LASTS: Mapping[State, str | float] = {
    State.KNOWN: "smile_timeout",
    State.ASKED: "smile_timeout",
    State.PAUSED: "smile_timeout",
    State.RECORDING: STORE_WAIT_S,
    State.REFUSED: REST_S,
}


class IllegalSign(AssertionError):
    """A sign came in a state in which it cannot come: a defect of the session."""


def rule_for(state: State, sign: Sign) -> Rule:
    """Return what `sign` does in `state`. Raises IllegalSign."""
    if (rule := TABLE[state].get(sign)) is not None:
        return rule
    if sign in IGNORED[state]:
        return Rule(state)
    raise IllegalSign(f"no rule for sign {sign} in state {state}; this is a defect, report it")
