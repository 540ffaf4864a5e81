"""The faults that a unit is put to, one generator each: hurt it, say what must show, mend it.

What comes before the `yield` is the fault; what is yielded must show within the bar; what comes
after is all that is done about it: nothing, where the unit recovers by itself.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from authority import Authority
from disks import inodes_taken
from mqtt_servers import TcpProxy
from receiving import Central
from trial_site import PATIENCE, Site, outcomes
from wireunit import until

from edge.errors import ErrorCode
from edge.inference.models import Models, shipped
from edge.system.boot_id import boot_id
from edge.system.power import PowerReading
from edge.types import CueName, Outcome
from senyum_lab.servers.mosquitto import PrivateBroker

BAR_S = 10.0
DISK_MIB = 64


@dataclass(frozen=True, slots=True)
class Shown:
    """What must be seen. All that is named here, at once."""

    code: ErrorCode | None = None  # in the status, among `codes`
    out_of_order: bool = False  # the cue, played on the unit's own lights
    clock: str | None = None  # the status' word about the clock
    refusal: str | None = None  # the line it ended with, and the light of senyum-fault beside

    def by(self, site: Site) -> bool:
        """Whether it is to be seen now, since the fault."""
        if self.refusal is not None:
            return site.refused(self.refusal)
        told = site.bulletin
        return (
            told is not None
            and (self.code is None or self.code in told.codes)
            and (self.clock in (None, told.clock))
            and (not self.out_of_order or CueName.OUT_OF_ORDER in site.new_cues)
        )

    def __str__(self) -> str:
        light = "out of order, " if self.out_of_order else ""
        if self.refusal is not None:
            return f"fault light, journal: `{self.refusal}`"
        return f"{light}status `{self.code or self.clock}`"


Fault = Callable[[Site], Iterator[Shown]]
FAULTS: dict[str, Fault] = {}
QUICK = {
    "camera vanishes",
    "pins torn away",
    "broker gone",
    "roster altered",
    "authorities damaged",
}
NEEDS_ROOT = {"disk full", "disk read-only", "no inode for commands at the start"}


def fault(name: str) -> Callable[[Fault], Fault]:
    """Enter a fault into the table."""

    def enter(one: Fault) -> Fault:
        FAULTS[name] = one
        return one

    return enter


# --- camera and pins -------------------------------------------------------------------------


def _camera(what: str, site: Site) -> Iterator[Shown]:
    site.door.fault = what
    yield Shown(ErrorCode.CAMERA_LOST, out_of_order=True)
    site.door.fault = None


for _name, _what in (
    ("camera stalls", "stalls"),
    ("camera black", "black"),
    ("camera repeats a frame", "repeats"),
    ("camera vanishes", "gone"),
):
    FAULTS[_name] = partial(_camera, _what)


@fault("camera missing at the start")
def _(site: Site) -> Iterator[Shown]:
    site.stop()
    site.door.fault = "gone"
    site.start()
    yield Shown(ErrorCode.CAMERA_LOST, out_of_order=True)
    site.door.fault = None


@fault("pins taken at the start")
def _(site: Site) -> Iterator[Shown]:
    site.stop()
    site.pins = "taken"
    site.start()
    yield Shown(ErrorCode.PINS_LOST)
    site.pins = None


@fault("pins torn away")
def _(site: Site) -> Iterator[Shown]:
    site.pins = "torn"
    site.door.play("smile")  # a cue is due
    yield Shown(ErrorCode.PINS_LOST)
    site.door.play("empty")
    site.pins = None


# --- disk ------------------------------------------------------------------------------------


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stderr=subprocess.DEVNULL)


@contextmanager
def _own_disk(site: Site) -> Iterator[Path]:
    """Put the state on a small ext4 of its own, with what is in it."""
    site.stop()
    image, kept = site.folder / "disk.img", site.folder / "kept"
    shutil.move(site.state, kept)
    site.state.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_MIB * 1024 * 1024)
    _run("mkfs.ext4", "-q", image)
    _run("mount", "-o", "loop", image, site.state)
    try:
        shutil.copytree(kept, site.state, dirs_exist_ok=True)
        os.sync()  # what was copied is as durable as what the unit writes itself
        site.start()
        site.pass_by()
        site.begin()
        yield image
        site.pass_by()
        site.stop()
        # The chain is looked at where it always was.
        shutil.copytree(site.state, kept, dirs_exist_ok=True)
    finally:
        site.stop()
        subprocess.run(["umount", "-l", site.state], check=False)
    shutil.rmtree(site.state)
    shutil.move(kept, site.state)
    site.start()


@fault("disk full")
def _(site: Site) -> Iterator[Shown]:
    with _own_disk(site):
        ballast = site.state / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while file.write(bytes(1 << 16)):
                file.flush()
        site.door.play("smile")
        yield Shown(ErrorCode.DISK_FULL, out_of_order=True)
        site.door.play("empty")
        ballast.unlink()
        until(lambda: site.bulletin and not site.bulletin.codes, PATIENCE)


@fault("no inode for commands at the start")
def _(site: Site) -> Iterator[Shown]:
    with _own_disk(site):
        site.stop()
        # As a power cut leaves them: the outbox has all its files, the ledger of commands has not.
        with closing(sqlite3.connect(site.settings.outbox.file)) as kept_open:
            kept_open.execute("SELECT count(*) FROM event").fetchone()
            with inodes_taken(site.state):
                site.start()
                yield Shown(ErrorCode.COMMANDS)
                site.pass_by()
            until(lambda: site.bulletin and not site.bulletin.codes, PATIENCE)


@fault("disk read-only")
def _(site: Site) -> Iterator[Shown]:
    with _own_disk(site) as image:
        # As the kernel does by itself after an error of the card.
        _run("mount", "-o", "remount,abort", site.state)
        site.door.play("smile")
        yield Shown(ErrorCode.STORE_FAILED, out_of_order=True)
        site.door.play("empty")
        site.stop()
        _run("umount", site.state)
        # A copy, for the aborted one stays as it is while a mount namespace elsewhere still has it.
        mended = shutil.copy(image, image.with_name("mended.img"))
        subprocess.run(["e2fsck", "-fy", mended], check=False, capture_output=True)
        _run("mount", "-o", "loop", mended, site.state)
        site.start()


# --- broker ----------------------------------------------------------------------------------


@fault("broker gone")
def _(site: Site) -> Iterator[Shown]:
    site.broker.kill()
    yield Shown(ErrorCode.UNREACHABLE)
    site.pass_by()
    site.broker.start()


@contextmanager
def _at_another(site: Site, *options: str, **values: object) -> Iterator[None]:
    """Send the unit to a broker with these options, then back; it starts anew each time."""
    before = site.settings
    with PrivateBroker(site.folder / "other", options=options) as other:
        site.change("broker", host="localhost", port=other.port, **values)
        site.restart()
        try:
            yield
            site.pass_by()  # nobody at the door is the worse for it
        finally:
            site.settings = before
            site.restart()


def _tls(site: Site, trusted: str, days: float) -> AbstractContextManager[None]:
    """`trusted` is whom the unit believes, `days` its own certificate's life from now."""
    ours, theirs = (Authority(site.folder, name) for name in ("ours", "theirs"))
    certificate, key = ours.issue("localhost")
    own = ours.issue("unit", days)
    return _at_another(
        site,
        f"cafile {ours.pem}",
        f"certfile {certificate}",
        f"keyfile {key}",
        "require_certificate true",
        tls=True,
        ca=(ours if trusted == "ours" else theirs).pem,
        certificate=own[0],
        certificate_key=own[1],
    )


