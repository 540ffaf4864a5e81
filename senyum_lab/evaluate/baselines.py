"""The accuracy of the shipped models on labelled faces, with default settings.

The folder contains LFW (`lfw/`, `lfw-pairs.csv`), GENKI-4K (`genki4k/`, `genki4k.csv`) and the Face
Research Lab London Set (`london/`, `london.csv`).
"""

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from edge.images import from_image
from edge.inference.face_analyzer import AlignedFace, FaceAnalyzer
from edge.inference.face_crop import FaceCrop
from edge.inference.landmarks import Mesh
from edge.settings import InferenceSettings, RosterSettings
from edge.types import Floats
from senyum_lab.evaluate.labels import read_rows
from senyum_lab.evaluate.metrics import Values

CHOSEN_ON = "01"  # the folds on which the threshold was chosen; the others are reported


def same(examiner: FaceAnalyzer, datasets: Path, every: int) -> None:
    """Evaluate LFW, View 2: the listed pairs, and all pairs of different people."""
    pairs = read_rows(datasets / "lfw-pairs.csv")[::every]
    names = {row["a"]: row["fold"] for row in pairs} | {row["b"]: row["fold"] for row in pairs}
    templates, missed = {}, 0
    for name in sorted(names):
        if (seen := _find_face(examiner, datasets / "lfw" / name)) is None:
            missed += 1
        else:
            templates[name] = examiner.embedder.embed(examiner.align(*seen).crop)
    print(f"\nLFW: {len(names)} photos, no face in {missed}")
    threshold = RosterSettings().threshold
    for title, fold_in in (("chosen on", True), ("others", False)):
        part = [r for r in pairs if (r["fold"] in CHOSEN_ON) is fold_in]
        part = [r for r in part if r["a"] in templates and r["b"] in templates]
        if not part:
            continue
        scores = np.array([templates[r["a"]] @ templates[r["b"]] for r in part], np.float64)
        truths = np.array([r["same"] == "1" for r in part])
        best = max(float(((scores > t) == truths).mean()) for t in scores)
        print(f"folds {title}: {len(part)} pairs, {best:.2%} right at the best threshold")
        known = sorted(n for n in templates if (names[n] in CHOSEN_ON) is fold_in)
        strangers = _strangers(templates, known)
        print("  threshold  same person accepted  pairs of strangers  in", strangers.size)
        for t in sorted({0.40, 0.45, 0.50, 0.55, 0.60, 0.65, threshold}):
            mark = " (default)" if t == threshold else ""
            accepted = (scores[truths] > t).mean()
            print(f"  {t:9.2f}  {accepted:20.2%}  {(strangers > t).mean():18.2e}{mark}")
        _search(templates, known)


def _strangers(templates: dict[str, Floats], known: list[str]) -> Values:
    """Return the similarities of all pairs of photos of different people."""
    matrix = np.stack([templates[n] for n in known])
    people = np.array([n.split("/")[0] for n in known])
    upper = np.triu(np.ones((len(known), len(known)), bool), 1) & (people[:, None] != people)
    return np.asarray((matrix @ matrix.T)[upper], np.float64)


def _search(templates: dict[str, Floats], names: list[str]) -> None:
    """Enrol one photo per person; search with the other photos and with strangers."""
    first: dict[str, str] = {}
    probes = []
    for name in names:
        person = name.split("/")[0]
        if person in first:
            probes.append(name)
        first.setdefault(person, name)
    people = sorted(first)
    gallery = np.stack([templates[first[p]] for p in people])
    settings = RosterSettings()
    right = wrong = impostors = 0
    for probe in probes:
        scores = gallery @ templates[probe]
        own = people.index(probe.split("/")[0])
        winner = _accepted(scores, settings)
        right += winner == own
        wrong += winner not in (None, own)
    for i, person in enumerate(people):  # as if they were not enrolled
        scores = gallery @ templates[first[person]]
        scores[i] = -1
        impostors += _accepted(scores, settings) is not None
    print(
        f"  1:N, {len(people)} people, one photo each, threshold {settings.threshold}, "
        f"margin {settings.margin}: of {len(probes)} enrolled probes {right / len(probes):.1%} "
        f"known, {wrong} as somebody else; of {len(people)} strangers {impostors} known"
    )


def _accepted(scores: Floats, settings: RosterSettings) -> int | None:
    second, best = np.argsort(scores)[-2:]
    near = scores[best] >= settings.threshold
    ahead = scores[best] - scores[second] >= settings.margin
    return int(best) if near and ahead else None


def quality(examiner: FaceAnalyzer, datasets: Path, every: int) -> None:
    """Print how many ordinary photos pass the quality gates, and the range of each figure."""
    for name, folder in (("lfw-pairs", "lfw"), ("london", "london"), ("genki4k", "genki4k")):
        key = "a" if name == "lfw-pairs" else "file"
        found = []
        for row in read_rows(datasets / f"{name}.csv")[:: 1 if name == "london" else every]:
            path = datasets / folder / row[key]
            if path.exists() and (seen := _find_face(examiner, path)) is not None:
                found.append(examiner.align(*seen))
        _print_quality(name, found)


def _print_quality(name: str, found: list[AlignedFace]) -> None:
    problems = Counter(str(aligned.quality.problem or "none") for aligned in found)
    print(f"\n{name}: problems of {len(found)} faces: {dict(problems.most_common())}")
    for figure in ("face_px", "sharpness", "luma", "contrast", "yaw", "pitch", "roll"):
        values = [getattr(aligned.quality, figure) for aligned in found]
        low, middle, high = np.percentile(values, (1, 50, 99))
        print(f"  {figure:10} 1 % {low:8.1f}   median {middle:8.1f}   99 % {high:8.1f}")


EVALUATIONS: dict[str, Callable[[FaceAnalyzer, Path, int], None]] = {
    "same": same,
    "quality": quality,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every N-th row: quicker")
    parser.add_argument("--only", choices=EVALUATIONS)
    arguments = parser.parse_args()
    examiner = FaceAnalyzer(InferenceSettings(threads=2))
    for name, evaluate in EVALUATIONS.items():
        if arguments.only in (None, name):
            evaluate(examiner, arguments.datasets, arguments.every)


def _find_face(examiner: FaceAnalyzer, path: Path) -> tuple[FaceCrop, Mesh] | None:
    """Return the face nearest to the centre of a picture, cropped as on the device."""
    picture = from_image(Image.open(path))
    centre = picture.width / 2, picture.height / 2
    found = sorted(
        examiner.find(picture),
        key=lambda face: (
            (face.box.x + face.box.width / 2 - centre[0]) ** 2
            + (face.box.y + face.box.height / 2 - centre[1]) ** 2
        ),
    )
    located = (examiner.locate(picture, face) for face in found)
    return next((face for face in located if face is not None), None)


if __name__ == "__main__":
    main()
