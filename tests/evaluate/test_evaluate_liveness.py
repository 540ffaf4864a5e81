from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sketches import Sketches

from edge.errors import LabelsError, SenyumError
from edge.evaluate.liveness import Verdicts, evaluate, judge_of, rates
from edge.types import Yuv


class Grey:
    """The lighter the middle of a picture, the livelier; black has no face."""

    threshold = 0.5

    def __init__(self) -> None:
        self.judged = 0

    def judge(self, picture: Yuv) -> float | None:
        self.judged += 1
        return float(picture.y[picture.height // 2, picture.width // 2]) / 255 or None


def grey(folder: Path, name: str, *levels: int) -> str:
    first, *others = (Image.new("L", (8, 6), level) for level in levels)
    first.save(folder / name, save_all=bool(others), append_images=others, duration=200)
    return name


def test_rates_are_those_of_the_standard() -> None:
    verdicts = Verdicts(
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


def test_pictures_by_kind_of_attack(sketches: Sketches) -> None:
    lines = ["file,live,kind"]
    for n, (level, live, kind) in enumerate(
        [(250, 1, ""), (200, 1, ""), (20, 0, "print"), (30, 0, "print"), (0, 0, "screen")]
    ):
        lines.append(f"{grey(sketches.folder, f'{n}.png', level)},{live},{kind}")
    (sketches.folder / "torn.png").write_bytes(b"no picture")
    labels = sketches.write("l.csv", *lines, "torn.png,0,print", "gone.png,1,")
    report = evaluate(sketches.folder, labels, Grey(), sketches.bench, videos=False)
    figures = report.figures
    assert (figures["n"], figures["found"], figures["left_out"]) == (5, 4, 2)
    assert figures["apcer"] == {"print": 0, "screen": 0}
    assert (figures["bpcer"], figures["acer"]) == (0, 0)
    assert report.charts[0].name == "det"
    assert len(report.notes) == 2


def test_the_median_of_a_video_counts(sketches: Sketches) -> None:
    folder, judge = sketches.folder, Grey()
    mostly_dark = grey(folder, "a.gif", 30, 20, 240, 10, 25)
    mostly_light = grey(folder, "b.gif", 230, 20, 240, 210, 225)
    labels = sketches.write("l.csv", "file,live", f"{mostly_dark},0", f"{mostly_light},1")
    figures = evaluate(folder, labels, judge, sketches.bench, videos=True).figures
    assert (figures["apcer"], figures["bpcer"]) == ({"attack": 0}, 0)
    assert judge.judged == 10


def test_one_class_is_not_enough(sketches: Sketches) -> None:
    labels = sketches.write("l.csv", "file,live", f"{grey(sketches.folder, 'a.png', 9)},1")
    with pytest.raises(LabelsError, match="no usable line has live 0"):
        evaluate(sketches.folder, labels, Grey(), sketches.bench, videos=False)


def test_a_build_without_liveness_says_so(sketches: Sketches) -> None:
    with pytest.raises(SenyumError, match="judges no liveness") as raised:
        judge_of(sketches)
    assert raised.value.exit_status == 1
