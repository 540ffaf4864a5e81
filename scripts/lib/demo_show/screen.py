"""The demo on a terminal: picture, lights, notes, smile and verified events side by side."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.style import Style
from rich.table import Table
from rich.text import Text

from demo_show.watch import HEARD_NS, Lights, Memory, Watch, note_name
from edge.attendance.table import State
from edge.images import to_image

REFRESH_S = 0.12

_COLUMN_S = 0.15  # of sound, in one column of the score
_COLUMNS = 40
_LOWEST, _HIGHEST = 200.0, 2200.0  # hertz on the score
_BAR = 28


@dataclass(frozen=True, slots=True)
class Size:
    """How large the parts of the screen are drawn."""

    width: int  # characters, of the least terminal that it fits
    height: int
    picture: tuple[int, int]  # pixels, of which a character holds two above each other
    score: int  # lines
    events: int  # lines


SMALL = Size(80, 24, (34, 26), score=5, events=5)
LARGE = Size(104, 34, (56, 42), score=9, events=8)
BARE = Size(96, 0, (0, 0), score=8, events=4)  # without what the camera sees


def fitting(width: int, height: int) -> Size | None:
    """Return the size for a terminal; None where it is too small for any."""
    return next((s for s in (LARGE, SMALL) if width >= s.width and height >= s.height), None)


_GREEN, _RED = (70, 255, 110), (255, 70, 60)
_UNLIT = (38, 42, 46)

_DOING = {
    State.NOBODY: "nobody is here",
    State.NOTICED: "somebody is here: who?",
    State.UNKNOWN: "not known",
    State.KNOWN: "known; a moment",
    State.ASKED: "known; asked for a smile",
    State.PAUSED: "known; asked for a smile",
    State.RECORDING: "signing and storing",
    State.DONE: "told the outcome",
    State.REFUSED: "refused; a pause",
    State.SEVERAL: "several people: nobody is judged",
    State.FAULTY: "out of order",
}


class Screen:
    """Draws the present moment again and again while it is open."""

    def __init__(self, console: Console, watch: Watch, size: Size, footer: str) -> None:
        self._watch = watch
        self._size = size
        self._footer = footer
        self.title = ""
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def draw(self) -> None:
        """Show the present moment."""
        screen = moment(self._watch, self._size, self.title, self._footer)
        self._live.update(screen, refresh=True)


def moment(watch: Watch, size: Size, title: str, footer: str = "") -> RenderableType:
    """Return the whole screen as it is now."""
    inside = Table.grid(padding=(0, 2))
    judged: list[RenderableType] = [
        _lamps(watch.lights),
        Text(),
        _line("state", _DOING[watch.state]),
        _line("broker", "reached" if watch.link_up else "away, events are kept"),
        _smile(watch.smile),
    ]
    score = _score(watch.memory, time.monotonic_ns(), size.score)
    if size.picture[0]:
        inside.add_row(_thumbnail(watch, size.picture), Group(*judged, *score))
    else:
        inside.add_row(Group(Text(), *judged), Group(*score))
    proved = "what the central server received and verified"
    parts: list[RenderableType] = [
        Panel(inside, title=Text(title), title_align="left", box=box.ROUNDED),
        Panel(
            _events(watch.memory, size.events), title=proved, title_align="left", box=box.ROUNDED
        ),
    ]
    if footer:
        parts.append(Text(footer, style="dim"))
    return Group(*parts)


def _line(name: str, what: str) -> Text:
    return Text.assemble((f"{name:<7}", "dim"), what)


def _shade(colour: tuple[int, int, int], level: float) -> str:
    """Return a lamp's colour; the eye sees a tenth of the light as a third of the brightness."""
    seen = max(0.0, min(1.0, level)) ** 0.45
    mixed = (round(dark + (lit - dark) * seen) for dark, lit in zip(_UNLIT, colour, strict=True))
    return _web(mixed)


