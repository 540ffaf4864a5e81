"""A real unit that knows the person of the scenes, and a camera that plays what a test wants."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from edge.capture.camera_controls import CaptureRequest
from edge.errors import EndOfReplay
from edge.images import from_image, shrink
from edge.inference.face_analyzer import FaceAnalyzer
from edge.roster.codec import Person, Roster
from edge.roster.file import save
from edge.roster.keys import make_key
from edge.settings import InferenceSettings, Settings
from edge.types import Frame, Yuv

FACES = Path(__file__).parent.parent / "faces"
FPS = 15.0
PERSON = "0123456789abcdef" * 2


class Played:
    """A camera that plays pictures at its rate; what is no picture is raised."""

    def __init__(self, pictures: Iterator[Yuv | Exception]) -> None:
        self._pictures = pictures
        self._number = 0

    def read(self, timeout: float) -> Frame:
        time.sleep(min(timeout, 1 / FPS))
        picture = next(self._pictures, EndOfReplay("over"))
        if isinstance(picture, Exception):
            raise picture
        self._number += 1
        return Frame(self._number, time.monotonic_ns(), picture, shrink(picture, 320, 240))

    def ask(self, wish: CaptureRequest) -> None:
        pass

    def close(self) -> None:
        pass


def settings_in(folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "camera": {"driver": "replay", "replay": "frames", "fps": FPS},
            "roster": {"file": folder / "roster.senyum", "key": folder / "roster.key"},
            "outbox": {"file": folder / "outbox.db", "signing_key": folder / "signing.key"},
            "gpio": {"factory": "mock"},
            "broker": {"port": 1},  # nobody is there
        }
    )


def known() -> tuple[Person, str]:
    """Return the person of the scenes, and the digest of the network that made the template."""
    examiner = FaceAnalyzer(InferenceSettings())
    photo = from_image(Image.open(FACES / "obama3.jpg"))
    template = examiner.analyze(photo)[0].template
    person = Person(PERSON, "198503022010011003", "B. O.", exempt=False, templates=template[None])
    return person, examiner.digests["identity"]


def knowing(folder: Path) -> Settings:
    """Return the settings of a unit whose roster, version 1, is that person."""
    person, embedder = known()
    key = make_key(folder / "roster.key", "roster key")
    save(folder / "roster.senyum", key, Roster(1, datetime.now(UTC), embedder, (person,)))
    return settings_in(folder)
