"""Faces found by their width as a share of the frame: `senyum evaluate distance`.

Scaled photos of real faces, not people at that distance: the optics and the noise of a camera,
and the room around a person, are missing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from PIL import Image

from edge.errors import LabelsError, PhotoError, UsageError
from edge.images import from_image, open_photo, shrink, to_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.pipeline import Pipeline
from edge.settings import CameraSettings
from edge.types import Box, Frame, FrameResult, Yuv
from senyum_lab.evaluate.faces import EvaluationContext, framed, left_out
from senyum_lab.evaluate.metrics import wilson
from senyum_lab.evaluate.report import EvaluationReport, Table, share

SHARES = (0.03, 0.04, 0.05, 0.06, 0.08, 0.10)
_GREY = (90, 90, 90)  # the background
_ENLARGED = 2.0  # a photo is enlarged at most so far
_FRAME_NS = 60_000_000_000  # between two frames, so that nothing is left of the last one
_PLACED = (
    "Each photo is scaled and placed in a grey camera frame so that the box of its face, as found "
    "in the photo itself, has the given share of the width of the frame."
)
_FOUND = (
    "Each frame is the first of somebody. Found: a face to be judged or a distant one, at the "
    "right place and of the right size. Judged: one to which the rules of an attempt apply."
)


@dataclass(slots=True)
class WidthResult:
    """The frames with a face of one width."""

    frames: int = 0
    judged: int = 0  # found, and near enough and clear enough for the rules of an attempt
    found: int = 0  # judged or present
    elsewhere: int = 0  # a face was found where no face is
    missed: list[str] = field(default_factory=list)

    def add(self, name: str, view: FrameResult, where: Box) -> None:
        """Count a frame in which the face of the photo `name` is at `where`."""
        seen = [face.box for face in view.sightings] + ([view.distant] if view.distant else [])
        right = any(_same(box, where) for box in seen)
        self.frames += 1
        self.found += right
        self.judged += bool(view.sightings) and _same(view.sightings[0].box, where)
        self.elsewhere += bool(seen) and not right
        if not right:
            self.missed.append(name)


def part(names: Sequence[str], text: str) -> list[str]:
    """Return part K of N ("K/N") of the photos; photos of one folder stay together.

    Raises UsageError if the text is something else, LabelsError if the part is empty.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([1-9][0-9]{0,5})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise UsageError(f"--part {text}: write K/N with K from 0 to N - 1")
    number, parts = int(found[1]), int(found[2])
    kept = [n for n in names if crc32((n.rpartition("/")[0] or n).encode()) % parts == number]
    if not kept:
        raise LabelsError(f"--part {text}: contains none of {len(names)} photos; use a larger part")
    return kept


def evaluate(
    folder: Path,
    names: Sequence[str],
    shares: Iterable[float],
    bench: EvaluationContext,
    *,
    finder: FaceAnalyzer,
    reader: Pipeline,
) -> EvaluationReport:
    """Place each photo in camera frames so that its face has a given share of the frame's width.

    The width of the face is that of the box found in the photo itself; without `shares`, only that
    is looked for. Raises LabelsError if no photo can be used.
    """
    results = {each: WidthResult() for each in shares}
    camera = bench.settings.camera
    faceless = 0
    problems: list[str] = []
    frames = 0
    for done, name in enumerate(names):
        bench.progress(done, len(names))
        try:
            photo = open_photo(folder / name)
        except PhotoError as error:
            problems.append(str(error))
            continue
        frame = framed(photo, camera)
        found = finder.locate_all(frame)
        if not found:
            faceless += 1
            continue
        box = _in_photo(found[0][0].box, photo, frame)
        for each, result in results.items():
            placed = _placed(photo, box, each, crc32(name.encode()), camera)
            if placed is not None:
                frames += 1
                main, where = placed
                result.add(name, reader.process(_frame(frames, main, camera)), where)
    bench.progress(len(names), len(names))
    if len(problems) == len(names):
        raise LabelsError(f"{folder}: none of the photos can be read; correct the folder or list")
    return _report(results, len(names) - len(problems), faceless, left_out(0, problems), camera)


