"""A picture of one real run for the README: photo, terminal and event."""

import base64
import io
import json
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image
from rich.console import Console, RenderableType

_COLUMNS = 96  # of the terminal
_PHOTO = (384, 288)
_TERMINAL = (684, 322)
_EVENT_HEIGHT = 366
_GAP = 52  # between the boxes, for an arrow
_TOP = 44  # of the first row
_LEFT = _PHOTO[0] + _GAP
_WIDTH = _LEFT + _TERMINAL[0]
_BELOW = _TOP + _TERMINAL[1] + 70  # top of the second row
_LETTER = 13.5  # font size of the event
_MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"
_SANS = "DejaVu Sans, Helvetica, Arial, sans-serif"
_INK, _PAPER, _DARK, _DIM = "#1f2328", "#f6f8fa", "#16191d", "#8b949e"

_NOTES = (
    "Photos (White House) in a drawn room. The smile is generated",
    "from two of the photos.",
)

# The default frame of rich loads a web font; a picture in a README must not load anything.
_FRAME = (
    '<svg x="@X@" y="@Y@" width="@W@" height="@H@" viewBox="0 0 {width} {height}" '
    'preserveAspectRatio="xMidYMin meet">\n'
    "<style>.{unique_id}-matrix {{ font-family: "
    + _MONO
    + "; font-size: {char_height}px; line-height: {line_height}px; }}\n{styles}</style>\n"
    '<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" '
    'height="{terminal_height}"/></clipPath>\n{lines}</defs>\n'
    '<rect fill="' + _DARK + '" width="{width}" height="{height}" rx="12"/>\n'
    '<g transform="translate({terminal_x}, {terminal_y})" '
    'clip-path="url(#{unique_id}-clip-terminal)">\n{backgrounds}\n'
    '<g class="{unique_id}-matrix">{matrix}</g></g></svg>'
)


def compose(photo: Image.Image, terminal: RenderableType, event: dict[str, Any]) -> str:
    """Return an SVG document: the accepted frame, the screen at that moment, and the event."""
    height = _BELOW + _EVENT_HEIGHT
    view = f"-16 0 {_WIDTH + 32} {height + 16}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" font-family="{_SANS}">',
        f'<rect x="-16" width="{_WIDTH + 32}" height="{height + 16}" fill="#ffffff"/>',
        _title(0, _TOP - 14, "1  A person smiles"),
        _photo(photo),
        _note(_TOP + _PHOTO[1] + 20, *_NOTES),
        _arrow(_PHOTO[0] + 10, _TOP + _PHOTO[1] / 2, "h20"),
        _title(_LEFT, _TOP - 14, "2  The unit recognises them and confirms with light and sound"),
        _screen(terminal),
        _arrow(_LEFT + 30, _BELOW - 58, "v20"),
        _title(_LEFT + 60, _BELOW - 16, "3  A server verifies the signed event"),
        _json(event),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _title(x: float, y: float, text: str) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="17" font-weight="600" fill="{_INK}">'
        f"{escape(text)}</text>"
    )


def _note(y: float, *lines: str) -> str:
    return "".join(
        f'<text x="0" y="{y + 17 * row}" font-size="12" fill="{_DIM}">{escape(line)}</text>'
        for row, line in enumerate(lines)
    )


def _arrow(x: float, y: float, line: str) -> str:
    head = "m-8 -8 l10 8 l-10 8" if line.startswith("h") else "m-8 -8 l8 10 l8 -10"
    return (
        f'<path d="M{x} {y} {line} {head}" fill="none" stroke="{_INK}" '
        'stroke-width="3" stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _photo(photo: Image.Image) -> str:
    buffer = io.BytesIO()
    photo.resize(_PHOTO, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    size = f'width="{_PHOTO[0]}" height="{_PHOTO[1]}"'
    return (
        f'<clipPath id="photo"><rect y="{_TOP}" {size} rx="12"/></clipPath>'
        f'<image y="{_TOP}" {size} clip-path="url(#photo)" href="data:image/jpeg;base64,{data}"/>'
    )


def _screen(terminal: RenderableType) -> str:
    console = Console(
        record=True,
        width=_COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(terminal)
    drawn = console.export_svg(code_format=_FRAME, unique_id="screen")
    for token, value in zip(("@X@", "@Y@", "@W@", "@H@"), (_LEFT, _TOP, *_TERMINAL), strict=True):
        drawn = drawn.replace(token, str(value))
    return drawn


def _json(event: dict[str, Any]) -> str:
    attributes, data = _summary(event)
    columns = _column(attributes, 20) + _column(data, _WIDTH * 0.6)
    return (
        f'<rect y="{_BELOW}" width="{_WIDTH}" height="{_EVENT_HEIGHT}" rx="12" '
        f'fill="{_PAPER}" stroke="#d0d7de"/>'
        f'<text font-family="{_MONO}" font-size="{_LETTER}" fill="{_INK}" '
        f'xml:space="preserve">{columns}</text>'
    )


def _column(content: dict[str, Any], x: float) -> str:
    lines = json.dumps(content, indent=2, ensure_ascii=False).splitlines()[1:-1]
    return "".join(
        f'<tspan x="{x}" y="{_BELOW + 30 + number * _LETTER * 1.4:.1f}">{escape(line)}</tspan>'
        for number, line in enumerate(lines)
    )


def _summary(event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes and the most relevant data of an event."""
    names = ("specversion", "id", "source", "type", "time", "subject", "sequence", "previous")
    attributes = {name: event[name] for name in names}
    data = event["data"]
    chosen = {name: data[name] for name in ("outcome", "reason", "smile", "match")}
    parts = {"liveness": ("live", "score"), "thresholds": ("match", "smile", "motion")}
    for part, shown in parts.items():
        chosen[part] = {name: data[part][name] for name in shown}
    return attributes, {"data": chosen}
