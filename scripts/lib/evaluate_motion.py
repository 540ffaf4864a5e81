"""The active part of liveness, measured: photos moved by hand against smiles of the same people.

Each person of the list has a neutral and a smiling photo. An attack is one of the two on a
simulated print that is moved, tilted, rotated, bent and brought nearer (`edge.bench.sheet`); a
smile is the generated way from one photo to the other (`edge.bench.morph`) on a head that moves a
little. Both go through the daemon's pipeline. Videos are of living people, smiles at their own
pace. The threshold is chosen on half of the people, and the figures are of the other half.
"""

import argparse
import itertools
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from labelled import rows
from PIL import Image

from edge.attendance.motion import motion
from edge.attendance.policy import Look, Looks
from edge.bench.morph import Morph, Portrait, smooth
from edge.bench.sheet import Pose, hold, printed
from edge.errors import LabelsError, PhotoError
from edge.evaluate.metrics import upper_bound
from edge.inference.examiner import Examiner
from edge.inference.pipeline import Pipeline
from edge.pictures import from_image, shrink
from edge.replay import played
from edge.settings import AttendanceSettings, CameraSettings, InferenceSettings, LivenessSettings
from edge.types import Floats, Frame, Match

SIZE = (640, 480)
FPS = 15.0
FACE_PX = 180.0  # of the photos, before they are held up
REST, MOVE, STAY = 8, 10, 8  # frames of a clip before, during and after what happens in it
STEPS = 8  # morphed pictures a smile
NOISE = 2.5  # grey levels, as in the demo's scenes
SEED = 11
THRESHOLDS = tuple(n / 1000 for n in range(10, 101, 5))


_BEGIN = itertools.count(0, 10**12)  # of each clip: long after the one before, so a new track


class Anybody:
    """A gallery that knows whoever comes: this is not about identity."""

    def search(self, template: Floats) -> Match | None:
        """Return the same person for every template."""
        del template
        return Match("somebody", 1.0, None)


@dataclass(frozen=True, slots=True)
class Clip:
    """What one clip came to."""

    kind: str
    half: int  # 0 or 1, by person
    moved: float  # the largest motion of any frame
    smiles: tuple[float, ...]  # of each smile by the score's rules: its largest motion


class Rates(NamedTuple):
    """What a threshold lets pass."""

    alone: float  # attacks whose motion reaches it, with or without a smile
    both: float  # attacks of which a smile reaches it
    refused: float  # smiles that do not


def clip(kind: str, half: int, frames: Iterable[Frame], pipeline: Pipeline) -> Clip:
    """Put a clip through the pipeline, and through the rules of a smile but for its motion."""
    rules = AttendanceSettings()
    looks, moved, smiles, smiling = Looks(), 0.0, list[float](), False
    begin_ns = next(_BEGIN)
    for shot in frames:
        frame = replace(shot, captured_ns=shot.captured_ns + begin_ns)
        face = next(iter(pipeline.process(frame).sightings), None)
        if face is None or face.smile is None or face.points is None:
            continue
        looks.add(Look(frame.captured_ns, face.smile, face.points))
        rest = looks.rest()
        assert rest.points is not None
        now = motion(rest.points, face.points)
        moved = max(moved, now)
        counts = face.smile >= rules.smile_threshold
        counts = counts and face.smile - rest.smile >= rules.smile_rise
        if counts and not smiling:
            smiles.append(now)
        elif counts:
            smiles[-1] = max(smiles[-1], now)
        smiling = counts
    return Clip(kind, half, moved, tuple(smiles))


def filmed(pictures: Iterator[Image.Image], chance: np.random.Generator) -> Iterator[Frame]:
    """Yield the frames of a small indoor sensor that sees `pictures`."""
    for number, picture in enumerate(pictures):
        grain = chance.normal(0, NOISE, (SIZE[1], SIZE[0], 1)).round().astype(np.int16)
        levels = np.clip(np.asarray(picture, np.int16) + grain, 0, 255).astype(np.uint8)
        main = from_image(Image.fromarray(levels))
        yield Frame(number, round((number + 1) / FPS * 1e9), main, shrink(main, 320, 240))


def rest(chance: np.random.Generator) -> Pose:
    """Return how somebody may stand, or hold a photo, at first."""
    u = chance.uniform
    return Pose(
        face=u(0.18, 0.34),
        across=u(0.4, 0.6),
        down=u(0.42, 0.55),
        yaw=u(-10, 10),
        pitch=u(-8, 8),
        roll=u(-8, 8),
        along=u(0, 180),
    )


def moved(pose: Pose, chance: np.random.Generator) -> Pose:
    """Return how a photo may be held in the end: anywhere, tilted, rotated, bent, nearer."""
    u = chance.uniform
    return replace(
        pose,
        face=min(0.42, pose.face * u(0.8, 1.4)),
        across=u(0.35, 0.65),
        down=u(0.4, 0.58),
        yaw=u(-40, 40),
        pitch=u(-35, 35),
        roll=u(-25, 25),
        bend=u(-70, 70),
    )


def turned(pose: Pose, chance: np.random.Generator) -> Pose:
    """Return how somebody may stand after a smile."""
    u = chance.uniform
    face = pose.face * u(0.95, 1.05)
    return replace(
        pose, face=face, yaw=pose.yaw + u(-6, 6), pitch=pose.pitch + u(-6, 6), roll=pose.roll + 3
    )


