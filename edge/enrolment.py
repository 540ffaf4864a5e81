"""Enrolment: checks photos, reports what is wrong with each, and writes the face roster.

Enrolling again adds the people of the list to the roster, and replaces old photos by new ones.
People on the list without a photo keep their earlier photos. People who are not on the list
stay; `remove_others` removes them, but only if the list and all photos are without a problem and
the operator confirms who it is.

Messages go to the operator's terminal only, because a photo's file name holds a person number.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edge.errors import PeopleError, PhotoError, RosterError, SecretError
from edge.gallery import DIMENSION, mean_template
from edge.images import open_photo, pad_to
from edge.inference.face_analyzer import FaceAnalyzer
from edge.roster.codec import MAX_PHOTOS, Person, Roster, stripped
from edge.roster.file import read, save
from edge.roster.keys import make_key, read_key
from edge.roster.people import PersonEntry, mask, person_id, read_people_list
from edge.system.text import escaped, pluralize, visible
from edge.types import Floats, QualityProblem, Yuv

# What Windows, zip programs and storage boxes leave in folders; names with a dot are left out, too.
_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"})
# 18 digits, the usual gaps between their parts, and a suffix that distinguishes photos:
# 198503302003121002.jpg, 19850330 200312 1 002_1.jpg, 198503302003121002 (2).jpg
_NAME = re.compile(
    r"([0-9]{8})[ .]?([0-9]{6})[ .]?([0-9])[ .]?([0-9]{3})(?:[ _-]*(?:[0-9]{1,3}|\([0-9]{1,3}\)))?"
)


def list_folder(folder: Path) -> list[Path]:
    """Return what a folder holds, by name, without what file managers leave there."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise PhotoError(f"{folder}: photos cannot be listed: {error.strerror}") from None
    return [p for p in paths if not p.name.startswith(".") and p.name.lower() not in _LITTER]


def sort_photos(
    paths: Sequence[Path],
    listed: AbstractSet[str],
    enrolled: AbstractSet[str],
    report: Callable[[str], None],
) -> tuple[dict[str, list[Path]], int]:
    """Sort photos by person number; returns them and how many were left aside."""
    album: defaultdict[str, list[Path]] = defaultdict(list)
    aside = 0
    for path in paths:
        is_folder = os.path.isdir(path)  # noqa: PTH112 - does not raise
        # With or without a suffix: the dots may also be those between the parts of the number.
        name = _NAME.fullmatch(visible(path.name)) or (
            None if is_folder else _NAME.fullmatch(visible(path.stem))
        )
        number = "".join(name.groups()) if name else ""
        if number in listed:
            try:
                album[number] += list_folder(path) if is_folder else [path]
            except PhotoError as error:
                aside += 1
                report(str(error))
        elif number not in enrolled:  # photos of people who are enrolled already may lie there
            aside += 1
            why = (
                "no usable line of the list has this number; correct the name or the list"
                if number
                else "the name is not a person number; name it <person number>.jpg"
            )
            report(f"{path}: {why}, or remove it")
    return {number: photos for number, photos in album.items() if photos}, aside


# A second face is a bystander up to this share of the first one's width.
BYSTANDER = 0.4

_SAYS: Mapping[QualityProblem, str] = {
    QualityProblem.TOO_FAR: "the face is too small; give a larger picture or one taken closer",
    QualityProblem.TOO_DARK: "the face is too dark; take it again in more light",
    QualityProblem.TOO_BRIGHT: "the face is too bright; take it again without flash or sun",
    QualityProblem.BACKLIT: "the light comes from behind; take it again facing the light",
    QualityProblem.COVERED: "mouth or eyes are covered; take it again without mask, hand or "
    "dark glasses",
    QualityProblem.BLURRED: "the face is blurred; take it again in focus and without movement",
    QualityProblem.TURNED: "the face is turned away; take it again looking into the camera",
    QualityProblem.CUT_OFF: "the face is cut off; take it again with the whole head in the picture",
}


def assess_photo(path: Path, analyzer: FaceAnalyzer) -> Floats:
    """Return the template (DIMENSION,) of the one face on a photo.

    Raises PhotoError, which names the file, where it cannot be read or the face cannot be used.
    """
    photo = open_photo(path)
    faces = analyzer.analyze(photo)
    if not faces and _overflows(photo, analyzer):
        raise PhotoError(f"{path}: {_SAYS[QualityProblem.CUT_OFF]}")
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


