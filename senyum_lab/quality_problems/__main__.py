"""Add problems to photos of uncovered, well lit faces; run by scripts/make_problems.

Writes OUT/pictures and OUT/labels.csv: the columns of the labels and `problem`, the kind that was
added ("none" for the original photo). `senyum evaluate groups --by problem` then counts what the
device calls each kind. Use photos that no network was trained on: `--part 10` takes the half that
scripts/train_cover leaves out.
"""

import argparse
import csv
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from edge.errors import SenyumError
from edge.images import open_photo, to_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.landmarks import Mesh
from edge.settings import CameraSettings, InferenceSettings
from edge.types import Yuv
from senyum_lab.batch_work import Progress
from senyum_lab.evaluate.faces import framed
from senyum_lab.quality_problems import problems
from senyum_lab.quality_problems.problems import Field, Ground, Numbers

KINDS = ("none", *problems.COVERS, *problems.BARE, *problems.DARK, *problems.BACKLIT)
_PARTS = 20  # as in scripts/train_cover
_QUALITY = 95  # of JPEG


def main() -> int:
    """Write the pictures and their labels; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/make_problems", description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="csv with a column file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=3, help="random kinds per photo; default: 3")
    parser.add_argument(
        "--part", type=int, default=_PARTS,
        help="twentieths of the photos to use; 10: those that training leaves out",
    )  # fmt: skip
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    with options.labels.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if _part(row["file"]) < options.part]
    (options.out / "pictures").mkdir(parents=True, exist_ok=True)
    try:
        examiner = FaceAnalyzer(InferenceSettings())
        made = []
        for row in Progress("adding problems to photos", rows):
            made += _made(row, examiner, options)
    except SenyumError as error:
        print(f"make_problems: {error}", file=sys.stderr)
        return 1
    if not made:
        print(f"make_problems: no face detected in {options.images}", file=sys.stderr)
        return 1
    with (options.out / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, made[0])
        writer.writeheader()
        writer.writerows(made)
    print(f"{len(made):,} pictures of {len(rows):,} photos in {options.out}")
    return 0


def _made(
    row: dict[str, str], examiner: FaceAnalyzer, options: argparse.Namespace
) -> list[dict[str, str]]:
    """Add some kinds of problem to one photo, each in its own file; return the labels."""
    photo = framed(open_photo(options.images / row["file"]), CameraSettings())
    mesh = _mesh(examiner, photo)
    if mesh is None:
        return []
    numbers = np.random.default_rng(zlib.crc32(row["file"].encode()))
    ground = Ground.of(np.asarray(to_image(photo)), mesh)
    kinds = numbers.choice(options.kinds, min(options.each, len(options.kinds)), replace=False)
    made = []
    for kind in kinds.tolist():
        name = f"{Path(row['file']).stem}-{kind.replace(' ', '-')}.jpg"
        pixels = _add(kind, ground, numbers).round().clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(options.out / "pictures" / name, quality=_QUALITY)
        made.append({**row, "file": name, "problem": kind})
    return made


def _add(kind: str, ground: Ground, numbers: Numbers) -> Field:
    if paint := {**problems.COVERS, **problems.BARE}.get(kind):
        return paint(ground, numbers).photo
    if kind in problems.DARK:
        return problems.darker(ground, problems.DARK[kind], numbers)
    if kind in problems.BACKLIT:
        return problems.backlit(ground, problems.BACKLIT[kind], numbers)
    return ground.photo


def _mesh(examiner: FaceAnalyzer, photo: Yuv) -> Mesh | None:
    """Return the mesh of the largest face."""
    looks = (examiner.locate(photo, found) for found in examiner.find(photo))
    return next((looked[1] for looked in looks if looked is not None), None)


def _part(file: str) -> int:
    return zlib.crc32(file.encode()) % _PARTS


if __name__ == "__main__":
    sys.exit(main())