def _lamps(lights: Lights) -> Table:
    table = Table.grid(padding=(0, 2))
    lamps = [("green", _GREEN, lights.green), ("red", _RED, lights.red)]
    for row, disc in enumerate(("▗▄▄▄▄▖", "██████", "▝▀▀▀▀▘")):
        cells: list[Text] = []
        for name, colour, level in lamps:
            cells.append(Text(disc, style=_shade(colour, level)))
            cells.append(Text(f"{name} {level:.0%}".ljust(10) if row == 1 else "", style="dim"))
        table.add_row(*cells)
    return table


def _smile(score: float | None) -> Text:
    filled = 0 if score is None else round(_BAR * score / 100)
    bar = Text.assemble(("smile  ", "dim"))
    for cell in range(_BAR):
        lit = cell < filled
        middle = cell == _BAR // 2
        sign = "█" if lit else ("┊" if middle else "·")
        bar.append(sign, style="yellow" if lit else "dim")
    bar.append("   ?" if score is None else f" {score:3.0f}")
    return bar


def _score(memory: Memory, now_ns: int, rows: int) -> list[Text]:
    """Return the last seconds of sound: time to the right, pitch upward."""
    cells = [[" "] * _COLUMNS for _ in range(rows)]
    step = int(_COLUMN_S * 1e9)
    begin = (now_ns // step - _COLUMNS + 1) * step
    names: list[str] = []
    recent = memory.samples[-600:]
    for index, sample in enumerate(recent):
        pitch = sample.lights.pitch
        end = recent[index + 1].at_ns if index + 1 < len(recent) else now_ns
        if not pitch or end <= begin or end - sample.at_ns < HEARD_NS:
            continue
        share = math.log(pitch / _LOWEST) / math.log(_HIGHEST / _LOWEST)
        row = rows - 1 - min(rows - 1, max(0, int(share * rows)))
        for column in range(max(0, (sample.at_ns - begin) // step), (end - begin) // step + 1):
            if 0 <= column < _COLUMNS:
                goes_on = column > 0 and cells[row][column - 1] != " "
                cells[row][column] = "━" if goes_on else "●"
        name = note_name(pitch)
        if not names or names[-1] != name:
            names.append(name)
    lines = [Text("".join(row).ljust(_COLUMNS), style="bold cyan on grey11") for row in cells]
    return [*lines, _line("notes", " ".join(names[-8:]) or "silence")]


def _thumbnail(watch: Watch, size: tuple[int, int]) -> Text:
    """Return what the camera sees, two pixels a character."""
    width, height = size
    if watch.frame is None:
        return Text("\n".join([" " * width] * (height // 2)))
    small = to_image(watch.frame.lores).resize(size, Image.Resampling.BOX)
    pixels = np.asarray(small).tolist()
    text = Text(end="")
    for y in range(0, height, 2):
        for above, below in zip(pixels[y], pixels[y + 1], strict=True):
            text.append("▀", Style(color=_web(above), bgcolor=_web(below)))
        if y + 2 < height:
            text.append("\n")
    return text


def _web(colour: Iterable[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _events(memory: Memory, most: int) -> Table:
    table = Table.grid(padding=(0, 2))
    heard = [heard for heard in memory.heard if heard.notice["kind"] != "state"][-most:]
    for one in heard:
        table.add_row(*_event(one.event, one.notice))
    for _ in range(most - len(heard)):
        table.add_row("")
    return table


def _event(event: dict[str, Any] | None, notice: dict[str, Any]) -> list[Text]:
    if event is None:
        return [Text("!", "bold red"), Text(f"{notice['kind']} {notice.get('text', '')}")]
    data = event["data"]
    number, at = Text(f"#{int(event['sequence'])}"), Text(event["time"][11:19], "dim")
    if "outcome" not in data:
        return [Text("✓", "green"), number, at, Text(f"unit {data['code']}", "dim")]
    colour = "bold green" if data["outcome"] == "recorded" else "bold red"
    what = data["outcome"] if data["outcome"] == "recorded" else f"refused: {data['reason']}"
    match = data["match"]
    return [
        Text("✓", "green"),
        number,
        at,
        Text(what, colour),
        Text(f"{event['subject'][:6]}…" if event["subject"] else "nobody"),
        Text("" if data["smile"] is None else f"smile {data['smile']:.0f}"),
        Text("" if match is None else f"match {match['similarity']:.2f}", "dim"),
    ]
