"""Who is found among thousands: open-set search with the unit's own rule."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge.attendance.policy import IdentityVote
from edge.errors import LabelsError
from edge.gallery import DIMENSION, Gallery, mean_template
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
    """Who is enrolled with how much."""

    images: Path
    labels: Path | None = None  # file,person; None: the folder a photo lies in is its person
    distractors: Path | None = None  # each photo another person
    enrol: int = 1  # photos a person
    frames: int | None = None  # photos an attempt; None: as many as are enrolled
    gallery: int = GALLERY
    strangers: int = 0  # labelled people kept out of the gallery; 0: who is left over


# A photo, or a photo without a face: what a camera shows of somebody in turn.
Photo = Floats | None


class _Attempt(NamedTuple):
    """Some photos of one person in front of the unit."""

    person: str
    photos: Sequence[Photo]


class _SearchOutcome(NamedTuple):
    """What the search says to one attempt."""

    nearest: str | None  # of all frames together; None: no face was found
    similarity: float
    accepted: str | None  # by the unit's rule


class _Cast(NamedTuple):
    """Everybody's part."""

    enrolled: dict[str, Floats]  # person -> (photos, DIMENSION)
    known: list[_Attempt]
    strangers: list[_Attempt]
    faceless: int  # people without a face found


def evaluate(plan: SearchPlan, bench: EvaluationContext) -> EvaluationReport:
    """Enrol, search, count. Raises LabelsError."""
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
    cast = _casting(album, others, plan, frames)
    notes += _shortcomings(plan, cast)

    gallery = _gallery(cast.enrolled)
    roster, rules = adaptive_thresholds(gallery, bench.settings.roster), bench.settings.attendance
    known = [_try(attempt, gallery, roster, rules) for attempt in cast.known]
    strangers = [_try(attempt, gallery, roster, rules) for attempt in cast.strangers]
    right = np.array([o.nearest == a.person for o, a in zip(known, cast.known, strict=True)])
    scores = np.array([outcome.similarity for outcome in known])
    false = np.array([o.similarity for o in strangers if o.nearest is not None], np.float64)
    mistaken = sum(
        o.accepted not in (None, a.person) for o, a in zip(known, cast.known, strict=True)
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
        "people_tried": len({attempt.person for attempt in cast.known}),
        "strangers": int(false.size),
        "enrol": plan.enrol,
        "frames": frames,
        "rank1": float(right.mean()),
        **rates,
        "threshold": roster.threshold,
        "margin": roster.margin,
        "right_accepted": float(
            np.mean([o.accepted == a.person for o, a in zip(known, cast.known, strict=True)])
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
    "Faces are used whatever their quality.",
    (
        "People with photos left to try come first into the gallery, then the other labelled ones, "
        "then distractors, each by name, until it is full; who is left over is a stranger. With "
        "--strangers, so many labelled people, the last, are kept out and are the only strangers: "
        "for distractors whose pictures may show one person twice."
    ),
    (
        "Enrolled are the first photos by name with a face found, fused as the roster fuses them. "
        "All further photos are tried, in groups of --frames without overlap; an incomplete group "
        "is left out. A stranger is tried once, with as many photos of one group as there are."
    ),
    (
        "rank1 and TPIR: the frames of an attempt are fused like enrolment photos; an attempt "
        "without a face found is an error. TPIR at FPIR: nearest to the right person, at the "
        "lowest threshold that at most floor(FPIR x strangers) strangers reach, not interpolated."
    ),
    (
        "wrong_accepted: the unit's rule, that all frames of the attempt, joined, reach the "
        "threshold and the margin which the gallery itself calls for, and that no frame looks like "
        "somebody else than those before it; the photos stand for the agreeing frames. Of "
        "enrolled people taken for others, and of strangers with a face found; the bound is "
        "Clopper and Pearson's, one-sided, 95 %, as if attempts were independent."
    ),
)


def _owners(plan: SearchPlan) -> dict[str, str]:
    """Return whose each photo is, in order of the photos' names."""
    if plan.labels is not None:
        rows = read(plan.labels, "file", "person", key="file").rows
        owners = {row.cells["file"]: row.cells["person"] for row in rows}
        return {name: owners[name] for name in sorted(owners)}
    if not plan.images.is_dir():
        raise LabelsError(f"{plan.images}: no such folder of pictures")
    return {name: Path(name).parent.as_posix() for name in pictures(plan.images)}


def _casting(
    album: Mapping[str, Sequence[Photo]], others: Sequence[Photo], plan: SearchPlan, frames: int
) -> _Cast:
    """Decide who is enrolled, who tries, who is a stranger."""
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
    return _Cast(matrix, known, strangers, faceless)


def _groups(photos: Sequence[Photo], size: int) -> Iterator[Sequence[Photo]]:
    for start in range(0, len(photos) - size + 1, size):
        yield photos[start : start + size]


def _shortcomings(plan: SearchPlan, cast: _Cast) -> list[str]:
    notes = []
    if cast.faceless:
        notes.append(
            f"left out: {pluralize(cast.faceless, 'person')} without a face found on any photo"
        )
    if len(cast.enrolled) < plan.gallery:
        notes.append(f"the gallery holds {len(cast.enrolled)} instead of {plan.gallery} people")
    if not cast.strangers:
        notes.append(
            "unmeasured: TPIR, for nobody is left over as a stranger; lower --gallery or name "
            "--distractors"
        )
    return notes


def _gallery(enrolled: Mapping[str, Floats]) -> Gallery:
    # The roster file keeps templates in half precision.
    matrix = np.stack(
        [mean_template(templates.astype(np.float16)) for templates in enrolled.values()]
    )
    assert matrix.shape[1] == DIMENSION
    return Gallery(tuple(enrolled), np.ascontiguousarray(matrix, np.float32))


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
    # A frame without the face speaks for nobody.
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
        # A wrong nearest person is missed at every threshold: it lies below all scores.
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