def _in_photo(box: Box, photo: Yuv, frame: Yuv) -> Box:
    """Return a box of the framed photo in pixels of the photo itself."""
    k = max(photo.width / frame.width, photo.height / frame.height)
    k = max(k, 1.0)  # the photo was reduced to fit, or only padded
    left, top = (frame.width - photo.width / k) / 2, (frame.height - photo.height / k) / 2
    return Box((box.x - left) * k, (box.y - top) * k, box.width * k, box.height * k)


def _placed(
    photo: Yuv, box: Box, width_share: float, place: int, camera: CameraSettings
) -> tuple[Yuv, Box] | None:
    """Return a frame of the camera with the photo in it, and where its face is.

    None where the photo would have to be enlarged more than _ENLARGED or its face does not fit.
    """
    size = camera.main_width, camera.main_height
    scale = width_share * size[0] / box.width
    if scale > _ENLARGED:
        return None
    image = to_image(photo)
    sides = [max(2, round(n * scale)) for n in image.size]
    image = image.resize(sides, Image.Resampling.BICUBIC, reducing_gap=3.0)
    rooms = [frame - side for frame, side in zip(size, sides, strict=True)]
    # Somewhere in the frame; a photo larger than the frame lies with its face in the middle.
    middles = box.x + box.width / 2, box.y + box.height / 2
    left, top = (
        place // step % (room + 1) if room >= 0 else round(frame / 2 - middle * scale)
        for room, frame, middle, step in zip(rooms, size, middles, (1, 7919), strict=True)
    )
    picture = Image.new("RGB", size, _GREY)
    picture.paste(image, (left, top))
    where = Box(left + box.x * scale, top + box.y * scale, box.width * scale, box.height * scale)
    return from_image(picture), where


def _frame(number: int, main: Yuv, camera: CameraSettings) -> Frame:
    lores = shrink(main, camera.lores_width, camera.lores_height)
    return Frame(number, number * _FRAME_NS, main, lores)


def _same(one: Box, other: Box) -> bool:
    """Whether the middle of each box lies in the other, and their widths differ at most twofold."""
    near = 0.5 <= one.width / other.width <= 2
    across = abs(one.x + one.width / 2 - other.x - other.width / 2)
    down = abs(one.y + one.height / 2 - other.y - other.height / 2)
    least = min(one.width, other.width)
    return near and across <= least / 2 and down <= least / 2


def _report(
    results: dict[float, WidthResult],
    photos: int,
    faceless: int,
    notes: list[str],
    camera: CameraSettings,
) -> EvaluationReport:
    columns = (
        "face, share of the frame",
        "frames",
        "found",
        "95 % interval",
        "judged",
        "elsewhere",
    )
    rows = [
        (
            f"{each:.1%}",
            str(result.frames),
            share(result.found / result.frames),
            "{:.2%} to {:.2%}".format(*wilson(result.found, result.frames)),
            share(result.judged / result.frames),
            str(result.elsewhere),
        )
        for each, result in results.items()
        if result.frames
    ]
    figures = {
        "photos": photos,
        "photos_found": photos - faceless,
        "widths": [
            {
                "share": each,
                "frames": result.frames,
                "found": result.found,
                "judged": result.judged,
                "elsewhere": result.elsewhere,
                "missed": result.missed,
            }
            for each, result in results.items()
        ],
    }
    size = f"{camera.main_width}x{camera.main_height}"
    found = f"{photos - faceless} of {photos}"
    return EvaluationReport(
        title="Faces by distance",
        figures=figures,
        tables=[
            Table(("photos with a face found", "share"), ((found, share(1 - faceless / photos)),)),
            Table(columns, tuple(rows), "Scaled photos of real faces on grey"),
        ],
        protocol=(
            _PLACED,
            f"A photo is enlarged at most {_ENLARGED:g} times; the frame has {size} pixels.",
            _FOUND,
            "Scaled photos lack the optics and the noise of a camera, and a room.",
        ),
        notes=notes,
    )
