"""Presentations of a liveness check from recordings: a folder of photos or a video each."""

import os
from pathlib import Path

from edge.capture.replay import iter_frames
from edge.errors import LabelsError, ReplayError
from edge.inference.pipeline import Pipeline
from edge.settings import Settings
from edge.types import Floats
from senyum_lab.evaluate.faces import Progress, left_out
from senyum_lab.evaluate.labels import read
from senyum_lab.evaluate.presentations import ANY_ATTACK, LIVING, Presentation


class EmptyGallery:
    """A roster in which nobody is enrolled."""

    def search(self, template: Floats) -> None:  # noqa: ARG002 - the port's own name
        return None


def read_recordings(
    folder: Path, labels: Path, settings: Settings, progress: Progress
) -> tuple[list[Presentation], list[str]]:
    """Judge each recording of a list `file,live[,kind][,person]` as the device judges frames.

    Returns the presentations, and notes about recordings left out: missing ones, and those that
    cannot be read to their end. Raises LabelsError if only one class remains.
    """
    listed = read(labels, "file", "live", key="file", truths=("live",))
    listed.both([listed.truth(row, "live") for row in listed.rows], "live")
    if not folder.is_dir():
        raise LabelsError(f"{folder}: no such folder of recordings")
    presentations: list[Presentation] = []
    missing, problems = 0, []
    for done, row in enumerate(listed.rows):
        progress(done, len(listed.rows))
        path = folder / row.cells["file"]
        if not os.path.lexists(path):  # unlike the methods of Path it never raises
            missing += 1
            continue
        live, kind = listed.truth(row, "live"), row.cells.get("kind") or ANY_ATTACK
        if not live and kind == LIVING:
            raise LabelsError(f"{labels}: line {row.line}: an attack has the kind {LIVING}")
        person = row.cells.get("person") or None
        presentation = Presentation(LIVING if live else kind, person, row.cells["file"])
        pipeline = Pipeline(settings.inference, EmptyGallery())
        try:
            for frame in iter_frames(path, settings.camera):
                presentation.add(pipeline.process(frame))
        except ReplayError as error:
            problems.append(str(error))
            continue
        presentations.append(presentation)
    progress(len(listed.rows), len(listed.rows))
    listed.both([one.living for one in presentations], "live")
    return presentations, left_out(missing, problems)
