"""Makes attacks from photos of living people, to evaluate liveness with.

Nothing of it is shared with what scripts/train_liveness trains on. Each photo becomes four files:
itself, a print, a screen and a frame of a video on a screen; labels.csv names them.
"""

import argparse
import csv
import sys
import zlib
from pathlib import Path
from random import Random

from PIL import Image, ImageOps, UnidentifiedImageError

from senyum_lab.attacks import display, lens, onset, paper
from senyum_lab.batch_work import Progress

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_LARGEST = 720  # pixels of a photo's longer side; a larger one is shrunk first, alive or not
_KINDS = {"print": paper.printed, "screen": display.displayed, "video": display.streamed}
_NO_SLANT = 0.3  # of the attacks are seen straight ahead, edge to edge
_NO_LENS = 0.15  # of the attacks are seen by a perfect camera


def main() -> int:
    """Write the files and their list; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/make_attacks", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="photos of living people")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--most", type=int, default=1_000_000, help="photos, drawn at random; or people"
    )
    parser.add_argument(
        "--people",
        metavar="K/N",
        default="0/1",
        help="only those whose name's CRC-32 leaves K when divided by N; train_liveness learns "
        "nothing of 0/5 (of the London set: 0/2)",
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="CSV",
        help="file,smile,person: make videos of a smile that begins, and of attacks, instead",
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
        print(f"make_attacks: no photos of such people in {options.images}", file=sys.stderr)
        return 1
    with (options.out / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "live", "kind"), *rows])
    return 0


def _person(path: Path, folder: Path) -> str:
    """Return whose photo it is: its folder's name, or its own up to the first underline."""
    return path.stem.split("_")[0] if path.parent == folder else path.parent.name


def _pictures(paths: list[Path], folder: Path, out: Path, seed: int) -> list[tuple[str, int, str]]:
    rows: list[tuple[str, int, str]] = []
    for path in Progress("making attacks", paths):
        name = path.relative_to(folder).with_suffix("").as_posix().replace("/", "-")
        try:
            with Image.open(path) as image:
                photo = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, UnidentifiedImageError):
            print(f"left out: {path} is no picture", file=sys.stderr)
            continue
        photo.thumbnail((_LARGEST, _LARGEST))
        rows.append((_kept(photo, out / f"{name}.png"), 1, ""))
        for kind, make in _KINDS.items():
            random = Random(f"{seed} {name} {kind}")
            attack = make(photo, random)
            if random.random() > _NO_SLANT:
                attack = lens.held(attack, photo.size, random)
            if random.random() > _NO_LENS:
                attack = lens.taken(attack, random)
            rows.append((_kept(attack, out / f"{name}-{kind}.png"), 0, kind))
    return rows


def _kept(picture: Image.Image, path: Path) -> str:
    picture.save(path)
    return path.name


if __name__ == "__main__":
    sys.exit(main())
