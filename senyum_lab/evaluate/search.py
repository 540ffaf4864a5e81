"""Open-set search among thousands of people with the rule of the device."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge.attendance.policy import IdentityVote
from edge.errors import LabelsError
from edge.gallery import DIMENSION, Gallery, mean_template, nearest_others
from edge.inference.embedder import TemplateFusion
from edge.roster.codec import MAX_PHOTOS
from edge.roster.thresholds import adaptive_thresholds
from edge.settings import AttendanceSettings, RosterSettings
from edge.system.text import pluralize
from edge.types import Floats
from senyum_lab.evaluate import metrics
from senyum_lab.evaluate.charts import Chart, HistogramChart, TradeoffChart
from senyum_lab.evaluate.faces import FRAMED, EvaluationContext, look, pictures
from senyum_lab.evaluate.labels import read
from senyum_lab.evaluate.report import EvaluationReport, Table, share

GALLERY = 5000  # people

_RATES = {"tpir_at_fpir_1e2": 1e-2, "tpir_at_fpir_1e3": 1e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """The people and photos of a search evaluation."""

    images: Path
    labels: Path | None = None  # file,person; None: the folder of a photo is its person
    distractors: Path | None = None  # each photo shows another person
    enrol: int = 1  # photos per person
    frames: int | None = None  # photos per attempt; None: as many as enrolled
    gallery: int = GALLERY
    strangers: int = 0  # labelled people not enrolled; 0: those who do not fit


# A template, or None if the photo has no face.
Photo = Floats | None


class _Attempt(NamedTuple):
    """Some photos of one person in front of the device."""

    person: str
    photos: Sequence[Photo]


class _SearchOutcome(NamedTuple):
    """The result of one attempt."""

    nearest: str | None  # of all frames together; None: no face detected
    similarity: float
    accepted: str | None  # by the rule of the device


class _SearchRoles(NamedTuple):
    """Who is enrolled, who attempts, who is a stranger."""

    enrolled: dict[str, Floats]  # person -> (photos, DIMENSION)
    known: list[_Attempt]
    strangers: list[_Attempt]
    faceless: int  # people without a detected face


def evaluate(plan: SearchPlan, bench: EvaluationContext) -> EvaluationReport:
    """Enrol, search and count. Raises LabelsError."""
    frames = plan.enrol if plan.frames is None else plan.frames
    if not 1 <= plan.enrol <= MAX_PHOTOS:
        raise LabelsError(f"--enrol {plan.enrol}: a person has 1 to {MAX_PHOTOS} photos")
    if frames < 1 or plan.gallery < 2 or plan.strangers < 0:
        raise LabelsError("--frames must be 1 or more, --gallery 2 or more, --strangers 0 or more")
    owners = _owners(plan)
    seen = look(owners, plan.images, bench)
    album: defaultdict[str, list[Photo]] = defaultdict(list)
    for name, face in seen.faces.items():
        album[owners[name]].append(None if face is None else face.template)
    if len(album) < 2:
        raise LabelsError(f"{plan.labels or plan.images}: fewer than two people have a photo")
    notes, faces, listed = seen.notes, seen.found, len(seen.faces)
    missing, problems = seen.missing, seen.problems
    others: list[Photo] = []
    if plan.distractors is not None:
        crowd = look(pictures(plan.distractors), plan.distractors, bench)
        others = [None if face is None else face.template for face in crowd.faces.values()]
        notes += [f"distractors {note}" for note in crowd.notes]
        faces, listed = faces + crowd.found, listed + len(others)
        missing, problems = missing + crowd.missing, problems + crowd.problems
    roles = _assign(album, others, plan, frames)
    notes += _shortcomings(plan, roles)

    gallery = _gallery(roles.enrolled)
    roster, rules = adaptive_thresholds(gallery, bench.settings.roster), bench.settings.attendance
    known = [_try(attempt, gallery, roster, rules) for attempt in roles.known]
    strangers = [_try(attempt, gallery, roster, rules) for attempt in roles.strangers]
    right = np.array([o.nearest == a.person for o, a in zip(known, roles.known, strict=True)])
    scores = np.array([outcome.similarity for outcome in known])
    false = np.array([o.similarity for o in strangers if o.nearest is not None], np.float64)
    mistaken = sum(
        o.accepted not in (None, a.person) for o, a in zip(known, roles.known, strict=True)
    )
    let_in = sum(outcome.accepted is not None for outcome in strangers)
    tries = len(known) + false.size
    rates: dict[str, float | None] = dict.fromkeys(_RATES)
    for key, rate in _RATES.items() if false.size else ():
        threshold = metrics.threshold_at(false, rate)
        rates[key] = float((right & (scores >= threshold)).mean())
        if math.floor(rate * false.size + 1e-9) == 0:
            notes.append(
                f"{key}: {false.size} strangers cannot show a rate of {rate:g}; the figure is at "
                "none found"
            )
    figures = {
        "n": len(known),
        "found": sum(outcome.nearest is not None for outcome in known),
        "images": listed,
        "images_found": faces,
        "missing": missing,
        "unreadable": len(problems),
        "gallery": gallery.size,
        "people_tried": len({attempt.person for attempt in roles.known}),
        "strangers": int(false.size),
        "enrol": plan.enrol,
        "frames": frames,
        "rank1": float(right.mean()),
        **rates,
        "threshold": roster.threshold,
        "margin": roster.margin,
        "right_accepted": float(
            np.mean([o.accepted == a.person for o, a in zip(known, roles.known, strict=True)])
        ),
        "wrong_accepted": mistaken + let_in,
        "wrong_accepted_enrolled": mistaken,
        "wrong_accepted_strangers": let_in,
        "wrong_accepted_attempts": tries,
        "wrong_accepted_upper95": metrics.upper_bound(mistaken + let_in, tries),
    }
    return EvaluationReport(
        title="Identity: search",
        figures=figures,
        tables=[_table(figures)],
        protocol=_PROTOCOL,
        notes=notes,
        charts=_charts(np.where(right, scores, -1.0), scores[right], false, roster.threshold),
    )


_PROTOCOL = (
    FRAMED,
    "Faces are used regardless of quality.",
    (
        "The gallery is filled with people who have photos left to try, then with the other "
        "labelled ones, then with distractors, each by name; those who do not fit are strangers. "
        "With --strangers, that number of labelled people, the last ones, are not enrolled and are "
        "the only strangers; use it if distractors may show one person twice."
    ),
    (
        "The first photos by name with a detected face are enrolled, fused as in the roster. All "
        "further photos are tried, in groups of --frames without overlap; an incomplete group is "
        "left out. A stranger is tried once, with at most --frames photos."
    ),
    (
        "rank1 and TPIR: the frames of an attempt are fused like enrolment photos; an attempt "
        "without a detected face is an error. TPIR at FPIR: nearest to the right person, at the "
        "lowest threshold that at most floor(FPIR x strangers) strangers reach, not interpolated."
    ),
    (
        "wrong_accepted: the rule of the device, that all frames of the attempt, fused, reach the "
        "threshold and the margin derived from the gallery, and that no frame looks like another "
        "person than the frames before it; the photos represent the agreeing frames. Counted are "
        "enrolled people accepted as others, and strangers with a detected face; the bound is the "
        "one-sided 95 % Clopper-Pearson bound for independent attempts."
    ),
)


def _owners(plan: SearchPlan) -> dict[str, str]:
    """Return the person of each photo, sorted by the names of the photos."""
    if plan.labels is not None:
        rows = read(plan.labels, "file", "person", key="file").rows
        owners = {row.cells["file"]: row.cells["person"] for row in rows}
        return {name: owners[name] for name in sorted(owners)}
    if not plan.images.is_dir():
        raise LabelsError(f"{plan.images}: no such folder of pictures")
    return {name: Path(name).parent.as_posix() for name in pictures(plan.images)}


def _assign(
    album: Mapping[str, Sequence[Photo]], others: Sequence[Photo], plan: SearchPlan, frames: int
) -> _SearchRoles:
    """Assign the people: enrolled, attempting or strangers."""
    enrolled: dict[str, list[Floats]] = {}
    rest: dict[str, Sequence[Photo]] = {}
    faceless = 0
    for person in sorted(album):
        places = [i for i, photo in enumerate(album[person]) if photo is not None]
        if not places:
            faceless += 1
            continue
        taken = places[: plan.enrol]
        enrolled[person] = [p for i, p in enumerate(album[person]) if i in taken and p is not None]
        full = len(taken) == plan.enrol
        rest[person] = [p for i, p in enumerate(album[person]) if i not in taken] if full else ()
    ready = [person for person in enrolled if len(rest[person]) >= frames]
    order = ready + [person for person in enrolled if len(rest[person]) < frames]
    kept_in = min(plan.gallery, max(0, len(order) - plan.strangers))
    inside, outside = order[:kept_in], order[kept_in:]
    if plan.strangers:
        outside = outside[-plan.strangers :]
    strangers = [_Attempt(person, album[person][:frames]) for person in outside]
    matrix = {person: np.stack(enrolled[person]) for person in inside}
    for number, photo in enumerate(others):
        name = f"distractor {number}"
        if photo is None:
            faceless += 1
        elif len(matrix) < plan.gallery:
            matrix[name] = photo[np.newaxis]
        elif not plan.strangers:
            strangers.append(_Attempt(name, [photo]))
    known = [
        _Attempt(person, group)
        for person in ready[:kept_in]
        for group in _groups(rest[person], frames)
    ]
    if not known:
        raise LabelsError(
            f"{plan.labels or plan.images}: nobody has {plan.enrol} photos to enrol and {frames} "
            "more to try; lower --enrol or --frames"
        )
    return _SearchRoles(matrix, known, strangers, faceless)


def _groups(photos: Sequence[Photo], size: int) -> Iterator[Sequence[Photo]]:
    for start in range(0, len(photos) - size + 1, size):
        yield photos[start : start + size]


def _shortcomings(plan: SearchPlan, roles: _SearchRoles) -> list[str]:
    notes = []
    if roles.faceless:
        notes.append(
            f"left out: {pluralize(roles.faceless, 'person')} without a face found on any photo"
        )
    if len(roles.enrolled) < plan.gallery:
        notes.append(f"the gallery holds {len(roles.enrolled)} instead of {plan.gallery} people")
    if not roles.strangers:
        notes.append(
            "unmeasured: TPIR, because there are no strangers; lower --gallery or add --distractors"
        )
    return notes


def _gallery(enrolled: Mapping[str, Floats]) -> Gallery:
    # The roster file stores templates in half precision.
    matrix = np.stack(
        [mean_template(templates.astype(np.float16)) for templates in enrolled.values()]
    )
    assert matrix.shape[1] == DIMENSION
    return Gallery(tuple(enrolled), matrix, nearest_others(matrix))


def _try(
    attempt: _Attempt, gallery: Gallery, roster: RosterSettings, rules: AttendanceSettings
) -> _SearchOutcome:
    found = [photo for photo in attempt.photos if photo is not None]
    if not found:
        return _SearchOutcome(None, -1.0, None)
    together = gallery.search(mean_template(np.stack(found)))
    assert together is not None  # somebody is enrolled
    fusion, identity = TemplateFusion(), IdentityVote()
    for photo in found:
        joined, frames = fusion.add(0, photo)
        if (match := gallery.search(joined)) is not None:
            identity.add(replace(match, frames=frames), roster)
    # A frame without a face does not vote.
    all_of_them = rules.model_copy(update={"agreeing_frames": len(attempt.photos)})
    return _SearchOutcome(together.person, together.similarity, identity.known(all_of_them))


def _table(figures: Mapping[str, Any]) -> Table:
    return Table(
        ("figure", "value"),
        (
            ("people enrolled", f"{figures['gallery']:,} with {figures['enrol']} photo(s)"),
            (
                "attempts of enrolled people",
                (
                    f"{figures['n']:,} of {figures['people_tried']:,} people, "
                    f"{figures['frames']} photo(s) each"
                ),
            ),
            ("strangers", f"{figures['strangers']:,}"),
            ("rank-1", share(figures["rank1"])),
            ("found at 1 % false alarms", share(figures["tpir_at_fpir_1e2"])),
            ("found at 0.1 % false alarms", share(figures["tpir_at_fpir_1e3"])),
            (
                f"accepted, threshold {figures['threshold']:.3f}, margin {figures['margin']:.3f}",
                share(figures["right_accepted"]),
            ),
            (
                "wrong person accepted",
                (
                    f"{figures['wrong_accepted']} of {figures['wrong_accepted_attempts']:,} "
                    f"({figures['wrong_accepted_enrolled']} enrolled, "
                    f"{figures['wrong_accepted_strangers']} strangers); at most "
                    f"{share(figures['wrong_accepted_upper95'], 3)} (95 %)"
                ),
            ),
        ),
    )


def _charts(
    ranked: metrics.Values, right: metrics.Values, false: metrics.Values, threshold: float
) -> list[Chart]:
    groups = {name: v for name, v in (("strangers", false), ("right person", right)) if v.size}
    if not groups:
        return []
    charts: list[Chart] = [
        HistogramChart(
            name="scores",
            title="Similarity of searches",
            groups=groups,
            label="cosine to the nearest",
            limits=(-0.2, 1),
            threshold=threshold,
        )
    ]
    if false.size:
        # A wrong nearest person is an error at every threshold, so it gets the lowest score.
        curve = metrics.tradeoff(ranked, false)
        charts.append(
            TradeoffChart(
                name="det",
                title="Search: error trade-off",
                curves={"search": curve},
                accepted="strangers found (FPIR)",
                refused="enrolled missed (FNIR)",
            )
        )
    return charts
