"""Compares the faces of photos: whose they are already, and whether they show one person."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edge.roster.codec import Person
from edge.roster.people import mask
from edge.roster.search import DIMENSION, mean_template
from edge.types import Floats

# Cosines measured with the shipped networks on LFW. Two photos of one person: 0.8 % of 748 pairs
# fall below SAME_PERSON, 0.4 % of 749 pairs of strangers reach it. One photo against all others:
# 87 % of 744 second photos reach TAKEN with the first, 0.9 % of 2,085 people with anybody else.
SAME_PERSON = 0.35
TAKEN = 0.62

Tell = Callable[[str], None]


class DuplicateIndex:
    """Everybody enrolled so far, to notice a face that is already somebody else's."""

    def __init__(self, people: Sequence[Person], more: int) -> None:
        self._matrix = np.zeros((len(people) + more, DIMENSION), np.float32)
        self._who: list[str] = []
        for person in people:
            self.add(person, f"number {mask(person.number)}, enrolled before")

    def add(self, person: Person, who: str) -> None:
        self._matrix[len(self._who)] = mean_template(person.templates)
        self._who.append(who)

    def strangers(self, photos: Mapping[Path, Floats], tell: Tell) -> dict[Path, Floats]:
        """Return the photos that are nobody's yet."""
        if not self._who:
            return dict(photos)
        free = {}
        for path, template in photos.items():
            scores = self._matrix[: len(self._who)] @ template
            nearest = int(scores.argmax())
            if scores[nearest] < TAKEN:
                free[path] = template
            else:
                tell(
                    f"{path}: this face is already somebody else's ({self._who[nearest]}, "
                    f"similarity {scores[nearest]:.2f}); check whose photo it is"
                )
        return free


def agreeing(photos: Mapping[Path, Floats], tell: Tell) -> list[Floats]:
    """Return the templates of the photos that most agree with; none if there is no majority."""
    if len(photos) < 2:
        return list(photos.values())
    templates = np.stack(list(photos.values()))
    agree = templates @ templates.T >= SAME_PERSON
    centre = agree[int(agree.sum(axis=1).argmax())]
    if 2 * centre.sum() <= len(photos):
        names = ", ".join(path.name for path in photos)
        tell(f"{next(iter(photos)).parent}: {names} show different people; keep those of one")
        return []
    for path, is_same in zip(photos, centre, strict=True):
        if not is_same:
            tell(f"{path}: is not the same person as on their other photos; check whose it is")
    return list(templates[centre])
