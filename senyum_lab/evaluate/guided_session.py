"""The guided session of a liveness check: asks for one presentation after the other."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge.camera import Camera
from edge.capture.exposure import CameraController
from edge.errors import CameraError, UsageError
from edge.gpio.reconnecting_panel import ReconnectingPanel
from edge.images import to_image
from edge.inference.pipeline import Pipeline
from edge.system.files import replace_file
from edge.system.text import escaped, pluralize
from edge.types import Cue, CueName, Frame, LivenessRules
from senyum_lab.evaluate.presentations import LIVING, Presentation

FIRST_FRAME_S = 5.0  # a Pi takes one to three seconds
FILE = "presentations.json"
LIST = "labels.csv"
_WORDS = {
    LIVING: "person {}, in person",
    "print": "printed photo of person {}",
    "phone": "phone that shows person {}",
    "tablet": "tablet that shows person {}",
}
_HELP = "Enter: start, r: repeat the previous one, s: skip this one, q: finish and report"


class Step(NamedTuple):
    """One presentation of the plan."""

    kind: str
    person: str

    @property
    def text(self) -> str:
        return _WORDS.get(self.kind, f"{self.kind} of person {{}}").format(self.person)


def plan(people: int, kinds: Sequence[str]) -> list[Step]:
    """Return what to present: every person alive, then every attack of each kind."""
    return [Step(kind, str(n)) for kind in (LIVING, *kinds) for n in range(1, people + 1)]


class KeptFrames:
    """A folder that keeps the frames of a session, in the format of `--recordings`."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, mode 0700. Raises UsageError if it has content or cannot be made."""
        self._folder = folder
        self._rows: dict[Step, str] = {}
        self._taken = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise UsageError(f"--keep {folder}: is not empty; name a new folder")
            folder.chmod(0o700)
        except OSError as error:
            raise UsageError(f"--keep {folder}: {error.strerror}") from None

    def begin(self, step: Step) -> Path:
        """Return a new folder for the frames of a presentation; it replaces an earlier one."""
        self._taken += 1
        name = f"{self._taken:03d}-{step.kind}-{step.person}"
        (self._folder / name).mkdir()
        self._rows[step] = name
        text = io.StringIO()
        lines = csv.writer(text)
        lines.writerow(("file", "live", "kind", "person"))
        for kept, file in self._rows.items():
            live = kept.kind == LIVING
            lines.writerow((file, int(live), "" if live else kept.kind, kept.person))
        replace_file(self._folder / LIST, text.getvalue().encode(), mode=0o600)
        return self._folder / name

    @staticmethod
    def add(folder: Path, frame: Frame) -> None:
        """Write a frame as JPEG."""
        to_image(frame.main).save(folder / f"{frame.number:06d}.jpg", quality=95)


@dataclass(slots=True)
class SessionFile:
    """The results of a session on disk, without pictures, to continue it later."""

    file: Path
    models: Mapping[str, str]  # SHA-256 by name

    def load(self) -> dict[Step, Presentation]:
        """Return the results of an earlier run; empty without a file. Raises UsageError."""
        try:
            content = json.loads(self.file.read_bytes())
            if content["models"] != dict(self.models):
                raise UsageError(
                    f"{self.file}: was measured with other models; name another --report folder"
                )
            every = [Presentation.from_json(one) for one in content["presentations"]]
            return {Step(one.kind, str(one.person)): one for one in every}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{self.file}: not the results of a liveness check ({error!s:.80}); remove it"
            ) from None

    def save(self, presentations: Iterable[Presentation]) -> None:
        """Replace the file. Raises UsageError."""
        content = {
            "models": dict(self.models),
            "presentations": [one.to_json() for one in presentations],
        }
        try:
            replace_file(self.file, json.dumps(content).encode(), mode=0o600)
        except OSError as error:
            raise UsageError(f"{self.file}: {error.strerror}") from None


class GuidedSession:
    """Asks for presentations in the terminal and with light and sound, and judges them.

    The operator learns whether a presentation could be judged, but not whether it was accepted:
    otherwise only surprising results would be repeated.
    """

    def __init__(
        self,
        camera: Camera,
        pipeline: Pipeline,
        controller: CameraController,
        rules: LivenessRules,
        *,
        panel: ReconnectingPanel | None,
        kept: KeptFrames | None,
        seconds: float,
    ) -> None:
        """`seconds`: length of a presentation."""
        self.repeated = 0
        self._camera = camera
        self._pipeline = pipeline
        self._controller = controller
        self._rules = rules
        self._panel = panel
        self._kept = kept
        self._seconds = seconds

    def run(
        self, steps: Sequence[Step], results: dict[Step, Presentation], file: SessionFile
    ) -> None:
        """Fill `results` until all steps are done, the operator ends it, or the camera fails."""
        print(_HELP)
        number = 0
        again = False
        while number < len(steps):
            step = steps[number]
            if step in results and not again:
                number += 1
                continue
            again = False
            print(f"\n{number + 1} of {len(steps)}: {step.text}", flush=True)
            self._show(CueName.IDENTIFY)
            answer = _answer()
            if answer == "q":
                return
            if answer == "r":
                number, again = max(0, number - 1), True
                continue
            if answer == "s":
                number += 1
                continue
            self.repeated += step in results
            try:
                presentation = self._observe(step)
            except CameraError as error:
                print(f"Not counted, the camera failed: {escaped(error)}")
                return
            results[step] = presentation
            file.save(results.values())
            number += 1

    def _observe(self, step: Step) -> Presentation:
        """Judge the frames of one presentation. Raises CameraError if they end early."""
        presentation = Presentation(step.kind, step.person)
        folder = self._kept.begin(step) if self._kept else None
        print(f"Hold still for {self._seconds:g} s …", end=" ", flush=True)
        self._show(CueName.NOTICED)
        frame = self._camera.read(FIRST_FRAME_S)
        began = frame.captured_ns
        while frame.captured_ns - began < self._seconds * 1e9:
            result = self._pipeline.process(frame)
            presentation.add(result)
            self._camera.ask(self._controller.next_request(frame, result, frame.captured_ns))
            if folder is not None:
                KeptFrames.add(folder, frame)
            frame = self._camera.read(FIRST_FRAME_S)
        judged = presentation.accepted(self._rules) is not None
        self._show(CueName.RECORDED if judged else CueName.HINT)
        frames = f"judged {presentation.judged_frames} of {pluralize(presentation.frames, 'frame')}"
        if judged:
            print(f"done: {frames}.")
        else:
            named = ", ".join(f"{why} {count}" for why, count in presentation.unjudged.items())
            print(f"not judged: {frames} ({named or 'too few'}); r repeats it.")
        return presentation

    def _show(self, name: CueName) -> None:
        if self._panel is not None:
            self._panel.show(Cue(name))


def _answer() -> str:
    """Return the first letter of the operator's answer; the end of the input is q."""
    print("> ", end="", flush=True)
    line = sys.stdin.readline()
    return line.strip().lower()[:1] if line else "q"