def _overflows(photo: Yuv, analyzer: FaceAnalyzer) -> bool:
    """Whether a face is larger than the photo: the detector sees it from further away."""
    planes = (photo.y, photo.u, photo.v)
    further = analyzer.analyze(pad_to(planes, 2 * photo.width, 2 * photo.height))
    return any(face.box.width > photo.width for face in further)


# Cosines measured with the shipped networks on LFW. Two photos of one person: 0.8 % of 748 pairs
# fall below SAME_PERSON, 0.4 % of 749 pairs of strangers reach it. One photo against all others:
# 87 % of 744 second photos reach TAKEN with the first, 0.9 % of 2,085 people with anybody else.
SAME_PERSON = 0.35
TAKEN = 0.62

Report = Callable[[str], None]


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

    def unmatched(self, photos: Mapping[Path, Floats], report: Report) -> dict[Path, Floats]:
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
                report(
                    f"{path}: this face is already somebody else's ({self._who[nearest]}, "
                    f"similarity {scores[nearest]:.2f}); check whose photo it is"
                )
        return free


def consistent_templates(photos: Mapping[Path, Floats], report: Report) -> list[Floats]:
    """Return the templates of the photos that most agree with; none if there is no majority."""
    if len(photos) < 2:
        return list(photos.values())
    templates = np.stack(list(photos.values()))
    agree = templates @ templates.T >= SAME_PERSON
    centre = agree[int(agree.sum(axis=1).argmax())]
    if 2 * centre.sum() <= len(photos):
        names = ", ".join(path.name for path in photos)
        report(f"{next(iter(photos)).parent}: {names} show different people; keep those of one")
        return []
    for path, is_same in zip(photos, centre, strict=True):
        if not is_same:
            report(f"{path}: is not the same person as on their other photos; check whose it is")
    return list(templates[centre])


# More people than this share of the roster are removed only on request, without a question.
MOST_REMOVED = 0.05


@dataclass(frozen=True, slots=True)
class EnrolmentPaths:
    """What enrolment reads and writes."""

    people: Path  # csv
    photos: Path  # folder
    roster: Path
    key: Path
    org_key: Path
    units: Path | None = None  # a copy of the roster without names and numbers, for units


@dataclass(frozen=True, slots=True)
class EnrolmentResult:
    """What became of the list."""

    version: int  # of the roster now at its place
    size: int  # people in it
    enrolled: int  # people whose photos are new
    kept: int  # people on the list who keep their earlier photos
    removed: int
    left_out: int  # people on the list who are not in the roster
    refused: int  # photos that were not used
    unread: int = 0  # lines of the list that were not used
    staying: int = 0  # people who were to be removed and were not

    @property
    def complete(self) -> bool:
        return not (self.left_out or self.refused or self.unread or self.staying)


@dataclass(slots=True)
class _Draft:
    """The people of the next roster, and messages about them."""

    people: dict[str, Person]  # by number
    messages: list[str] = field(default_factory=list)
    enrolled: int = 0
    refused: int = 0  # photos


