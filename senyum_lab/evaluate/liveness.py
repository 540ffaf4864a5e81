"""The rates of accepted attacks and of refused live faces.

Terms and rates of ISO/IEC 30107-3: APCER for each kind of attack, BPCER for live faces, ACER is
the mean of BPCER and the highest APCER.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from edge.attendance.liveness_window import MEMORY, LivenessWindow
from edge.attendance.policy import FaceSample, SampleWindow, SmilePrompt, seconds_to_ns
from edge.capture.replay import iter_frames
from edge.errors import LabelsError, PhotoError, ReplayError, SenyumError
from edge.images import open_photo
from edge.inference.models import liveness_rules
from edge.settings import Settings
from edge.types import Frame, FrameResult
from senyum_lab.evaluate import metrics
from senyum_lab.evaluate.charts import Chart, HistogramChart, TradeoffChart
from senyum_lab.evaluate.faces import FRAMED, EvaluationContext, Progress, framed, left_out
from senyum_lab.evaluate.labels import Labels, read
from senyum_lab.evaluate.report import EvaluationReport, Table, share

_ANY = "attack"  # the kind if the list does not name one
_BETWEEN_S = 0.1  # between two evaluated frames of a video
_ASKED_S = 0.5  # after the first evaluated frame: about when a person is recognised
_REFUSED = 0.05  # of the live faces, at the second threshold


class FramePipeline(Protocol):
    """Evaluates one frame after the other; implemented by `edge.inference.pipeline`."""

    def process(self, frame: Frame) -> FrameResult: ...


class VideoResult(NamedTuple):
    """The result of one video."""

    score: float | None  # mean of the newest frames, as in a session; None: no frame
    frames: tuple[float, ...]  # the score of each evaluated frame
    answered: bool  # whether a smile counted by the rule of the session


class LivenessScores(NamedTuple):
    """The scores of attacks and of live faces; NaN if no face was detected."""

    attacks: Mapping[str, metrics.Values]  # by kind
    living: metrics.Values


class LivenessRates(NamedTuple):
    """The error rates at one threshold."""

    apcer: dict[str, float]
    bpcer: float
    acer: float


def rates(verdicts: LivenessScores, threshold: float) -> LivenessRates:
    """Return the error rates at `threshold`; an undetected face is refused, as on the device."""
    apcer = {kind: float((scores >= threshold).mean()) for kind, scores in verdicts.attacks.items()}
    bpcer = float(1 - (verdicts.living >= threshold).mean())
    return LivenessRates(apcer, bpcer, (max(apcer.values()) + bpcer) / 2)


def strictest(verdicts: LivenessScores, bpcer: float) -> float | None:
    """Return the highest threshold that refuses at most `bpcer` of the live faces.

    None if the share of undetected faces is higher.
    """
    scores = np.sort(np.nan_to_num(verdicts.living, nan=-1.0))
    threshold = float(scores[int(bpcer * scores.size)])
    return threshold if threshold >= 0 else None


def evaluate(
    folder: Path,
    labels: Path,
    bench: EvaluationContext,
    watch: Callable[[], FramePipeline] | None = None,
) -> EvaluationReport:
    """Evaluate every picture of a list `file,live[,kind]`, or every video if `watch` is given.

    Raises LabelsError, and SenyumError if the models have no liveness network.
    """
    if "liveness" not in bench.examiner.digests:
        raise SenyumError(
            "liveness: the installed models have no liveness network; "
            "install a build whose models/manifest.toml lists one"
        )
    listed = read(labels, "file", "live", key="file", truths=("live",))
    listed.both([listed.truth(row, "live") for row in listed.rows], "live")
    if not folder.is_dir():
        raise LabelsError(f"{folder}: no such folder")
    videos: dict[int, VideoResult] = {}

    def judge(line: int, path: Path) -> float | None:
        if watch is None:
            face = next(iter(bench.examiner.analyze(framed(open_photo(path), camera))), None)
            return None if face is None or face.liveness is None else face.liveness.score
        videos[line] = _watched(path, watch(), bench.settings)
        return videos[line].score

    camera, threshold = bench.settings.camera, liveness_rules(bench.settings).threshold
    scores, notes = _scores(folder, listed, judge, bench.progress)
    listed.both([listed.truth(row, "live") for row in listed.rows if row.line in scores], "live")
    verdicts = _verdicts(listed, scores)
    result = rates(verdicts, threshold)
    living = verdicts.living[~np.isnan(verdicts.living)]
    attacks = {k: v[~np.isnan(v)] for k, v in verdicts.attacks.items()}
    attacks = {kind: values for kind, values in attacks.items() if values.size}
    figures: dict[str, Any] = {
        "n": len(scores),
        "found": sum(score is not None for score in scores.values()),
        "left_out": len(listed.rows) - len(scores),
        "living": int(verdicts.living.size),
        "attacks": {kind: int(values.size) for kind, values in verdicts.attacks.items()},
        "threshold": threshold,
        **_named(result),
    }
    tables = [_table(verdicts, result, f"at {threshold:g}")]
    if (strict := strictest(verdicts, _REFUSED)) is not None:
        at_strict = rates(verdicts, strict)
        figures["at_bpcer_5"] = {"threshold": strict, **_named(at_strict)}
        tables.append(_table(verdicts, at_strict, f"at {strict:.3g}"))
    if watch is not None:
        joined = _verdicts(
            listed, {n: video.score if video.answered else None for n, video in videos.items()}
        )
        with_smile = rates(joined, threshold)
        figures["with_smile"] = _named(with_smile)
        tables.append(_table(joined, with_smile, "with the smile"))
        figures["videos"] = _each(listed, videos, threshold)
    charts: list[Chart] = []
    if living.size and attacks:
        curves = {kind: metrics.tradeoff(living, values) for kind, values in attacks.items()}
        charts = [
            TradeoffChart(
                name="det",
                title="Liveness: error trade-off",
                curves=curves,
                accepted="attacks accepted (APCER)",
                refused="live faces refused (BPCER)",
            ),
            HistogramChart(
                name="scores",
                title="Liveness scores",
                groups={**attacks, "living": living},
                label="score",
                limits=(0, 1),
                threshold=threshold,
            ),
        ]
    return EvaluationReport(
        title="Liveness",
        figures=figures,
        tables=tables,
        protocol=_PROTOCOL,
        notes=notes,
        charts=charts,
    )


_PROTOCOL = (
    FRAMED,
    (
        f"Of a video, one frame every {_BETWEEN_S} s is evaluated; its score is the mean of the "
        f"newest {MEMORY} without the highest and the lowest, as in a session. Frames with a "
        "quality problem are skipped. With the smile, a video passes only if a smile counts by the "
        f"rule of the session, with the prompt {_ASKED_S} s after the first evaluated frame."
    ),
    (
        "An undetected face is refused: an error for a live person, but not for an attack. The "
        "curve omits it."
    ),
    (
        "ACER is the mean of BPCER and the highest APCER. The second table is at the highest "
        f"threshold that refuses at most {_REFUSED:.0%} of these live faces."
    ),
)


def _named(result: LivenessRates) -> dict[str, Any]:
    return {"apcer": result.apcer, "bpcer": result.bpcer, "acer": result.acer}


def _scores(
    folder: Path, listed: Labels, judge: Callable[[int, Path], float | None], progress: Progress
) -> tuple[dict[int, float | None], list[str]]:
    """Return the score of the file of each line, and the notes about files left out."""
    scores: dict[int, float | None] = {}
    absent = 0
    problems: list[str] = []
    for done, row in enumerate(listed.rows):
        progress(done, len(listed.rows))
        path = folder / row.cells["file"]
        if not os.path.lexists(path):  # unlike the methods of Path it never raises
            absent += 1
            continue
        try:
            scores[row.line] = judge(row.line, path)
        except (PhotoError, ReplayError) as error:
            problems.append(str(error))
    progress(len(listed.rows), len(listed.rows))
    return scores, left_out(absent, problems)


def _each(
    listed: Labels, videos: Mapping[int, VideoResult], threshold: float
) -> list[dict[str, Any]]:
    """Return the result of each video; `below` is a share of its evaluated frames."""
    return [
        {
            "file": row.cells["file"],
            "score": video.score,
            "frames": len(video.frames),
            "below": float(np.mean(np.array(video.frames) < threshold)) if video.frames else None,
            "smiled": video.answered,
        }
        for row in listed.rows
        if (video := videos.get(row.line)) is not None
    ]


def _watched(path: Path, watcher: FramePipeline, settings: Settings) -> VideoResult:
    """Evaluate a video with the parts of a session: the largest face while on one track."""
    evidence, looks = LivenessWindow(), SampleWindow()
    prompt: SmilePrompt | None = None
    track, answered = None, False
    scores: list[float] = []
    rules = liveness_rules(settings)
    for frame in iter_frames(path, settings.camera.model_copy(update={"fps": 1 / _BETWEEN_S})):
        lead = next(iter(watcher.process(frame).sightings), None)
        if lead is None or lead.smile is None:
            looks.lose()
            continue
        if lead.track != track:
            track, looks = lead.track, SampleWindow()
        evidence.add(lead.liveness)
        scores += [lead.liveness.score] if lead.liveness is not None else []
        looks.add(FaceSample(frame.captured_ns, lead.smile, lead.points))
        prompt = prompt or SmilePrompt(frame.captured_ns + seconds_to_ns(_ASKED_S))
        counts = prompt.counts(looks, settings.attendance, rules)
        answered = answered or counts
    return VideoResult(evidence.score(), tuple(scores), answered)


def _verdicts(listed: Labels, scores: Mapping[int, float | None]) -> LivenessScores:
    living: list[float] = []
    attacks: defaultdict[str, list[float]] = defaultdict(list)
    for row in listed.rows:
        if row.line in scores:
            score = scores[row.line]
            kind = row.cells.get("kind") or _ANY
            to = living if listed.truth(row, "live") else attacks[kind]
            to.append(np.nan if score is None else score)
    return LivenessScores({k: np.array(v) for k, v in sorted(attacks.items())}, np.array(living))


def _table(verdicts: LivenessScores, result: LivenessRates, title: str) -> Table:
    def of(rate: float, values: metrics.Values) -> tuple[str, ...]:
        low, high = metrics.wilson(round(rate * values.size), values.size)
        lost = int(np.isnan(values).sum())
        return f"{values.size:,}", f"{lost:,}", share(rate), f"{share(low)} to {share(high)}"

    rows: list[tuple[str, ...]] = [
        (f"APCER, {kind}", *of(rate, verdicts.attacks[kind])) for kind, rate in result.apcer.items()
    ]
    rows.append(("BPCER", *of(result.bpcer, verdicts.living)))
    rows.append(("ACER", "", "", share(result.acer), ""))
    columns: tuple[Any, ...] = (title, "n", "no face", "rate", "95 % interval")
    return Table(columns, tuple(rows))
