"""The packages of others: from the lock file to a site-packages folder, for another machine too."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from email import message_from_string
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deb_building import REPOSITORY, Target

LOCK = REPOSITORY / "requirements/run.lock"
# Declared by others and loaded by nothing on the unit: colorzero names setuptools and does not
# import it (its .pth file would slow each start); litert names a backport of what Python 3.11 has;
# a receiver that stores in PostgreSQL is no unit.
NOT_NEEDED = {"setuptools", "backports-strenum", "psycopg"}
# In wheels, and of no use on the unit: tests, and the accelerator of a graphics card.
PRUNED = ("numpy/**/tests", "ai_edge_litert/libLiteRtWebGpuAccelerator.so")


def _environment(target: Target) -> dict[str, str]:
    """Return what PEP 508 markers ask about, as the target would answer."""
    python = target.release.python
    return {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": target.machine,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "extra": "",
    }


def locked(lock: str, target: Target) -> dict[str, str]:
    """Return name -> the lock's line without its marker, for what the target takes of it."""
    chosen: dict[str, str] = {}
    for line in lock.replace("\\\n", " ").splitlines():
        stated, hashed, digests = line.strip().partition(" --hash")
        if not hashed:
            continue
        requirement = Requirement(stated)
        if requirement.marker is None or requirement.marker.evaluate(_environment(target)):
            requirement.marker = None
            chosen[canonicalize_name(requirement.name)] = f"{requirement}{hashed}{digests}"
    return chosen


def needed(wanted: Iterable[str], requires: Mapping[str, list[str]], target: Target) -> set[str]:
    """Return the names that `wanted` come to, following `requires` (name -> Requires-Dist)."""
    environment, found = _environment(target), set[str]()
    waiting = list(wanted)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        asked = requirement.marker is None or requirement.marker.evaluate(environment)
        if asked and name not in found and name not in NOT_NEEDED:
            found.add(name)
            waiting += requires[name]
    return found


def metadata(wheel: Path) -> Message:
    """Return what a wheel says of itself."""
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def _name(wheel: Path) -> str:
    return canonicalize_name(wheel.name.split("-")[0])


def _pip(target: Target, *arguments: object) -> None:
    python, machine = target.release.python, target.machine
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(17, target.release.glibc + 1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    tags = [f"cp{python.replace('.', '')}", "abi3", "none"]
    command = [sys.executable, "-m", "pip", *map(str, arguments), "-qq", "--no-deps"]
    command += ["--only-binary=:all:", "--ignore-requires-python", "--implementation=cp"]
    command += [f"--python-version={python}", *(f"--abi={tag}" for tag in tags)]
    subprocess.run([*command, *(f"--platform={p}" for p in platforms)], check=True)


def fetch(target: Target, cache: Path) -> list[Path]:
    """Return the wheels that the unit needs on `target`, each as the lock's digest says."""
    pinned = locked(LOCK.read_text(), target)
    folder = cache / f"wheels-{target.release.name}-{target.arch}"
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "requirements.txt"
    lines.write_text("\n".join(pinned[name] for name in sorted(pinned.keys() - NOT_NEEDED)) + "\n")
    # A wheel that is there already is looked at and kept; its digest is checked all the same.
    _pip(target, "download", "--require-hashes", "-r", lines, "--dest", folder)
    versions = {name: Requirement(line.split(" --hash")[0]) for name, line in pinned.items()}
    wheels = {
        _name(wheel): wheel
        for wheel in sorted(folder.glob("*.whl"))
        if wheel.name.split("-")[1] in versions[_name(wheel)].specifier
    }
    requires = {n: metadata(w).get_all("Requires-Dist") or [] for n, w in wheels.items()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    own = project["dependencies"] + project["optional-dependencies"]["central"]
    return [wheels[name] for name in sorted(needed(own, requires, target))]


def install(target: Target, wheels: list[Path], site: Path) -> None:
    """Unpack `wheels` into the folder `site`, without their programs and tests."""
    _pip(target, "install", "--no-index", "--no-compile", "--target", site, *wheels)
    shutil.rmtree(site / "bin", ignore_errors=True)
    for pattern in PRUNED:
        for path in list(site.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def bundled(wheels: list[Path]) -> str:
    """Return one line a package: name, version, licence as it states it."""
    lines = []
    for wheel in wheels:
        said = metadata(wheel)
        stated = said["License-Expression"] or said["License"] or ""
        classes = [c for c in said.get_all("Classifier") or [] if c.startswith("License ::")]
        licence = stated.strip().splitlines()[:1] or [c.split(" :: ")[-1] for c in classes]
        lines.append(f"{said['Name']} {said['Version']}: {', '.join(licence) or 'see its files'}")
    return "\n".join(lines) + "\n"
