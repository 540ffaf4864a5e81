"""The files of the package, in a folder that dpkg-deb packs."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

from deb_building import LIB, REPOSITORY, Target, pages, wheels
from edge import __version__
from edge.appliance.update.release import load_keys, public_set

PACKAGING = REPOSITORY / "packaging"
KEYS = "usr/share/senyum/release-keys.json"
DEPENDS = "python3 (>= {python}), python3 (<< {following}), libc6 (>= 2.{glibc}), "
DEPENDS += "systemd (>= 252), tzdata"
DESCRIPTION = """Attendance unit: recognises a face, asks for a smile, signs the event
 A wall-mounted unit for a Raspberry Pi with a Camera Module. Each attempt becomes a
 signed, numbered event that is durable before the green light and reaches any MQTT
 broker. No screen, no touch surface, no stored picture.
 .
 The package contains its Python packages and installs without a network; it uses the
 distribution's python3-picamera2 and python3-lgpio for camera and pins. The server is
 not in it: pip install 'senyum-edge[central]'."""
# The device, and the parts of the lab behind `senyum bench`, `evaluate` and `liveness-check`.
PACKAGES = (
    "edge",
    "senyum_lab/__init__.py",
    "senyum_lab/bench",
    "senyum_lab/cli",
    "senyum_lab/evaluate",
    "senyum_lab/servers",
    "senyum_lab/simulate",
)


def _write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def _copy(source: Path, path: Path, mode: int = 0o644) -> None:
    _write(path, source.read_bytes(), mode)


def _environment(target: Target, root: Path) -> None:
    python = target.release.python
    _write(
        root / LIB / "pyvenv.cfg",
        f"home = /usr/bin\ninclude-system-site-packages = true\nversion = {python}\n",
    )
    # `senyum update` compares a release with this version.
    _write(root / LIB / "release.json", json.dumps({"version": __version__}))
    links = root / LIB / "bin"
    links.mkdir(parents=True)
    (links / "python3").symlink_to(f"/usr/bin/python{python}")
    site = root / target.site
    for name in PACKAGES:
        path = REPOSITORY / name
        for module in path.rglob("*.py") if path.is_dir() else [path]:
            _copy(module, site / module.relative_to(REPOSITORY))
    for model in (REPOSITORY / "models").iterdir():
        if model.suffix in {".tflite", ".toml"} and model.name != "sources.toml":
            _copy(model, site / "edge/models" / model.name)


def _services(target: Target, root: Path) -> None:
    source = REPOSITORY / "systemd"
    systemd = root / "usr/lib/systemd/system"
    for unit in (*source.glob("*.service"), *source.glob("*.path")):
        _copy(unit, systemd / unit.name)
    for drop in source.glob(f"{target.release.name}/*.d/*.conf"):
        _copy(drop, systemd / drop.parent.name / drop.name)
    for kind in ("sysusers.d", "tmpfiles.d"):
        _copy(source / kind / "senyum.conf", root / "usr/lib" / kind / "senyum.conf")
    _copy(source / "udev/60-senyum.rules", root / "usr/lib/udev/rules.d/60-senyum.rules")


def _documents(root: Path, version: str, day: str, bundled: str) -> None:
    documents = root / "usr/share/doc/senyum-edge"
    entry = f"""senyum-edge ({version}) stable; urgency=medium

  * See /usr/share/doc/senyum-edge/CHANGELOG.md.gz.

 -- The Senyum authors <senyum@localhost>  {day}
"""
    _write(documents / "changelog.Debian.gz", gzip.compress(entry.encode(), 9, mtime=0))
    changes = (REPOSITORY / "CHANGELOG.md").read_bytes()
    _write(documents / "CHANGELOG.md.gz", gzip.compress(changes, 9, mtime=0))
    _copy(PACKAGING / "debian/copyright", documents / "copyright")
    _copy(REPOSITORY / "models/README.md", documents / "models.md")
    for example in ("senyum.toml", "journald-volatile.conf"):
        _copy(PACKAGING / example, documents / "examples" / example)
    _write(documents / "bundled.txt", bundled)


def environment(target: Target, root: Path, cache: Path) -> list[Path]:
    """Write the environment under `root` and return the wheels in it."""
    chosen = wheels.fetch(target, cache)
    wheels.install(target, chosen, root / target.site)
    _environment(target, root)
    return chosen


def lay_out(
    target: Target,
    root: Path,
    *,
    version: str,
    seconds: int,
    cache: Path,
    release_keys: Path | None = None,
) -> None:
    """Fill the empty folder `root`; every file gets the time `seconds` (Unix time).

    `release_keys`: JWK set of the keys that may sign releases. Raises SecretError.
    """
    chosen = environment(target, root, cache)
    if release_keys is not None:
        _write(root / KEYS, public_set(load_keys(release_keys).values()))
    _copy(PACKAGING / "senyum", root / "usr/bin/senyum", 0o755)
    _services(target, root)
    stamp = subprocess.run(
        ["date", "-u", "-R", f"-d@{seconds}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    _documents(root, version, stamp, wheels.bundled(chosen))
    upstream = version.split("-", maxsplit=1)[0]
    _write(root / "usr/share/man/man1/senyum.1.gz", pages.manual(upstream, stamp[5:16]))
    _write(root / "usr/share/bash-completion/completions/senyum", pages.completion())
    _control(target, root, version)
    settle(root, seconds)


def _control(target: Target, root: Path, version: str) -> None:
    release = target.release
    major, minor = release.python.split(".")
    depends = DEPENDS.format(
        python=release.python, following=f"{major}.{int(minor) + 1}", glibc=release.glibc
    )
    size = sum(p.lstat().st_size for p in root.rglob("*") if not p.is_dir()) // 1024
    control = f"""Package: senyum-edge
Version: {version}
Architecture: {target.arch}
Maintainer: The Senyum authors <senyum@localhost>
Installed-Size: {size}
Depends: {depends}
Recommends: python3-picamera2, python3-libcamera, python3-lgpio
Section: misc
Priority: optional
Description: {DESCRIPTION}
"""
    _write(root / "DEBIAN/control", control)
    for script in ("preinst", "postinst", "prerm", "postrm"):
        _copy(PACKAGING / "debian" / script, root / "DEBIAN" / script, 0o755)


def settle(root: Path, seconds: int) -> None:
    """Set mode and time of every file, so that two builds are identical."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            if path.is_dir() or path.stat().st_mode & 0o100:
                path.chmod(0o755)
            else:
                path.chmod(0o644)
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def pack(root: Path, to: Path) -> None:
    """Pack `root` into the package `to`."""
    partial = to.with_suffix(".part")
    command = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z12", "--build"]
    subprocess.run([*command, str(root), str(partial)], check=True, stdout=subprocess.DEVNULL)
    shutil.move(partial, to)
