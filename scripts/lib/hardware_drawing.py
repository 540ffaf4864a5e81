"""Draw the wiring and the mounting of a unit, and print the table of viewing distances."""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.settings import CameraSettings, GpioSettings

DOCS = Path(__file__).parents[2] / "docs"

# Pins 1 to 40 of the Raspberry Pi header: the BCM number, or the name of another pin.
PINS = "3V3 5V 2 5V 3 GND 4 14 GND 15 17 18 27 GND 22 23 3V3 24 10 GND 9 25 11 8 GND 7 ID ID "
PINS += "5 GND 6 12 13 GND 19 16 26 20 GND 21"
HEADER = PINS.split()

FACE_M = 0.15  # width of an adult face
LEAST_SHARE = 0.14  # of the picture's longer side that a face must fill for the detector


@dataclass(frozen=True, slots=True)
class Lens:
    """Field of view of a camera over its whole sensor, in degrees, from the data sheet."""

    name: str
    wide: float
    high: float
    sensor: tuple[int, int]  # pixels

    def shown(self, portrait: bool) -> tuple[float, float]:
        """Return the width and height of the visible area at a distance of one metre, in metres."""
        settings = CameraSettings()
        shape = settings.main_width / settings.main_height
        across, down = (2 * math.tan(math.radians(a) / 2) for a in (self.wide, self.high))
        across *= min(1.0, shape * self.sensor[1] / self.sensor[0])  # the sides are cut off
        return (down, across) if portrait else (across, down)


LENSES = (
    Lens("Camera Module 3", 66.0, 41.0, (4608, 2592)),
    Lens("Camera Module 3 Wide", 102.0, 67.0, (4608, 2592)),
    Lens("Camera Module 2", 62.2, 48.8, (3280, 2464)),
)


def table() -> Iterator[str]:
    """Yield the rows: the maximum distance of people, and the visible area at three distances."""
    yield "| camera | hung | farthest | seen at 0.6 m | at 0.8 m | at 1 m |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for lens in LENSES:
        for portrait in (False, True):
            across, down = lens.shown(portrait)
            farthest = FACE_M / (LEAST_SHARE * max(across, down))
            hung = "upright (`rotation = 90`)" if portrait else "level"
            seen = (
                f"{across * d:.2f} by {down * d:.2f} m" if d <= farthest else "too far"
                for d in (0.6, 0.8, 1.0)
            )
            yield f"| {lens.name} | {hung} | {farthest:.1f} m | " + " | ".join(seen) + " |"


def text(x: float, y: float, words: str, **style: object) -> str:
    """Return a text element at (x, y)."""
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{x:g}" y="{y:g}"{more}>{words}</text>'


