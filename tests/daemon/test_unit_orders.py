"""Orders to a unit with real networks past a real broker: what they change, and in any order."""

import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orders import Commander, Voice
from private_servers import PrivateBroker
from scenes import SCENES, SceneRenderer
from staged import FACES, FPS, Played, knowing, known
from wireunit import Listener, until

from edge.attendance.session import StepResult
from edge.attendance.table import State
from edge.contract.authority import Role, sign_order
from edge.contract.encryption import EncryptionKey, Recipient, encryption_key_path
from edge.contract.jose import from_b64url
from edge.contract.roster_manifest import TYP, chunk_topic, manifest_topic
from edge.contract.topics import COMMAND, REPLY, UnitName
from edge.daemon import Daemon
from edge.images import from_image
from edge.outbox.store import OutboxReader
from edge.roster.codec import Person, Roster
from edge.roster.file import load
from edge.roster.thresholds import adaptive_thresholds
from edge.settings import AuthoritySettings, ClockSettings, Settings, SettingsFile
from edge.types import Stimulus, Yuv
from senyum_central.admin.rosters import RosterRelease

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]

PATIENCE = 60.0


@pytest.fixture(scope="module")
def studio() -> SceneRenderer:
    return SceneRenderer(FACES, fps=FPS)


class ChangedFile(SettingsFile):
    """A settings file that says this by now."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def load(self) -> Settings:
        return self._settings


class Site:
    """A unit that somebody walks up to at last, and the authority that orders it about."""

    def __init__(self, folder: Path, studio: SceneRenderer, broker: PrivateBroker) -> None:
        roles = (Role.COMMAND, Role.ROSTER)
        self._commander = Commander(folder / "authority", roles=roles, units=["urn:senyum:*:*:*"])
        keys = folder / "authorities.json"
        keys.write_text(json.dumps({"keys": [self._commander.registration]}))
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        helper = {"monotonic_ns": time.monotonic_ns(), "boot_id": boot_id, "synchronized": True}
        (folder / "clock.json").write_text(json.dumps(helper))
        self.settings = knowing(folder).model_copy(
            update={
                "authority": AuthoritySettings(keys=keys),
                "clock": ClockSettings(state_file=folder / "clock.json", stale_after=3600),
                "broker": broker.settings,
            }
        )
        self._name = UnitName.of(self.settings.unit)
        self._empty = [from_image(frame) for frame in studio.frames(SCENES["empty"])]
        self._smile = [from_image(frame) for frame in studio.frames(SCENES["smile"])]
        self.ordered = threading.Event()  # then somebody comes
        self.goes_on = threading.Event()  # while it is not set the main loop stands still
        self.goes_on.set()

    def unit(self, **file: Mapping[str, Any]) -> Daemon:
        """Return one whose settings file says this by now."""

        def observer(stimulus: Stimulus, step: StepResult, state: State) -> None:
            self.goes_on.wait(PATIENCE)

        sections = {
            name: getattr(self.settings, name).model_copy(update=dict(fields))
            for name, fields in file.items()
        }
        changed = ChangedFile(self.settings.model_copy(update=sections))
        camera = Played(self._pictures())
        return Daemon(
            self.settings, camera=lambda: camera, observer=observer, settings_file=changed
        )

    def _pictures(self) -> Iterator[Yuv]:
        yield from itertools.takewhile(
            lambda _: not self.ordered.is_set(), itertools.cycle(self._empty)
        )
        yield from self._empty[:15]
        yield from self._smile

    def command(
        self, voice: Voice, heard: Listener, name: str, data: object = None, *, wait: bool = True
    ) -> None:
        """Order, and wait for the answer."""
        claims = self._commander.claims(name, data, aud=self._name.source)
        token = sign_order(self._commander.key, "senyum-command+jws", claims)
        topic = self._name.subtopic(REPLY, claims["id"])

        def answers() -> list[bytes]:
            return [body for where, body, _ in heard.messages if where == topic]

        voice.say(token.encode(), self._name.subtopic(COMMAND, name))
        if wait:
            until(answers, PATIENCE)
            assert json.loads(from_b64url(answers()[0].decode().split(".")[1]))["ok"]

    def connected(self, voice: Voice, heard: Listener) -> None:
        """Wait until the unit hears commands."""
        deadline = time.monotonic() + PATIENCE
        replies = self._name.subtopic(REPLY)
        while time.monotonic() < deadline:
            if any(topic.startswith(replies) for topic, _, _ in heard.messages):
                break
            token = self._commander.command("ping", aud=self._name.source)
            voice.say(token.encode(), self._name.subtopic(COMMAND, "ping"))
            time.sleep(1.0)

    def deliver(self, voice: Voice, roster: Roster, *, wait: bool = True) -> None:
        """Bring a roster, and wait until its file is there; it need not be in use."""
        own = EncryptionKey.load_or_create(encryption_key_path(self.settings.outbox.signing_key))
        brought = RosterRelease.of(roster, [Recipient.of(own.registration(self._name))])
        (manifest,) = brought.manifests.values()
        (at,) = brought.at.values()
        for entry, chunk in zip(brought.parcel.entries, brought.parcel.chunks, strict=True):
            voice.say(chunk, chunk_topic(at, entry.name), retain=True)
        token = sign_order(self._commander.key, TYP, manifest.model_dump(mode="json"))
        voice.say(token.encode(), manifest_topic(self._name), retain=True)
        if wait:
            until(lambda: self.version() == roster.version, PATIENCE)

    def version(self) -> int:
        """Return the version of the roster file."""
        rule = self.settings.roster
        return load(rule.file, bytes.fromhex(rule.key.read_text())).version

    def events(self) -> list[dict[str, Any]]:
        reader = OutboxReader(self.settings.outbox.file)
        found = [json.loads(from_b64url(row.token.split(".")[1])) for row in reader.after(0, 100)]
        reader.close()
        return found

    def attempt(self) -> dict[str, Any]:
        """Return what was recorded or refused, which is one event."""
        (found,) = [event for event in self.events() if "outcome" in event["data"]]
        data: dict[str, Any] = found["data"]
        return data


@pytest.fixture
def site(tmp_path: Path, studio: SceneRenderer, broker: PrivateBroker) -> Site:
    return Site(tmp_path, studio, broker)


def alike(settings: Settings, version: int) -> Roster:
    """Return a roster whose people resemble each other and the one known, so limits are higher."""
    person, embedder = known()
    rows = np.zeros((150, 1, 192), np.float32)
    rows[..., :40] = np.random.default_rng(version).normal(size=(150, 1, 40))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    rows += 0.35 * person.templates[0]
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    others = [
        Person(f"{n:032x}", f"{n:018}", "", exempt=False, templates=row)
        for n, row in enumerate(rows)
    ]
    return Roster(version, datetime.now(UTC), embedder, (person, *others))


def test_ordered_settings_are_in_force_for_the_next_attempt_and_in_its_event(
    site: Site, broker: PrivateBroker
) -> None:
    with site.unit() as unit:
        data = {"set": {"attendance.smile_threshold": 40, "attendance.smile_timeout": 9.5}}

        def order() -> None:
            with Listener(broker.settings) as heard, Voice(broker.settings) as voice:
                site.connected(voice, heard)
                site.command(voice, heard, "settings", data)
            site.ordered.set()

        run(unit, order, site)
    limits = site.attempt()["thresholds"]
    assert (limits["smile"], limits["smile_timeout"]) == (40.0, 9.5)
    codes = [event["data"].get("code") for event in site.events()]
    assert codes.index("command-done") < codes.index(None)


@pytest.mark.parametrize(
    ("orders", "pending"),
    [
        (("deliver", "settings", "reload"), False),
        (("deliver", "settings"), True),
        (("settings", "deliver"), True),
        (("deliver", "reload"), True),
        (("reload", "deliver"), True),
        (("deliver", "settings", "reload", "deliver"), True),
    ],
    ids=str,
)
def test_no_order_undoes_another(
    site: Site, broker: PrivateBroker, orders: tuple[str, ...], *, pending: bool
) -> None:
    """Settings and rosters come in any order, at work or while the main loop is busy."""
    versions = itertools.count(2)
    with site.unit(attendance={"smile_timeout": 6.5}) as unit:

        def order() -> None:
            with Listener(broker.settings) as heard, Voice(broker.settings) as voice:
                site.connected(voice, heard)
                if pending:
                    site.goes_on.clear()
                for each in orders:
                    match each:
                        case "deliver":
                            brought = alike(site.settings, next(versions))
                            site.deliver(voice, brought, wait=not pending)
                        case "settings":
                            data = {"set": {"attendance.smile_threshold": 40}}
                            site.command(voice, heard, each, data, wait=not pending)
                        case _:
                            site.command(voice, heard, each, wait=not pending)
                site.goes_on.set()
                until(lambda: all_done(site, orders), PATIENCE)
            site.ordered.set()

        run(unit, order, site)
    rule = site.settings.roster
    gallery = load(rule.file, bytes.fromhex(rule.key.read_text()))
    assert gallery.version == 1 + orders.count("deliver")
    attempt = site.attempt()
    assert attempt["roster"] == gallery.digest
    limits = attempt["thresholds"]
    required = adaptive_thresholds(gallery, rule)
    assert limits["margin"] == pytest.approx(required.margin, abs=1e-3)
    assert rule.threshold + 0.01 < limits["match"] <= required.max_threshold
    assert (limits.get("smile") == 40.0) == ("settings" in orders)
    assert (limits["smile_timeout"] == 6.5) == ("reload" in orders)


def all_done(site: Site, orders: tuple[str, ...]) -> bool:
    """Whether the last roster is in use, and every command was audited."""
    versions = [event["data"]["detail"]["version"] for event in told(site, "roster-installed")]
    commands = len(orders) - orders.count("deliver")
    done = told(site, "command-done")
    return 1 + orders.count("deliver") in versions and len(done) == commands


def told(site: Site, code: str) -> list[dict[str, Any]]:
    return [event for event in site.events() if event["data"].get("code") == code]


def run(unit: Daemon, order: Any, site: Site) -> None:
    """Run the unit while `order` gives its orders; what goes wrong there ends it."""
    wrong: list[BaseException] = []

    def give() -> None:
        try:
            order()
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            wrong.append(error)
            unit.stop()
        finally:
            site.goes_on.set()

    thread = threading.Thread(target=give)
    thread.start()
    unit.run()
    thread.join(PATIENCE)
    if wrong:
        raise wrong[0]
