"""Photos to templates: checks each photo, says what is wrong with it, writes the roster.

Enrolling again adds the people of the list to the roster that is there, and puts new photos in
place of old ones. Somebody on the list without a photo keeps their earlier photos; somebody who
is no longer on the list stays, unless `remove_others` asks for the opposite.

What is told goes to the operator's terminal only, for a photo's file name holds a person number.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from edge.errors import PhotoError, RosterError, SecretError
from edge.inference.examiner import Face
from edge.photos import open_photo
from edge.pictures import centred
from edge.roster import (
    DIMENSION,
    MAX_PHOTOS,
    Entry,
    Person,
    Roster,
    fuse,
    make_key,
    mask,
    person_id,
    read,
    read_key,
    read_people,
    save,
    stripped,
)
from edge.settings import InferenceSettings
from edge.types import Floats, Problem, Yuv

# Cosines measured with the shipped networks on LFW. Two photos of one person: 0.8 % of 748 pairs
# fall below SAME_PERSON, 0.4 % of 749 pairs of strangers reach it. One photo against all others:
# 87 % of 744 second photos reach TAKEN with the first, 0.9 % of 2,085 people with anybody else.
SAME_PERSON = 0.35
TAKEN = 0.62
# The detector scores a face beside another one low, and the mesh then tells what is no face. On
# 60 London portraits no second face is made up at 0.2, on 300 of UTKFace one.
STILL_SCORE = 0.2
# A second face is a bystander up to this share of the first one's width.
BYSTANDER = 0.4

_LITTER = frozenset({"thumbs.db", "desktop.ini"})
# 18 digits, the usual gaps between their parts, and what tells one photo from the next:
# 198503302003121002.jpg, 19850330 200312 1 002_1.jpg, 198503302003121002 (2).jpg
_NAME = re.compile(
    r"([0-9]{8})[ .]?([0-9]{6})[ .]?([0-9])[ .]?([0-9]{3})(?:[ _-]*(?:[0-9]{1,3}|\([0-9]{1,3}\)))?"
)

_SAYS: Mapping[Problem, str] = {
    Problem.TOO_FAR: "the face is too small; give a larger picture or one taken closer",
    Problem.TOO_DARK: "the face is too dark; take it again in more light",
    Problem.TOO_BRIGHT: "the face is too bright; take it again without flash or sun",
    Problem.BACKLIT: "the light comes from behind; take it again facing the light",
    Problem.COVERED: "mouth or eyes are covered; take it again without mask, hand or dark glasses",
    Problem.BLURRED: "the face is blurred; take it again in focus and without movement",
    Problem.TURNED: "the face is turned away; take it again looking into the camera",
    Problem.CUT_OFF: "the face is cut off; take it again with the whole head in the picture",
}

Tell = Callable[[str], None]


class Examiner(Protocol):
    """Finds and measures the faces of a still; `edge.inference.examiner` has the real one."""

    @property
    def digests(self) -> dict[str, str]: ...

    def examine(self, picture: Yuv) -> tuple[Face, ...]: ...


@dataclass(frozen=True, slots=True)
class Files:
    """What enrolment reads and writes."""

    people: Path  # csv
    photos: Path  # folder
    roster: Path
    key: Path
    org_key: Path
    units: Path | None = None  # the roster once more, without names and numbers, for units


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the list."""

    version: int  # of the roster now at its place
    size: int  # people in it
    enrolled: int  # people whose photos are new
    kept: int  # people on the list who keep their earlier photos
    removed: int
    left_out: int  # people on the list who are not in the roster
    refused: int  # photos that were not used

    @property
    def complete(self) -> bool:
        return not self.left_out and not self.refused


def for_stills(settings: InferenceSettings) -> InferenceSettings:
    """Return the settings that photos are examined with: faint faces are looked at, too."""
    score = min(settings.detector_score, STILL_SCORE)
    return settings.model_copy(update={"detector_score": score})


