"""The report of a liveness check: text for the terminal, one HTML file, one page of PDF.

Pillow draws the chart and the PDF, because every device has it and none has matplotlib. The PDF
is a picture of the page, for filing; the HTML contains the text.
"""

import base64
import html
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from edge.errors import UsageError
from edge.system.files import replace_file
from edge.system.text import escaped, pluralize
from edge.types import LivenessRules
from senyum_lab.evaluate.acceptance import ENOUGH_PEOPLE, WEAK, Acceptance, KindResult
from senyum_lab.evaluate.presentations import LIVING, Presentation
from senyum_lab.evaluate.report import Table

PROPOSED = "proposed"
_COLUMNS = ("", "people", "presented", "judged", "errors", "rate", "95 % interval")
_STYLE = """\
body { font: 15px/1.4 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin: 1rem 0 .2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .15rem .8rem; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
img { max-width: 100% } p, pre { margin: .3rem 0 }
@page { size: A4; margin: 12mm } @media print { body { margin: 0; font-size: 12px } }
"""
_PAGE, _MARGIN, _DPI = (1240, 1754), 90, 150  # A4
_TEXT, _LINE = 20, 27  # pixels
_WIDTH = 104  # characters of a line of text
_CHART_WIDTH, _ROW, _LABELS = _PAGE[0] - 2 * _MARGIN, 46, 210
_BLUE, _ORANGE, _BLACK, _GREY = "#0072B2", "#D55E00", "#222222", "#dddddd"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceReport:
    """What a liveness check reports."""

    title: str
    facts: Sequence[str]  # where, when and with which model
    tables: Sequence[Table]
    notes: Sequence[str]  # what was not judged, left out or repeated
    conclusion: Sequence[str]
    settings: Sequence[str]  # lines to add to the settings file; none: nothing to change
    scores: Sequence[tuple[str, Sequence[float]]]  # kind, score of each judged presentation
    thresholds: Sequence[tuple[str, float]]  # name and value


def describe(
    result: Acceptance,
    presentations: Sequence[Presentation],
    rules: LivenessRules,
    *,
    source: str,
    facts: Sequence[str],
    notes: Sequence[str],
    model: str,
) -> AcceptanceReport:
    """Put a result into words. `model`: SHA-256 of the liveness model."""
    tables = [_table(f"At the threshold in use, {result.threshold:g}", result.shipped)]
    if result.checked is not None:
        title = "Each person at a threshold chosen on the other people"
        tables.append(_table(title, result.checked))
    thresholds = [("in use", result.threshold)]
    settings: list[str] = []
    if result.proposed is not None:
        thresholds.append((PROPOSED, result.proposed))
        settings = [
            "[liveness]",
            f"threshold = {result.proposed:g}",
            f'threshold_model = "{model[:12]}"',
        ]
    scores = [
        (
            row.kind,
            [
                score
                for one in presentations
                if one.kind == row.kind and (score := one.score(rules)) is not None
            ],
        )
        for row in result.shipped
    ]
    return AcceptanceReport(
        title=f"Liveness check of {source}",
        facts=[*facts, f"Liveness model {model[:12]}."],
        tables=tables,
        notes=[_unjudged(presentations), *notes],
        conclusion=_conclusion(result),
        settings=settings,
        scores=scores,
        thresholds=thresholds,
    )


def as_text(report: AcceptanceReport) -> str:
    """Return the report for a terminal; text from outside is escaped."""
    lines = [report.title, *report.facts]
    for table in report.tables:
        lines += ["", *_aligned(table)]
    lines += ["", *report.notes, "", *(part for one in report.conclusion for part in wrap(one, 99))]
    lines += ["", *report.settings] if report.settings else []
    return "\n".join(map(escaped, lines))


def write(report: AcceptanceReport, folder: Path) -> list[Path]:
    """Write report.html and report.pdf into an existing folder, and return their paths.

    Raises UsageError if that fails.
    """
    chart = draw_chart(report)
    pdf = io.BytesIO()
    draw_page(report, chart).save(pdf, "PDF", resolution=_DPI, quality=92, title=report.title)
    page = as_html(report, chart).encode(errors="backslashreplace")
    contents = {folder / "report.html": page, folder / "report.pdf": pdf.getvalue()}
    try:
        for path, content in contents.items():
            replace_file(path, content, mode=0o644)
    except OSError as error:
        raise UsageError(f"{folder}: cannot write the report: {error.strerror}") from None
    return list(contents)


