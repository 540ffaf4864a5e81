"""Installs the locked dependencies into a site-packages folder, also for another machine."""

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
# Declared by dependencies and not imported on the unit: colorzero declares setuptools, whose .pth
# file would slow down each start; litert declares a backport of what Python 3.11 has.
NOT_NEEDED = {"setuptools", "backports-strenum"}
# Not even downloaded: these and what only the server needs.
SKIPPED = NOT_NEEDED | {"sqlalchemy", "psycopg", "psycopg-binary"}
# Parts of wheels that the unit does not need: tests, and a GPU accelerator.
PRUNED = ("numpy/**/tests", "ai_edge_litert/libLiteRtWebGpuAccelerator.so")


def _environment(target: Target) -> dict[str, str]:
    """Return the values of PEP 508 markers on the target."""
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
    """Return name -> line of the lock without its marker, for the packages of the target."""
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
    """Return the names of `wanted` and their dependencies (`requires`: name -> Requires-Dist)."""
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
    """Return a wheel's metadata."""
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
    """Return the wheels that the unit needs on `target`; pip checks the digests of the lock."""
    pinned = locked(LOCK.read_text(), target)
    folder = cache / f"wheels-{target.release.name}-{target.arch}"
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "requirements.txt"
    lines.write_text("\n".join(pinned[name] for name in sorted(pinned.keys() - SKIPPED)) + "\n")
    # pip keeps a wheel that was downloaded before, and checks its digest again.
    _pip(target, "download", "--require-hashes", "-r", lines, "--dest", folder)
    versions = {name: Requirement(line.split(" --hash")[0]) for name, line in pinned.items()}
    wheels = {
        _name(wheel): wheel
        for wheel in sorted(folder.glob("*.whl"))
        if wheel.name.split("-")[1] in versions[_name(wheel)].specifier
    }
    requires = {n: metadata(w).get_all("Requires-Dist") or [] for n, w in wheels.items()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [wheels[name] for name in sorted(needed(project["dependencies"], requires, target))]


def install(target: Target, wheels: list[Path], site: Path) -> None:
    """Install `wheels` into the folder `site`, without their programs and tests."""
    _pip(target, "install", "--no-index", "--no-compile", "--target", site, *wheels)
    shutil.rmtree(site / "bin", ignore_errors=True)
    for pattern in PRUNED:
        for path in list(site.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def bundled(wheels: list[Path]) -> str:
    """Return one line per package: name, version, licence."""
    lines = []
    for wheel in wheels:
        about = metadata(wheel)
        stated = about["License-Expression"] or about["License"] or ""
        classes = [c for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
        licence = stated.strip().splitlines()[:1] or [c.split(" :: ")[-1] for c in classes]
        lines.append(f"{about['Name']} {about['Version']}: {', '.join(licence) or 'see its files'}")
    return "\n".join(lines) + "\n"
