"""The charts of a report: reliability, histograms of scores, error trade-off.

matplotlib, of the extra `lab`, is imported when a chart is drawn.
"""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from edge.errors import UsageError
from senyum_lab.evaluate.metrics import Reliability, Tradeoff, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of Okabe and Ito: colour-blind people can distinguish it, and the dashes differ too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
_BINS = 50  # of a histogram
_POINTS = 2000  # drawn of one curve; more cannot be distinguished
_RATE_TICKS = (1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5, 0.8, 0.95)


def require_matplotlib() -> None:
    """Raise UsageError if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--report needs matplotlib; run: pip install 'senyum-edge[lab]'")


@dataclass(frozen=True, kw_only=True)
class Chart(ABC):
    """One drawing of a report."""

    name: str  # of its file, without ".png"
    title: str

    @property
    @abstractmethod
    def alt(self) -> str:
        """The text for readers who cannot see the drawing."""

    @abstractmethod
    def draw(self, axes: "Axes") -> None:
        """Draw everything except the title and the legend."""

    def save(self, folder: Path) -> None:
        """Write the chart as `name`.png. Raises OSError."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - of an extra

        figure = Figure(figsize=(9, 6.4), dpi=100, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(self.title)
        axes.grid(color="#dddddd")
        axes.set_axisbelow(True)
        self.draw(axes)
        axes.legend()
        figure.savefig(folder / f"{self.name}.png")


@dataclass(frozen=True, kw_only=True)
class ReliabilityChart(Chart):
    """The smile score of each bin against the share of the bin that smiles."""

    measured: Reliability

    @property
    def alt(self) -> str:
        return f"Reliability diagram, calibration error {self.measured.error:.3f}"

    def draw(self, axes: "Axes") -> None:
        counts, observed = self.measured.counts, self.measured.observed
        width = 100 / len(counts)
        left, full = np.arange(len(counts)) * width, counts > 0
        blue, orange = _COLOURS[:2]
        axes.bar(
            left[full],
            observed[full],
            width * 0.98,
            align="edge",
            color=blue,
            alpha=0.5,
            label="observed",
        )
        axes.plot([0, 100], [0, 1], color="#222222", linewidth=1, linestyle="--", label="perfect")
        axes.plot(
            100 * self.measured.promised[full],
            observed[full],
            "o-",
            color=orange,
            linewidth=2,
            label="at the mean score",
        )
        for x, count in zip(left, counts, strict=True):
            axes.text(x + width / 2, 0.02, str(count), horizontalalignment="center")
        axes.set(
            xlabel="score", ylabel="smiling, share of the bin", xlim=(0, 100), ylim=(0, 1),
            xticks=range(0, 101, 10),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HistogramChart(Chart):
    """The distribution of each group's scores, and the threshold; the bars of a group sum to 1."""

    groups: Mapping[str, Values]
    label: str  # of the score
    limits: tuple[float, float]  # scores beyond them are counted at the limit
    threshold: float

    @property
    def alt(self) -> str:
        return f"Histogram of scores: {', '.join(self.groups)}"

    def draw(self, axes: "Axes") -> None:
        for (group, scores), colour in zip(self.groups.items(), _cycle(self.groups), strict=True):
            axes.hist(
                np.clip(scores, *self.limits),
                bins=_BINS,
                range=self.limits,
                weights=np.full(scores.size, 1 / scores.size),
                color=colour,
                alpha=0.5,
                label=f"{group} ({scores.size:,})",
            )
        axes.axvline(self.threshold, color="#222222", label=f"threshold {self.threshold:g}")
        axes.set(xlabel=self.label, ylabel="share of the group", xlim=self.limits)


@dataclass(frozen=True, kw_only=True)
class TradeoffChart(Chart):
    """Detection error trade-off: wrong accepts against wrong refusals, in normal deviates.

    Martin et al., "The DET curve in assessment of detection task performance", 1997.
    """

    curves: Mapping[str, Tradeoff]
    accepted: str  # label of the rate of negatives accepted
    refused: str  # label of the rate of positives refused

    @property
    def alt(self) -> str:
        return f"Error trade-off: {self.accepted} against {self.refused}"

    def draw(self, axes: "Axes") -> None:
        low_x, low_y, high = 1e-4, 1e-3, 0.95
        for number, (label, curve) in enumerate(self.curves.items()):
            picked = np.unique(np.linspace(0, curve.thresholds.size - 1, _POINTS).astype(int))
            axes.plot(
                _deviates(curve.accepted[picked], low_x, high),
                _deviates(curve.refused[picked], low_y, high),
                color=_COLOURS[number % len(_COLOURS)],
                linestyle=_DASHES[number % len(_DASHES)],
                linewidth=2.5,
                label=label,
            )
        for axis, low in ((axes.xaxis, low_x), (axes.yaxis, low_y)):
            ticks = [rate for rate in _RATE_TICKS if rate >= low]
            axis.set_ticks(
                _deviates(np.array(ticks), low, high).tolist(),
                labels=[f"{rate * 100:g} %" for rate in ticks],
            )
        axes.set(
            xlabel=self.accepted,
            ylabel=self.refused,
            xlim=_deviates(np.array([low_x, high]), low_x, high).tolist(),
            ylim=_deviates(np.array([low_y, high]), low_y, high).tolist(),
        )


def _cycle(groups: Mapping[str, Values]) -> list[str]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(len(groups))]


def _deviates(rates: Values, low: float, high: float) -> Values:
    """Return the normal deviates of rates; a rate beyond `low` or `high` counts as the limit."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse(rate) for rate in np.clip(rates, low, high).tolist()])
