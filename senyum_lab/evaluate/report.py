"""The result of an evaluation, as JSON and as an HTML page."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import UsageError
from senyum_lab.evaluate.charts import Chart

_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd;
  vertical-align: top }
img { max-width: 100%; height: auto } code { font-size: .9em; overflow-wrap: anywhere }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """The outcome of one evaluation."""

    title: str
    figures: Mapping[str, Any]  # the output of --json; None: unmeasured, explained in a note
    tables: Sequence[Table]
    protocol: Sequence[str]  # how it was measured, one sentence each
    notes: Sequence[str] = ()  # what was left out or is unmeasured
    charts: Sequence[Chart] = field(default_factory=tuple)


def share(value: float | None, digits: int = 2) -> str:
    """Return a rate as text for tables."""
    return "unmeasured" if value is None else f"{value:.{digits}%}"


def as_json(report: EvaluationReport) -> str:
    """Return the figures as one JSON object. Raises ValueError for NaN."""
    return json.dumps({**report.figures, "notes": list(report.notes)}, allow_nan=False, indent=2)


def write(report: EvaluationReport, folder: Path, command: str, digests: Mapping[str, str]) -> None:
    """Write index.html, figures.json and the charts. Raises UsageError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for chart in report.charts:
            chart.save(folder)
        (folder / "figures.json").write_text(as_json(report) + "\n", encoding="utf-8")
        page = _page(report, command, digests)
        # File names may not be UTF-8.
        (folder / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{folder}: cannot write the report: {error.strerror}") from None


def _page(report: EvaluationReport, command: str, digests: Mapping[str, str]) -> str:
    title = html.escape(report.title)
    models = Table(("model", "SHA-256"), tuple(sorted(digests.items())), "Models")
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{title}</title><style>{_STYLE}</style>",
        f"<h1>{title}</h1>",
        f"<p><code>{html.escape(command)}</code></p>",
        *(_table(table) for table in report.tables),
        *_list("Left out or unmeasured", report.notes),
        *(
            f'<p><img src="{chart.name}.png" alt="{html.escape(chart.alt)}"></p>'
            for chart in report.charts
        ),
        *_list("How it was measured", report.protocol),
        _table(models),
    ]
    return "\n".join(parts) + "\n"


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    heading = f"<h2>{html.escape(table.title)}</h2>" if table.title else ""
    body = "\n".join(row(cells, "td") for cells in table.rows)
    return f"{heading}<table>\n{row(table.columns, 'th')}\n{body}\n</table>"


def _list(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return [f"<h2>{title}</h2><ul>{items}</ul>"]
