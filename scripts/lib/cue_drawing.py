"""Draw each cue as a strip of light and a line of pitch over time, or write it as a sound."""

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
SECOND_PX, ROW_PX, LEFT_PX, STRIP_PX = 160, 66, 150, 12
LOWEST_HZ, HIGHEST_HZ = 100.0, 2200.0
PITCH_PX = 28
SAMPLES_S = 22050

# (title, cue or cues one after the other: seconds of each)
SCENES: tuple[tuple[str, tuple[tuple[Cue, float], ...]], ...] = (
    *(
        (str(name), ((Cue(name), SECONDS),))
        for name in CueName
        if name not in (CueName.SMILE_ASKED, CueName.OUT_OF_ORDER)
    ),
    ("smile-asked, 0 to 100", tuple((Cue(CueName.SMILE_ASKED, n / 25), 0.2) for n in range(26))),
    ("out-of-order, seen", ((Cue(CueName.OUT_OF_ORDER), SECONDS),)),
    ("out-of-order, heard", ((Cue(CueName.OUT_OF_ORDER, 1.0), SECONDS),)),
)


def lights(parts: tuple[tuple[Cue, float], ...]) -> Iterator[tuple[float, float, LightState]]:
    """Yield (from, until, light) in seconds; levels of one cue share its time, as on the stage."""
    begin = 0.0
    for cue, seconds in parts:
        end = min(begin + seconds, SECONDS)
        for (at, light), (until, _) in itertools.pairwise(timeline(cue, SECONDS)):
            if at < end and until > begin:
                yield max(at, begin), min(until, end), light
        begin = end


def strip(x: float, y: float, width: float, colour: str, level: float) -> str:
    """Return one lit stretch; the eye sees low levels as brighter than they are."""
    opacity = math.sqrt(level)
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{STRIP_PX}" '
        f'fill="{colour}" fill-opacity="{opacity:.2f}"/>'
    )


def height(hertz: float) -> float:
    """Return how far above the lowest pitch line a pitch is drawn, in pixels."""
    return PITCH_PX * math.log(hertz / LOWEST_HZ) / math.log(HIGHEST_HZ / LOWEST_HZ)


def row(number: int, title: str, parts: tuple[tuple[Cue, float], ...]) -> Iterator[str]:
    """Yield one cue: its name, green, red, pitch."""
    top = 24 + number * ROW_PX
    yield f'<text x="8" y="{top + 28}">{title}</text>'
    for strip_top in (top, top + STRIP_PX + 2):
        yield strip(LEFT_PX, strip_top, SECONDS * SECOND_PX, "#333", 1.0)
    floor = top + 2 * STRIP_PX + 6 + PITCH_PX
    for begin, end, light in lights(parts):
        x, width = LEFT_PX + begin * SECOND_PX, (end - begin) * SECOND_PX
        if light.green:
            yield strip(x, top, width, "#4e4", light.green)
        if light.red:
            yield strip(x, top + STRIP_PX + 2, width, "#f44", light.red)
        if light.pitch:
            y = floor - height(light.pitch)
            yield (
                f'<line x1="{x:.1f}" x2="{x + max(width, 2):.1f}" y1="{y:.1f}" y2="{y:.1f}" '
                'stroke="#06c" stroke-width="3"/>'
            )


def svg() -> str:
    """Return all cues, one below the other."""
    width = LEFT_PX + SECONDS * SECOND_PX + 20
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
            f'height="{30 + len(SCENES) * ROW_PX}" font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for second in range(int(SECONDS) + 1):
        x = LEFT_PX + second * SECOND_PX
        lines.append(f'<text x="{x}" y="14" text-anchor="middle" fill="#666">{second} s</text>')
    for number, (title, parts) in enumerate(SCENES):
        lines += row(number, title, parts)
    return "\n".join([*lines, "</svg>", ""])


def page() -> str:
    """Return the table that goes with the drawing."""
    lines = [
        "# What people see and hear",
        "",
        (
            "Written by `scripts/draw_cues` from `edge/gpio/patterns.py`. Change that, not this. "
            "`scripts/draw_cues --wav DIR` writes each cue as a sound file."
        ),
        "",
        "![green, red and pitch of each cue over five seconds](cues.svg)",
        "",
        "| cue | rank | lasts | weaker cues wait | sounds |",
        "| --- | --- | --- | --- | --- |",
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
        lines.append(f"| {name} | {pattern.rank} | {lasts} | {waits} | {sounds} |")
    return "\n".join([*lines, ""])


def write_wav(path: Path, parts: tuple[tuple[Cue, float], ...]) -> None:
    """Write what a buzzer would sound like: a square wave."""
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
    """Write or check the drawing and the table; 1 where they are out of date."""
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
            print(f"{path.name} is not what the patterns say; run scripts/draw_cues")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
