"""Matches and non-matches over all pairs of a set of faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edge.types import Floats
from senyum_lab.evaluate.metrics import Truths

MOST_FACES = 5000  # compared with each other: 12 million pairs
SEED = 1  # of the random sample of larger sets


class PairCount(NamedTuple):
    """The matches among a number of pairs."""

    matches: int
    pairs: int

    @property
    def rate(self) -> float | None:
        """The share of matches, or None without pairs."""
        return self.matches / self.pairs if self.pairs else None


@dataclass(frozen=True, slots=True, eq=False)
class PairwiseScores:
    """All pairs at one threshold. `inside` are the numbers of the faces of a group."""

    place: NDArray[np.intp]  # (faces,), row of each face; -1: not in the sample
    matches: Truths  # (rows, rows)
    strangers: Truths  # (rows, rows), two people

    @classmethod
    def of(cls, templates: Floats, owners: Sequence[str], threshold: float) -> Self:
        """Compare `templates` (faces, DIMENSION), or a random sample of them."""
        chosen = np.arange(len(templates))
        if len(templates) > MOST_FACES:
            generator = np.random.default_rng(SEED)
            chosen = np.sort(generator.choice(chosen, MOST_FACES, replace=False))
        place = np.full(len(templates), -1, np.intp)
        place[chosen] = np.arange(chosen.size)
        whose = np.unique(np.array(owners), return_inverse=True)[1].reshape(-1)[chosen]
        picked = templates[chosen]
        return cls(place, picked @ picked.T >= threshold, whose[:, None] != whose)

    def among(self, inside: NDArray[np.intp]) -> PairCount:
        """Return the impostor matches between two people of the group."""
        rows = self._rows(inside)
        strangers = self.strangers[np.ix_(rows, rows)]
        matches = strangers & self.matches[np.ix_(rows, rows)]
        return PairCount(int(matches.sum()) // 2, int(strangers.sum()) // 2)

    def with_everybody(self, inside: NDArray[np.intp]) -> PairCount:
        """Return the impostor matches of each face of the group with all other people."""
        rows = self._rows(inside)
        strangers = self.strangers[rows]
        return PairCount(int((strangers & self.matches[rows]).sum()), int(strangers.sum()))

    def genuine(self, inside: NDArray[np.intp]) -> PairCount:
        """Return the matches between two photos of one person of the group."""
        rows = self._rows(inside)
        same = ~self.strangers[np.ix_(rows, rows)]
        np.fill_diagonal(same, val=False)
        matches = same & self.matches[np.ix_(rows, rows)]
        return PairCount(int(matches.sum()) // 2, int(same.sum()) // 2)

    def _rows(self, inside: NDArray[np.intp]) -> NDArray[np.intp]:
        rows = self.place[inside]
        return rows[rows >= 0]
