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


def mean_template(templates: Floats) -> Floats:
    """Join (photos, DIMENSION) templates of one person into one unit vector (DIMENSION,)."""
    mean = templates.mean(axis=0, dtype=np.float32)
    fused: Floats = mean / np.linalg.norm(mean)
    return fused


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Everybody a unit can recognise. Holds opaque ids: no name, no person number."""

    people: Sequence[str]  # opaque ids, one a row of `matrix`
    matrix: Floats  # (people, DIMENSION), contiguous, rows of unit length
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
        return Match(self.people[best], similarity, _cosine(scores.max()))


def empty() -> Gallery:
    """Return one that nobody is in."""
    return Gallery((), np.zeros((0, DIMENSION), np.float32))


def _cosine(score: np.float32) -> float:
    """Take off what rounding adds to the cosine of two unit vectors."""
    return min(1.0, max(-1.0, float(score)))