def as_html(report: AcceptanceReport, chart: Image.Image) -> str:
    """Return the report as one file that contains the chart."""
    png = io.BytesIO()
    chart.save(png, "PNG", optimize=True)
    picture = base64.b64encode(png.getvalue()).decode()

    def paragraphs(lines: Sequence[str]) -> list[str]:
        return [f"<p>{html.escape(line)}</p>" for line in lines]

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    title = html.escape(report.title)
    parts = [
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{title}</title><style>{_STYLE}</style>",
        f"<h1>{title}</h1>",
        *paragraphs(report.facts),
        "<h2>Conclusion</h2>",
        *paragraphs(report.conclusion),
        f"<pre>{html.escape(chr(10).join(report.settings))}</pre>" if report.settings else "",
    ]
    for table in report.tables:
        parts += [f"<h2>{html.escape(table.title)}</h2><table>", row(table.columns, "th")]
        parts += [*(row(cells, "td") for cells in table.rows), "</table>"]
    alt = "Scores of the judged presentations by kind"
    parts += ["<h2>Scores</h2>", f'<img alt="{alt}" src="data:image/png;base64,{picture}">']
    return "\n".join([*parts, *paragraphs(report.notes)]) + "\n"


def draw_page(report: AcceptanceReport, chart: Image.Image) -> Image.Image:
    """Return the report as a picture of an A4 page at 150 dots per inch."""
    page = Image.new("RGB", _PAGE, "white")
    draw, y = ImageDraw.Draw(page), _MARGIN

    def put(lines: Sequence[str], size: int = _TEXT, x: int = _MARGIN) -> None:
        nonlocal y
        for line in lines:
            draw.text((x, y), escaped(line), fill=_BLACK, font=_font(size))
            y += _LINE * size // _TEXT

    def wrapped(lines: Sequence[str]) -> list[str]:
        return [part for line in lines for part in wrap(line, _WIDTH)]

    def heading(text: str) -> None:
        nonlocal y
        y += _LINE // 2
        put([text], 24)

    put(wrap(report.title, 70), 30)
    put(wrapped(report.facts))
    heading("Conclusion")
    put(wrapped(report.conclusion))
    put(report.settings, x=2 * _MARGIN)
    for table in report.tables:
        heading(table.title)
        for cells in (table.columns, *table.rows):
            draw.text((_MARGIN, y), escaped(cells[0]), fill=_BLACK, font=_font(_TEXT))
            for column, cell in enumerate(cells[1:]):
                right = _PAGE[0] - _MARGIN - (len(cells) - 2 - column) * 125
                right -= 65 if column < len(cells) - 2 else 0  # the interval is wide
                draw.text((right, y), cell, fill=_BLACK, font=_font(_TEXT), anchor="ra")
            y += _LINE
            draw.line((_MARGIN, y - 2, _PAGE[0] - _MARGIN, y - 2), fill=_GREY)
    heading("Scores")
    page.paste(chart, (_MARGIN, y))
    y += chart.height
    put(wrapped(report.notes))
    return page


