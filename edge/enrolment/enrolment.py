"""Turns photos into templates: checks each photo, reports what is wrong with it, writes the roster.

Enrolling again adds the people of the list to the roster, and replaces old photos by new ones.
Somebody on the list without a photo keeps their earlier photos. Somebody who is not on the list
stays; `remove_others` removes them, but only if the list and all photos are without a problem and
the operator confirms who it is.

Messages go to the operator's terminal only, because a photo's file name holds a person number.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edge.enrolment.assessment import PhotoAnalyzer, assess_photo
from edge.enrolment.photo_folder import list_folder, sort_photos
from edge.enrolment.similarity import DuplicateIndex, agreeing
from edge.errors import PeopleError, PhotoError, RosterError, SecretError
from edge.roster.codec import MAX_PHOTOS, Person, Roster, stripped
from edge.roster.file import read, save
from edge.roster.keys import make_key, read_key
from edge.roster.people import PersonEntry, mask, person_id, read_people_list
from edge.system.text import escaped, pluralize
from edge.types import Floats

# More people than this share of the roster are removed only on request, without a question.
MOST_REMOVED = 0.05

Tell = Callable[[str], None]


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
    """The people of the next roster, and what there is to say about them."""

    people: dict[str, Person]  # by number
    said: list[str] = field(default_factory=list)
    enrolled: int = 0
    refused: int = 0  # photos


def enrol(
    files: EnrolmentPaths,
    examiner: PhotoAnalyzer,
    *,
    remove_others: bool = False,
    yes: bool = False,
    ask: Callable[[str], bool] = lambda _: False,
    tell: Tell,
    progress: Callable[[int, int], None],
) -> EnrolmentResult:
    """Enrol the people of a list with their photos.

    `tell` is given one line for each problem, `progress` the number of people seen and of all.
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
    for line in draft.said:
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
    examiner: PhotoAnalyzer,
    tell: Tell,
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
                usable[path] = assess_photo(path, examiner)
            except PhotoError as error:
                unusable += 1
                tell(str(error))
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
        accepted = agreeing(crowd.strangers(photos, draft.said.append), draft.said.append)
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
            draft.said.append(f"{people}: line {entry.line} ({mask(entry.number)}): {lack}")
    return draft


def _may_remove(
    others: Collection[Person],
    share: float,
    tell: Tell,
    *,
    problems: bool,
    yes: bool,
    ask: Callable[[str], bool],
) -> bool:
    """List who is to be removed, and return whether that is safe and confirmed."""
    for person in others:
        tell(f"not on the list: {person.name} ({mask(person.number)})")
    these = pluralize(len(others), "person")
    if problems:
        tell(f"{these} not removed: correct the lines and photos named above first")
        return False
    if yes:
        return True
    if share > MOST_REMOVED:
        tell(
            f"{these} not removed: that is {share:.0%} of the roster; check the list, "
            f"and say --yes to remove more than {MOST_REMOVED:.0%}"
        )
        return False
    if ask(f"Remove {these} from the roster?"):
        return True
    tell(f"{these} not removed: that was not confirmed; --yes confirms it")
    return False


def _save(files: EnrolmentPaths, key: bytes, new: Roster, old: Roster | None, tell: Tell) -> None:
    """Write the roster, and its copy for units. Raises RosterError."""
    if old is not None:
        now = read(files.roster, key)
        if (now.version, now.created) != (old.version, old.created):
            raise RosterError(
                f"{files.roster}: another program changed it in the meantime; enrol again"
            )
        new = _remembering(new, old, files.roster, tell)
    if files.units is not None:
        save(files.units, key, stripped(new))
    save(files.roster, key, new)


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


def _keys(files: EnrolmentPaths, tell: Tell) -> tuple[bytes, bytes]:
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
