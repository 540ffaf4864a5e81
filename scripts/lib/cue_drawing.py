"""Draw the light and the pitch of each cue over time, or write the cue as a sound file."""

import argparse
import array
import itertools
import math
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

from edge.gpio.patterns import LightState, pattern_of, timeline
from edge.types import Cue, CueName

DOCS = Path(__file__).parents[2] / "docs"
SECONDS = 5.0  # what is drawn of each cue
SECOND_PX, ROW_PX, LEFT_PX, STRIP_PX = 140, 66, 300, 12
TOP_PX = 64  # the legend and the seconds
LOWEST_HZ, HIGHEST_HZ = 100.0, 2200.0
PITCH_PX = 28
SAMPLES_S = 22050

GREEN, RED, PITCH, DARK = "#4e4", "#f44", "#06c", "#333"

MEANINGS = {
    CueName.IDLE: "ready; nobody is in front of the device; somebody approaches: every second",
    CueName.NOTICED: "a face was detected",
    CueName.SMILE_ASKED: "person recognised; please smile",
    CueName.RECORDED: "attendance recorded",
    CueName.RECORDED_OFFLINE: "recorded on the device; the broker is offline",
    CueName.ALREADY_RECORDED: "this person was recorded a short time ago",
    CueName.NOT_KNOWN: "person not recognised",
    CueName.NO_SMILE: "no smile in time; attendance not recorded",
    CueName.SPOOF: "a photo or a screen is suspected",
    CueName.HINT: "come closer, face the device or use more light",
    CueName.SEVERAL: "several people are in front of the device",
    CueName.OUT_OF_ORDER: "out of order; call a technician",
    CueName.IDENTIFY: "a technician asked this device to show itself",
}

# (title, the cues one after the other and the seconds of each)
SCENES: tuple[tuple[str, tuple[tuple[Cue, float], ...]], ...] = (
    *(
        (str(name), ((Cue(name), SECONDS),))
        for name in CueName
        if name not in (CueName.SMILE_ASKED, CueName.OUT_OF_ORDER)
    ),
    ("smile-asked, 0 to 100", tuple((Cue(CueName.SMILE_ASKED, n / 25), 0.2) for n in range(26))),
    ("idle, somebody approaches", ((Cue(CueName.IDLE, 1.0), SECONDS),)),
    ("out-of-order, nobody near", ((Cue(CueName.OUT_OF_ORDER), SECONDS),)),
    ("out-of-order, face near", ((Cue(CueName.OUT_OF_ORDER, 1.0), SECONDS),)),
)


def lights(parts: tuple[tuple[Cue, float], ...]) -> Iterator[tuple[float, float, LightState]]:
    """Yield (from, until, light) in seconds; the levels of one cue continue its timeline."""
    begin = 0.0
    for cue, seconds in parts:
        end = min(begin + seconds, SECONDS)
        for (at, light), (until, _) in itertools.pairwise(timeline(cue, SECONDS)):
            if at < end and until > begin:
                yield max(at, begin), min(until, end), light
        begin = end


def strip(x: float, y: float, width: float, colour: str, level: float) -> str:
    """Return one rectangle of light; the eye perceives low levels as brighter than they are."""
    opacity = math.sqrt(level)
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{STRIP_PX}" '
        f'fill="{colour}" fill-opacity="{opacity:.2f}"/>'
    )


def height(hertz: float) -> float:
    """Return the height of a pitch above the lowest pitch, in pixels."""
    return PITCH_PX * math.log(hertz / LOWEST_HZ) / math.log(HIGHEST_HZ / LOWEST_HZ)


def row(number: int, title: str, parts: tuple[tuple[Cue, float], ...]) -> Iterator[str]:
    """Yield one cue: its name and meaning, green light, red light, pitch."""
    top = TOP_PX + number * ROW_PX
    yield f'<text x="8" y="{top + 12}" font-weight="bold">{title}</text>'
    yield f'<text x="8" y="{top + 28}" fill="#444">{MEANINGS[parts[0][0].name]}</text>'
    for strip_top in (top, top + STRIP_PX + 2):
        yield strip(LEFT_PX, strip_top, SECONDS * SECOND_PX, DARK, 1.0)
    floor = top + 2 * STRIP_PX + 6 + PITCH_PX
    for begin, end, light in lights(parts):
        x, width = LEFT_PX + begin * SECOND_PX, (end - begin) * SECOND_PX
        if light.green:
            yield strip(x, top, width, GREEN, light.green)
        if light.red:
            yield strip(x, top + STRIP_PX + 2, width, RED, light.red)
        if light.pitch:
            y = floor - height(light.pitch)
            yield (
                f'<line x1="{x:.1f}" x2="{x + max(width, 2):.1f}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="{PITCH}" stroke-width="3"/>'
            )


