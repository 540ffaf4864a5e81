"""A claim file on the boot partition: the next boot leads to an accepted event, with nobody there.

What is carried by hand is what a technician carries: the claim to the card, the receipt from it to
the server. The roster then comes by the broker.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from container import until

if TYPE_CHECKING:
    from booted import Rig

ACCEPTED_S = 90.0
AUDIT = "senyum.unit.audit.v1"
CLAIM = """
authorities = "authorities.json"

[unit]
org = "depok"
site = "balaikota"
name = "lobby-2"
direction = "in"

[unit.place]
latitude = -6.3942
longitude = 106.8230
zone = "Asia/Jakarta"

[broker]
host = "127.0.0.1"
tls = false

[gpio]
factory = "mock"
"""
REPLAY = """
[camera]
driver = "replay"
replay = "/srv/frames"
replay_loop = true
"""
NO_SMILE = "[Service]\nEnvironment=SENYUM_ATTENDANCE__SMILE=false\n"


def a_claim_leads_to_an_accepted_event(rig: "Rig") -> None:
    """Install, put the claim on the boot partition, boot; the bar counts from the boot's begin."""
    boot = rig.box.root / "boot/firmware"
    boot.mkdir(parents=True, exist_ok=True)
    said = rig.box.sh("apt-get install -y ./newer.deb")
    assert "waiting to be provisioned" in said, said
    key = rig.home / "authority.key"
    keys = ("admin", "keys", "--authority", key, "--role", "roster")
    (boot / "authorities.json").write_text(
        rig.box.server(*keys, "--units", "urn:senyum:depok:*:*"), encoding="utf-8"
    )
    claim = boot / "senyum-claim.toml"
    claim.write_text(CLAIM if rig.camera else CLAIM + REPLAY)
    rig.drop_in("smile.conf", NO_SMILE)
    if rig.camera:
        rig.drop_in("rig.conf", rig.camera)
    rig.box.power_off()
    _forget_the_unit_before(rig)

    began = time.monotonic()
    rig.box.boot()
    until("the receipt", (boot / "senyum-receipt.txt").exists)
    until("the claim is wiped", lambda: not claim.exists())
    _register(rig.home / "keys.json", boot / "senyum-receipt.txt")
    with rig.receiving():
        until("an accepted event", lambda: bool(rig.events(AUDIT)), ACCEPTED_S)
        accepted = time.monotonic() - began
        rig.box.server(
            *("admin", "roster", "--broker", "127.0.0.1", "--keys", rig.home / "keys.json"),
            *("--authority", key, "--roster", rig.home / "roster.senyum"),
            *("--roster-key", rig.home / "roster.key"),
        )
        until("an accepted attendance", lambda: bool(rig.events()), ACCEPTED_S)
        recorded = time.monotonic() - began
    rig.figures.append(
        f"boot with a claim to the first accepted event: {accepted:.1f} s (bar {ACCEPTED_S:.0f}); "
        f"to the first attendance, its roster sent by the broker: {recorded:.1f} s"
    )
    assert accepted <= ACCEPTED_S, accepted
    assert not (boot / "senyum-error.txt").exists()


def _forget_the_unit_before(rig: "Rig") -> None:
    rig.received = rig.work / "claimed.jsonl"
    rig.received.touch()
    (rig.home / "keys.json").unlink()
    for file in rig.home.glob("central.db*"):
        file.unlink()


def _register(keys: Path, receipt: Path) -> None:
    """What a person does at the server: the receipt's last part is the list of keys."""
    text = receipt.read_text(encoding="utf-8")
    listed = json.loads(text[text.index("{") :])
    keys.write_text(json.dumps(listed), encoding="utf-8")
