"""Write docs/contract; `--check` only reports what differs, `--to FOLDER` writes elsewhere."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from contract import asyncapi, rosters, schemas, vectors

FOLDER = Path(__file__).parents[3] / "docs" / "contract"
# What is written by hand lies beside what is generated, in other folders.
GENERATED = ("asyncapi.json", "schema/*", "vectors/*", "vectors/messages/*", "vectors/rosters/*")


def files() -> dict[str, bytes]:
    """Return every generated file by its path in docs/contract. The same on each run."""
    documents: dict[str, Any] = {
        "asyncapi.json": asyncapi.document(),
        **{f"schema/{name}.json": schema for name, schema in schemas.every().items()},
    }
    return {
        **{path: text(content) for path, content in documents.items()},
        **vectors.files(),
        **rosters.files(),
    }


def text(content: Any) -> bytes:
    """Write JSON for people and for diffs."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def differing(folder: Path) -> list[str]:
    """Return the paths in `folder` that are missing, superfluous or other than they should be."""
    wanted = files()
    there = {
        str(path.relative_to(folder))
        for pattern in GENERATED
        for path in folder.glob(pattern)
        if path.is_file()
    }
    wrong = there ^ wanted.keys()
    wrong |= {
        path for path in there & wanted.keys() if (folder / path).read_bytes() != wanted[path]
    }
    return sorted(wrong)


def write(folder: Path) -> None:
    """Bring `folder` up to date."""
    wanted = files()
    for path in differing(folder):
        file = folder / path
        if path in wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(wanted[path])
        else:
            file.unlink()


def main() -> int:
    """Write, or check; 1 if the check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--to", type=Path, default=FOLDER, metavar="FOLDER")
    options = parser.parse_args()
    if not options.check:
        write(options.to)
        return 0
    for path in (wrong := differing(options.to)):
        print(f"{path}: is not what the code says; run scripts/write_contract")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
