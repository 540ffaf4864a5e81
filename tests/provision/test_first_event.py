"""From a claim on the boot partition to an event that a receiver accepts, with nobody there."""

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from desk import Desk, claim
from private_servers import PrivateBroker
from wireunit import Listener

from edge.appliance.provision.boot import at_boot
from edge.capture.camera_controls import CaptureRequest
from edge.contract.envelope import verify
from edge.contract.events import AuditEvent
from edge.contract.keys import KeySet
from edge.contract.topics import TopicKind
from edge.daemon import Daemon
from edge.errors import EndOfReplay
from edge.gallery import DIMENSION
from edge.inference.models import Models
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.roster.keys import read_key
from edge.types import AuditCode, Frame, Yuv


class Door:
    """A camera that sees nobody until the broker has an event."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        grey = np.full((480, 640), 120, np.uint8)
        half = np.full((240, 320), 128, np.uint8)
        self._large = Yuv(grey, half, half)
        self._small = Yuv(grey[:240, :320], half[:120, :160], half[:120, :160])

    def read(self, timeout: float) -> Frame:
        time.sleep(0.05)
        if self._listener.events():
            raise EndOfReplay("over")
        return Frame(1, time.monotonic_ns(), self._large, self._small)

    def ask(self, wish: CaptureRequest) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.broker
def test_a_claim_is_all_it_takes(broker: PrivateBroker, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    address = {"host": "127.0.0.1", "port": broker.port, "tls": False}
    replay = {"driver": "replay", "replay": "unused"}
    desk.insert(claim(broker=address, gpio={"factory": "mock"}, camera=replay))
    done = at_boot(desk.machine, [desk.boot])
    assert done is not None
    settings = desk.settings
    # Who is enrolled comes later, under the key that was made.
    template = np.eye(1, DIMENSION, dtype=np.float32)
    person = Person("0" * 32, "198503022010011003", "B", exempt=False, templates=template)
    roster = Roster(1, datetime.now(UTC), Models().digests()["identity"], (person,))
    file = desk.state / "roster.senyum"
    save(file, read_key(settings.roster.key, "roster key"), roster)
    of_roster = settings.roster.model_copy(update={"file": file})
    settings = settings.model_copy(update={"roster": of_roster})
    with (
        Listener(broker.settings) as listener,
        Daemon(settings, camera=lambda: Door(listener)) as unit,
    ):
        unit.run()
        token = listener.events()[0]
    keys = KeySet.of([done.plan.registration])  # what the receipt says
    event = verify(token, keys, done.plan.unit.topic(TopicKind.EVENT)).event
    assert isinstance(event, AuditEvent)
    assert event.data.code is AuditCode.STARTED
    assert event.data.place.zone == "Asia/Jakarta"