def shown(sheets: Sequence[Portrait], begin: Pose, end: Pose) -> Iterator[Image.Image]:
    """Yield the pictures of a clip: `sheets` one after another, on the way from pose to pose."""
    wall = Image.new("RGB", SIZE, (176, 170, 160))
    for n in range(REST + MOVE + STAY):
        share = smooth((n - REST) / MOVE)
        sway = 0.004 * np.sin(2.2 * n / FPS)
        pose = begin.towards(end, share)
        sheet = sheets[round(share * (len(sheets) - 1))]
        yield hold(sheet, replace(pose, across=pose.across + sway), wall)


def of_person(
    person: str,
    photos: dict[str, Path],
    passes: int,
    examiner: Examiner,
    pipeline: Pipeline,
) -> Iterator[Clip]:
    """Yield `passes` attacks with each photo, and as many smiles. Raises PhotoError."""
    half = zlib.crc32(person.encode()) % 2
    chance = np.random.default_rng((SEED, zlib.crc32(person.encode())))
    still, smile = (Portrait.load(f, examiner).sized(FACE_PX) for f in (photos["0"], photos["1"]))
    morph = Morph(still, smile)
    onset = [morph.at(n / STEPS) for n in range(STEPS + 1)]
    for _ in range(passes):
        for kind, photo in (("neutral", still), ("smiling", smile)):
            begin = rest(chance)
            held = shown([printed(photo)], begin, moved(begin, chance))
            yield clip(f"photo, {kind}", half, filmed(held, chance), pipeline)
        begin = rest(chance)
        smiled = shown(onset, begin, turned(begin, chance))
        yield clip("smile", half, filmed(smiled, chance), pipeline)


def video(path: Path, pipeline: Pipeline) -> Clip:
    """Put a video of a living person through it."""
    width, height = SIZE
    settings = CameraSettings(main_width=width, main_height=height, fps=FPS)
    return clip(f"video {path.name}", 1, played(path, settings), pipeline)


def rates(clips: Sequence[Clip], threshold: float) -> Rates:
    """Count what `threshold` does to attacks and to smiles."""
    attacks = [c for c in clips if c.kind.startswith("photo")]
    smiles = [most for c in clips if not c.kind.startswith("photo") for most in c.smiles]
    return Rates(
        sum(c.moved >= threshold for c in attacks) / len(attacks),
        sum(max(c.smiles, default=0.0) >= threshold for c in attacks) / len(attacks),
        sum(most < threshold for most in smiles) / len(smiles),
    )


def chosen(clips: Sequence[Clip]) -> float:
    """Return the threshold at which as many smiles are refused as photos move like one."""
    return min(THRESHOLDS, key=lambda t: abs(rates(clips, t).alone - rates(clips, t).refused))


def report(clips: Sequence[Clip]) -> dict[str, object]:
    """Choose on one half of the people, count on the other, and print both."""
    first, other = (
        [c for c in clips if c.half == half and "video" not in c.kind] for half in (0, 1)
    )
    best, shipped = chosen(first), LivenessSettings().motion
    print(f"threshold of equal error, first half of the people: {best:g}; shipped: {shipped:g}")
    print("eye distances  photos that move so  of which a smile counts  smiles refused")
    for threshold in THRESHOLDS:
        found = rates(other, threshold)
        mark = " (shipped)" if threshold == shipped else ""
        print(
            f"{threshold:13g}  {found.alone:19.1%}  {found.both:23.1%}  {found.refused:14.1%}{mark}"
        )
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in clips:
        name = (
            one.kind
            if "video" in one.kind
            else f"{one.kind}, {'first' if not one.half else 'other'} half"
        )
        tally = counted[name]
        tally[0] += 1
        tally[1] += len(one.smiles)
        tally[2] += sum(most >= shipped for most in one.smiles)
    for name, (n, rose, passed) in sorted(counted.items()):
        print(f"{name}: {n} clips, {rose} smiles by score, {passed} of these with the motion")
    found = rates(other, shipped)
    attacks = [c for c in other if c.kind.startswith("photo")]
    passed = round(found.both * len(attacks))
    bound = upper_bound(passed, len(attacks))
    print(
        f"photos accepted as a smile, other half: {passed} of {len(attacks)}, at most {bound:.1%}"
    )
    return {
        "threshold": shipped,
        "chosen": best,
        "attacks": len(attacks),
        "apcer_motion_alone": found.alone,
        "apcer": found.both,
        "apcer_at_most": bound,
        "smiles_refused": found.refused,
        "counts": {name: tuple(tally) for name, tally in sorted(counted.items())},
    }


def main() -> None:
    """Run it; the last line is one JSON object with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="columns file, smile, person")
    parser.add_argument("--videos", type=Path, help="folder of videos of living people")
    parser.add_argument("--passes", type=int, default=2, help="clips of each kind a person")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    photos: dict[str, dict[str, Path]] = defaultdict(dict)
    for row in rows(options.labels):
        photos[row["person"]][row["smile"]] = options.images / row["file"]
    pairs = {who: found for who, found in photos.items() if found.keys() >= {"0", "1"}}
    if len({zlib.crc32(who.encode()) % 2 for who in pairs}) < 2:
        raise LabelsError(
            f"{options.labels}: two halves of people need a neutral and a smiling photo each"
        )
    examiner = Examiner(InferenceSettings())
    pipeline = Pipeline(InferenceSettings(), Anybody())
    clips: list[Clip] = []
    for number, (who, found) in enumerate(sorted(pairs.items()), 1):
        try:
            clips += of_person(who, found, options.passes, examiner, pipeline)
        except PhotoError as error:
            print(f"left out: {error}")
        print(f"\r{number} of {len(pairs)} people", end="", flush=True)
    print()
    for path in sorted(options.videos.iterdir()) if options.videos else ():
        if path.suffix in {".mp4", ".gif", ".webm", ".mkv"}:
            clips.append(video(path, pipeline))
    result = report(clips)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
