"""Puts problems into photos of bare, well lit faces, to be judged by; run by scripts/make_problems.

Writes OUT/pictures and OUT/labels.csv: the labels' own columns and `problem`, the kind that was
put in ("none" for the photo as it is). `senyum evaluate groups --by problem` then counts what the
unit calls each kind. Take photos that no network was trained on: `--part 0/2` takes the same half
of the photos that scripts/train_cover leaves out.
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
from senyum_lab.quality_problems import covers, light
from senyum_lab.quality_problems.covers import Field, Ground, Numbers

KINDS = ("none", *covers.COVERS, *covers.BARE, *light.DARK, *light.BACKLIT)
_PARTS = 20  # as scripts/train_cover counts them
_QUALITY = 95  # of JPEG


def main() -> int:
    """Write the pictures and their labels; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/make_problems", description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="csv with a column file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=3, help="kinds a photo, at random; default: 3")
    parser.add_argument(
        "--part", type=int, default=_PARTS,
        help="take this many twentieths of the photos, by name; 10: what training leaves out",
    )  # fmt: skip
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    with options.labels.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if _part(row["file"]) < options.part]
    (options.out / "pictures").mkdir(parents=True, exist_ok=True)
    try:
        examiner = FaceAnalyzer(InferenceSettings())
        made = []
        for row in Progress("putting problems into photos", rows):
            made += _made(row, examiner, options)
    except SenyumError as error:
        print(f"make_problems: {error}", file=sys.stderr)
        return 1
    if not made:
        print(f"make_problems: no face was found in {options.images}", file=sys.stderr)
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
    """Write some kinds of problem into one photo; return the labels of what was written."""
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
        pixels = _put(kind, ground, numbers).round().clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(options.out / "pictures" / name, quality=_QUALITY)
        made.append({**row, "file": name, "problem": kind})
    return made


def _put(kind: str, ground: Ground, numbers: Numbers) -> Field:
    if paint := {**covers.COVERS, **covers.BARE}.get(kind):
        return paint(ground, numbers).photo
    if kind in light.DARK:
        return light.darker(ground, light.DARK[kind], numbers)
    if kind in light.BACKLIT:
        return light.backlit(ground, light.BACKLIT[kind], numbers)
    return ground.photo


def _mesh(examiner: FaceAnalyzer, photo: Yuv) -> Mesh | None:
    """Return the mesh of the largest face."""
    looks = (examiner.locate(photo, found) for found in examiner.find(photo))
    return next((looked[1] for looked in looks if looked is not None), None)


def _part(file: str) -> int:
    return zlib.crc32(file.encode()) % _PARTS


if __name__ == "__main__":
    sys.exit(main())