def line(*points: tuple[float, float], colour: str, width: float = 3) -> str:
    """Return a line through points."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'


def box(x: float, y: float, width: float, height: float, **style: object) -> str:
    """Return a rectangle whose upper left corner is (x, y)."""
    more = "".join(f' {name}="{value}"' for name, value in style.items())
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{more}/>'


def ring(x: float, y: float, across: float, down: float, colour: str) -> str:
    """Return an ellipse with the centre (x, y)."""
    size = f'rx="{across:g}" ry="{down:g}"'
    return f'<ellipse cx="{x:g}" cy="{y:g}" {size} fill="#fff" stroke="{colour}" stroke-width="2"/>'


def page(width: int, height: int, parts: Iterator[str]) -> str:
    """Return the SVG document."""
    size = f'width="{width}" height="{height}" font-family="sans-serif" font-size="13"'
    begin = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    white = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([begin, white, *parts, "</svg>", ""])


def place(bcm: int) -> int:
    """Return the header pin, counted from 1, of a BCM number."""
    return HEADER.index(str(bcm)) + 1


def wiring() -> Iterator[str]:
    """Yield the header, and the wire from each part's pin through the part to ground.

    The rows of the parts are in the order in which the wires leave the header, so that no wire
    crosses another one; a wire of the left column runs between two rows of pins.
    """
    gpio = GpioSettings()
    parts = (
        ("piezo buzzer", gpio.buzzer, "100 Ω", "#06c", 80),
        ("green LED", gpio.green, "330 Ω", "#2a2", 160),
        ("red LED", gpio.red, "330 Ω", "#d22", 330),
    )
    used = {place(bcm): colour for _, bcm, _, colour, _ in parts}
    ground = 14
    used[ground] = "#000"
    left, top, step = 90, 50, 32

    def at(pin: int) -> tuple[float, float]:
        return left + (pin - 1) % 2 * step, top + (pin - 1) // 2 * step

    yield text(
        20, 20, "Raspberry Pi header seen from above; pin 1 is next to the memory card", fill="#444"
    )
    yield box(left - 14, top - 14, step + 28, 19 * step + 28, fill="#eee", stroke="#999")
    for pin, name in enumerate(HEADER, start=1):
        x, y = at(pin)
        yield f'<circle cx="{x:g}" cy="{y:g}" r="8" fill="{used.get(pin, "#bbb")}"/>'
        shown = f"{pin}  BCM {name}" if name.isdecimal() else f"{pin}  {name}"
        weight = "bold" if pin in used else "normal"
        if pin % 2:
            yield text(x - 20, y + 4, shown, text_anchor="end", font_size=10, font_weight=weight)
        else:
            above = -5 if pin in used else 4  # above the pin's own wire
            yield text(x + 20, y + above, shown, font_size=10, font_weight=weight)
    rail, lane = 640, 240
    for name, bcm, resistor, colour, row in parts:
        x, y = at(place(bcm))
        out = y + step / 2 if place(bcm) % 2 else y
        yield line((x, y), (x, out), (lane, out), (lane, row), (330, row), colour=colour)
        lane += 30
        yield box(330, row - 10, 70, 20, fill="#fff", stroke="#333")
        yield text(365, row + 5, resistor, text_anchor="middle")
        yield line((400, row), (480, row), colour=colour)
        if "LED" in name:
            yield f'<path d="M480 {row - 15} L480 {row + 15} L508 {row} Z" fill="{colour}"/>'
            yield line((508, row - 15), (508, row + 15), colour=colour)
            yield text(456, row - 8, "+", font_size=15)
        else:
            yield ring(494, row, 16, 16, colour)
            yield text(494, row + 5, "♪", text_anchor="middle", font_size=16)
        yield text(494, row - 24, name, text_anchor="middle", font_weight="bold")
        yield line((510, row), (rail, row), colour="#000")
    gx, gy = at(ground)
    yield line((gx, gy), (rail, gy), colour="#000")
    yield line((rail, parts[0][4]), (rail, parts[-1][4]), colour="#000")
    yield text(rail - 8, gy + 18, f"ground, pin {ground}", text_anchor="end")
    grey = {"fill": "#444", "font_size": 12}
    yield text(
        240, 410, "The longer leg of an LED is +; the flat side of its rim is ground.", **grey
    )
    yield text(240, 432, "The buzzer is a passive piezo. A magnetic buzzer also needs a", **grey)
    yield text(240, 450, "transistor and a diode.", **grey)


def mounting() -> Iterator[str]:
    """Yield a side view, to scale: the wall, the unit and two people in front of it."""
    metre, floor, wall = 190.0, 420.0, 60.0
    lens, distance, height = LENSES[0], 0.8, 1.45
    _, down = lens.shown(portrait=True)
    y = floor - height * metre
    half = down / 2 * distance * metre
    x = wall + distance * metre
    yield box(30, 30, wall - 30, floor - 30, fill="#ddd")
    yield line((20, floor), (640, floor), colour="#333")
    cone = f"M{wall + 10:g} {y:g} L{x:g} {y - half:g} L{x:g} {y + half:g} Z"
    yield f'<path d="{cone}" fill="#fd6" fill-opacity="0.45"/>'
    yield box(wall, y - 16, 10, 32, fill="#333")
    yield line((wall + 30, floor), (wall + 30, y), colour="#999", width=1)
    yield text(wall + 34, floor - 60, f"lens {height:.2f} m")
    yield line((wall, floor - 20), (x, floor - 20), colour="#999", width=1)
    yield text((wall + x) / 2 + 20, floor - 25, f"{distance:.1f} m", text_anchor="middle")
    for eyes, name in ((1.72, "tall person"), (1.20, "in a wheelchair")):
        cx, cy = x, floor - eyes * metre
        yield ring(cx + 14, cy, 14, 22, "#06c")
        yield f'<circle cx="{cx + 4:g}" cy="{cy - 3:g}" r="2.5" fill="#06c"/>'
        yield text(cx + 40, cy + 5, f"eyes at {eyes:.2f} m ({name})", fill="#06c")
    top, low = height + half / metre, height - half / metre
    yield text(x + 40, y - half + 4, f"visible up to {top:.2f} m", fill="#a60")
    yield text(x + 40, y + half + 4, f"visible down to {low:.2f} m", fill="#a60")
    yield text(90, 22, f"{lens.name}, mounted upright", font_weight="bold")
    yield text(
        wall + 200, 330, "Light from the front or above; no window behind the people.", fill="#444"
    )


DRAWINGS = {"wiring.svg": (680, 700, wiring), "mounting.svg": (680, 440, mounting)}


def main() -> int:
    """Write the drawings, or report those that differ. Returns the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--table", action="store_true", help="print the table of distances")
    options = arguments.parse_args()
    if options.table:
        sys.stdout.write("\n".join(table()) + "\n")
        return 0
    status = 0
    for name, (width, height, draw) in DRAWINGS.items():
        drawn, path = page(width, height, draw()), DOCS / name
        if not options.check:
            path.write_text(drawn, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != drawn:
            sys.stderr.write(f"{path.name}: out of date; run scripts/draw_hardware\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