def enrol(
    files: Files,
    examiner: Examiner,
    *,
    remove_others: bool = False,
    tell: Tell,
    progress: Callable[[int, int], None],
) -> Result:
    """Enrol the people of a list with their photos.

    `tell` is given one line for each thing to mend, `progress` the number of people seen and of
    all. Raises PeopleError, SecretError, RosterError, and PhotoError where the folder of photos
    cannot be listed or nobody at all could be enrolled; nothing is written then, except keys that
    were missing.
    """
    entries = read_people(files.people)
    shelf = _listing(files.photos)
    embedder = examiner.digests["identity"]
    key, org_key = _keys(files, tell)
    old = read(files.roster, key, embedder) if _is_there(files.roster) else None
    if old and not all(person.number for person in old.people):
        raise RosterError(
            f"{files.roster}: was made for units and holds no numbers; enrol where it was "
            "made, or name another roster"
        )
    before = {person.number: person for person in old.people} if old else {}
    if any(person_id(number, org_key) != person.id for number, person in before.items()):
        raise SecretError(
            f"{files.org_key}: is not the organisation key that {files.roster} was made with; "
            "name that one with --org-key"
        )
    listed = {entry.number for entry in entries}
    album, refused = _album(shelf, listed, before.keys(), tell)
    after = {} if remove_others else {n: p for n, p in before.items() if n not in listed}
    # Old photos of somebody with new ones do not speak: they may be the mistake that is mended.
    standing = [p for n, p in before.items() if n in after or (n in listed and n not in album)]
    crowd = _Crowd(standing, len(entries))
    enrolled = 0
    for seen, entry in enumerate(entries):
        progress(seen, len(entries))
        photos = album.get(entry.number, [])
        templates = _accepted(photos, examiner, crowd, tell)
        refused += len(photos) - len(templates)
        enrolled += bool(templates)
        known = before.get(entry.number)
        if person := _person(entry, templates, known, org_key):
            after[entry.number] = person
        if person and photos:
            crowd.add(person, f"line {entry.line}")
        if not templates and (photos or not known):
            tell(
                f"{files.people}: line {entry.line} ({mask(entry.number)}): {_lack(photos, known)}"
            )
    progress(len(entries), len(entries))
    if not after:
        raise PhotoError(
            f"{files.photos}: nobody on {files.people} could be enrolled, the roster was not "
            "written; mend the photos named above and enrol again"
        )
    version = old.version + 1 if old else 1
    people = tuple(after.values())
    new = Roster(version, datetime.now(UTC), embedder, people)
    new = _remembering(new, old, files.roster, tell) if old else new
    if files.units is not None:
        save(files.units, key, stripped(new))
    save(files.roster, key, new)
    return Result(
        version=version,
        size=len(after),
        enrolled=enrolled,
        kept=len(listed & after.keys()) - enrolled,
        removed=len(before.keys() - after.keys()),
        left_out=len(listed - after.keys()),
        refused=refused,
    )


def _remembering(new: Roster, old: Roster, path: Path, tell: Tell) -> Roster:
    """Return the new roster with what the old one remembers of people who were erased."""
    again = [person for person in new.people if person.id in old.tombstones]
    for person in again:
        tell(f"{path}: {mask(person.number)} was erased, and is enrolled again")
    back = {person.id: new.version for person in again}
    return replace(
        new,
        tombstones={who: n for who, n in old.tombstones.items() if who not in back},
        readmitted={**old.readmitted, **back},
        salt=old.salt,
    )


def _accepted(
    photos: Sequence[Path], examiner: Examiner, crowd: "_Crowd", tell: Tell
) -> list[Floats]:
    """Return the templates of one person's photos that can be used."""
    seen: dict[Path, Floats] = {}
    for path in photos:
        try:
            seen[path] = look(path, examiner)
        except PhotoError as error:
            tell(str(error))
    return _agreeing(crowd.strangers(seen, tell), tell)


def _person(
    entry: Entry, templates: Sequence[Floats], known: Person | None, org_key: bytes
) -> Person | None:
    """Return the person as they will stand in the roster; None where they cannot."""
    if templates:
        ident = person_id(entry.number, org_key)
        return Person(ident, entry.number, entry.name, entry.exempt, np.stack(templates))
    return replace(known, name=entry.name, exempt=entry.exempt) if known else None


