"""What a version must be able to do on this unit before it is put in force."""

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

from edge.appliance.doctor.model_selfcheck import differences
from edge.camera import open_camera
from edge.contract.keys import SigningKey
from edge.errors import CameraError, CameraStalled, ModelError
from edge.inference.models import Models
from edge.inference.pipeline import Pipeline
from edge.outbox.integrity import check_integrity
from edge.roster.file import load
from edge.roster.keys import read_key
from edge.settings import Settings, load_settings
from edge.system.privileges import Owner, run_as

log = logging.getLogger(__name__)

FRAME_S = 5.0
BROKER_S = 3.0


def examine(config: Path | None) -> None:
    """Read the settings, judge one frame, open the outbox. Raises SenyumError: what fails.

    Nothing is changed. A broker that is away is only told: outages are what the outbox is for.
    """
    settings = load_settings(config)
    for name, part in PARTS.items():
        log.info("%s …", name)
        part(settings)


def _agrees(settings: Settings) -> None:
    """Every network answers here as it did where it was made."""
    for name, same in differences(Models(settings.inference.models)).items():
        if same is False:
            raise ModelError(f"network {name} does not answer here as where it was made")


def _judges(settings: Settings) -> None:
    """One camera frame goes through every network."""
    key = read_key(settings.roster.key, "roster key")
    embedder = Models(settings.inference.models).spec("identity").sha256
    gallery = load(settings.roster.file, key, embedder)
    pipeline = Pipeline(settings.inference, gallery)
    camera = open_camera(settings.camera)
    try:
        deadline = time.monotonic() + FRAME_S
        while True:
            try:
                pipeline.process(camera.read(1.0))
            except CameraStalled:
                if time.monotonic() > deadline:
                    raise CameraError(f"the camera gave no frame in {FRAME_S:.0f} s") from None
            else:
                return
    finally:
        camera.close()


def _signs(settings: Settings) -> None:
    if settings.outbox.signing_key.exists():
        SigningKey.load_or_create(settings.outbox.signing_key, settings.outbox.signing_algorithm)


def _keeps(settings: Settings) -> None:
    if settings.outbox.file.exists():
        with run_as(Owner.owner_of(settings.outbox.file)):
            check_integrity(settings.outbox.file, None)


def _reaches(settings: Settings) -> None:
    for broker in settings.broker.in_order:
        with contextlib.suppress(OSError):
            socket.create_connection((broker.host, broker.port), BROKER_S).close()
            return
    log.warning("no broker is reached now; events would wait")


PARTS: dict[str, Callable[[Settings], None]] = {
    "networks": _agrees,
    "camera, networks and roster": _judges,
    "signing key": _signs,
    "outbox": _keeps,
    "broker": _reaches,
}
