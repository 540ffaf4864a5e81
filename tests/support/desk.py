"""A machine in a folder, and claims for it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit
from authority import Authority
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.appliance.provision.apply import AppliedChanges, provision
from edge.appliance.provision.claim import Documents
from edge.appliance.provision.plan import ProvisioningTarget
from edge.settings import Settings, load_settings
from edge.system.privileges import Owner

ME = Owner(os.geteuid(), os.getegid())
UNIT = {
    "org": "depok",
    "site": "balaikota",
    "name": "lobby-1",
    "direction": "in",
    "place": {"latitude": -6.3942, "longitude": 106.823, "zone": "Asia/Jakarta"},
}
BROKER = {"host": "broker.example.go.id", "username": "lobby-1", "password": "hush-hush"}


def claim(**changes: Any) -> dict[str, Any]:
    """Return a good claim with some parts replaced; None leaves a part out."""
    parts = {"unit": UNIT, "broker": BROKER, **changes}
    return {name: part for name, part in parts.items() if part is not None}


def unit(**changes: Any) -> dict[str, Any]:
    place = {**UNIT["place"], **changes.pop("place", {})}  # type: ignore[dict-item]
    return {**UNIT, "place": place, **changes}


@dataclass
class Desk:
    """Where a unit is set up; its state folder is named by a settings file that is there before."""

    folder: Path
    cameras: int | None = None
    now: datetime | None = None

    def __post_init__(self) -> None:
        self.etc, self.state, self.boot = (self.folder / n for n in ("etc", "state", "boot"))
        for each in (self.etc, self.boot):
            each.mkdir()
        self.state.mkdir(mode=0o700)
        self.config.write_text(tomlkit.dumps(self.before))

    @property
    def before(self) -> dict[str, Any]:
        return {
            "outbox": {
                "file": str(self.state / "outbox.db"),
                "signing_key": str(self.state / "signing.key"),
            },
            "roster": {"key": str(self.etc / "roster.key")},
            "attendance": {"smile_threshold": 60.0},
        }

    @property
    def config(self) -> Path:
        return self.etc / "senyum.toml"

    @property
    def machine(self) -> ProvisioningTarget:
        now = self.now or datetime.now(UTC)
        return ProvisioningTarget(self.config, ME, ME, lambda: self.cameras, now)

    @property
    def settings(self) -> Settings:
        return load_settings(self.config)

    def told(self, content: Mapping[str, Any]) -> Documents:
        return Documents.of(content, "claim", self.boot)

    def provision(self, content: Mapping[str, Any]) -> AppliedChanges:
        return provision(self.told(content), self.machine)

    def insert(self, content: Mapping[str, Any]) -> Path:
        """Put a claim on the boot partition."""
        file = self.boot / "senyum-claim.toml"
        file.write_text(tomlkit.dumps(content))
        return file

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        """Mode and content of every file of settings and state, but what SQLite makes to look."""
        return {
            str(path.relative_to(self.folder)): (path.stat().st_mode & 0o777, path.read_bytes())
            for folder in (self.etc, self.state)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }


def certified(desk: Desk, authority: Authority, days: float = 30.0, name: str = "") -> str:
    """Return a certificate, PEM, for the request that lies with the settings."""
    request = x509.load_pem_x509_csr((desk.etc / "unit.csr").read_bytes())
    made = authority.certify(name or "depok/balaikota/lobby-1", request.public_key(), days)
    return made.public_bytes(Encoding.PEM).decode()
