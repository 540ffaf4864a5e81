"""How many attacks pass for a living face, and how many living faces are refused.

Terms and rates are those of ISO/IEC 30107-3: APCER for each kind of attack, BPCER for living
faces, ACER the mean of BPCER and the worst APCER.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

import numpy as np

from edge.camera import Camera
from edge.enrol import open_photo
from edge.errors import EndOfReplay, LabelsError, PhotoError, ReplayError, SenyumError
from edge.evaluate import metrics
from edge.evaluate.charts import histogram_chart, tradeoff_chart
from edge.evaluate.drawing import even
from edge.evaluate.faces import FRAMED, Bench, framed
from edge.evaluate.labels import Labels, read
from edge.evaluate.report import Report, Table, share
from edge.replay import ReplayCamera
from edge.types import Yuv

_ANY = "attack"  # the kind of attacks where the list names none
_BETWEEN_S = 0.2  # of the frames of a video that are judged


class Judge(Protocol):
    """Says how alive the leading face of a picture is."""

    @property
    def threshold(self) -> float:
        """The score from which a face passes."""
        ...

    def judge(self, picture: Yuv) -> float | None:
        """Return a score from 0 to 1, higher for a living face; None: no face was found."""
        ...


class Verdicts(NamedTuple):
    """Scores of attacks and of living faces; NaN where no face was found."""

    attacks: Mapping[str, metrics.Values]  # by kind
    living: metrics.Values


class Rates(NamedTuple):
    """What those scores come to at one threshold."""

    apcer: dict[str, float]
    bpcer: float
    acer: float


def judge_of(examiner: object) -> Judge:
    """Return the part of `examiner` that judges liveness. Raises SenyumError: there is none."""
    judge: Judge | None = getattr(examiner, "liveness", None)
    if judge is None:
        raise SenyumError(
            "liveness: this build judges no liveness, so there is nothing to evaluate; "
            "install one whose models/manifest.toml lists a liveness model"
        )
    return judge


def rates(verdicts: Verdicts, threshold: float) -> Rates:
    """Count the errors at `threshold`; a face not found is refused, as on the unit."""
    apcer = {kind: float((scores >= threshold).mean()) for kind, scores in verdicts.attacks.items()}
    bpcer = float(1 - (verdicts.living >= threshold).mean())
    return Rates(apcer, bpcer, (max(apcer.values()) + bpcer) / 2)


def evaluate(folder: Path, labels: Path, judge: Judge, bench: Bench, *, videos: bool) -> Report:
    """Judge every picture, or every video, of a list `file,live[,kind]`. Raises LabelsError."""
    listed = read(labels, "file", "live", key="file")
    listed.both([listed.truth(row, "live") for row in listed.rows], "live")
    if not folder.is_dir():
        raise LabelsError(f"{folder}: no such folder")
    scores, notes = _scores(folder, listed, judge, bench, videos=videos)
    listed.both([listed.truth(row, "live") for row in listed.rows if row.line in scores], "live")
    verdicts = _verdicts(listed, scores)
    result = rates(verdicts, judge.threshold)
    living = verdicts.living[~np.isnan(verdicts.living)]
    attacks = {k: v[~np.isnan(v)] for k, v in verdicts.attacks.items()}
    attacks = {kind: values for kind, values in attacks.items() if values.size}
    figures = {
        "n": len(scores),
        "found": sum(score is not None for score in scores.values()),
        "left_out": len(listed.rows) - len(scores),
        "living": int(verdicts.living.size),
        "attacks": {kind: int(values.size) for kind, values in verdicts.attacks.items()},
        "threshold": judge.threshold,
        "apcer": result.apcer,
        "bpcer": result.bpcer,
        "acer": result.acer,
    }
    charts = []
    if living.size and attacks:
        curves = {kind: metrics.tradeoff(living, values) for kind, values in attacks.items()}
        charts = [
            tradeoff_chart("Liveness", curves, "attacks passed (APCER)", "living refused (BPCER)"),
            histogram_chart(
                "Liveness scores",
                even("score", 0, 1, 0.1),
                {**attacks, "living": living},
                judge.threshold,
                "scores",
            ),
        ]
    return Report(
        title="Liveness",
        figures=figures,
        tables=[_table(verdicts, result, judge.threshold)],
        protocol=_PROTOCOL,
        notes=notes,
        charts=charts,
    )


_PROTOCOL = (
    FRAMED,
    f"Of a video one frame every {_BETWEEN_S} s is judged, and the median is its score.",
    (
        "A face not found is refused: an error for a living person, none for an attack. The curve "
        "leaves it out."
    ),
    "ACER is the mean of BPCER and the worst kind's APCER.",
)


def _scores(
    folder: Path, listed: Labels, judge: Judge, bench: Bench, *, videos: bool
) -> tuple[dict[int, float | None], list[str]]:
    """Return the score of each line's file, and what was left out."""
    scores: dict[int, float | None] = {}
    absent = damaged = 0
    for done, row in enumerate(listed.rows):
        bench.progress(done, len(listed.rows))
        path = folder / row.cells["file"]
        if not path.is_file():
            absent += 1
            continue
        try:
            seen = [judge.judge(picture) for picture in _pictures(path, bench, videos=videos)]
        except (PhotoError, ReplayError):
            damaged += 1
            continue
        found = [score for score in seen if score is not None]
        scores[row.line] = median(found) if found else None
    bench.progress(len(listed.rows), len(listed.rows))
    said = {"are not there": absent, "cannot be read": damaged}
    return scores, [f"left out: {n} listed files {what}" for what, n in said.items() if n]


