"""Tests whether a version works on this unit, before `senyum update` activates it."""

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


def run_tests(config: Path | None) -> None:
    """Read the settings, process one frame, open the outbox. Raises SenyumError.

    Changes nothing. An unreachable broker is only logged, because the outbox covers outages.
    """
    settings = load_settings(config)
    for name, test in TESTS.items():
        log.info("%s …", name)
        test(settings)


def _test_models(settings: Settings) -> None:
    """Check that every model gives its reference outputs."""
    for name, same in differences(Models(settings.inference.models)).items():
        if same is False:
            raise ModelError(f"model {name} does not give its reference outputs on this machine")


def _test_camera(settings: Settings) -> None:
    """Process one camera frame with every model."""
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
                    raise CameraError(f"the camera delivered no frame in {FRAME_S:.0f} s") from None
            else:
                return
    finally:
        camera.close()


def _test_signing_key(settings: Settings) -> None:
    if settings.outbox.signing_key.exists():
        SigningKey.load_or_create(settings.outbox.signing_key, settings.outbox.signing_algorithm)


def _test_outbox(settings: Settings) -> None:
    if settings.outbox.file.exists():
        with run_as(Owner.owner_of(settings.outbox.file)):
            check_integrity(settings.outbox.file, None)


def _test_broker(settings: Settings) -> None:
    for broker in settings.broker.in_order:
        with contextlib.suppress(OSError):
            socket.create_connection((broker.host, broker.port), BROKER_S).close()
            return
    log.warning("no broker is reachable now; events would wait")


TESTS: dict[str, Callable[[Settings], None]] = {
    "models": _test_models,
    "camera, models and roster": _test_camera,
    "signing key": _test_signing_key,
    "outbox": _test_outbox,
    "broker": _test_broker,
}
