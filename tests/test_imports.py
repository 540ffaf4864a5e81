"""The import rules of docs/architecture.md: which part of the project may use which."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What every part may import.
SHARED = {"edge.__version__", "edge.types", "edge.errors", "edge.settings", "edge.setting_types"}
# Its programs run also if a package or a settings file is broken.
WATCHDOG = "edge.appliance.watchdog"
# Part -> the other parts that it may import.
MAY_IMPORT = {
    "edge.settings": {"edge.setting_types", "edge.system"},
    "edge.setting_types": {"edge.system"},
    "edge.system": set(),
    "edge.images": {"edge.system"},
    # The templates that the roster fills and inference searches.
    "edge.gallery": set(),
    "edge.contract": {"edge.system"},
    "edge.outbox": {"edge.contract", "edge.system"},
    "edge.mqtt": {"edge.contract", "edge.outbox", "edge.system"},
    "edge.roster": {"edge.contract", "edge.gallery", "edge.system"},
    "edge.inference": {"edge.gallery", "edge.images", "edge.system"},
    "edge.attendance": set(),
    "edge.gpio": {"edge.system"},
    "edge.camera": {"edge.capture", "edge.system"},
    "edge.capture": {"edge.camera", "edge.images", "edge.system"},
    "edge.commands": {"edge.contract", "edge.gallery", "edge.outbox", "edge.roster", "edge.system"},
    "edge.status": {"edge.contract", "edge.system"},
    "edge.enrolment": {
        "edge.gallery",
        "edge.images",
        "edge.inference",
        "edge.roster",
        "edge.system",
    },
}
EVERYTHING = {*MAY_IMPORT}
MAY_IMPORT |= {
    "edge.daemon": EVERYTHING,
    "edge.appliance": EVERYTHING,
    WATCHDOG: {"edge.system"},
    "edge.cli": {*EVERYTHING, "edge.daemon", "edge.appliance"},
    "senyum_central": {
        *("edge.cli", "edge.contract", "edge.enrolment", "edge.gallery", "edge.mqtt"),
        *("edge.roster", "edge.system"),
    },
    # Nothing imports the lab: edge/cli loads its commands by name. It is installed with the product
    # and starts servers and renders scenes for its commands and the demo; tests/support hands the
    # same servers and scenes to tests.
    "senyum_lab": {*EVERYTHING, "edge.daemon", "edge.appliance", "edge.cli", "senyum_central"},
}
# To be removed: what still breaks the table.
PENDING: set[tuple[str, str]] = set()


def part_of(module: str) -> str:
    if module.startswith(WATCHDOG):
        return WATCHDOG
    first, *rest = module.split(".")
    return f"edge.{rest[0]}" if first == "edge" and rest else first


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "edge":
                yield from (f"edge.{name.name}" for name in node.names)
            else:
                yield node.module


def test_each_part_imports_only_what_the_table_allows() -> None:
    broken = set()
    for package in ("edge", "senyum_central", "senyum_lab"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            part = part_of(module.removesuffix(".__init__"))
            allowed = {part, *SHARED, *MAY_IMPORT.get(part, set())}
            for name in imports(path):
                if name.split(".")[0] in {"edge", "senyum_central", "senyum_lab"}:
                    other = part_of(name)
                    if other not in allowed:
                        broken.add((module, other))
    assert broken == PENDING


# Folders of tests whose subject is the lab.
TESTS_OF_THE_LAB = {
    *("bench", "evaluate", "fuzzing", "inputs", "numeric", "scripts", "simulate", "training"),
}


def test_tests_reach_the_lab_only_through_tests_support() -> None:
    broken = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        folder = path.relative_to(ROOT / "tests").parts[0]
        if folder not in {*TESTS_OF_THE_LAB, "support"}:
            broken += [
                (str(path.relative_to(ROOT)), name)
                for name in imports(path)
                if name.split(".")[0] == "senyum_lab"
            ]
    assert broken == []


def test_no_class_derives_from_thread() -> None:
    """Its private attributes differ between Python versions, and a subclass can hide one."""
    broken = []
    for folder in ("edge", "senyum_central", "senyum_lab", "scripts", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases = {ast.unparse(base).split(".")[-1] for base in node.bases}
                    if "Thread" in bases:
                        broken.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert broken == []


@pytest.mark.parametrize("folder", ["edge/attendance"])
def test_the_rules_are_pure(folder: str) -> None:
    pure = {"edge", "collections", "dataclasses", "enum", "itertools", "typing", "math"}
    pure |= {"statistics", "numpy"}  # arithmetic
    for path in (ROOT / folder).rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] in pure, f"{path}: {name}"


def test_the_daemon_loads_only_what_it_needs() -> None:
    """What costs memory and start-up time on the device stays out of its process."""
    heavy = ["cv2", "tensorflow", "torch", "scipy", "rich", "av", "sqlalchemy", "psycopg"]
    heavy += ["senyum_central", "senyum_lab", "edge.appliance.doctor"]
    program = f"import sys, edge.daemon\nprint([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def row_of(part: str) -> str:
    """Return the row of a part in the table of docs/architecture.md."""

    def path(name: str) -> str:
        folder = name.replace(".", "/")
        return f"`{folder}`" if (ROOT / folder).is_dir() else f"`{folder}.py`"

    allowed = MAY_IMPORT[part]
    names = [path(name) for name in sorted(allowed)]
    if allowed >= EVERYTHING:
        names = ["everything above", *(path(name) for name in sorted(allowed - EVERYTHING))]
    return f"| {path(part)} | {', '.join(names) or 'nothing'} |\n"


def test_the_architecture_page_shows_this_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert "".join(row_of(part) for part in MAY_IMPORT) in page