@fault("TLS refused by the unit")
def _(site: Site) -> Iterator[Shown]:
    with _tls(site, "theirs", 1.0):
        yield Shown(ErrorCode.BROKER_CERTIFICATE)


@fault("certificate expired")
def _(site: Site) -> Iterator[Shown]:
    with _tls(site, "ours", -1.0):
        yield Shown(ErrorCode.CERTIFICATE_REFUSED)


@fault("not authorised")
def _(site: Site) -> Iterator[Shown]:
    nothing = site.folder / "nothing.acl"
    nothing.write_text("topic read nothing\n")
    with _at_another(site, f"acl_file {nothing}"):
        yield Shown(ErrorCode.NOT_AUTHORIZED)


@fault("password refused")
def _(site: Site) -> Iterator[Shown]:
    passwords, secret = site.folder / "passwords", site.folder / "secret"
    _run("mosquitto_passwd", "-b", "-c", passwords, "unit", "right")
    secret.touch(0o600)
    secret.write_text("wrong")
    options = "allow_anonymous false", f"password_file {passwords}"
    with _at_another(site, *options, username="unit", password=secret):
        yield Shown(ErrorCode.NOT_AUTHORIZED)  # mosquitto's word for it


@fault("broker silent")
def _(site: Site) -> Iterator[Shown]:
    before = site.settings
    with TcpProxy(site.broker.port) as wire:
        wire.blocked = True
        site.change("broker", port=wire.port)
        site.restart()
        site.begin()
        yield Shown(ErrorCode.SILENT)
        site.settings = before
        site.restart()


# --- files: roster, keys, outbox, authorities, networks ----------------------------------------


