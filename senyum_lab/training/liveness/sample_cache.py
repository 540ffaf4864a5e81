"""All samples, cached in parts so that an interrupted run can continue."""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge.inference.face_analyzer import FaceAnalyzer
from edge.settings import InferenceSettings
from senyum_lab.batch_work import Progress, exit_with_parent
from senyum_lab.training.cache import cached, digest
from senyum_lab.training.liveness import portraits, samples
from senyum_lab.training.liveness.samples import LivenessPhoto, LivenessSamples

_PART = 250  # photos per file
_FOLDER = Path(__file__).parent
_CODE = ("camera.py", "recapture.py", "samples.py", "scenes.py")


class _SampleSource(NamedTuple):
    """A function that makes samples of photos, and the modules that it depends on."""

    what: str
    made: Callable[[FaceAnalyzer, list[LivenessPhoto], Iterable[int]], LivenessSamples]
    code: tuple[str, ...]


_SOURCES = (
    _SampleSource("photos", samples.made, _CODE),
    _SampleSource("portraits", portraits.made, (*_CODE, "backdrops.py", "portraits.py")),
)


def load(datasets: Path, cache: Path, processes: int, most: int) -> LivenessSamples:
    """Return the samples of at most `most` photos; make those that the cache does not hold.

    The samples do not depend on the number of processes.
    """
    listed = samples.photos(datasets)
    count = min(most, len(listed))
    numbers = [range(first, min(first + _PART, count)) for first in range(0, count, _PART)]
    parts = []
    with ProcessPoolExecutor(processes, get_context("spawn"), exit_with_parent) as pool:
        for source in _SOURCES:
            form = digest(("detector", "landmarks"), (_FOLDER / name for name in source.code))
            paths = [cache / f"{form}-{some.start:05}-{some.stop:05}.npz" for some in numbers]
            jobs = [
                None if path.is_file() else pool.submit(_make, path, source, listed, some)
                for path, some in zip(paths, numbers, strict=True)
            ]
            pairs = list(zip(paths, jobs, strict=True))
            for path, job in Progress(f"making attacks of {source.what}", pairs):
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


def _make(path: Path, source: _SampleSource, listed: list[LivenessPhoto], numbers: range) -> None:
    """Write the file of these photos, in a worker process."""
    cached(
        path,
        LivenessSamples,
        lambda: source.made(FaceAnalyzer(InferenceSettings()), listed, numbers),
    )
