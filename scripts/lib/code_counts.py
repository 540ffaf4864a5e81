"""Print figures about the code that a reader notices; `scripts/check` runs it last.

Counting rules:

- Packages are `edge`, `senyum_central` and `senyum_lab`. Sources are the Python files there and all
  files of `scripts` that are text; tests are not counted.
- Class names used more than once: names of classes in the packages, at any depth, that two or more
  classes have.
- Small files: Python files in the packages with 60 lines or fewer, except empty `__init__.py`.
- Callable constructor parameters: parameters of `__init__`, and fields of dataclasses and named
  tuples that are such parameters, whose annotation contains `Callable` or a module-level alias of
  it.
- Phrases: lines in the packages, `scripts`, `docs` and `README.md` (not `docs/contract/vectors`)
  that match PHRASES. This file is left out.
"""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "senyum_central", "senyum_lab")
SMALL = 60
PHRASES = re.compile(
    r"\b(told|said|anew|mend(s|ed|ing)?|in vain|so many|there is none|cannot be had)\b"
    r"|\bis no (?!longer\b)\w",
    re.IGNORECASE,
)


def tracked(*folders: str) -> list[Path]:
    """Return the text files under these folders that git knows, or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = (ROOT / line for line in listing.splitlines())
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def lines(path: Path) -> list[str]:
    """Return the lines of a text file."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def mentions(annotation: ast.expr | None, names: set[str]) -> bool:
    """Whether an annotation contains one of these type names, also inside a string."""
    text = "" if annotation is None else ast.unparse(annotation)
    return not names.isdisjoint(re.findall(r"\w+", text))


def callable_aliases(trees: list[ast.Module]) -> set[str]:
    """Return `Callable` and the module-level names that are assigned a type built of it."""
    found = {"Callable"}
    for tree in trees:
        for node in tree.body:
            if isinstance(node, ast.Assign) and mentions(node.value, {"Callable"}):
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            elif (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and "TypeAlias" in ast.unparse(node.annotation)
                and mentions(node.value, {"Callable"})
            ):
                found.add(node.target.id)
    return found


def init_callables(node: ast.ClassDef, callables: set[str]) -> int:
    """Count the parameters of `__init__` that are callables."""
    return sum(
        mentions(one.annotation, callables)
        for part in node.body
        if isinstance(part, ast.FunctionDef) and part.name == "__init__"
        for one in (*part.args.posonlyargs, *part.args.args, *part.args.kwonlyargs)
    )


def field_callables(node: ast.ClassDef, callables: set[str]) -> int:
    """Count the fields of a dataclass or named tuple that are callables and set by its caller."""
    header = " ".join(ast.unparse(part) for part in (*node.decorator_list, *node.bases))
    if not re.search(r"dataclass|NamedTuple", header):
        return 0
    return sum(
        mentions(part.annotation, callables)
        and not mentions(part.annotation, {"ClassVar"})
        and (part.value is None or "init=False" not in ast.unparse(part.value))
        for part in node.body
        if isinstance(part, ast.AnnAssign)
    )


def main() -> None:
    """Print one line for each figure."""
    sources = [path for path in tracked(*PACKAGES) if path.suffix == ".py"]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sources]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    twice = sorted(name for name, n in Counter(node.name for node in classes).items() if n > 1)
    small = [path for path in sources if 0 < len(lines(path)) <= SMALL]
    callables = callable_aliases(trees)
    given = sum(init_callables(node, callables) for node in classes)
    fields = sum(field_callables(node, callables) for node in classes)
    counted = tracked(*PACKAGES, "scripts")
    prose = [
        path
        for path in tracked(*PACKAGES, "scripts", "docs", "README.md")
        if path != Path(__file__) and path.suffix != ".svg" and "vectors" not in path.parts
    ]
    phrases = sum(1 for path in prose for line in lines(path) if PHRASES.search(line))
    figures = {
        "class names used more than once": f"{len(twice)} {' '.join(twice)}".strip(),
        "source lines without tests": sum(len(lines(path)) for path in counted),
        f"files with {SMALL} lines or fewer": len(small),
        "constructor parameters that are callables": f"{given + fields}, {fields} of them fields",
        "lines with phrases to be rewritten": phrases,
    }
    for name, figure in figures.items():
        print(f"{name}: {figure}")


if __name__ == "__main__":
    main()