def enrol(
    files: EnrolmentPaths,
    examiner: FaceAnalyzer,
    *,
    remove_others: bool = False,
    yes: bool = False,
    ask: Callable[[str], bool] = lambda _: False,
    tell: Report,
    progress: Callable[[int, int], None],
) -> EnrolmentResult:
    """Enrol the people of a list with their photos.

    `tell` receives one line for each problem, `progress` the number of people seen and of all.
    People who are not on the list are removed with `remove_others`, if there was no problem at all;
    they are listed first, and `yes`, or for at most MOST_REMOVED of the roster `ask`, confirms it.

    Raises PeopleError, SecretError, RosterError, and PhotoError if the folder of photos cannot be
    listed or nobody at all could be enrolled; nothing is written then, except keys that were
    missing.
    """

    def report(line: str) -> None:
        tell(escaped(line))

    listed = read_people_list(files.people)
    for problem in listed.problems:
        report(f"{files.people}: {problem}")
    if not listed.entries:
        raise PeopleError(f"{files.people}: no line can be used; correct those named above")
    shelf = list_folder(files.photos)
    key, org_key = _keys(files, report)
    old = _earlier(files, key, org_key, examiner.digests["identity"])
    before = {person.number: person for person in old.people} if old else {}
    numbers = {entry.number for entry in listed.entries}
    others = {number: person for number, person in before.items() if number not in numbers}
    album, refused = sort_photos(shelf, numbers, before.keys(), report)
    templates, unusable = _templates(listed.entries, album, examiner, report, progress)
    refused += unusable

    def assemble(staying: Mapping[str, Person]) -> _Draft:
        return _assembled(
            files.people,
            listed.entries,
            templates=templates,
            before=before,
            staying=staying,
            org_key=org_key,
        )

    removed = 0
    draft = assemble({}) if remove_others and others else assemble(others)
    if remove_others and others:
        lacking = draft.refused or len(draft.people) < len(listed.entries)
        problems = bool(listed.problems or refused or lacking)
        share = len(others) / len(before)
        if _may_remove(others.values(), share, report, problems=problems, yes=yes, ask=ask):
            removed = len(others)
        else:
            draft = assemble(others)
    for line in draft.messages:
        report(line)
    if not draft.people:
        raise PhotoError(
            f"{files.photos}: nobody on {files.people} could be enrolled, the roster was not "
            "written; correct the photos named above and enrol again"
        )
    version = old.version + 1 if old else 1
    people = tuple(draft.people.values())
    new = Roster(version, datetime.now(UTC), examiner.digests["identity"], people)
    _save(files, key, new, old, report)
    return EnrolmentResult(
        version=version,
        size=len(draft.people),
        enrolled=draft.enrolled,
        kept=len(numbers & draft.people.keys()) - draft.enrolled,
        removed=removed,
        left_out=len(numbers - draft.people.keys()),
        refused=refused + draft.refused,
        unread=len(listed.problems),
        staying=len(others) - removed if remove_others else 0,
    )


def _earlier(files: EnrolmentPaths, key: bytes, org_key: bytes, embedder: str) -> Roster | None:
    """Return the roster that is there. Raises RosterError, SecretError."""
    if not _is_there(files.roster):
        return None
    old = read(files.roster, key, embedder)
    if not all(person.number for person in old.people):
        raise RosterError(
            f"{files.roster}: was made for units and holds no numbers; enrol where it was "
            "made, or name another roster"
        )
    if any(person_id(person.number, org_key) != person.id for person in old.people):
        raise SecretError(
            f"{files.org_key}: is not the organisation key that {files.roster} was made with; "
            "name that one with --org-key"
        )
    return old


def _templates(
    entries: Sequence[PersonEntry],
    album: Mapping[str, Sequence[Path]],
    analyzer: FaceAnalyzer,
    report: Report,
    progress: Callable[[int, int], None],
) -> tuple[dict[str, dict[Path, Floats]], int]:
    """Return the templates of each listed person's photos, and how many cannot be used.

    Somebody without a photo is left out; of somebody whose photos cannot be used none is returned.
    """
    templates: dict[str, dict[Path, Floats]] = {}
    unusable = 0
    for seen, entry in enumerate(entries):
        progress(seen, len(entries))
        for path in album.get(entry.number, ()):
            usable = templates.setdefault(entry.number, {})
            try:
                if len(usable) == MAX_PHOTOS:
                    raise PhotoError(  # noqa: TRY301 - reported like the others
                        f"{path}: left aside, {MAX_PHOTOS} photos a person are enough"
                    )
                usable[path] = assess_photo(path, analyzer)
            except PhotoError as error:
                unusable += 1
                report(str(error))
    progress(len(entries), len(entries))
    return templates, unusable