def _pictures(path: Path, bench: Bench, *, videos: bool) -> Iterator[Yuv]:
    camera = bench.settings.camera
    if not videos:
        yield framed(open_photo(path), camera)
        return
    replay: Camera = ReplayCamera(
        camera.model_copy(update={"driver": "replay", "replay": path, "replay_loop": False,
                                  "fps": 1 / _BETWEEN_S}),
        _Hurry(),
    )  # fmt: skip
    while True:
        try:
            yield replay.read(2 * _BETWEEN_S).main
        except EndOfReplay:
            return


class _Hurry:
    """A clock that does not wait: the replay shows its next frame at once."""

    def __init__(self) -> None:
        self._now_ns = 0

    def monotonic_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float, /) -> None:
        self._now_ns += round(seconds * 1e9)


def _verdicts(listed: Labels, scores: Mapping[int, float | None]) -> Verdicts:
    living: list[float] = []
    attacks: defaultdict[str, list[float]] = defaultdict(list)
    for row in listed.rows:
        if row.line in scores:
            score = scores[row.line]
            kind = row.cells.get("kind") or _ANY
            to = living if listed.truth(row, "live") else attacks[kind]
            to.append(np.nan if score is None else score)
    return Verdicts({k: np.array(v) for k, v in sorted(attacks.items())}, np.array(living))


def _table(verdicts: Verdicts, result: Rates, threshold: float) -> Table:
    def of(rate: float, values: metrics.Values) -> tuple[str, ...]:
        low, high = metrics.wilson(round(rate * values.size), values.size)
        lost = int(np.isnan(values).sum())
        return f"{values.size:,}", f"{lost:,}", share(rate), f"{share(low)} to {share(high)}"

    rows: list[tuple[str, ...]] = [
        (f"APCER, {kind}", *of(rate, verdicts.attacks[kind])) for kind, rate in result.apcer.items()
    ]
    rows.append(("BPCER", *of(result.bpcer, verdicts.living)))
    rows.append(("ACER", "", "", share(result.acer), ""))
    columns: tuple[Any, ...] = (f"at {threshold:g}", "n", "no face", "rate", "95 % interval")
    return Table(columns, tuple(rows))
