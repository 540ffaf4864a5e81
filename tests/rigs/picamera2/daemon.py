"""The whole way on the virtual camera: the real daemon, a broker outside, a central server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

NUMBER = "198501172010011003"
SETTINGS = """
[unit]
org = "depok"
site = "rig"
name = "virtual"
[camera]
driver = "picamera2"
[roster]
file = "{folder}/roster.senyum"
key = "{folder}/roster.key"
[outbox]
file = "{folder}/outbox.db"
signing_key = "{folder}/signing.key"
[gpio]
factory = "mock"
[broker]
host = "127.0.0.1"
port = {port}
[attendance]
smile = false  # a still picture cannot begin to smile
"""


def a_known_face_before_the_camera_reaches_central(faces: Path, frames: Path) -> str:
    """Return what the daemon weighs meanwhile, in words."""
    folder = Path("/tmp/unit")
    folder.mkdir(mode=0o700)
    port = os.environ["SENYUM_RIG_BROKER"]
    config = folder / "senyum.toml"
    config.write_text(SETTINGS.format(folder=folder, port=port))
    show(faces / "obama2.jpg", frames)
    enroll(config, [faces / "obama.jpg", faces / "obama3.jpg"])
    keys = folder / "keys.json"
    senyum("keys", "--config", config, "--add-to", keys)
    where = ["--broker", f"127.0.0.1:{port}", "--keys", keys, "--store", folder / "central.db"]
    received = folder / "receive.out"

    with (
        started(received, "senyum", "receive", "--json", *where),
        started(
            folder / "run.out", sys.executable, "-m", "virtual_camera", "run", "--config", config
        ) as daemon,
    ):
        deadline = time.monotonic() + 45.0
        while (event := first_attendance(received)) is None and daemon.poll() is None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        weight = resident(daemon)
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(5.0)
    assert event is not None, f"no event; {tails(folder)}"
    assert event["type"] == "senyum.attendance.recorded.v1", event
    assert status == 0, f"exit status {status}; {tails(folder)}"
    return f"the daemon with Picamera2 was resident with {weight}"


def resident(process: subprocess.Popen[bytes]) -> str:
    status = Path(f"/proc/{process.pid}/status").read_text()
    kinds = dict(line.split(":", 1) for line in status.splitlines())
    names = ("VmRSS", "RssAnon", "RssFile", "RssShmem")
    return ", ".join(f"{name} {kinds[name].strip()}" for name in names if name in kinds)


def tails(folder: Path) -> str:
    return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in folder.glob("*.err"))


def first_attendance(received: Path) -> dict[str, Any] | None:
    """Return the first verified attendance event in what `senyum receive --json` printed."""
    for line in received.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            event: dict[str, Any] = json.loads(line).get("event", {})
            if event.get("type", "").startswith("senyum.attendance."):
                return event
    return None


def show(photo: Path, frames: Path) -> None:
    """Put one face before the camera, with the noise of a sensor."""
    shutil.rmtree(frames)
    frames.mkdir()
    with Image.open(photo) as image:
        still = np.asarray(ImageOps.pad(image.convert("RGB"), (1280, 960))).astype(np.int16)
    noise = np.random.default_rng(7)
    for number in range(4):
        noisy = still + noise.integers(-3, 4, still.shape, np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(frames / f"{number}.jpg")


def enroll(config: Path, photos: list[Path]) -> None:
    folder = config.parent / "photos" / NUMBER
    folder.mkdir(parents=True)
    for photo in photos:
        shutil.copy(photo, folder)
    people = config.with_name("people.csv")
    people.write_text(f"number,name,exempt\n{NUMBER},Example,no\n")
    senyum("enroll", "--config", config, "--people", people, "--photos", folder.parent)


def senyum(*arguments: object) -> None:
    command = ["senyum", *map(str, arguments)]
    done = subprocess.run(command, check=False, timeout=60, text=True, capture_output=True)
    assert done.returncode == 0, f"{arguments[0]}: {done.stdout}{done.stderr}"


@contextmanager
def started(output: Path, *command: object) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
