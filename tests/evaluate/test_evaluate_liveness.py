from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sketches import GOOD, Sketches, template

from edge.errors import LabelsError, SenyumError
from edge.inference.face_analyzer import AnalyzedFace
from edge.types import ANCHORS, Box, FaceObservation, Frame, FrameResult, PassiveLivenessScore, Yuv
from senyum_lab.evaluate.faces import EvaluationContext
from senyum_lab.evaluate.liveness import LivenessScores, evaluate, rates, strictest


class Grey:
    """The lighter the middle of a picture, the livelier; black has no face."""

    def __init__(self) -> None:
        self.digests = {"liveness": "0" * 64}
        self.judged = 0

    def analyze(self, picture: Yuv) -> tuple[AnalyzedFace, ...]:
        self.judged += 1
        level = float(picture.y[picture.height // 2, picture.width // 2]) / 255
        return (replace(FACE, liveness=PassiveLivenessScore(level, {})),) if level else ()


class Dawn:
    """The same of a video's frames; the mouth smiles and moves when the first row lights up."""

    def __init__(self) -> None:
        self.judged = 0

    def process(self, frame: Frame) -> FrameResult:
        self.judged += 1
        main = frame.main
        level = float(main.y[main.height // 2, main.width // 2]) / 255
        mouth = float(main.y[0, main.width // 2]) / 255
        points = np.zeros((ANCHORS + 20, 2), np.float32)
        points[:ANCHORS] = np.random.default_rng(1).uniform(0, 100, (ANCHORS, 2))
        points[:2] = (0, 50), (100, 50)
        points[ANCHORS:, 0] = 50
        points[ANCHORS : ANCHORS + 4, 0] += np.array((-20, 20, -20, 20)) * mouth  # the corners
        sighting = FaceObservation(1, BOX, 1.0, smile=90.0 if mouth > 0.75 else mouth,
                            points=points, liveness=PassiveLivenessScore(level, {}))  # fmt: skip
        return FrameResult(frame.captured_ns, (sighting,))


BOX = Box(0, 0, 9, 9)
FACE = AnalyzedFace(BOX, 1, GOOD, template(1), 0)


def bench(sketches: Sketches) -> EvaluationContext:
    return replace(sketches.bench, examiner=Grey())


def grey(folder: Path, name: str, *levels: int) -> str:
    first, *others = (Image.new("L", (8, 6), level) for level in levels)
    first.save(folder / name, save_all=bool(others), append_images=others, duration=200)
    return name


def test_rates_are_those_of_the_standard() -> None:
    verdicts = LivenessScores(
        attacks={
            "print": np.array([0.1, 0.2, 0.6, np.nan]),
            "screen": np.array([0.1, 0.5]),
        },
        living=np.array([0.9, 0.8, 0.4, np.nan, 0.5]),
    )
    result = rates(verdicts, 0.5)
    assert result.apcer == {"print": 0.25, "screen": 0.5}
    assert result.bpcer == pytest.approx(2 / 5)
    assert result.acer == pytest.approx((0.5 + 2 / 5) / 2)


def test_the_strictest_threshold_refuses_so_many_and_no_more() -> None:
    living = np.arange(40) / 40
    verdicts = LivenessScores({"print": np.array([0.04, 0.3])}, living)
    threshold = strictest(verdicts, 0.05)
    assert threshold is not None
    assert threshold == living[2]
    assert rates(verdicts, threshold).bpcer == pytest.approx(0.05)
    unseen = np.r_[living[:-3], np.nan, np.nan, np.nan]
    assert strictest(LivenessScores(verdicts.attacks, unseen), 0.05) is None


def test_pictures_by_kind_of_attack(sketches: Sketches) -> None:
    lines = ["file,live,kind"]
    for n, (level, live, kind) in enumerate(
        [(250, 1, ""), (200, 1, ""), (20, 0, "print"), (30, 0, "print"), (0, 0, "screen")]
    ):
        lines.append(f"{grey(sketches.folder, f'{n}.png', level)},{live},{kind}")
    (sketches.folder / "torn.png").write_bytes(b"no picture")
    labels = sketches.write("l.csv", *lines, "torn.png,0,print", "gone.png,1,")
    report = evaluate(sketches.folder, labels, bench(sketches))
    figures = report.figures
    assert (figures["n"], figures["found"], figures["left_out"]) == (5, 4, 2)
    assert figures["apcer"] == {"print": 0, "screen": 0}
    assert (figures["bpcer"], figures["acer"]) == (0, 0)
    assert report.charts[0].name == "det"
    assert report.notes[-1].startswith(f"{sketches.folder}/torn.png: is not an image")
    assert len(report.notes) == 3


def video(folder: Path, name: str, frames: list[tuple[int, float]]) -> str:
    """Write a GIF of 0.1 s a frame: its level, and how far its first rows are lit, 0 to 1."""
    images = []
    for level, lit in frames:
        image = Image.new("L", (64, 48), level)
        image.paste(round(255 * lit), (0, 0, 64, 6))
        images.append(image)
    images[0].save(folder / name, save_all=True, append_images=images[1:], duration=100)
    return name


def test_a_video_passes_by_its_mean_and_by_a_smile_that_begins(sketches: Sketches) -> None:
    folder, frames = sketches.folder, 20
    smile = [min(1.0, max(0, n - 10) / 2) for n in range(frames)]  # seen half-way once
    onset = [(200, smile[n]) for n in range(frames)]
    still = [(190 + n % 3, 0.0) for n in range(frames)]
    dark = [(40 + n % 3, smile[n]) for n in range(frames)]
    names = {
        video(folder, "onset.gif", onset): "1,",
        video(folder, "still.gif", still): "0,print",
        video(folder, "dark.gif", dark): "0,screen",
    }
    labels = sketches.write("l.csv", "file,live,kind", *(f"{n},{v}" for n, v in names.items()))
    figures = evaluate(folder, labels, bench(sketches), Dawn).figures
    assert (figures["apcer"], figures["bpcer"]) == ({"print": 1, "screen": 0}, 0)
    assert figures["with_smile"] == {"apcer": {"print": 0, "screen": 0}, "bpcer": 0, "acer": 0}
    onset_video, _, dark_video = figures["videos"]
    assert (onset_video["smiled"], onset_video["below"], dark_video["below"]) == (True, 0, 1)
    assert onset_video["frames"] == frames


def test_one_class_is_not_enough(sketches: Sketches) -> None:
    labels = sketches.write("l.csv", "file,live", f"{grey(sketches.folder, 'a.png', 9)},1")
    with pytest.raises(LabelsError, match="no usable line has live 0"):
        evaluate(sketches.folder, labels, bench(sketches))


def test_a_build_without_liveness_says_so(sketches: Sketches) -> None:
    labels = sketches.write("l.csv", "file,live", f"{grey(sketches.folder, 'a.png', 9)},1")
    with pytest.raises(SenyumError, match="no liveness network") as raised:
        evaluate(sketches.folder, labels, sketches.bench)
    assert raised.value.exit_status == 1
