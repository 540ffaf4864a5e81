"""1:N search: exact cosine of one template against everybody.

Each person is one row, the renormalised mean of their photos' templates. Against the largest
cosine over all photos this is up to five times less memory to read, which is all that the search
costs, and the threshold means the same for a person with one photo and a person with five: the
largest of five has five chances to resemble a stranger.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.types import Floats, Match

DIMENSION = 192  # of a template of the identity network
NEAREST = 4  # other people whose cosines are kept for each
_MOST = 10_000  # people that each is compared with: 7,000 take seconds on a Raspberry Pi 4
_BLOCK = 128  # rows at a time: 3.5 MB for 7,000 people


def mean_template(templates: Floats) -> Floats:
    """Join (photos, DIMENSION) templates of one person into one unit vector (DIMENSION,)."""
    mean = templates.mean(axis=0, dtype=np.float32)
    fused: Floats = mean / np.linalg.norm(mean)
    return fused


def nearest_others(matrix: Floats) -> Floats | None:
    """Return the cosines of each row's NEAREST other rows, highest first: (people, NEAREST).

    None for NEAREST people or fewer. Of more than 10,000 people, a regular sample is compared.
    """
    people = len(matrix)
    if people <= NEAREST:
        return None
    step = -(-people // _MOST)
    others = matrix[::step]
    nearest = np.empty((people, NEAREST), np.float32)
    for start in range(0, people, _BLOCK):
        cosines = matrix[start : start + _BLOCK] @ others.T
        rows = np.arange(len(cosines))
        own = (rows + start) % step == 0
        cosines[rows[own], (rows[own] + start) // step] = -1.0
        cosines.partition(cosines.shape[1] - NEAREST, axis=1)
        nearest[start : start + _BLOCK] = np.sort(cosines[:, -NEAREST:], axis=1)[:, ::-1]
    return nearest


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Everybody a unit can recognise. Holds opaque ids: no name, no person number."""

    people: Sequence[str]  # opaque ids, one a row of `matrix`
    matrix: Floats  # (people, DIMENSION), contiguous, rows of unit length
    nearest: Floats | None = None  # of `nearest_others`
    exempt: frozenset[str] = frozenset()  # ids of those who are never asked to smile
    version: int = 0  # of the roster
    embedder: str = ""  # SHA-256 of the network that made the templates, hex
    digest: str = ""  # SHA-256 of the roster file, hex

    @property
    def size(self) -> int:
        """How many people."""
        return len(self.people)

    def forget(self) -> None:
        """Overwrite the templates, once nobody searches here any more."""
        self.matrix.fill(0.0)

    def search(self, template: Floats) -> Match | None:
        """Return the nearest person to a unit vector (DIMENSION,); None where nobody is enrolled.

        The nearest and the runner-up are different people, for each person is one row.
        """
        if not self.people:
            return None
        scores = self.matrix @ template
        best = int(scores.argmax())
        similarity = _cosine(scores[best])
        if len(self.people) == 1:
            return Match(self.people[best], similarity, None)
        scores[best] = -np.inf
        if self.nearest is None:
            return Match(self.people[best], similarity, _cosine(scores.max()))
        others = [_take(scores) for _ in range(NEAREST - 1)]
        likeness = second_and_third(others) + second_and_third(self.nearest[best].tolist())
        return Match(self.people[best], similarity, others[0], likeness=likeness)


def second_and_third(cosines: Sequence[float]) -> float:
    """Return the mean of the second and the third, which one relative cannot raise."""
    return (cosines[1] + cosines[2]) / 2


def _take(scores: Floats) -> float:
    """Take the highest of the scores out, and return it."""
    place = int(scores.argmax())
    highest = _cosine(scores[place])
    scores[place] = -np.inf
    return highest


def empty() -> Gallery:
    """Return one that nobody is in."""
    return Gallery((), np.zeros((0, DIMENSION), np.float32))


def _cosine(score: np.float32) -> float:
    """Take off what rounding adds to the cosine of two unit vectors."""
    return min(1.0, max(-1.0, float(score)))