def draw_chart(report: AcceptanceReport) -> Image.Image:
    """Return the scores of each kind as dots on a line from 0 to 1, with the thresholds."""
    size, inner = (_CHART_WIDTH, _ROW * (len(report.scores) + 2)), _CHART_WIDTH - _LABELS - 20
    bottom = _ROW * (len(report.scores) + 1)

    def place(score: float) -> float:
        return _LABELS + score * inner

    # The dots are drawn at four times the size: Pillow's circles have no smooth edge.
    large = Image.new("RGB", (4 * size[0], 4 * size[1]), "white")
    dots = ImageDraw.Draw(large)
    for number, (kind, scores) in enumerate(report.scores, start=1):
        y = _ROW * number + _ROW // 2
        dots.line((4 * place(0), 4 * y, 4 * place(1), 4 * y), fill=_GREY, width=4)
        for score in scores:
            x = place(score)
            box = tuple(4 * edge for edge in (x - 7, y - 7, x + 7, y + 7))
            dots.ellipse(box, outline=_BLUE if kind == LIVING else _ORANGE, width=9)
    chart = large.resize(size, Image.Resampling.BOX)
    draw = ImageDraw.Draw(chart)
    for number, (kind, _) in enumerate(report.scores, start=1):
        y = _ROW * number + _ROW // 2
        draw.text((0, y), escaped(kind)[:20], fill=_BLACK, font=_font(_TEXT), anchor="lm")
    for tenth in range(0, 11, 2):
        x = place(tenth / 10)
        draw.text((x, bottom + 8), f"{tenth / 10:g}", fill=_BLACK, font=_font(_TEXT), anchor="ma")
    ordered = sorted(report.thresholds, key=lambda one: one[1])
    for number, (name, threshold) in enumerate(ordered):
        x = place(threshold)
        draw.line((x, 26, x, bottom), fill=_BLACK, width=4 if name == PROPOSED else 2)
        last = number == len(ordered) - 1 and threshold < 0.8  # else there is more room to the left
        label, y = f" {name} {threshold:g} ", 22 + 22 * number
        draw.text((x, y), label, fill=_BLACK, font=_font(_TEXT), anchor="ls" if last else "rs")
    return chart


def _font(size: int) -> Any:
    try:
        return ImageFont.load_default(size)
    except (ImportError, TypeError):
        raise UsageError(
            "the report needs Pillow 10.1 or later with FreeType; run: pip install -U pillow"
        ) from None


def _table(title: str, rows: Sequence[KindResult]) -> Table:
    return Table(_COLUMNS, tuple(map(_cells, rows)), title)


def _cells(row: KindResult) -> tuple[str, ...]:
    name = "BPCER, living people" if row.kind == LIVING else f"APCER, {row.kind}"
    counts = (row.people, row.presented, row.judged, row.wrong)
    low, high = row.interval
    rate = "-" if row.rate is None else f"{row.rate:.1%}"
    return name, *map(str, counts), rate, f"{low:.1%} to {high:.1%}" if row.judged else "-"


def _aligned(table: Table) -> list[str]:
    rows = (table.columns, *table.rows)
    widths = [max(len(escaped(row[column])) for row in rows) for column in range(len(rows[0]))]
    lines = [table.title]
    for row in rows:
        first, *others = (escaped(cell) for cell in row)
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *cells)))
    return lines


def _unjudged(presentations: Sequence[Presentation]) -> str:
    total = sum(one.frames for one in presentations)
    reasons = sum((one.unjudged for one in presentations), Counter[str]())
    named = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    text = f"Frames that could not be judged: {reasons.total()} of {total}"
    return f"{text} ({named})." if named else f"{text}."


def _conclusion(result: Acceptance) -> list[str]:
    lines = []
    if result.too_small:
        lines.append(
            f"The sample is too small to claim anything: fewer than {ENOUGH_PEOPLE} people were "
            f"judged for {', '.join(result.too_small)}. Do not decide by these rates."
        )
    else:
        least = min(row.judged for row in result.shipped)
        highest = KindResult("", least, least, least, 0).interval[1]
        lines.append(
            f"These rates hold for this device, place and light. With {least} presentations of a "
            f"kind, an error rate below {highest:.0%} cannot be shown even without an error."
        )
    if result.weak:
        lines.append(
            f"The error rate exceeds {WEAK:.0%} for {', '.join(result.weak)}: the liveness model "
            "does not protect this place. Improve the light or move the device, and measure again."
        )
    if result.checked is None:
        lines.append(
            "No threshold is proposed: it must be chosen on some people and checked on others, and "
            "the presentations do not name enough people for that."
        )
    elif result.proposed is not None:
        lines.append(
            f"Proposed threshold: {result.proposed:g}. It is chosen on all people; its error rates "
            "are those of the second table. Add these lines to /etc/senyum/senyum.toml, then run "
            "systemctl restart senyum:"
        )
    elif result.too_small or result.weak:
        lines.append("No threshold is proposed.")
    else:
        lines.append(
            f"Keep the threshold in use: no better one was found than {result.threshold:g}."
        )
    return lines


def repeated(count: int) -> str:
    """Return the note about repeated presentations; an earlier result is replaced."""
    return f"Repeated: {pluralize(count, 'presentation')}; the last result of each counts."
