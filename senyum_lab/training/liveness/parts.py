"""All samples, kept in parts that a run goes on from where it was interrupted."""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge.inference.face_analyzer import FaceAnalyzer
from edge.settings import InferenceSettings
from senyum_lab.training.int8.kept import digest, kept
from senyum_lab.training.int8.processes import follow_parent
from senyum_lab.training.int8.progress import Progress
from senyum_lab.training.liveness import portraits, samples
from senyum_lab.training.liveness.samples import LivenessPhoto, LivenessSamples

_PART = 250  # photos that are kept together
_ROOM = Path(__file__).parent
_SEEN = ("camera.py", "recapture.py", "samples.py", "scenes.py")


class _Maker(NamedTuple):
    """What makes samples of photos, and the code that what it makes depends on."""

    what: str
    made: Callable[[FaceAnalyzer, list[LivenessPhoto], Iterable[int]], LivenessSamples]
    code: tuple[str, ...]


_MAKERS = (
    _Maker("photos", samples.made, _SEEN),
    _Maker("portraits", portraits.made, (*_SEEN, "backdrops.py", "portraits.py")),
)


def load(datasets: Path, cache: Path, processes: int, most: int) -> LivenessSamples:
    """Return all samples, made anew where the cache has none of these models and this code.

    Of `most` photos at most, by so many processes: the samples are the same whatever their number.
    """
    listed = samples.photos(datasets)
    count = min(most, len(listed))
    numbers = [range(first, min(first + _PART, count)) for first in range(0, count, _PART)]
    parts = []
    with ProcessPoolExecutor(processes, get_context("spawn"), follow_parent) as pool:
        for maker in _MAKERS:
            form = digest(("detector", "landmarks"), (_ROOM / name for name in maker.code))
            paths = [cache / f"{form}-{some.start:05}-{some.stop:05}.npz" for some in numbers]
            jobs = [
                None if path.is_file() else pool.submit(_make, path, maker, listed, some)
                for path, some in zip(paths, numbers, strict=True)
            ]
            pairs = list(zip(paths, jobs, strict=True))
            for path, job in Progress(f"making attacks of {maker.what}", pairs):
                if job is not None:
                    job.result()
                with np.load(path) as stored:
                    parts.append({field: stored[field] for field in LivenessSamples.__slots__})
    return LivenessSamples(
        **{
            field: np.concatenate([part[field] for part in parts])
            for field in LivenessSamples.__slots__
        }
    )


def _make(path: Path, maker: _Maker, listed: list[LivenessPhoto], numbers: range) -> None:
    """Write the file of these photos, in a process of its own."""
    kept(
        path,
        LivenessSamples,
        lambda: maker.made(FaceAnalyzer(InferenceSettings()), listed, numbers),
    )
