"""The terminal screen of the demo: camera picture, LEDs, notes, smile score and events."""

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

from edge.attendance.table import State
from edge.images import to_image
from senyum_lab.demo.recording import (
    SHORTEST_NOTE_NS,
    DemoRecorder,
    DemoRecording,
    PinLevels,
    note_name,
)

REFRESH_S = 0.12

_COLUMN_S = 0.15  # of sound in one column
_COLUMNS = 40
_LOWEST, _HIGHEST = 200.0, 2200.0  # hertz
_BAR = 28


@dataclass(frozen=True, slots=True)
class ScreenSize:
    """The sizes of the parts of the screen."""

    width: int  # characters; the smallest terminal that fits it
    height: int
    picture: tuple[int, int]  # pixels; a character shows two, one above the other
    notes: int  # lines
    events: int  # lines


SMALL = ScreenSize(80, 24, (34, 26), notes=5, events=5)
LARGE = ScreenSize(104, 34, (56, 42), notes=9, events=8)
BARE = ScreenSize(96, 0, (0, 0), notes=8, events=4)  # without the camera picture


def size_for(width: int, height: int) -> ScreenSize | None:
    """Return the size for a terminal, or None if the terminal is too small."""
    return next((s for s in (LARGE, SMALL) if width >= s.width and height >= s.height), None)


_GREEN, _RED = (70, 255, 110), (255, 70, 60)
_UNLIT = (38, 42, 46)

_STATE_TEXT = {
    State.NOBODY: "nobody in view",
    State.NOTICED: "face detected, identifying",
    State.UNKNOWN: "not recognised",
    State.KNOWN: "recognised",
    State.ASKED: "recognised; smile requested",
    State.EXEMPT_WAIT: "known; asked for a smile",
    State.RECORDING: "signing and storing",
    State.DONE: "outcome shown",
    State.REFUSED: "refused; waiting",
    State.SEVERAL: "several people; none is recorded",
    State.FAULTY: "out of order",
}


class Screen:
    """Shows the current state of a demo on the terminal while it is open."""

    def __init__(
        self, console: Console, recorder: DemoRecorder, size: ScreenSize, footer: str
    ) -> None:
        self._recorder = recorder
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
        """Redraw the screen."""
        screen = render(self._recorder, self._size, self.title, self._footer)
        self._live.update(screen, refresh=True)


def render(
    recorder: DemoRecorder, size: ScreenSize, title: str, footer: str = ""
) -> RenderableType:
    """Return the screen for the current state."""
    inside = Table.grid(padding=(0, 2))
    status: list[RenderableType] = [
        _leds(recorder.lights),
        Text(),
        _line("state", _STATE_TEXT[recorder.state]),
        _line("broker", "connected" if recorder.link_up else "offline, events are kept"),
        _smile(recorder.smile),
    ]
    notes = _notes(recorder.recording, time.monotonic_ns(), size.notes)
    if size.picture[0]:
        inside.add_row(_thumbnail(recorder, size.picture), Group(*status, *notes))
    else:
        inside.add_row(Group(Text(), *status), Group(*notes))
    heading = "events that the central server received and verified"
    parts: list[RenderableType] = [
        Panel(inside, title=Text(title), title_align="left", box=box.ROUNDED),
        Panel(
            _events(recorder.recording, size.events),
            title=heading,
            title_align="left",
            box=box.ROUNDED,
        ),
    ]
    if footer:
        parts.append(Text(footer, style="dim"))
    return Group(*parts)


def _line(name: str, what: str) -> Text:
    return Text.assemble((f"{name:<7}", "dim"), what)


def _shade(colour: tuple[int, int, int], level: float) -> str:
    """Return the colour of an LED; the eye perceives a tenth of the light as a third as bright."""
    seen = max(0.0, min(1.0, level)) ** 0.45
    mixed = (round(dark + (lit - dark) * seen) for dark, lit in zip(_UNLIT, colour, strict=True))
    return _hex_colour(mixed)


def _leds(lights: PinLevels) -> Table:
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


def _notes(memory: DemoRecording, now_ns: int, rows: int) -> list[Text]:
    """Return the last seconds of sound: time to the right, pitch upwards."""
    cells = [[" "] * _COLUMNS for _ in range(rows)]
    step = int(_COLUMN_S * 1e9)
    begin = (now_ns // step - _COLUMNS + 1) * step
    names: list[str] = []
    recent = memory.samples[-600:]
    for index, sample in enumerate(recent):
        pitch = sample.lights.pitch
        end = recent[index + 1].at_ns if index + 1 < len(recent) else now_ns
        if not pitch or end <= begin or end - sample.at_ns < SHORTEST_NOTE_NS:
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


def _thumbnail(recorder: DemoRecorder, size: tuple[int, int]) -> Text:
    """Return the camera picture, two pixels per character."""
    width, height = size
    if recorder.frame is None:
        return Text("\n".join([" " * width] * (height // 2)))
    small = to_image(recorder.frame.lores).resize(size, Image.Resampling.BOX)
    pixels = np.asarray(small).tolist()
    text = Text(end="")
    for y in range(0, height, 2):
        for above, below in zip(pixels[y], pixels[y + 1], strict=True):
            text.append("▀", Style(color=_hex_colour(above), bgcolor=_hex_colour(below)))
        if y + 2 < height:
            text.append("\n")
    return text


def _hex_colour(colour: Iterable[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _events(memory: DemoRecording, most: int) -> Table:
    table = Table.grid(padding=(0, 2))
    heard = [heard for heard in memory.notices if heard.notice["kind"] != "state"][-most:]
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
