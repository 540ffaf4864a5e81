"""The drawings that reports share: reliability, error trade-off, histograms of scores."""

from collections.abc import Mapping

import numpy as np

from senyum_lab.evaluate.metrics import Reliability, Tradeoff, Values
from senyum_lab.evaluate.plotting import Axis, Plot, errors, even
from senyum_lab.evaluate.report import Chart

_BINS = 50  # of a histogram
_POINTS = 2000  # drawn of one curve; more cannot be told apart


def reliability_chart(seen: Reliability, title: str) -> Chart:
    """Show what was promised against what came true."""
    plot = Plot(title, even("score", 0, 100, 10), even("smiling, share of the bin", 0, 1, 0.2))
    bins = len(seen.counts)
    width = 100 / bins
    full = np.flatnonzero(seen.counts).tolist()
    plot.bars([(i * width, (i + 1) * width, seen.observed[i]) for i in full], "observed")
    plot.line([(0, 0), (100, 1)], "perfect", thin=True)
    plot.line([(100 * seen.promised[i], seen.observed[i]) for i in full], "at the mean score")
    for i in range(bins):
        plot.text((i + 0.5) * width, 0.03, str(seen.counts[i]))
    return Chart(
        "reliability", f"Reliability diagram, calibration error {seen.error:.3f}", plot.finish()
    )


def histogram_chart(
    title: str, axis: Axis, groups: Mapping[str, Values], threshold: float, name: str
) -> Chart:
    """Show how the scores of each group lie, each group's bars summing up to 1."""
    edges = np.linspace(axis.low, axis.high, _BINS + 1)
    shares = {
        group: np.histogram(np.clip(values, axis.low, axis.high), edges)[0] / values.size
        for group, values in groups.items()
    }
    top = max(float(heights.max()) for heights in shares.values())
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if top / s <= 6)
    plot = Plot(title, axis, even("share of the group", 0, max(top * 1.05, step), step))
    for style, (group, heights) in enumerate(shares.items()):
        bars = zip(edges[:-1], edges[1:], heights, strict=True)
        plot.bars(list(bars), f"{group} ({groups[group].size:,})", style)
    plot.upright(threshold, f"threshold {threshold:g}")
    return Chart(name, f"Histogram of scores: {', '.join(groups)}", plot.finish())


def tradeoff_chart(
    title: str, curves: Mapping[str, Tradeoff], x: str, y: str, name: str = "det"
) -> Chart:
    """Show the detection error trade-off: wrongly accepted against wrongly refused."""
    plot = Plot(title, errors(x), errors(y, 1e-3))
    for label, curve in curves.items():
        picked = np.unique(np.linspace(0, curve.thresholds.size - 1, _POINTS).astype(int))
        points = zip(curve.accepted[picked], curve.refused[picked], strict=True)
        plot.line([(float(a), float(r)) for a, r in points], label)
    return Chart(name, f"Error trade-off: {x} against {y}", plot.finish())
