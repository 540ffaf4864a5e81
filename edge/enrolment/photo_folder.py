"""Finds the photos of each person in a folder, by their names."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from edge.errors import PhotoError
from edge.system.text import visible

# What Windows, zip programs and storage boxes leave in folders; names with a dot are left out, too.
_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"})
# 18 digits, the usual gaps between their parts, and what tells one photo from the next:
# 198503302003121002.jpg, 19850330 200312 1 002_1.jpg, 198503302003121002 (2).jpg
_NAME = re.compile(
    r"([0-9]{8})[ .]?([0-9]{6})[ .]?([0-9])[ .]?([0-9]{3})(?:[ _-]*(?:[0-9]{1,3}|\([0-9]{1,3}\)))?"
)


def list_folder(folder: Path) -> list[Path]:
    """Return what a folder holds, by name, without what file managers leave there."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise PhotoError(f"{folder}: photos cannot be listed: {error.strerror}") from None
    return [p for p in paths if not p.name.startswith(".") and p.name.lower() not in _LITTER]


def sort_photos(
    shelf: Sequence[Path],
    listed: AbstractSet[str],
    enrolled: AbstractSet[str],
    tell: Callable[[str], None],
) -> tuple[dict[str, list[Path]], int]:
    """Sort photos by person number; returns them and how many were left aside."""
    album: defaultdict[str, list[Path]] = defaultdict(list)
    aside = 0
    for path in shelf:
        is_folder = os.path.isdir(path)  # noqa: PTH112 - does not raise
        # With or without a suffix: the dots may also be those between the parts of the number.
        name = _NAME.fullmatch(visible(path.name)) or (
            None if is_folder else _NAME.fullmatch(visible(path.stem))
        )
        number = "".join(name.groups()) if name else ""
        if number in listed:
            try:
                album[number] += list_folder(path) if is_folder else [path]
            except PhotoError as error:
                aside += 1
                tell(str(error))
        elif number not in enrolled:  # photos of people who are enrolled already may lie there
            aside += 1
            why = (
                "no usable line of the list has this number; correct the name or the list"
                if number
                else "the name is not a person number; name it <person number>.jpg"
            )
            tell(f"{path}: {why}, or take it away")
    return {number: photos for number, photos in album.items() if photos}, aside