def _refused_by(file: Callable[[Site], Path], hurt: Callable[[Path], None], says: str) -> Fault:
    """Hurt a file without which the unit does not start; it is put back afterwards."""

    def one(site: Site) -> Iterator[Shown]:
        site.stop()
        path = file(site)
        kept = path.with_name(path.name + ".kept")
        shutil.copy2(path, kept)
        hurt(path)
        site.start()
        yield Shown(refusal=says)
        kept.replace(path)
        site.start()

    return one


def _alter(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _models(site: Site) -> Path:
    """Give the unit networks of its own; one of them is the file."""
    folder = site.folder / "models"
    shutil.copytree(shipped(), folder)
    site.change("inference", models=folder)
    return folder / Models(folder).spec("smile").file


def _roster(site: Site) -> Path:
    return site.settings.roster.file


def _roster_key(site: Site) -> Path:
    return site.settings.roster.key


def _signing_key(site: Site) -> Path:
    return site.settings.outbox.signing_key


FAULTS["roster missing"] = _refused_by(_roster, Path.unlink, r"roster\.senyum")
FAULTS["roster damaged"] = _refused_by(_roster, _cut, r"roster\.senyum")
FAULTS["roster altered"] = _refused_by(_roster, _alter, r"roster\.senyum")
FAULTS["roster key missing"] = _refused_by(_roster_key, Path.unlink, r"roster\.key")
FAULTS["signing key missing"] = _refused_by(_signing_key, Path.unlink, r"signing\.key")
FAULTS["signing key damaged"] = _refused_by(_signing_key, _cut, r"signing\.key")
FAULTS["network altered"] = _refused_by(_models, _alter, r"model smile: .* was altered")


@fault("roster missing, one may be delivered")
def _(site: Site) -> Iterator[Shown]:
    site.stop()
    site.settings.authority.keys.write_text('{"keys": []}')
    site.settings.roster.file.unlink()
    site.start()
    yield Shown(ErrorCode.ROSTER_MISSING, out_of_order=True)
    site.stop()
    site.furnish()
    site.start()


@fault("authorities damaged")
def _(site: Site) -> Iterator[Shown]:
    site.settings.authority.keys.write_text('{"keys": [')
    yield Shown(ErrorCode.AUTHORITIES)
    site.pass_by()
    site.settings.authority.keys.write_text('{"keys": []}')


# --- the machine -----------------------------------------------------------------------------


def _powers(power: PowerReading, code: ErrorCode) -> Fault:
    def one(site: Site) -> Iterator[Shown]:
        site.report_power(power)
        yield Shown(code)
        site.pass_by()
        site.report_power(PowerReading(0))

    return one


FAULTS["under-voltage"] = _powers(PowerReading(0, under_voltage=True), ErrorCode.UNDER_VOLTAGE)
FAULTS["heat"] = _powers(PowerReading(0, temperature_c=84.0, hot=True), ErrorCode.TOO_HOT)


@fault("clock no longer right")
def _(site: Site) -> Iterator[Shown]:
    site.stop()
    said = {"monotonic_ns": time.monotonic_ns(), "synchronized": True, "boot_id": boot_id()}
    site.clock_file.write_text(json.dumps(said))
    site.change("clock", state_file=site.clock_file, stale_after=3600)
    site.start()
    until(lambda: site.bulletin and site.bulletin.clock == "synchronized", PATIENCE)
    site.begin()
    site.clock_file.write_text(json.dumps({**said, "synchronized": False}))
    yield Shown(clock="holdover")
    site.pass_by()
    site.clock_file.write_text(json.dumps(said))
    until(lambda: site.bulletin and site.bulletin.clock == "synchronized", PATIENCE)


# --- one trial -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one trial came to, where it came to its end."""

    shown: Shown
    after_s: float  # from the fault until it showed


def put_to(one: Fault, site: Site) -> Verdict:
    """Hurt a unit that works; it must say so, recover, and have lost nothing on either side."""
    with Central(site.folder / "central.db", site.broker.settings, site.keys, 1.0) as central:
        site.start()
        until(lambda: site.is_well, PATIENCE)
        site.pass_by()
        told = {event.id for event in site.chain()}
        site.begin()
        trial = one(site)
        shown = next(trial)
        until(partial(shown.by, site), PATIENCE)
        verdict = Verdict(shown, time.monotonic() - site.began)
        for _ in trial:
            raise AssertionError("a trial has one thing to show")
        until(lambda: site.is_well, PATIENCE)
        site.pass_by()
        site.stop()
        chain = {event.number: event for event in site.chain()}
        until(lambda: central.stored().keys() == chain.keys(), PATIENCE)
    assert told <= {event.id for event in chain.values()}
    assert list(outcomes(chain.values())).count(Outcome.RECORDED) == site.recorded
    return verdict
