"""Measure the active part of liveness: photos moved by hand against smiles of the same people.

Each person of the list has a neutral and a smiling photo. An attack is a simulated print of one of
them that is moved, tilted, rotated, bent and brought closer (`senyum_lab.bench.paper_attack`); or
the print of the neutral photo, replaced by that of the smiling one from one frame to the next; or
the smiling print under the neutral one, or under a strip of it that covers the mouth, which is
pulled off to a side. A smile is the generated transition between the photos
(`senyum_lab.bench.morph`) on a slightly moving head. All clips pass through the pipeline of the
daemon, and only frames that match the person count, as on the device; the enrolled photo is the
one that is shown. Videos show live people who smile at their own pace. The threshold is chosen on
half of the people and the rates are of the other half; the counts of attacks at the shipped
threshold are of both.

With --attacks, every photo of the list is moved, and no smile is made. Use it for photos that were
not taken in one session. With --sequences, no photo is moved: each person stays neutral, smiles
mildly (a transition that stops at 40 %) and smiles.
"""

import argparse
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edge.errors import LabelsError, PhotoError
from edge.inference.models import liveness_rules
from edge.settings import Settings
from senyum_lab.attacks.motion_clips import (
    LABELS,
    MOVED,
    SMILE,
    STRIP,
    SWAPPED,
    VIDEO,
    WHOLE,
    Clip,
    ClipMaker,
)
from senyum_lab.evaluate.labels import read_rows
from senyum_lab.evaluate.metrics import upper_bound

THRESHOLDS = tuple(n / 1000 for n in range(10, 101, 5))
# The name in the JSON: the printed name, and the kinds.
ATTACKS = {
    "moved": ("photos moved", MOVED),
    "swapped": ("photos swapped", (SWAPPED,)),
    "drawn": ("photos drawn off", (WHOLE,)),
    "strip": ("strips drawn off", (STRIP,)),
}
FILMS = {".mp4", ".gif", ".webm", ".mkv"}


class MotionRates(NamedTuple):
    """The rates at a threshold."""

    alone: float  # attacks with enough motion, with or without a smile
    both: float  # attacks with enough motion and a smile
    refused: float  # smiles without enough motion


def rates(clips: Sequence[Clip], threshold: float) -> MotionRates:
    """Return the rates of attacks and smiles at `threshold`."""
    attacks = [c for c in clips if c.kind in MOVED]
    smiles = [most for c in clips if c.kind == SMILE for most in c.smiles]
    return MotionRates(
        sum(c.moved >= threshold for c in attacks) / len(attacks),
        sum(c.accepted(threshold) for c in attacks) / len(attacks),
        sum(most < threshold for most in smiles) / len(smiles),
    )


def chosen(clips: Sequence[Clip]) -> float:
    """Return the threshold of equal error: smiles refused, photos with enough motion."""
    return min(THRESHOLDS, key=lambda t: abs(rates(clips, t).alone - rates(clips, t).refused))


def print_tradeoff(clips: Sequence[Clip]) -> dict[str, object]:
    """Choose the threshold on one half of the people, and print the rates of the other half."""
    first, other = (
        [c for c in clips if c.half == half and c.kind in (*MOVED, SMILE)] for half in (0, 1)
    )
    best, shipped = chosen(first), liveness_rules(Settings()).motion
    print(f"threshold of equal error, first half of the people: {best:g}; shipped: {shipped:g}")
    print("eye distances  photos that move so  of which a smile counts  smiles refused")
    for threshold in THRESHOLDS:
        found = rates(other, threshold)
        mark = " (shipped)" if threshold == shipped else ""
        print(
            f"{threshold:13g}  {found.alone:19.1%}  {found.both:23.1%}  {found.refused:14.1%}{mark}"
        )
    return {"chosen": best, **rates(other, shipped)._asdict()}


