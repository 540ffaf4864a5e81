"""Write a page that is generated from code, or with --check compare it."""

import sys
from pathlib import Path


def write_or_check(page: Path, content: str, script: str) -> int:
    """Return the exit status: 1 if `--check` was given and the page is out of date."""
    if "--check" not in sys.argv[1:]:
        page.write_text(content, encoding="utf-8")
    elif not page.is_file() or page.read_text(encoding="utf-8") != content:
        print(f"{page.name} is out of date; run scripts/{script}")
        return 1
    return 0
