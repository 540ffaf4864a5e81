"""Error rates of a liveness check, and the threshold that it supports.

Terms of ISO/IEC 30107-3: APCER is the share of an attack's judged presentations that are accepted,
BPCER the share of the living people's judged presentations that are rejected. Presentations that
could not be judged are counted apart (non-response), and never as a detected attack.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, log

from edge.types import LivenessRules
from senyum_lab.evaluate import metrics
from senyum_lab.evaluate.presentations import LIVING, Presentation

# With fewer people of a kind, the interval of an error rate of 0 reaches beyond 28 %: no claim.
ENOUGH_PEOPLE = 10
WEAK = 0.2  # an error rate above it: the device does not tell this kind from living people
_ENDS = 1e-3  # the outermost thresholds that can be set


@dataclass(frozen=True, slots=True)
class KindResult:
    """One row of the result: living people, or one kind of attack."""

    kind: str
    people: int  # different ones; presentations without a name count as one person
    presented: int
    judged: int
    wrong: int  # attacks accepted, or living people rejected

    @property
    def rate(self) -> float | None:
        """APCER or BPCER; None if nothing was judged."""
        return self.wrong / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the rate (Wilson); 0 to 1 if nothing was judged."""
        return metrics.wilson(self.wrong, self.judged) if self.judged else (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The outcome of a liveness check."""

    shipped: tuple[KindResult, ...]  # at the threshold in use; living people first
    threshold: float  # the one in use
    checked: tuple[KindResult, ...] | None  # each person at a threshold chosen on the others
    chosen: float | None  # the threshold chosen on all; None if it cannot be checked
    too_small: tuple[str, ...]  # kinds with judged presentations of too few people

    @property
    def proposed(self) -> float | None:
        """The threshold to set; None: keep the one in use."""
        if self.checked is None or self.too_small or self.weak:
            return None
        return self.chosen if _errors(self.checked) < _errors(self.shipped) else None

    @property
    def weak(self) -> tuple[str, ...]:
        """Kinds with an error rate above WEAK, at the better of the two thresholds."""
        rows = self.shipped
        if self.checked is not None and _errors(self.checked) < _errors(self.shipped):
            rows = self.checked
        return tuple(row.kind for row in rows if row.rate is not None and row.rate > WEAK)


def assess(presentations: Sequence[Presentation], rules: LivenessRules) -> Acceptance:
    """Return the error rates at the threshold of `rules`, and the threshold that is better.

    The threshold that is proposed is chosen on all people. Its error rates are those of each
    person at the threshold chosen on all other people (leave-one-person-out), so that no
    presentation is reported at a threshold that it helped to choose. Needs a judged presentation
    of a living person and of an attack.
    """
    accepted = [one.accepted(rules) for one in presentations]
    shipped = _rows(presentations, accepted)
    judged = [one for one in presentations if one.accepted(rules) is not None]
    people = sorted({one.person for one in judged if one.person is not None})
    checked, chosen = None, None
    if all(one.person is not None for one in judged) and len(people) > 1:
        thresholds = {
            person: choose([one for one in judged if one.person != person], rules)
            for person in people
        }
        if None not in thresholds.values():
            decided = [
                one.accepted(_at(rules, thresholds.get(one.person or ""))) for one in presentations
            ]
            checked, chosen = _rows(presentations, decided), choose(judged, rules)
    small = tuple(row.kind for row in shipped if _people(judged, row.kind) < ENOUGH_PEOPLE)
    return Acceptance(shipped, rules.threshold, checked, chosen, small)


def choose(presentations: Sequence[Presentation], rules: LivenessRules) -> float | None:
    """Return the threshold with the lowest ACER: mean of BPCER and the highest APCER.

    Of several, the one in the middle of the widest gap between two scores, measured in log-odds.
    None unless there are judged presentations of living people and of attacks.
    """
    scores = sorted({score for one in presentations if (score := one.score(rules)) is not None})
    kinds = {one.kind for one in presentations if one.accepted(rules) is not None}
    if LIVING not in kinds or len(kinds) < 2:
        return None
    ends = (_logit(_ENDS), *(_logit(score) for score in scores), _logit(1 - _ENDS))
    best: tuple[float, float, float] | None = None
    for low, high in pairwise(sorted(ends)):
        threshold = 1 / (1 + exp(-(low + high) / 2))
        acer = _errors(
            _rows(presentations, [one.accepted(_at(rules, threshold)) for one in presentations])
        )
        found = (acer, low - high, threshold)
        best = found if best is None or found < best else best
    assert best is not None
    return round(best[2], 4)


def _at(rules: LivenessRules, threshold: float | None) -> LivenessRules:
    return rules if threshold is None else replace(rules, threshold=threshold)


def _logit(score: float) -> float:
    score = min(max(score, _ENDS), 1 - _ENDS)
    return log(score / (1 - score))


def _people(presentations: Sequence[Presentation], kind: str) -> int:
    return len({one.person for one in presentations if one.kind == kind})


def _rows(
    presentations: Sequence[Presentation], accepted: Sequence[bool | None]
) -> tuple[KindResult, ...]:
    rows = []
    attacks = {one.kind for one in presentations} - {LIVING}
    for kind in (LIVING, *sorted(attacks)):
        verdicts = [
            verdict
            for one, verdict in zip(presentations, accepted, strict=True)
            if one.kind == kind
        ]
        judged = [verdict for verdict in verdicts if verdict is not None]
        wrong = sum(verdict is (kind != LIVING) for verdict in judged)
        people = _people(presentations, kind)
        rows.append(KindResult(kind, people, len(verdicts), len(judged), wrong))
    return tuple(rows)


def _errors(rows: Sequence[KindResult]) -> float:
    """Return ACER of the kinds that were judged."""
    rates = {row.kind: row.rate for row in rows if row.rate is not None}
    attacks = [rate for kind, rate in rates.items() if kind != LIVING]
    return (rates.get(LIVING, 1.0) + max(attacks, default=1.0)) / 2
