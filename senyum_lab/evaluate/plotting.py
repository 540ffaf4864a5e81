"""Plots of a report, drawn with Pillow: axes, lines, bars, marks; nothing more is needed."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]

# Okabe and Ito's palette: told apart by colour-blind people too, and dashes differ besides.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES: tuple[tuple[int, int] | None, ...] = (None, (14, 8), (4, 6), (22, 6), (8, 8), (2, 4))
_INK, _FAINT, _PAPER = "#222222", "#dddddd", "#ffffff"

_WIDTH, _HEIGHT = 900, 640  # pixels of the finished picture
_FINER = 2  # drawn so many times larger, then averaged: smooth lines
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 24, 56, 74
_TEXT, _TITLE = 17, 21


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot."""

    name: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    straighten: Callable[[float], float] = float  # value to an even scale

    def place(self, value: float) -> float:
        """Return 0 at `low`, 1 at `high`; what lies outside is put on the edge."""
        low, at, high = (
            self.straighten(v) for v in (self.low, min(max(value, self.low), self.high), self.high)
        )
        return (at - low) / (high - low)


def even(name: str, low: float, high: float, step: float, pattern: str = "g") -> Axis:
    """Return an even axis with a tick every `step`."""
    count = math.floor((high - low) / step + 1e-9)
    values = (low + i * step for i in range(count + 1))
    return Axis(name, low, high, tuple((v, format(round(v, 9), pattern)) for v in values))


def errors(name: str, low: float = 1e-4) -> Axis:
    """Return an axis for error rates in normal deviates, as DET curves have (Martin 1997)."""
    marks = (1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5, 0.8, 0.95)
    return Axis(
        name,
        low,
        0.95,
        tuple((mark, f"{mark * 100:g} %") for mark in marks if mark >= low),
        NormalDist().inv_cdf,
    )


class Plot:
    """A picture that grows with each call."""

    def __init__(self, title: str, x: Axis, y: Axis) -> None:
        self._x, self._y = x, y
        self._image = Image.new("RGB", (_WIDTH * _FINER, _HEIGHT * _FINER), _PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._legend: list[tuple[str, str]] = []
        self._lines = 0
        self._font = ImageFont.load_default(_TEXT * _FINER)
        self._frame(title)

    def line(self, points: Sequence[Point], name: str, *, thin: bool = False) -> None:
        """Draw through `points`; each further line has the next colour and dashes."""
        style = self._lines % len(COLOURS)
        self._lines += 1
        colour = _INK if thin else COLOURS[style]
        path = [self._at(x, y) for x, y in points]
        width = (1 if thin else 3) * _FINER
        dash = (6, 6) if thin else _DASHES[style]
        if dash is None:
            self._draw.line(path, colour, width, joint="curve")
        else:
            for piece in _dashed(path, [n * _FINER for n in dash]):
                self._draw.line(piece, colour, width)
        if name:
            self._legend.append((name, colour))

    def bars(self, bars: Sequence[tuple[float, float, float]], name: str, style: int = 0) -> None:
        """Draw (left, right, height) from the foot of the plot, half transparent."""
        layer = Image.new("RGB", self._image.size, COLOURS[style])
        mask = Image.new("L", self._image.size, 0)
        draw = ImageDraw.Draw(mask)
        for left, right, height in bars:
            (x0, y0), (x1, y1) = self._at(left, self._y.low), self._at(right, height)
            if x1 > x0 and y0 > y1:
                draw.rectangle((x0, y1, x1 - 1, y0), fill=120)
        self._image.paste(layer, mask=mask)
        self._legend.append((name, COLOURS[style]))

    def upright(self, x: float, name: str) -> None:
        """Draw a line from foot to head: a threshold."""
        ends = [self._at(x, self._y.low), self._at(x, self._y.high)]
        self._draw.line(ends, _INK, 2 * _FINER)
        self._legend.append((name, _INK))

    def text(self, x: float, y: float, what: str) -> None:
        """Write a word with its middle at (x, y)."""
        self._draw.text(self._at(x, y), what, _INK, self._font, anchor="mm")

    def finish(self) -> Image.Image:
        """Return the picture, with its legend."""
        right, row = (_WIDTH - _RIGHT - 14) * _FINER, (_TOP + 20) * _FINER
        for name, colour in self._legend:
            length = self._draw.textlength(name, self._font)
            self._draw.rectangle(
                (right - length - 30 * _FINER, row - 11 * _FINER, right + 6, row + 11 * _FINER),
                fill=_PAPER,
            )
            self._draw.text((right, row), name, _INK, self._font, anchor="rm")
            end = right - length - 8 * _FINER
            self._draw.line((end - 18 * _FINER, row, end, row), colour, 4 * _FINER)
            row += 24 * _FINER
        return self._image.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX)

    def _at(self, x: float, y: float) -> Point:
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return (
            (_LEFT + self._x.place(x) * width) * _FINER,
            (_TOP + (1 - self._y.place(y)) * height) * _FINER,
        )

    def _frame(self, title: str) -> None:
        draw, font = self._draw, self._font
        gap = 8 * _FINER
        for value, label in self._x.ticks:
            foot, head = self._at(value, self._y.low), self._at(value, self._y.high)
            draw.line((foot, head), _FAINT, _FINER)
            draw.text((foot[0], foot[1] + gap), label, _INK, font, anchor="mt")
        for value, label in self._y.ticks:
            left, right = self._at(self._x.low, value), self._at(self._x.high, value)
            draw.line((left, right), _FAINT, _FINER)
            draw.text((left[0] - gap, left[1]), label, _INK, font, anchor="rm")
        corner, opposite = self._at(self._x.low, self._y.high), self._at(self._x.high, self._y.low)
        draw.rectangle((corner, opposite), outline=_INK, width=_FINER)
        large = ImageFont.load_default(_TITLE * _FINER)
        draw.text((_LEFT * _FINER, 18 * _FINER), title, _INK, large, anchor="lt")
        middle = (_LEFT + _WIDTH - _RIGHT) / 2 * _FINER
        draw.text((middle, (_HEIGHT - 14) * _FINER), self._x.name, _INK, font, anchor="ms")
        self._sideways(self._y.name)

    def _sideways(self, text: str) -> None:
        left, top, right, bottom = self._draw.textbbox((0, 0), text, self._font)
        label = Image.new("RGB", (math.ceil(right - left), math.ceil(bottom - top)), _PAPER)
        ImageDraw.Draw(label).text((-left, -top), text, _INK, self._font)
        turned = label.rotate(90, expand=True)
        middle = (_TOP + _HEIGHT - _BOTTOM) // 2 * _FINER
        self._image.paste(turned, (6 * _FINER, middle - turned.height // 2))


def _dashed(path: Sequence[Point], pattern: Sequence[int]) -> list[list[Point]]:
    """Cut a path into the pieces that are drawn: on, off, on, off, as long as `pattern` says."""
    pieces: list[list[Point]] = [[path[0]]] if path else []
    on, left = 0, float(pattern[0])
    for start, end in itertools.pairwise(path):
        length, gone = math.dist(start, end), 0.0
        while length - gone > left:
            gone += left
            share = gone / length
            corner = (
                start[0] + share * (end[0] - start[0]),
                start[1] + share * (end[1] - start[1]),
            )
            if on == 0:
                pieces[-1].append(corner)
            else:
                pieces.append([corner])
            on = 1 - on
            left = float(pattern[on])
        left -= length - gone
        if on == 0:
            pieces[-1].append(end)
    return [piece for piece in pieces if len(piece) > 1]
