"""The active part of liveness, measured: photos moved by hand against smiles of the same people.

Each person of the list has a neutral and a smiling photo. An attack is one of the two on a
simulated print, no two alike, that is moved, tilted, rotated, bent and brought nearer
(`senyum_lab.bench.paper_attack`); or the neutral one's print, and from one frame to the next the
smiling one's in its place; or the smiling one's under the neutral one's, or under a strip of it
that hides the mouth, which is drawn off to a side. A smile is the generated way from one photo to
the other (`senyum_lab.bench.morph`) on a head that moves a little. All go through the daemon's
pipeline, and only frames that look like the person count, as on the unit; enrolled is the very
photo that is held, or smiled from. Videos are of living people, smiles at their own pace. The
threshold is chosen on half of the people, and the rates are of the other half; the counts of
attacks at the shipped threshold are of both.

With --attacks each photo of the list is moved, whoever has one or several, and no smile is made:
for photos that were not taken in one sitting.
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
# Their name in the JSON, and in what is printed.
ATTACKS = {
    "moved": ("photos moved", MOVED),
    "swapped": ("photos swapped", (SWAPPED,)),
    "drawn": ("photos drawn off", (WHOLE,)),
    "strip": ("strips drawn off", (STRIP,)),
}
FILMS = {".mp4", ".gif", ".webm", ".mkv"}


class MotionRates(NamedTuple):
    """What a threshold lets pass."""

    alone: float  # attacks whose motion reaches it, with or without a smile
    both: float  # attacks of which a smile reaches it
    refused: float  # smiles that do not


def rates(clips: Sequence[Clip], threshold: float) -> MotionRates:
    """Count what `threshold` does to attacks and to smiles."""
    attacks = [c for c in clips if c.kind in MOVED]
    smiles = [most for c in clips if c.kind == SMILE for most in c.smiles]
    return MotionRates(
        sum(c.moved >= threshold for c in attacks) / len(attacks),
        sum(c.accepted(threshold) for c in attacks) / len(attacks),
        sum(most < threshold for most in smiles) / len(smiles),
    )


def chosen(clips: Sequence[Clip]) -> float:
    """Return the threshold at which as many smiles are refused as photos move like one."""
    return min(THRESHOLDS, key=lambda t: abs(rates(clips, t).alone - rates(clips, t).refused))


def trade(clips: Sequence[Clip]) -> dict[str, object]:
    """Choose on one half of the people, count on the other, and print both."""
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


def tell(clips: Sequence[Clip]) -> dict[str, object]:
    """Print what the shipped threshold lets pass of each kind, and of how many people."""
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
    told: dict[str, object] = {"threshold": shipped, "counts": dict(sorted(counted.items()))}
    for key, (name, kinds) in ATTACKS.items():
        attacks = [c for c in clips if c.kind in kinds]
        if attacks:
            moves = sum(c.moved >= shipped for c in attacks)
            rises = sum(bool(c.smiles) for c in attacks)
            print(f"{name}: of {len(attacks)} clips {moves} have the motion, {rises} the score")
            told[key] = {
                "accepted": _share("accepted as a smile", attacks, lambda c: c.accepted(shipped)),
                "recorded": _share("and taken for living", attacks, lambda c: c.recorded),
            }
    return told


def _share(name: str, clips: Sequence[Clip], passes: Callable[[Clip], bool]) -> dict[str, object]:
    """Print how many pass, as if clips were independent, and as if only people were."""
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
    """Return each chosen person's photos by label; `people` is K/N of the command line."""
    remainder, parts = (int(number) for number in people.split("/"))
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for row in read_rows(labels):
        person = row["person"] if "person" in row else row["identity"]
        if zlib.crc32(person.encode()) % parts == remainder:
            found[person][row["smile"]].append(images / row["file"])
    return found


def main() -> None:
    """Run it; the last line is one JSON object with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument(
        "--labels", type=Path, required=True, help="columns file, smile, person (or identity)"
    )
    parser.add_argument("--videos", type=Path, help="folder of videos of living people")
    parser.add_argument("--passes", type=int, default=2, help="clips of each kind a person")
    parser.add_argument(
        "--moves", type=int, default=1, help="of a photo in one clip; 6 last as long as a prompt"
    )
    parser.add_argument("--attacks", action="store_true", help="no smiles, but all photos")
    parser.add_argument(
        "--people", metavar="K/N", default="0/1", help="those whose name's CRC-32 leaves K"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    people = photos_of(options.labels, options.images, options.people)
    stage = ClipMaker(options.passes, options.moves)
    act: Callable[[str, Mapping[str, Sequence[Path]]], Iterator[Clip]] = stage.attacks
    if not options.attacks:
        act = stage.both
        people = {who: found for who, found in people.items() if found.keys() >= LABELS.keys()}
        if len({zlib.crc32(who.encode()) % 2 for who in people}) < 2:
            raise LabelsError(
                f"{options.labels}: two halves of people need a neutral and a smiling photo each"
            )
    clips: list[Clip] = []
    for number, (who, photos) in enumerate(sorted(people.items()), 1):
        try:
            clips += act(who, photos)
        except PhotoError as error:
            print(f"left out: {error}", flush=True)
        print(f"\r{number} of {len(people)} people", end="", flush=True)
    print()
    films = sorted(options.videos.iterdir()) if options.videos else []
    clips += [stage.video(path) for path in films if path.suffix in FILMS]
    result = {**({} if options.attacks else trade(clips)), **tell(clips)}
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
