"""The duration of one frame and of its stages, compared with the networks alone."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge.images import from_image, shrink
from edge.inference.align import landmarks_to_five_points
from edge.inference.face_analyzer import FaceAnalyzer
from edge.inference.liveness import context_crops
from edge.inference.models import Models, new_interpreter, shipped
from edge.inference.pipeline import Pipeline
from edge.settings import CameraSettings, InferenceSettings
from edge.types import Floats, Frame, Match

_ROUNDS = 150
_WARM_UP = 10
_FEWER = 5  # rounds if threads wait for each other
# The size of the picture, and the width of the face as a share of it.
_SIZES = {"640x480": (640, 480, 0.24), "1280x960": (1280, 960, 0.22)}
# Frames of a face that stays, in a row, and how often their networks run: the smile's on the face
# and its mirror image, liveness in every second frame, that for distant faces in none.
_IN_A_ROW = 2
_RUNS = {"smile": 4, "liveness": 1, "recapture": 1, "far_detector": 0}
_ANOTHER_NS = 10 * 10**9  # after this time it counts as another person
_IDLE_NS = 200_000  # between two frames of an empty room: no second look for distant faces
_PHOTO = "obama.jpg"
_PHOTO_BOX = 155  # pixels of the face in it
_PHOTO_MIDDLE = (274, 157)


class _EmptyGallery:
    """An empty gallery, because the search is measured separately."""

    def search(self, template: Floats) -> Match | None:
        del template
        return None


def measure(
    faces: Path, rounds: int = _ROUNDS, threads: Sequence[int] | None = None
) -> dict[str, object]:
    """Return medians in milliseconds, over `rounds` rounds; `faces` holds the bench's photos.

    `pass_ms`, `invoke_ms` and `overhead` (their ratio) are those of 640x480 frames on one thread,
    the mean of two in a row of a face that stays; passes and bare invokes take turns, so that
    noise hits both alike. `first_ms` is the pass over a face that just came, and `idle_ms` over
    an empty room. `pipeline` has the same for each size and number of `threads` (None: one,
    and one a core), and `stage_ms` the stages with the invokes within them; of more threads than
    one over fewer rounds, for where other work is going on they wait for each other.
    """
    threads = threads or sorted({1, os.cpu_count() or 1})
    fewer = max(1, rounds // _FEWER)
    rounds_of = {number: rounds if number == 1 else fewer for number in threads}
    by_size = {
        f"{name}, {number} thread{'s' if number > 1 else ''}": _pass(
            _frame(faces, *size), InferenceSettings(threads=number), rounds_of[number]
        )
        for number in threads
        for name, size in _SIZES.items()
    }
    first = next(iter(by_size.values()))
    return {
        **{key: first[key] for key in ("pass_ms", "invoke_ms", "overhead", "first_ms", "idle_ms")},
        "pipeline": by_size,
        "stage_ms": {
            number: _stages(_frame(faces, *_SIZES["640x480"]), number, rounds_of[number])
            for number in threads
        },
    }


def _frame(faces: Path, width: int, height: int, share: float) -> Frame:
    """Place the face of the photo in the centre of a grey picture."""
    scale = share * width / _PHOTO_BOX
    with Image.open(faces / _PHOTO) as photo:
        face = photo.convert("RGB").resize([round(n * scale) for n in photo.size])
    picture = Image.new("RGB", (width, height), (90, 90, 90))
    x, y = (n * scale for n in _PHOTO_MIDDLE)
    picture.paste(face, (round(width / 2 - x), round(height / 2 - y)))
    return _of(picture)


def _of(picture: Image.Image) -> Frame:
    camera = CameraSettings()
    main = from_image(picture)
    return Frame(
        1, time.monotonic_ns(), main, shrink(main, camera.lores_width, camera.lores_height)
    )


def _pass(frame: Frame, settings: InferenceSettings, rounds: int) -> dict[str, float]:
    pipeline = Pipeline(settings, _EmptyGallery())
    empty = _of(Image.new("RGB", (frame.main.width, frame.main.height), (90, 90, 90)))
    interpreters = _bare(settings)
    arrivals = count(frame.captured_ns, _ANOTHER_NS)
    # Another pipeline, because after a face one looks for distant ones in each frame for a while.
    idle_pipeline = Pipeline(settings, _EmptyGallery())
    idle_times = count(empty.captured_ns, _IDLE_NS)
    idle_pipeline.process(empty)  # looks for distant faces; a still picture is not looked at again
    seen = pipeline.process(frame).sightings
    assert seen
    assert seen[0].smile is not None, "the bench's face was not judged in full"

    def passes() -> None:
        for _ in range(_IN_A_ROW):
            pipeline.process(frame)

    def come() -> None:
        pipeline.process(replace(frame, captured_ns=next(arrivals)))

    def stay_empty() -> None:
        idle_pipeline.process(replace(empty, captured_ns=next(idle_times)))

    def bare() -> None:
        for interpreter, times in interpreters:
            for _ in range(times):
                interpreter.invoke()

    whole, invokes = _medians((passes, bare), rounds)
    # Here too the invokes come between, so that neither pass finds its code and frame in the cache.
    first, _, idle, _ = _medians((come, bare, stay_empty, bare), rounds)
    return {
        "pass_ms": round(whole / _IN_A_ROW, 3),
        "invoke_ms": round(invokes / _IN_A_ROW, 3),
        "overhead": round(whole / invokes, 3),
        "first_ms": first,
        "idle_ms": idle,
    }


def _bare(settings: InferenceSettings) -> list[tuple[Any, int]]:
    """Return the bare interpreters of the networks, and the number of their runs."""
    models = Models(settings.models, settings.threads)
    interpreters = []
    for name in models.digests():
        content = (shipped() / models.spec(name).file).read_bytes()
        interpreter = new_interpreter(content, settings.threads)
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()[0]
        still = np.full(details["shape"], 0.5).astype(details["dtype"])
        interpreter.set_tensor(details["index"], still)
        interpreters.append((interpreter, _RUNS.get(name, _IN_A_ROW)))
    return interpreters


def _stages(frame: Frame, threads: int, rounds: int) -> dict[str, float]:
    parts = FaceAnalyzer(InferenceSettings(threads=threads))
    size = frame.main.width, frame.main.height
    found = parts.detector.find(frame.lores, *size)[0]
    looked = parts.locate(frame.main, found)
    assert looked is not None
    closeup, mesh = looked
    aligned = parts.align(closeup, mesh)
    points = landmarks_to_five_points(mesh)
    stages: dict[str, Callable[[], object]] = {
        "detect": lambda: parts.detector.find(frame.lores, *size),
        "landmarks": lambda: parts.locate(frame.main, found),
        "align and quality": lambda: parts.align(closeup, mesh),
        "smile": lambda: parts.smile.score(closeup, mesh, points),
        "embed": lambda: parts.embedder.embed(aligned.crop),
    }
    if (passive := parts.liveness) is not None:
        stages["liveness"] = lambda: passive.judge(frame.main, mesh)
        stages["liveness, its views"] = lambda: context_crops(frame.main, mesh)
    return dict(zip(stages, _medians(tuple(stages.values()), rounds), strict=True))


def _medians(steps: tuple[Callable[[], object], ...], rounds: int) -> list[float]:
    """Return the median milliseconds of each step; the steps alternate."""
    times: list[list[float]] = [[] for _ in steps]
    for number in range(_WARM_UP + rounds):
        for step, spent in zip(steps, times, strict=True):
            began = time.perf_counter()
            step()
            if number >= _WARM_UP:
                spent.append((time.perf_counter() - began) * 1e3)
    return [round(statistics.median(spent), 3) for spent in times]
