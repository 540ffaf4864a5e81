"""The session as a table: state and sign in, next state, cue and event out.

Rules

1. One face is followed at a time: the leading one. A new leading face is noticed in its second
   frame. When the followed face is out of sight for `leave_after`, it has left. A face too
   distant to be judged is not followed: it only makes the idle light blip every second.
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
   this person's last 2 s (starting again after half a second without a sure frame, and after two
   frames in a row in which the face cannot be judged: `LOST`). It must have begun (been a third of
   the way) more than `reaction` after the prompt, and the mouth must have moved by `motion` as no
   photo does that is moved, turned or bent (`motion`), and not by a leap, most of its way within
   0.15 s, as an exchanged photo does (`LEAP`). Somebody who already smiles at the prompt has to
   smile more, or to stop and smile again; after 2 s without either a hint says so.
6. No smile within `smile_timeout` is a refusal with the person's id. A face that stays is asked
   again after 10 s, three times in all.
7. Exempt people see what everybody sees: the wait, the prompt, its level rising by itself for
   `exempt_pause`, and then they are recorded in the next frame that is surely them.
8. RECORDED is shown only after Stored. Without an answer for 2 s, or after StoreFailed, the unit is
   out of order for this person.
9. A person has one record in `cool_down`. It counts from the event, ends at once with
   StoreFailed, and until the answer arrives the panel shows neither "recorded" nor
   "already recorded".
10. Several faces about equally near, in two frames in a row: no identity, no event. A leading
    face that is too far away is not near.
11. Someone who leaves before an end was not there: no event.
12. Every state with a face in it ends by a decision, by the time-out in LASTS, or by the face
    leaving. A clock that steps back is taken to have stood still, and time goes on from there.
13. While a network judges liveness, nobody is recorded without enough judged frames of
    this person on this track, whose mean (without the highest and the lowest, of the last 30)
    reaches the threshold of the models: exempt people and units that ask nobody to smile are no
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
    EXEMPT_WAIT = "paused"
    RECORDING = "recording"
    DONE = "done"
    REFUSED = "refused"
    SEVERAL = "several"
    FAULTY = "faulty"


class Trigger(StrEnum):
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
    STORED_OFFLINE = "stored-away"
    FAILED = "failed"
    TIMEOUT = "time-out"
    FAULT = "fault"
    RECOVERED = "mended"
    NOTHING = "nothing"


STATES: Mapping[State, str] = {
    State.NOBODY: "no face is followed",
    State.NOTICED: "a face leads, and nobody knows yet who it is",
    State.UNKNOWN: "not known so far; the search goes on",
    State.KNOWN: "known; what is wanted comes at a random moment",
    State.ASKED: "known, a smile is wanted",
    State.EXEMPT_WAIT: "known and exempt; shows the same as asked",
    State.RECORDING: "the event is on its way to the disk",
    State.DONE: "the outcome is shown; waiting for the face to leave",
    State.REFUSED: "no smile, or no living person, was seen; waits, then allows another try",
    State.SEVERAL: "faces equally near; waiting for one to lead",
    State.FAULTY: "the unit cannot do its work",
}

SIGNS: Mapping[Trigger, str] = {
    Trigger.EMPTY: "the followed face, or any face, is not in this frame",
    Trigger.LEFT: "it has not been in view for `leave_after`",
    Trigger.FACE: "another face leads, for the second frame",
    Trigger.CROWD: "several faces equally near, for the second frame",
    Trigger.HINT: "the same problem for long enough to show it",
    Trigger.SAME: "the followed face is in view; nothing is decided",
    Trigger.STRANGER: "enough judged frames, and nobody known",
    Trigger.STRANGER_AGAIN: "the same, already recorded for this track or less than 10 s ago",
    Trigger.KNOWN: "enough frames agree on a person",
    Trigger.ASK: "the random wait is over, and this person is prompted to smile",
    Trigger.EXEMPT: "the random wait is over, and this person is exempt",
    Trigger.ALREADY: "enough frames agree on a person with a record in `cool_down`",
    Trigger.UNANSWERED: "the same, and whether that record is stored is not known",
    Trigger.ANOTHER: "one frame shows another person than before",
    Trigger.SMILE: "a smile that counts, surely of this person, who looks alive",
    Trigger.READY: "no smile is wanted and no pause is left; surely this person, who looks alive",
    Trigger.SPOOF: "enough frames look like a photo or a screen",
    Trigger.STORED: "the event is durable",
    Trigger.STORED_OFFLINE: "the event is durable, and the broker is away",
    Trigger.FAILED: "the event could not be stored",
    Trigger.TIMEOUT: "the state lasted as long as it may",
    Trigger.FAULT: "the unit cannot do its work",
    Trigger.RECOVERED: "the unit can do its work again",
    Trigger.NOTHING: "nothing for the attempt in hand",
}


@dataclass(frozen=True, slots=True)
class Transition:
    """What one sign does in one state."""

    to: State
    cue: Cue | None = None  # the level of SMILE_ASKED is filled in by the session
    event: Reason | None = None  # the attempt ends so
    resets_person: bool = False  # forgets the person of the followed face


def _to(state: State, name: CueName | None = None, level: float = 0.0) -> Transition:
    return Transition(state, None if name is None else Cue(name, level))


_AWAY = _to(State.NOBODY, CueName.IDLE)
_NOTICED = _to(State.NOTICED, CueName.NOTICED)
_AGAIN = Transition(State.NOTICED, Cue(CueName.NOTICED), resets_person=True)
_SEVERAL = _to(State.SEVERAL, CueName.SEVERAL)
_BROKEN = _to(State.DONE, CueName.OUT_OF_ORDER, 1.0)
_ASKED = _to(State.ASKED, CueName.SMILE_ASKED)
_PAUSED = _to(State.EXEMPT_WAIT, CueName.SMILE_ASKED)
_FAULT = _to(State.FAULTY, CueName.OUT_OF_ORDER)
_FAULT_HEARD = _to(State.FAULTY, CueName.OUT_OF_ORDER, 1.0)

# What becomes of a face as soon as its person is known.
_IDENTITY = {
    Trigger.KNOWN: _to(State.KNOWN),
    Trigger.ALREADY: _to(State.DONE, CueName.ALREADY_RECORDED),
    Trigger.UNANSWERED: _BROKEN,
}
_ACCEPTED = Transition(State.RECORDING, event=Reason.ACCEPTED)
_SUSPECTED = Transition(State.REFUSED, Cue(CueName.SPOOF), Reason.SPOOF)
# What can happen to every followed face.
_FOLLOWED = {
    Trigger.FACE: _NOTICED,
    Trigger.CROWD: _SEVERAL,
    Trigger.LEFT: _AWAY,
    Trigger.FAULT: _FAULT_HEARD,
}

TABLE: Mapping[State, Mapping[Trigger, Transition]] = {
    State.NOBODY: {
        Trigger.EMPTY: _AWAY,
        Trigger.FACE: _NOTICED,
        Trigger.CROWD: _SEVERAL,
        Trigger.FAULT: _FAULT,
    },
    State.NOTICED: {
        **_FOLLOWED,
        **_IDENTITY,
        Trigger.HINT: _to(State.NOTICED, CueName.HINT),
        Trigger.STRANGER: Transition(State.UNKNOWN, Cue(CueName.NOT_KNOWN), Reason.NOT_KNOWN),
        Trigger.STRANGER_AGAIN: _to(State.UNKNOWN, CueName.NOT_KNOWN),
    },
    State.UNKNOWN: {
        **_FOLLOWED,
        **_IDENTITY,
        Trigger.HINT: _to(State.UNKNOWN, CueName.HINT),
    },
    State.KNOWN: {
        **_FOLLOWED,
        Trigger.HINT: _to(State.KNOWN, CueName.HINT),
        Trigger.ANOTHER: _AGAIN,
        Trigger.ASK: _ASKED,
        Trigger.EXEMPT: _PAUSED,
        Trigger.READY: _ACCEPTED,
        Trigger.SPOOF: _SUSPECTED,
        Trigger.TIMEOUT: _AGAIN,
    },
    State.ASKED: {
        **_FOLLOWED,
        Trigger.SAME: _ASKED,
        Trigger.HINT: _to(State.ASKED, CueName.HINT),
        Trigger.ANOTHER: _AGAIN,
        Trigger.SMILE: _ACCEPTED,
        Trigger.SPOOF: _SUSPECTED,
        Trigger.TIMEOUT: Transition(State.REFUSED, Cue(CueName.NO_SMILE), Reason.NO_SMILE),
    },
    State.EXEMPT_WAIT: {
        **_FOLLOWED,
        Trigger.SAME: _PAUSED,
        Trigger.HINT: _to(State.EXEMPT_WAIT, CueName.HINT),
        Trigger.ANOTHER: _AGAIN,
        Trigger.READY: _ACCEPTED,
        Trigger.SPOOF: _SUSPECTED,
        Trigger.TIMEOUT: _AGAIN,
    },
    State.RECORDING: {
        Trigger.FACE: _NOTICED,
        Trigger.FAULT: _FAULT_HEARD,
        Trigger.STORED: _to(State.DONE, CueName.RECORDED),
        Trigger.STORED_OFFLINE: _to(State.DONE, CueName.RECORDED_OFFLINE),
        Trigger.FAILED: _BROKEN,
        Trigger.TIMEOUT: _BROKEN,
    },
    State.DONE: {
        **_FOLLOWED,
        Trigger.ANOTHER: _AGAIN,
    },
    State.REFUSED: {
        **_FOLLOWED,
        Trigger.ANOTHER: _AGAIN,
        Trigger.TIMEOUT: _AGAIN,
    },
    State.SEVERAL: {
        Trigger.LEFT: _AWAY,
        Trigger.FACE: _NOTICED,
        Trigger.FAULT: _FAULT_HEARD,
    },
    State.FAULTY: {
        Trigger.FACE: _FAULT_HEARD,
        Trigger.RECOVERED: _AWAY,
    },
}

_OF_A_FACE = {Trigger.HINT, Trigger.SAME}  # signs of every frame of a followed face

IGNORED: Mapping[State, frozenset[Trigger]] = {
    State.NOBODY: frozenset({Trigger.NOTHING, Trigger.RECOVERED}),
    State.NOTICED: frozenset({Trigger.NOTHING, Trigger.RECOVERED, Trigger.EMPTY, Trigger.SAME}),
    State.UNKNOWN: frozenset(
        {Trigger.NOTHING, Trigger.RECOVERED, Trigger.EMPTY, Trigger.SAME, Trigger.STRANGER_AGAIN}
    ),
    State.KNOWN: frozenset({Trigger.NOTHING, Trigger.RECOVERED, Trigger.EMPTY, Trigger.SAME}),
    State.ASKED: frozenset({Trigger.NOTHING, Trigger.RECOVERED, Trigger.EMPTY}),
    State.EXEMPT_WAIT: frozenset({Trigger.NOTHING, Trigger.RECOVERED, Trigger.EMPTY}),
    # The answer comes within 2 s: until then only another face takes the attempt away.
    State.RECORDING: frozenset(
        {
            Trigger.NOTHING,
            Trigger.RECOVERED,
            Trigger.EMPTY,
            Trigger.LEFT,
            Trigger.CROWD,
            Trigger.ANOTHER,
        }
        | _OF_A_FACE
    ),
    State.DONE: frozenset({Trigger.NOTHING, Trigger.RECOVERED, Trigger.EMPTY} | _OF_A_FACE),
    State.REFUSED: frozenset({Trigger.NOTHING, Trigger.RECOVERED, Trigger.EMPTY} | _OF_A_FACE),
    State.SEVERAL: frozenset({Trigger.NOTHING, Trigger.RECOVERED, Trigger.EMPTY, Trigger.CROWD}),
    State.FAULTY: frozenset(
        {
            Trigger.NOTHING,
            Trigger.FAULT,
            Trigger.EMPTY,
            Trigger.LEFT,
            Trigger.CROWD,
            Trigger.ANOTHER,
        }
        | {Trigger.STRANGER, Trigger.STRANGER_AGAIN}
        | _OF_A_FACE
        | _IDENTITY.keys()
    ),
}

# How long a state may last: the setting of this name, or seconds.
LASTS: Mapping[State, str | float] = {
    State.KNOWN: "smile_timeout",
    State.ASKED: "smile_timeout",
    State.EXEMPT_WAIT: "smile_timeout",
    State.RECORDING: STORE_WAIT_S,
    State.REFUSED: REST_S,
}


class IllegalTransition(AssertionError):
    """A sign came in a state in which it cannot come: a defect of the session."""


def transition_for(state: State, sign: Trigger) -> Transition:
    """Return what `sign` does in `state`. Raises IllegalSign."""
    if (rule := TABLE[state].get(sign)) is not None:
        return rule
    if sign in IGNORED[state]:
        return Transition(state)
    raise IllegalTransition(
        f"no rule for sign {sign} in state {state}; this is a defect, report it"
    )