def print_counts(clips: Sequence[Clip]) -> dict[str, object]:
    """Print the clips of each kind that pass the shipped threshold, and their people."""
    shipped = liveness_rules(Settings()).motion
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for one in clips:
        half = "" if one.kind.startswith(VIDEO) else f", {'other' if one.half else 'first'} half"
        tally = counted[f"{one.kind}{half}"]
        tally[0] += 1
        tally[1] += len(one.smiles)
        tally[2] += sum(most >= shipped for most in one.smiles)
        tally[3] += one.recorded
    for what, (n, rose, passed, whole) in sorted(counted.items()):
        print(
            f"{what}: {n} clips, {rose} smiles by score, {passed} of these with the motion;"
            f" {whole} clips recorded"
        )
    figures: dict[str, object] = {"threshold": shipped, "counts": dict(sorted(counted.items()))}
    for key, (name, kinds) in ATTACKS.items():
        attacks = [c for c in clips if c.kind in kinds]
        if attacks:
            moves = sum(c.moved >= shipped for c in attacks)
            rises = sum(bool(c.smiles) for c in attacks)
            print(f"{name}: of {len(attacks)} clips {moves} have the motion, {rises} the score")
            figures[key] = {
                "accepted": _share("accepted as a smile", attacks, lambda c: c.accepted(shipped)),
                "recorded": _share("and classified as live", attacks, lambda c: c.recorded),
            }
    return figures


def _share(name: str, clips: Sequence[Clip], passes: Callable[[Clip], bool]) -> dict[str, object]:
    """Print the number that passes, with bounds for independent clips and independent people."""
    people, passed = {c.person for c in clips}, [c for c in clips if passes(c)]
    fooled = {c.person for c in passed}
    at_most = upper_bound(len(passed), len(clips))
    people_at_most = upper_bound(len(fooled), len(people))
    print(
        f"  {name}: {len(passed)}, at most {at_most:.2%};"
        f" with {len(fooled)} of {len(people)} people, at most {people_at_most:.2%}"
    )
    return {
        "clips": len(clips),
        "passed": len(passed),
        "at_most": at_most,
        "people": len(people),
        "people_passed": len(fooled),
        "people_at_most": people_at_most,
    }


def photos_of(labels: Path, images: Path, people: str) -> dict[str, dict[str, list[Path]]]:
    """Return the photos of each chosen person by label; `people` is K/N of the command line."""
    remainder, parts = (int(number) for number in people.split("/"))
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for row in read_rows(labels):
        person = row["person"] if "person" in row else row["identity"]
        if zlib.crc32(person.encode()) % parts == remainder:
            found[person][row["smile"]].append(images / row["file"])
    return found


def main() -> None:
    """Run the measurement; with --json, the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument(
        "--labels", type=Path, required=True, help="columns file, smile, person (or identity)"
    )
    parser.add_argument("--videos", type=Path, help="folder of videos, or folders of frames")
    parser.add_argument("--passes", type=int, default=2, help="clips of each kind per person")
    parser.add_argument(
        "--moves", type=int, default=1, help="movements per clip; 6 last as long as a prompt"
    )
    makes = parser.add_mutually_exclusive_group()
    makes.add_argument("--attacks", action="store_true", help="move all photos, make no smiles")
    makes.add_argument("--sequences", action="store_true", help="make smiles, move no photos")
    parser.add_argument(
        "--people",
        metavar="K/N",
        default="0/1",
        help="people with CRC-32 of the name modulo N equal to K",
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    people = photos_of(options.labels, options.images, options.people)
    clip_maker = ClipMaker(options.passes, options.moves)
    make: Callable[[str, Mapping[str, Sequence[Path]]], Iterator[Clip]] = clip_maker.attacks
    if not options.attacks:
        make = clip_maker.sequences if options.sequences else clip_maker.both
        people = {who: found for who, found in people.items() if found.keys() >= LABELS.keys()}
        if len({zlib.crc32(who.encode()) % 2 for who in people}) < 2:
            raise LabelsError(
                f"{options.labels}: both halves of the people need a neutral and a smiling photo"
            )
    clips: list[Clip] = []
    for number, (who, photos) in enumerate(sorted(people.items()), 1):
        try:
            clips += make(who, photos)
        except PhotoError as error:
            print(f"left out: {error}", flush=True)
        print(f"\r{number} of {len(people)} people", end="", flush=True)
    print()
    films = sorted(options.videos.iterdir()) if options.videos else []
    clips += [clip_maker.video(path) for path in films if path.is_dir() or path.suffix in FILMS]
    one_sided = options.attacks or options.sequences
    result = {**({} if one_sided else print_tradeoff(clips)), **print_counts(clips)}
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
