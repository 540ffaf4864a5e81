"""Small releases: an environment of a few files, signed."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from joserfc.jwk import OKPKey

from edge.appliance.update.release import ReleaseTarget, write

MACHINE = ReleaseTarget("x86_64", "{}.{}".format(*sys.version_info))
MADE = "2026-01-02T03:04:05Z"


@dataclass(frozen=True, slots=True)
class Signatory:
    """Who signs releases: a private key file, and the keys that a unit trusts."""

    private: Path
    public: Path

    @classmethod
    def made(cls, folder: Path, name: str = "release") -> "Signatory":
        key = OKPKey.generate_key("Ed25519")
        private, public = folder / f"{name}.key", folder / f"{name}-keys.json"
        private.touch(0o600)
        private.write_text(json.dumps(key.as_dict(private=True)), encoding="utf-8")
        entry = {**key.as_dict(private=False), "kid": key.thumbprint()}
        public.write_text(json.dumps({"keys": [entry]}), encoding="utf-8")
        return cls(private, public)


def environment(folder: Path, version: str, *, files: int = 3) -> Path:
    """Make an environment; the content of each file tells the version."""
    root = folder / f"environment-{version}"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "python3").symlink_to("/usr/bin/python3.11")
    script = root / "bin" / "tool"
    script.write_text(f"#!/bin/sh\necho {version}\n", encoding="utf-8")
    script.chmod(0o755)
    for number in range(files):
        path = root / "lib" / f"part{number % 5}" / f"{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"VERSION = {version!r}\n" * 50, encoding="utf-8")
    return root


def release(
    folder: Path, by: Signatory, version: str, *, machine: ReleaseTarget = MACHINE, files: int = 3
) -> Path:
    """Make a release file."""
    to = folder / f"senyum-{version}.release"
    stated = {
        "version": version,
        "machine": machine.machine,
        "python": machine.python,
        "made": MADE,
    }
    write(environment(folder, version, files=files), to, stated, by.private)
    return to
