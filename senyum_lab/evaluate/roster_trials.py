"""Strangers and enrolled people in front of a unit, with rosters drawn from a set of faces."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge.attendance.policy import match_is_sure
from edge.gallery import Gallery, nearest_others
from edge.roster.thresholds import adaptive_thresholds
from edge.settings import RosterSettings
from edge.types import Floats
from senyum_lab.evaluate.pairwise import SEED, PairCount

DRAWS = 10  # rosters of each half of the people
ROSTER = 300  # people


@dataclass(frozen=True, slots=True, eq=False)
class RosterTrials:
    """How often each face was accepted, by the rule of the device for one frame."""

    strangers: NDArray[np.intp]  # (faces, 2): accepted, tried
    enrolled: NDArray[np.intp]  # (faces, 2): accepted as who they are, tried

    @classmethod
    def of(
        cls, templates: Floats, owners: Sequence[str], settings: RosterSettings, people: int
    ) -> Self:
        """Enrol the first photo of `people` random owners of one half, DRAWS times for each half.

        All faces of the other half are strangers; the further photos of the enrolled are theirs.
        An owner's half is the CRC-32 of their name modulo 2.
        """
        trials = cls(np.zeros((len(owners), 2), np.intp), np.zeros((len(owners), 2), np.intp))
        photos: dict[str, list[int]] = {}
        for number, owner in enumerate(owners):
            photos.setdefault(owner, []).append(number)
        halves = [[o for o in photos if zlib.crc32(o.encode()) % 2 == half] for half in (0, 1)]
        generator = np.random.default_rng(SEED)
        for inside, outside in (halves, halves[::-1]) if all(halves) else ():
            strangers = [number for owner in outside for number in photos[owner]]
            for _ in range(DRAWS):
                drawn = generator.permutation(inside)[:people].tolist()
                matrix = templates[[photos[owner][0] for owner in drawn]]
                gallery = Gallery(drawn, matrix, nearest_others(matrix))
                rule = adaptive_thresholds(gallery, settings)
                for number in strangers:
                    match = gallery.search(templates[number])
                    trials.strangers[number] += match_is_sure(match, rule), 1
                for owner in drawn:
                    for number in photos[owner][1:]:
                        match = gallery.search(templates[number])
                        own = match is not None and match.person == owner
                        trials.enrolled[number] += own and match_is_sure(match, rule), 1
        return trials

    def strangers_of(self, inside: NDArray[np.intp]) -> PairCount:
        """Return how often the faces of a group were accepted as somebody else."""
        return PairCount(*self.strangers[inside].sum(axis=0).tolist())

    def enrolled_of(self, inside: NDArray[np.intp]) -> PairCount:
        """Return how often the faces of a group were accepted as who they are."""
        return PairCount(*self.enrolled[inside].sum(axis=0).tolist())
