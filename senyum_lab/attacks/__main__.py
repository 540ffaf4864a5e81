"""Make attacks from photos of live people, to evaluate liveness.

No code is shared with the attacks of scripts/train_liveness. Each photo gives four files: the photo
itself, a print, a screen and a frame of a video on a screen; labels.csv lists them.
"""

import argparse
import csv
import sys
import zlib
from pathlib import Path
from random import Random

from PIL import Image, ImageOps, UnidentifiedImageError

from senyum_lab.attacks import camera, display, onset, paper
from senyum_lab.batch_work import Progress

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_LARGEST = 720  # pixels of the longer side; larger photos are reduced first
_KINDS = {"print": paper.printed, "screen": display.displayed, "video": display.streamed}
_NO_SLANT = 0.3  # of the attacks are seen straight ahead and fill the picture
_NO_LENS = 0.15  # of the attacks are recorded by a perfect camera


def main() -> int:
    """Write the files and their list; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/make_attacks", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="photos of live people")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--most", type=int, default=1_000_000, help="number of random photos, or of people"
    )
    parser.add_argument(
        "--people",
        metavar="K/N",
        default="0/1",
        help="only people with CRC-32 of the name modulo N equal to K; train_liveness does not "
        "use 0/5 (of the London set: 0/2)",
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="CSV",
        help="file,smile,person: make videos of smiles and of attacks instead",
    )
    options = parser.parse_args()
    rest, parts = (int(number) for number in options.people.split("/"))

    def chosen(person: str) -> bool:
        return zlib.crc32(person.encode()) % parts == rest

    options.out.mkdir(parents=True, exist_ok=True)
    if options.pairs is not None:
        rows = onset.make(
            options.images,
            options.pairs,
            options.out,
            options.seed,
            lambda people: [person for person in people if chosen(person)][: options.most],
        )
    else:
        paths = [p for p in sorted(options.images.rglob("*")) if p.suffix.lower() in _SUFFIXES]
        paths = [p for p in paths if chosen(_person(p, options.images))]
        Random(options.seed).shuffle(paths)
        rows = _pictures(paths[: options.most], options.images, options.out, options.seed)
    if not rows:
        print(f"make_attacks: no photos of the chosen people in {options.images}", file=sys.stderr)
        return 1
    with (options.out / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "live", "kind"), *rows])
    return 0


def _person(path: Path, folder: Path) -> str:
    """Return the person: the name of the folder, or of the file up to the first underscore."""
    return path.stem.split("_")[0] if path.parent == folder else path.parent.name


def _pictures(paths: list[Path], folder: Path, out: Path, seed: int) -> list[tuple[str, int, str]]:
    rows: list[tuple[str, int, str]] = []
    for path in Progress("making attacks", paths):
        name = path.relative_to(folder).with_suffix("").as_posix().replace("/", "-")
        try:
            with Image.open(path) as image:
                photo = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, UnidentifiedImageError):
            print(f"left out: {path} is not an image", file=sys.stderr)
            continue
        photo.thumbnail((_LARGEST, _LARGEST))
        rows.append((_save(photo, out / f"{name}.png"), 1, ""))
        for kind, make in _KINDS.items():
            random = Random(f"{seed} {name} {kind}")
            attack = make(photo, random)
            if random.random() > _NO_SLANT:
                attack = camera.held(attack, photo.size, random)
            if random.random() > _NO_LENS:
                attack = camera.taken(attack, random)
            rows.append((_save(attack, out / f"{name}-{kind}.png"), 0, kind))
    return rows


def _save(picture: Image.Image, path: Path) -> str:
    picture.save(path)
    return path.name


if __name__ == "__main__":
    sys.exit(main())