def _lack(photos: Sequence[Path], known: Person | None) -> str:
    if known:
        return "no new photo can be used, the earlier ones stay"
    what = "none of the photos can be used" if photos else "there is no photo"
    return f"left out, {what}; add <person number>.jpg and enrol again"


def look(path: Path, examiner: Examiner) -> Floats:
    """Return the template (DIMENSION,) of the one face on a photo.

    Raises PhotoError, which names the file, where it cannot be read or the face cannot be used.
    """
    photo = open_photo(path)
    faces = examiner.examine(photo)
    if not faces and _overflows(photo, examiner):
        raise PhotoError(f"{path}: {_SAYS[Problem.CUT_OFF]}")
    if not faces:
        raise PhotoError(
            f"{path}: no face was found; take it again from the front, uncovered, in good light"
        )
    first, *others = faces
    if any(face.box.width >= BYSTANDER * first.box.width for face in others):
        raise PhotoError(f"{path}: there is more than one face; cut the picture to one person")
    if first.quality.problem:
        raise PhotoError(f"{path}: {_SAYS[first.quality.problem]}")
    return first.template


def _overflows(photo: Yuv, examiner: Examiner) -> bool:
    """Whether a face is larger than the photo: the detector sees it from further away."""
    planes = (photo.y, photo.u, photo.v)
    further = examiner.examine(centred(planes, 2 * photo.width, 2 * photo.height))
    return any(face.box.width > photo.width for face in further)


def _keys(files: Files, tell: Tell) -> tuple[bytes, bytes]:
    """Read both keys; make those that are missing before there is a roster."""
    keys = []
    for path, what in ((files.key, "the roster key"), (files.org_key, "the organisation key")):
        if _is_there(path) or _is_there(files.roster):
            keys.append(read_key(path, what))
        else:
            keys.append(make_key(path, what))
            tell(f"{path}: made {what}; keep a copy offline, for without it all must enrol again")
    return keys[0], keys[1]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a folder above it is closed to us
        raise SecretError(f"{path}: cannot be looked for: {error.strerror}") from None


def _listing(folder: Path) -> list[Path]:
    """Return what lies in a folder, by name, without what file managers leave there."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise PhotoError(f"{folder}: photos cannot be listed: {error.strerror}") from None
    return [p for p in paths if not p.name.startswith(".") and p.name.lower() not in _LITTER]


def _album(
    shelf: Sequence[Path], listed: AbstractSet[str], enrolled: AbstractSet[str], tell: Tell
) -> tuple[dict[str, list[Path]], int]:
    """Sort photos by person number; returns them and how many were left aside."""
    album: defaultdict[str, list[Path]] = defaultdict(list)
    aside = 0
    for path in shelf:
        name = _NAME.fullmatch(path.name if path.is_dir() else path.stem)
        number = "".join(name.groups()) if name else ""
        if number in listed:
            album[number] += _listing(path) if path.is_dir() else [path]
        elif number not in enrolled:  # photos of people who are enrolled already may lie there
            aside += 1
            tell(f"{path}: belongs to nobody on the list; mend its name or take it away")
    for photos in album.values():
        for path in photos[MAX_PHOTOS:]:
            aside += 1
            tell(f"{path}: left aside, for {MAX_PHOTOS} photos a person are enough")
        del photos[MAX_PHOTOS:]
    return {number: photos for number, photos in album.items() if photos}, aside


class _Crowd:
    """Everybody enrolled so far, to notice a face that is already somebody else's."""

    def __init__(self, people: Sequence[Person], more: int) -> None:
        self._matrix = np.zeros((len(people) + more, DIMENSION), np.float32)
        self._who: list[str] = []
        for person in people:
            self.add(person, f"number {mask(person.number)}, enrolled before")

    def add(self, person: Person, who: str) -> None:
        self._matrix[len(self._who)] = fuse(person.templates)
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


def _agreeing(photos: Mapping[Path, Floats], tell: Tell) -> list[Floats]:
    """Return the templates of the photos that most agree with; none where there is no majority."""
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
