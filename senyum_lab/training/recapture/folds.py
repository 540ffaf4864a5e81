"""Which people a network is trained without, and the weights of both liveness networks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from senyum_lab.training.calibration import REFUSED, fit
from senyum_lab.training.recapture import faces
from senyum_lab.training.recapture.faces import LIVE, RecaptureFaces

FOLDS = 3
REAL = ("nuaa", "msu")  # sets with real attacks
FOLDED = (*REAL, "videos", "hands", "yale")  # sets of which a fold leaves out a third of the people
PARTS = 5  # of the people of the other sets
# Real prints and screens before a good camera show as fine detail as people, so fine detail proves
# no life; its absence remains a sign of an attack.
TEXTURE_MOST = 1.5
TEST, LINE = 0, 1  # parts that no network is trained on: for evaluation, and for the intercept

Sets = Mapping[str, RecaptureFaces]
Mask = NDArray[np.bool_]


class Fold(NamedTuple):
    """What a network is trained without: the people of a fold, a whole set, or nothing."""

    name: str
    people: Mapping[str, frozenset[str]]  # by set

    def leaves_out(self, name: str, found: RecaptureFaces) -> Mask:
        """Return which faces of a set the network may not see."""
        if name == "simulated":
            of_left = [(found.origin == real) & self._has(real, found) for real in REAL]
            return np.asarray(np.any(of_left, axis=0))
        own = "nuaa" if name == "sequences" else name
        if own in FOLDED:
            return self._has(own, found)
        return np.isin(faces.part(found, PARTS), (TEST, LINE))

    def _has(self, name: str, found: RecaptureFaces) -> Mask:
        return np.isin(found.person, list(self.people.get(name, ())))


def folds(sets: Sets) -> list[Fold]:
    """Return the folds over people, one fold for each real set as a whole, and the last: none."""
    people = {name: sorted(set(sets[name].person.tolist())) for name in FOLDED}
    by_people = [
        Fold(f"fold{k}", {name: frozenset(each[k::FOLDS]) for name, each in people.items()})
        for k in range(FOLDS)
    ]
    by_set = [Fold(f"without-{real}", {real: frozenset(people[real])}) for real in REAL]
    return [*by_people, *by_set, Fold("recapture", {})]


# The measures of each face by both liveness networks, (n, 2), by set; of one fold.
Answers = tuple[Fold, Mapping[str, NDArray[np.float64]]]


def capped(measures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 2) measures as the device adds them up: texture at most `TEXTURE_MOST`."""
    return np.minimum(measures, (TEXTURE_MOST, np.inf))


class Calibration(NamedTuple):
    """Faces that the line is fitted to: measures, whether alive, and the set and class."""

    measures: NDArray[np.float64]  # (n, 2)
    alive: Mask
    group: NDArray[np.str_]

    @property
    def weight(self) -> NDArray[np.float64]:
        """Return weights by which each set counts alike in its class, and both classes too."""
        total = np.zeros(len(self.alive))
        for alive in (True, False):
            groups = sorted(set(self.group[self.alive == alive].tolist()))
            for group in groups:
                some = (self.alive == alive) & (self.group == group)
                total[some] = 1000 / some.sum() / len(groups)
        return total


def _calibration(sets: Sets, by_people: Sequence[Answers]) -> Calibration:
    measures, alive, groups = [], [], []
    for number, (fold, found) in enumerate(by_people):
        for name, some in sets.items():
            if name in FOLDED:
                used = fold.leaves_out(name, some)
            elif number == 0 and name in {"lfw", "utkface", "hijab", "simulated"}:
                used = (faces.part(some, PARTS) == LINE) & (some.origin == "")
            else:
                continue
            measures.append(capped(found[name][used]))
            alive.append(some.kind[used] == LIVE)
            groups.append(np.full(int(used.sum()), name))
    return Calibration(np.concatenate(measures), np.concatenate(alive), np.concatenate(groups))


def fit_line(sets: Sets, by_people: Sequence[Answers]) -> NDArray[np.float64]:
    """Return the weights of both networks and the intercept, (3,).

    The intercept refuses the share `REFUSED` of the living faces, of which each set counts alike.
    """
    some = _calibration(sets, by_people)
    line = fit(some.measures, some.alive, some.weight)
    logits = some.measures[some.alive] @ line[:-1]
    weight = some.weight[some.alive]
    order = np.argsort(logits)
    passed = np.cumsum(weight[order]) / weight.sum()
    line[-1] = -logits[order][np.searchsorted(passed, REFUSED)]
    return line