def legend() -> Iterator[str]:
    """Yield the meaning of the colours and of the blue line."""
    x = 8.0
    for colour, words in (
        (GREEN, "green LED (brighter: more light)"),
        (RED, "red LED"),
        (DARK, "LED off"),
    ):
        yield strip(x, 8, 24, colour, 1.0)
        yield f'<text x="{x + 30:g}" y="18">{words}</text>'
        x += 60 + 6.5 * len(words)
    yield f'<line x1="{x:g}" x2="{x + 24:g}" y1="14" y2="14" stroke="{PITCH}" stroke-width="3"/>'
    scale = f"higher is a higher pitch, {LOWEST_HZ:.0f} to {HIGHEST_HZ:.0f} Hz"
    yield f'<text x="{x + 30:g}" y="18">buzzer ({scale}); no line: silent</text>'


def svg() -> str:
    """Return all cues, one below the other."""
    width = LEFT_PX + SECONDS * SECOND_PX + 20
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
            f'height="{TOP_PX + len(SCENES) * ROW_PX}" font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="#fff"/>',
        *legend(),
    ]
    for second in range(int(SECONDS) + 1):
        x = LEFT_PX + second * SECOND_PX
        lines.append(
            f'<text x="{x}" y="{TOP_PX - 10}" text-anchor="middle" fill="#666">{second} s</text>'
        )
    for number, (title, parts) in enumerate(SCENES):
        lines += row(number, title, parts)
    return "\n".join([*lines, "</svg>", ""])


def page() -> str:
    """Return the page with the drawing and a table."""
    lines = [
        "# What people see and hear",
        "",
        (
            "`scripts/draw_cues` writes this page from `edge/gpio/patterns.py`; do not edit it by "
            "hand. `scripts/draw_cues --wav DIR` writes each cue as a sound file."
        ),
        "",
        "![green LED, red LED and pitch of each cue over five seconds](cues.svg)",
        "",
        "A cue interrupts a cue of the same or a lower rank. Cues of a lower rank wait.",
        "",
        "| cue | meaning | rank | duration | lower ranks wait | sound |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in sorted(CueName, key=lambda n: pattern_of(Cue(n)).rank):
        pattern = pattern_of(Cue(name))
        lasts = f"{pattern.seconds:.1f} s" if pattern.is_transient else "until replaced"
        waits = f"{pattern.hold_seconds:.1f} s" if pattern.is_transient else "-"
        heard = pattern_of(Cue(name, 1.0)) if name is CueName.OUT_OF_ORDER else pattern
        steps = (*heard.intro, *heard.loop)
        pitches = [step.light.pitch for step in steps if step.light.pitch]
        sounds = f"{min(pitches):.0f} to {max(pitches):.0f} Hz" if pitches else "silent"
        if pitches and min(pitches) == max(pitches):
            sounds = f"{pitches[0]:.0f} Hz"
        if name is CueName.SMILE_ASKED:
            highest = pattern_of(Cue(name, 1.0)).loop[0].light.pitch
            sounds = f"{pitches[0]:.0f} to {highest:.0f} Hz, with the smile"
        lines.append(
            f"| {name} | {MEANINGS[name]} | {pattern.rank} | {lasts} | {waits} | {sounds} |"
        )
    return "\n".join([*lines, ""])


def write_wav(path: Path, parts: tuple[tuple[Cue, float], ...]) -> None:
    """Write the sound of a buzzer: a square wave."""
    samples = array.array("h", bytes(2 * int(SECONDS * SAMPLES_S)))
    phase = 0.0
    for begin, end, light in lights(parts):
        for number in range(round(begin * SAMPLES_S), round(end * SAMPLES_S)):
            if light.pitch and number < len(samples):
                phase = (phase + light.pitch / SAMPLES_S) % 1.0
                samples[number] = 6000 if phase < 0.5 else -6000
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLES_S, len(samples), "NONE", "not compressed"))
        file.writeframes(samples.tobytes())


def main() -> int:
    """Write or check the drawing and the page. Returns 1 if one of them is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--wav", type=Path, metavar="DIR", help="write sound files instead")
    options = parser.parse_args()
    if options.wav:
        options.wav.mkdir(parents=True, exist_ok=True)
        for title, parts in SCENES:
            write_wav(options.wav / f"{title.replace(', ', '-').replace(' ', '-')}.wav", parts)
        return 0
    drawn = {DOCS / "cues.svg": svg(), DOCS / "cues.md": page()}
    for path, content in drawn.items():
        if not options.check:
            path.write_text(content, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != content:
            print(f"{path.name} is out of date; run scripts/draw_cues")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