def _assembled(
    people: Path,
    entries: Sequence[PersonEntry],
    *,
    templates: Mapping[str, Mapping[Path, Floats]],
    before: Mapping[str, Person],
    staying: Mapping[str, Person],
    org_key: bytes,
) -> _Draft:
    """Put the next roster together: `staying` and the people of the list."""
    draft = _Draft(dict(staying))
    # Old photos of somebody with new ones do not count: they may be the mistake to be corrected.
    listed = {entry.number for entry in entries}
    standing = [
        person
        for number, person in before.items()
        if number in staying or (number in listed and number not in templates)
    ]
    crowd = DuplicateIndex(standing, len(entries))
    for entry in entries:
        photos = templates.get(entry.number, {})
        accepted = consistent_templates(
            crowd.unmatched(photos, draft.messages.append), draft.messages.append
        )
        draft.refused += len(photos) - len(accepted)
        draft.enrolled += bool(accepted)
        known = before.get(entry.number)
        has_photos = entry.number in templates
        if person := _person(entry, accepted, known, org_key):
            draft.people[entry.number] = person
        if person and has_photos:
            crowd.add(person, f"line {entry.line}")
        if not accepted and (has_photos or not known):
            lack = missing_reason(known, has_photos=has_photos)
            draft.messages.append(f"{people}: line {entry.line} ({mask(entry.number)}): {lack}")
    return draft


def _may_remove(
    others: Collection[Person],
    share: float,
    report: Report,
    *,
    problems: bool,
    yes: bool,
    ask: Callable[[str], bool],
) -> bool:
    """List who is to be removed, and return whether that is safe and confirmed."""
    for person in others:
        report(f"not on the list: {person.name} ({mask(person.number)})")
    these = pluralize(len(others), "person")
    if problems:
        report(f"{these} not removed: correct the lines and photos named above first")
        return False
    if yes:
        return True
    if share > MOST_REMOVED:
        report(
            f"{these} not removed: that is {share:.0%} of the roster; check the list, "
            f"and say --yes to remove more than {MOST_REMOVED:.0%}"
        )
        return False
    if ask(f"Remove {these} from the roster?"):
        return True
    report(f"{these} not removed: that was not confirmed; --yes confirms it")
    return False


def _save(
    files: EnrolmentPaths, key: bytes, new: Roster, old: Roster | None, report: Report
) -> None:
    """Write the roster, and its copy for units. Raises RosterError."""
    if old is not None:
        now = read(files.roster, key)
        if (now.version, now.created) != (old.version, old.created):
            raise RosterError(
                f"{files.roster}: another program changed it in the meantime; enrol again"
            )
        new = _with_erasures(new, old, files.roster, report)
    if files.units is not None:
        save(files.units, key, stripped(new))
    save(files.roster, key, new)


def _with_erasures(new: Roster, old: Roster, path: Path, report: Report) -> Roster:
    """Return the new roster with what the old one remembers of people who were erased."""
    again = [person for person in new.people if person.id in old.tombstones]
    for person in again:
        report(f"{path}: {mask(person.number)} was erased, and is enrolled again")
    back = {person.id: new.version for person in again}
    return replace(
        new,
        tombstones={who: n for who, n in old.tombstones.items() if who not in back},
        readmitted={**old.readmitted, **back},
        salt=old.salt,
    )


def _person(
    entry: PersonEntry, templates: Sequence[Floats], known: Person | None, org_key: bytes
) -> Person | None:
    """Return the person as they will be in the roster; None if they cannot be."""
    if templates:
        ident = person_id(entry.number, org_key)
        return Person(ident, entry.number, entry.name, entry.exempt, np.stack(templates))
    return replace(known, name=entry.name, exempt=entry.exempt) if known else None


def missing_reason(known: Person | None, *, has_photos: bool) -> str:
    """Return why a person has no new template, for the report."""
    if known:
        return "no new photo can be used, the earlier ones stay"
    what = "none of the photos can be used" if has_photos else "there is no photo"
    return f"left out, {what}; add <person number>.jpg and enrol again"


def _keys(files: EnrolmentPaths, report: Report) -> tuple[bytes, bytes]:
    """Read both keys; make those that are missing before there is a roster."""
    keys = []
    for path, what in ((files.key, "the roster key"), (files.org_key, "the organisation key")):
        if _is_there(path) or _is_there(files.roster):
            keys.append(read_key(path, what))
        else:
            keys.append(make_key(path, what))
            report(
                f"{path}: made {what}; keep a copy offline: without it everybody must enrol again"
            )
    return keys[0], keys[1]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a folder above it is closed to us
        raise SecretError(f"{path}: cannot be looked for: {error.strerror}") from None
