"""Holds the house: which room may import which, and which programs the daemon never loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EDGE = Path(__file__).parent.parent / "edge"

EVERYONE = {"types", "errors", "settings", "secrets", "pictures", "owner", "journal", "wording"}
EVERYONE |= {"supplied_files", "photos", "csv_lists", "camera_settings", "values", "zones"}
# Room -> rooms it may import beside EVERYONE and itself.
ROOMS: dict[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "camera_settings": set(),
    "values": set(),
    "zones": set(),
    "settings": {"types", "errors"},
    "configuration": {"settings", "errors"},
    "secrets": {"errors"},
    "wording": set(),
    "supplied_files": set(),
    "csv_lists": {"errors"},
    "photos": {"types", "errors"},
    "owner": set(),
    "journal": {"errors"},
    "provision": {"configuration", "mqtt", "roster"},
    "pictures": {"types"},
    "notify": set(),
    "bulletin": set(),
    "memory": set(),
    "camera": set(),
    "inference": {"roster"},
    "roster": set(),
    "enrol": {"inference", "roster"},
    "attendance": set(),
    "gpio": set(),
    "guard": set(),
    "mqtt": set(),
    "central": {"mqtt", "notify"},
    "admin": {"mqtt", "roster", "enrol", "central"},
    "tally": {"mqtt", "guard"},
    "doctor": {"bulletin", "camera", "inference", "gpio", "mqtt", "provision", "roster"},
    "absence": {"guard"},
    "faults": {"absence", "tally"},
    "past": {"guard"},
    "teller": {"bulletin", "notify", "tally", "mqtt", "inference"},
    "steering": {"camera"},
    "commands": {"mqtt", "roster"},
    "handover": {"roster", "mqtt"},
    "inbox": set(),
    "unit": {
        "handover",
        "notify",
        "bulletin",
        "teller",
        "absence",
        "faults",
        "past",
        "memory",
        "tally",
        "steering",
        "commands",
        "inbox",
        "camera",
        "inference",
        "roster",
        "attendance",
        "gpio",
        "guard",
        "mqtt",
    },
    "bench": {
        "central",
        "configuration",
        "notify",
        "camera",
        "inference",
        "roster",
        "attendance",
        "gpio",
        "mqtt",
        "simulate",
        "unit",
    },
    "simulate": {"bench", "mqtt"},
    "evaluate": {"inference", "roster", "camera", "attendance", "enrol"},
    "update": {"configuration", "camera", "doctor", "inference", "roster", "mqtt"},
    "cli": {
        "update",
        "admin",
        "configuration",
        "bulletin",
        "doctor",
        "provision",
        "notify",
        "unit",
        "enrol",
        "central",
        "bench",
        "evaluate",
        "simulate",
        "mqtt",
        "roster",
        "inference",
    },
}
# One room in four modules: port and driver, what is asked of the sensor, replay, feed.
CAMERA = {"camera", "sensor", "replay", "feed"}
PURE = {
    "attendance": {"edge", "collections", "dataclasses", "enum", "itertools", "typing", "math"}
    | {"statistics", "numpy"}  # arithmetic
}


def room_of(path: Path) -> str:
    first = path.relative_to(EDGE).parts[0].removesuffix(".py")
    return "camera" if first in CAMERA else first


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


MODULES = sorted(p for p in EDGE.rglob("*.py") if p != EDGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(EDGE)))
def test_a_room_imports_only_what_the_house_allows(path: Path) -> None:
    room = room_of(path)
    assert room in ROOMS, f"{room} has no row in the house"
    allowed = ROOMS[room] | EVERYONE | {room, "__version__"}
    for name in imports(path):
        if name.startswith("edge."):
            other = name.split(".")[1]
            assert ("camera" if other in CAMERA else other) in allowed, (
                f"{room} may not import {name}"
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(EDGE)))
def test_a_module_holds_one_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("room", sorted(PURE))
def test_the_rules_are_pure(room: str) -> None:
    for path in (EDGE / room).rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] in PURE[room], f"{path}: {name}"


def test_the_daemon_loads_no_laboratory() -> None:
    """What costs memory and start-up time on the unit stays out of its process."""
    heavy = [
        "cv2",
        "tensorflow",
        "torch",
        "scipy",
        "rich",
        "av",
        "sqlalchemy",
        "psycopg",
        "edge.central",
        "edge.bench",
        "edge.evaluate",
        "edge.simulate",
    ]
    program = f"import sys, edge.unit\nprint([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
