"""Every setting, with its unit and bounds, from a TOML file, the environment and credentials.

Order, strongest first: environment (`SENYUM_CAMERA__FPS=10`), the TOML file, the default here.
Secrets are never settings: a setting names the file, and `edge.system.key_files` reads it.
"""

import logging
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from edge.errors import SettingsError
from edge.setting_types import (
    AnyPath,
    Even,
    FilePath,
    Host,
    Name,
    Pin,
    Protocol,
    Seconds,
    Section,
    Share,
    UnitOfMeasure,
    Username,
    Zone,
)
from edge.system.supplied_files import as_text, read_regular
from edge.system.text import describe_validation_error, escaped
from edge.types import Direction, LivenessRules

log = logging.getLogger(__name__)

CONFIG_FILE = Path("/etc/senyum/senyum.toml")
STATE_DIR = Path("/var/lib/senyum")
LARGEST = 250_000  # bytes of a file of settings, or of a claim
# tomllib takes quadratic time for a name of many parts; ours have three.
_LONG_NAME = re.compile(r"(?:[^\s.\"'=#]++[ \t]*+\.[ \t]*+){32}")
_HEADER = re.compile(r"\s*\[{1,2}\s*([^\]#]+?)\s*\]{1,2}\s*(?:#.*)?")
# Settings of earlier versions: their present names.
_RENAMED = {
    "attendance.several_ratio": "attendance.second_face_ratio",
    "camera.face_stops": "camera.face_exposure_stops",
    "camera.warm_c": "camera.warm_temperature_c",
    "camera.wide_range": "camera.hdr",
    "outbox.reserve_mb": "outbox.min_free_mib",
    "roster.margin_most": "roster.max_margin",
    "roster.threshold_most": "roster.max_threshold",
    "roster.wrong_rate": "roster.false_match_rate",
}
# Settings of earlier versions that are constants of the models now.
_IN_MANIFEST = frozenset({"inference.detector_score", "liveness.frames", "liveness.motion"})
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


class CameraSettings(Section):
    """The camera: which one, its picture and its exposure."""

    driver: Literal["picamera2", "replay"] = Field(
        default="picamera2",
        description="Source of the pictures: the camera module, or `replay` for files.",
    )
    number: int = Field(
        default=0, ge=0, le=15, description="Number of the camera, as libcamera counts them."
    )
    main_width: Even = Field(default=1280, description="Width of the full picture.")
    main_height: Even = Field(default=960, description="Height of the full picture.")
    lores_width: Even = Field(
        default=320, description="Width of the small picture, in which faces are detected."
    )
    lores_height: Even = Field(default=240, description="Height of the small picture.")
    fps: Annotated[float, UnitOfMeasure("frames/s")] = Field(
        default=15.0, ge=1.0, le=60.0, description="Frame rate while somebody is in view."
    )
    idle_fps: Annotated[float, UnitOfMeasure("frames/s")] = Field(
        default=7.5,
        ge=1.0,
        le=60.0,
        description="Frame rate while nobody is in view; `fps` is the upper limit.",
    )
    rotation: Annotated[Literal[0, 90, 180, 270], UnitOfMeasure("degrees")] = Field(
        default=0, description="Clockwise rotation of the picture that turns it upright."
    )
    mirror: bool = Field(default=False, description="Mirror the picture left to right.")
    zoom: float = Field(
        default=1.0,
        ge=1.0,
        le=4.0,
        description="Digital zoom into the centre, for people far from the camera.",
    )
    focus_m: Annotated[float, UnitOfMeasure("m")] = Field(
        default=0.7, ge=0.1, le=10.0, description="Focus distance of a lens that can be moved."
    )
    mains_hz: Annotated[Literal[0, 50, 60], UnitOfMeasure("Hz")] = Field(
        default=50, description="Mains frequency of the lamps; 0 for light that does not flicker."
    )
    hdr: bool = Field(
        default=False, description="Use the sensor's high dynamic range mode if it has one."
    )
    face_exposure_stops: Annotated[float, UnitOfMeasure("stops")] = Field(
        default=3.0,
        ge=0.0,
        le=6.0,
        description="Maximum change of the exposure for a face; 0 leaves it to the camera.",
    )
    warm_temperature_c: Annotated[float, UnitOfMeasure("°C")] = Field(
        default=72.0,
        ge=40.0,
        le=85.0,
        description="Processor temperature above which the frame rate is reduced.",
    )
    stall_timeout: Seconds = Field(
        default=1.0, description="Time without a frame after which the camera is restarted."
    )
    replay: AnyPath | None = Field(
        default=None, description="Folder of photos or video file for the replay driver."
    )
    replay_loop: bool = Field(
        default=False, description="Start the replay again at its end instead of stopping."
    )

    @model_validator(mode="after")
    def _replay_has_a_path(self) -> Self:
        if self.driver == "replay" and self.replay is None:
            raise ValueError("driver replay needs camera.replay: a folder of photos or a video")
        return self


class QualityLimits(Section):
    """Which faces are good enough to be recognised or enrolled.

    Levels are those of luma, 0 (black) to 255, in the aligned crop of the face.
    """

    min_face_px: Annotated[float, UnitOfMeasure("pixels")] = Field(
        default=80.0, ge=16.0, le=2000.0, description="Minimum width of a face."
    )
    min_sharpness: float = Field(
        default=20.0, ge=0.0, description="Minimum variance of the Laplacian."
    )
    min_bright: Annotated[float, UnitOfMeasure("luma")] = Field(
        default=70.0,
        ge=0.0,
        le=255.0,
        description="Minimum level of the brightest hundredth of the face.",
    )
    min_backlit_bright: Annotated[float, UnitOfMeasure("luma")] = Field(
        default=100.0,
        ge=0.0,
        le=255.0,
        description="The same minimum when the surroundings are overexposed.",
    )
    max_luma: Annotated[float, UnitOfMeasure("luma")] = Field(
        default=225.0, ge=0.0, le=255.0, description="Maximum mean level of the face."
    )
    min_contrast: Annotated[float, UnitOfMeasure("luma")] = Field(
        default=12.0, ge=0.0, le=128.0, description="Minimum standard deviation of the level."
    )
    max_yaw: Annotated[float, UnitOfMeasure("degrees")] = Field(
        default=35.0, ge=5.0, le=90.0, description="Maximum turn of the head left or right."
    )
    max_pitch: Annotated[float, UnitOfMeasure("degrees")] = Field(
        default=30.0, ge=5.0, le=90.0, description="Maximum turn of the head up or down."
    )
    max_roll: Annotated[float, UnitOfMeasure("degrees")] = Field(
        default=30.0, ge=5.0, le=90.0, description="Maximum tilt of the head to one side."
    )


class InferenceSettings(Section):
    """The models and their use."""

    models: AnyPath | None = Field(
        default=None, description="Folder of the models; the shipped ones if not set."
    )
    threads: int = Field(default=1, ge=1, le=8, description="Threads that run one model.")
    smile_frames: int = Field(
        default=3, ge=1, le=15, description="Frames over which the smile score is smoothed."
    )
    quality: QualityLimits = QualityLimits()


class PlaceSettings(Section):
    """Where the unit is installed; every event contains it."""

    latitude: Annotated[float, UnitOfMeasure("degrees")] = Field(
        default=0.0, ge=-90.0, le=90.0, description="Latitude (WGS 84), north positive."
    )
    longitude: Annotated[float, UnitOfMeasure("degrees")] = Field(
        default=0.0, ge=-180.0, le=180.0, description="Longitude (WGS 84), east positive."
    )
    zone: Zone = Field(default="Asia/Jakarta", description="IANA time zone.")


class UnitSettings(Section):
    """The identity of the unit; the three names form its MQTT topic and its URN."""

    org: Name = Field(default="org", description="Organisation; must be set.")
    site: Name = Field(default="site", description="Site of the organisation; must be set.")
    name: Name = Field(default="unit", description="Name of the unit at its site; must be set.")
    direction: Direction = Field(
        default=Direction.UNSPECIFIED,
        description="Direction in which people pass the unit: `in`, `out` or `unspecified`.",
    )
    place: PlaceSettings = PlaceSettings()

    @property
    def source(self) -> str:
        """The unit's URN, the CloudEvents `source`."""
        return f"urn:senyum:{self.org}:{self.site}:{self.name}"


class RosterSettings(Section):
    """The face roster, and how similar a face must be to match.

    Similarities are cosines. Within their bounds, threshold and margin adapt to the roster so that
    `false_match_rate` is reached.
    """

    file: FilePath = Field(
        default=STATE_DIR / "roster.senyum", description="Encrypted face roster."
    )
    key: FilePath = Field(
        default=Path("/etc/senyum/roster.key"), description="Key of the roster, mode 0600."
    )
    threshold: float = Field(
        default=0.62, ge=-1.0, le=1.0, description="Minimum similarity; lower bound."
    )
    max_threshold: float = Field(
        default=0.8, ge=-1.0, le=1.0, description="Upper bound of the minimum similarity."
    )
    margin: float = Field(
        default=0.08,
        ge=0.0,
        le=1.0,
        description="Minimum lead over the second most similar person; lower bound.",
    )
    max_margin: float = Field(
        default=0.15, ge=0.0, le=1.0, description="Upper bound of the minimum lead."
    )
    false_match_rate: float = Field(
        default=1e-4,
        ge=0.0,
        le=0.1,
        description="Target share of strangers who match somebody; 0 disables the adaptation.",
    )

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.max_threshold < self.threshold or self.max_margin < self.margin:
            raise ValueError("max_threshold and max_margin are below threshold and margin")
        return self

    def required(self, likeness: float | None) -> float:  # noqa: ARG002 - of RosterLimits
        """Return the cosine that a match of this likeness must reach (`Match.likeness`)."""
        return self.threshold


class RosterLimits(RosterSettings):
    """The limits that a roster requires, within the bounds of its settings. In no file.

    `threshold` is that of a person of median likeness, for display.
    """

    least: float  # lower bound of the threshold
    base: float  # threshold at likeness 0
    weight: float  # cosine by which the threshold rises for a likeness of 1

    def required(self, likeness: float | None) -> float:
        """Return the cosine that a match of this likeness must reach (`Match.likeness`)."""
        if likeness is None:
            return self.threshold
        return max(self.least, min(self.base + self.weight * likeness, self.max_threshold))


class AttendanceSettings(Section):
    """The rules of one attempt (docs/session.md)."""

    smile: bool = Field(default=True, description="Ask people to smile.")
    smile_threshold: Annotated[float, UnitOfMeasure("points")] = Field(
        default=50.0, ge=1.0, le=99.0, description="Smile score that counts as a smile."
    )
    smile_rise: Annotated[float, UnitOfMeasure("points")] = Field(
        default=15.0,
        ge=0.0,
        le=50.0,
        description="Minimum rise of the smile score after the prompt; 0 accepts any smile.",
    )
    agreeing_frames: int = Field(
        default=3, ge=1, le=30, description="Frames that must agree on an identity."
    )
    unknown_frames: int = Field(
        default=8, ge=1, le=60, description="Frames without a match before a person is unknown."
    )
    smile_timeout: Seconds = Field(default=8.0, description="Time to smile after the prompt.")
    exempt_pause: Seconds = Field(
        default=1.2,
        description="Wait before an exempt person is recorded, so that nobody can see who is.",
    )
    cool_down: Seconds = Field(
        default=300.0, description="Time after a record in which a person is not recorded again."
    )
    leave_after: Seconds = Field(
        default=1.0, description="Time without the face after which the person has left."
    )
    second_face_ratio: Share = Field(
        default=0.7,
        description="Width of a second face, relative to the first, that counts as two people.",
    )


class LivenessSettings(Section):
    """The liveness threshold of this site, and the smile as a sign of life (docs/session.md).

    All other thresholds of the models are in their manifest, models/manifest.toml.
    """

    threshold: float | None = Field(
        default=None,
        ge=0.001,
        le=0.999,
        description="Minimum liveness score of an attempt, as `senyum liveness-check` proposes it; "
        "that of the model if not set.",
    )
    threshold_model: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{8,64}$",
        description="First digits of the SHA-256 of the model `recapture` that `threshold` was "
        "measured with; with any other model `threshold` has no effect.",
    )

    reaction: Annotated[float, UnitOfMeasure("s")] = Field(
        default=0.15,
        ge=0.0,
        le=1.0,
        description="Minimum reaction time; a smile that starts sooner does not count.",
    )
    prompt_delay: Annotated[float, UnitOfMeasure("s")] = Field(
        default=0.3,
        ge=0.0,
        le=5.0,
        description="Maximum of the random delay before the prompt.",
    )

    @model_validator(mode="after")
    def _threshold_with_its_model(self) -> Self:
        if (self.threshold is None) != (self.threshold_model is None):
            raise ValueError("threshold and threshold_model go together")
        return self


class GpioSettings(Section):
    """The pins of the panel by BCM number, brightness and volume."""

    factory: Literal["lgpio", "mock"] = Field(
        default="lgpio", description="gpiozero pin factory; `mock` for a panel without hardware."
    )
    green: Pin = Field(default=17, description="Pin of the green LED.")
    red: Pin = Field(default=27, description="Pin of the red LED.")
    buzzer: Pin = Field(default=18, description="Pin of the buzzer.")
    green_active_high: bool = Field(default=True, description="The green LED lights at 3.3 V.")
    red_active_high: bool = Field(default=True, description="The red LED lights at 3.3 V.")
    buzzer_active_high: bool = Field(default=True, description="The buzzer sounds at 3.3 V.")
    brightness: Share = Field(default=1.0, description="Brightness of the LEDs.")
    volume: Share = Field(default=0.6, description="Volume of the buzzer.")

    @model_validator(mode="after")
    def _pins_differ(self) -> Self:
        if len({self.green, self.red, self.buzzer}) < 3:
            raise ValueError(
                f"a pin is used twice: green {self.green}, red {self.red}, buzzer {self.buzzer}"
            )
        return self


class OtherBrokerSettings(Section):
    """A fallback broker; settings that are left out are those of `[broker]`."""

    host: Host = Field(description="Host name or IP address.")
    port: int | None = Field(default=None, ge=1, le=65535, description="TCP port.")
    tls: bool | None = Field(default=None, description="Use TLS.")
    ca: FilePath | None = Field(default=None, description="CA certificates, PEM.")
    certificate: FilePath | None = Field(default=None, description="Client certificate, PEM.")
    certificate_key: FilePath | None = Field(default=None, description="Its key, PEM, mode 0600.")
    username: Username | None = Field(default=None, description="User name.")
    password: FilePath | None = Field(default=None, description="Password file, mode 0600.")
    protocol: Protocol | None = Field(default=None, description="MQTT version.")


class BrokerSettings(Section):
    """The MQTT broker that receives the events."""

    host: Host = Field(default="localhost", description="Host name or IP address.")
    port: int = Field(default=1883, ge=1, le=65535, description="TCP port.")
    tls: bool = Field(default=False, description="Use TLS.")
    ca: FilePath | None = Field(
        default=None, description="CA certificates, PEM; those of the system if not set."
    )
    certificate: FilePath | None = Field(
        default=None, description="The unit's client certificate, PEM."
    )
    certificate_key: FilePath | None = Field(default=None, description="Its key, PEM, mode 0600.")
    username: Username | None = Field(default=None, description="User name.")
    password: FilePath | None = Field(default=None, description="Password file, mode 0600.")
    protocol: Protocol = Field(
        default="auto", description="MQTT version; `auto` tries 5, then 3.1.1."
    )
    keepalive: Annotated[int, UnitOfMeasure("s")] = Field(
        default=30, ge=5, le=600, description="MQTT keep-alive interval."
    )
    window: int = Field(
        default=20, ge=1, le=1000, description="Maximum number of unacknowledged events."
    )
    backoff_min: Seconds = Field(
        default=1.0, description="Shortest wait before a new connection attempt."
    )
    backoff_max: Seconds = Field(
        default=60.0, description="Longest wait before a new connection attempt."
    )
    health_period: Annotated[float, UnitOfMeasure("s")] = Field(
        default=60.0, ge=5.0, le=3600.0, description="Time between two health reports."
    )
    others: tuple[OtherBrokerSettings, ...] = Field(
        default=(), max_length=7, description="Fallback brokers in order of preference."
    )

    @property
    def in_order(self) -> tuple["BrokerSettings", ...]:
        """Every broker, the preferred one first, each complete and without others."""
        own = self.model_dump(exclude={"others"})
        every = [BrokerSettings(**own)]
        for other in self.others:
            plain = {"ca": None, "certificate": None, "certificate_key": None}
            base = {**own, **plain} if other.tls is False else own
            every.append(BrokerSettings(**{**base, **other.model_dump(exclude_none=True)}))
        return tuple(every)

    @model_validator(mode="after")
    def _others_are_complete(self) -> Self:
        if not self.others:
            return self
        try:
            places = [(broker.host, broker.port) for broker in self.in_order]
        except ValidationError as error:
            why = describe_validation_error(error.errors(include_url=False)[0])
            raise ValueError(f"one of its others: {why}") from None
        if len(set(places)) < len(places):
            raise ValueError("the same host and port stand twice among broker and its others")
        return self

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key go together")
        if not self.tls and (self.ca or self.certificate):
            raise ValueError("ca and certificate need tls = true")
        if self.password is not None and self.username is None:
            raise ValueError("password needs username: MQTT 3.1.1 sends none without it")
        return self


class OutboxSettings(Section):
    """The store of signed events, and how long it keeps them."""

    file: FilePath = Field(default=STATE_DIR / "outbox.db", description="SQLite database.")
    signing_key: FilePath = Field(
        default=STATE_DIR / "signing.key", description="Key that signs events; made if missing."
    )
    signing_algorithm: Literal["Ed25519", "ES256"] = Field(
        default="Ed25519", description="Algorithm of a signing key that is made."
    )
    retention_days: Annotated[int, UnitOfMeasure("days")] = Field(
        default=90, ge=1, le=3650, description="Time that acknowledged events are kept."
    )
    retention_events: int = Field(
        default=100_000, ge=100, le=10_000_000, description="Number of events that are kept."
    )
    min_free_mib: Annotated[int, UnitOfMeasure("MiB")] = Field(
        default=64,
        ge=1,
        le=100_000,
        description="Free disk space below which nothing is recorded.",
    )
    replay_rate: Annotated[float, UnitOfMeasure("events/s")] = Field(
        default=20.0, gt=0.0, le=1000.0, description="Rate at which events are sent again."
    )


class AuthoritySettings(Section):
    """Who may send commands to this unit (docs/commands.md)."""

    keys: FilePath = Field(
        default=Path("/etc/senyum/authorities.json"),
        description="JWK set of the command keys; without the file no command is accepted.",
    )


class ClockSettings(Section):
    """How the unit learns whether its clock is correct."""

    state_file: FilePath | None = Field(
        default=None,
        description="File that `senyum clock-watch` writes; the kernel's state if not set.",
    )
    stale_after: Seconds = Field(
        default=60.0, description="Age after which the content of that file is ignored."
    )


class Settings(BaseSettings):
    """All settings. `load_settings` reads them."""

    model_config = SettingsConfigDict(
        env_prefix="SENYUM_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    unit: UnitSettings = UnitSettings()
    camera: CameraSettings = CameraSettings()
    inference: InferenceSettings = InferenceSettings()
    roster: RosterSettings = RosterSettings()
    attendance: AttendanceSettings = AttendanceSettings()
    liveness: LivenessSettings = LivenessSettings()
    gpio: GpioSettings = GpioSettings()
    broker: BrokerSettings = BrokerSettings()
    outbox: OutboxSettings = OutboxSettings()
    clock: ClockSettings = ClockSettings()
    authority: AuthoritySettings = AuthoritySettings()

    @model_validator(mode="after")
    def _files_differ(self) -> Self:
        written = {
            "roster.file": self.roster.file,
            "roster.key": self.roster.key,
            "outbox.file": self.outbox.file,
            "outbox.signing_key": self.outbox.signing_key,
            "authority.keys": self.authority.keys,
        }
        for name, path in written.items():
            if same := [other for other in written if written[other] == path and other != name]:
                raise ValueError(f"{name} and {same[0]} are the same file, {path}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    def thresholds(self, living: LivenessRules) -> dict[str, float]:
        """Return the limits that decide an attempt, as events carry them.

        The smile threshold is not among them: each attempt states the one that it applied.
        """
        rules = self.attendance
        return {
            "match": self.roster.threshold,
            "margin": self.roster.margin,
            "agreeing_frames": rules.agreeing_frames,
            "unknown_frames": rules.unknown_frames,
            "smile_rise": rules.smile_rise,
            "smile_timeout": rules.smile_timeout,
            "liveness": living.threshold,
            "liveness_frames": living.frames,
            "motion": living.motion,
            "reaction": living.reaction,
            "prompt_delay": living.prompt_delay,
        }


def describe_errors(
    error: ValidationError, where: str, what: str = "settings", text: str = ""
) -> str:
    """Return one line for the first wrong setting: its name, its value, what is allowed.

    `text` is the TOML that it was read from, for the number of its line.
    """
    errors = error.errors(include_url=False)
    # A name that is spelt wrong comes first: what is missing is missing because of it.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    name = ".".join(escaped(part)[:64] for part in first["loc"]) or what
    variable = "SENYUM_" + "__".join(str(part) for part in first["loc"]).upper()
    if variable in os.environ:
        where = variable
    elif line := line_of(text, first["loc"]):
        where = f"{where}: line {line}"
    more = error.error_count() - 1
    tail = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        if new := _RENAMED.get(name):
            return f"{where}: {name} is now named {new}; rename it{tail}"
        if name in _IN_MANIFEST:
            return f"{where}: {name} moved to the model manifest; remove it{tail}"
        return (
            f"{where}: {name} is not a setting of Senyum; remove it or correct its spelling{tail}"
        )
    if first["type"] == "missing":
        return f"{where}: {name} {describe_validation_error(first)}{tail}"
    # A rule about several settings of a section has the whole section as its input.
    value = (
        ""
        if isinstance(first["input"], dict | BaseModel)
        else f" is {escaped(repr(first['input'])):.200}"
    )
    return f"{where}: {name}{value}: {describe_validation_error(first)}{tail}"


def line_of(text: str, location: Sequence[object]) -> int | None:
    """Return the line of a TOML text that sets a name, or the nearest table around it; from 1.

    None if it is not there in a usual form: an inline table, or a name in quotes.
    """
    wanted = [str(part) for part in location]
    table: list[str] = []
    counts: dict[tuple[str, ...], int] = {}
    found: tuple[int, int] | None = None  # parts that agree, line
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.fullmatch(line):
            table = [part.strip(" \t\"'") for part in header[1].split(".")]
            if line.lstrip().startswith("[["):
                index = counts[tuple(table)] = counts.get(tuple(table), -1) + 1
                table.append(str(index))
            here = table
        elif key := _KEY.match(line):
            here = [*table, *(part.strip("\"'") for part in key[1].split("."))]
        else:
            continue
        if here == wanted[: len(here)] and (found is None or len(here) > found[0]):
            found = len(here), number
    return found[1] if found else None


def parse_toml(content: bytes) -> tuple[dict[str, Any], str]:
    """Return what a TOML file in UTF-8 says, and its text. ValueError names the line."""
    text = as_text(content)
    if text.startswith("\ufeff"):
        raise ValueError("line 1 starts with a second byte order mark (U+FEFF); remove it")
    for number, line in enumerate(text.split("\n"), start=1):
        if "." in line and _LONG_NAME.search(line):
            raise ValueError(f"line {number} has a name of more than 32 parts")
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise ValueError("tables or lists are nested too deeply") from None
    except ValueError as error:
        lines = text.rstrip().split("\n")
        at = re.search(r"at line (\d+)", str(error))
        number = min(int(at[1]), len(lines)) if at else len(lines)
        key = _KEY.match(lines[number - 1])
        message = str(error) if at else f"{error}, line {number}"
        named = f"; the name there is {escaped(key[1])}" if key else ""
        raise ValueError(f"{message}{named}") from None
    _check_integers(found, text)
    return found, text


def _check_integers(content: dict[str, Any], text: str) -> None:
    """Refuse integers beyond 64 bits, which TOML does not have: Python cannot even print some."""
    waiting: list[tuple[tuple[object, ...], object]] = [((), content)]
    for path, value in waiting:  # which grows meanwhile
        if isinstance(value, dict):
            waiting += [((*path, name), part) for name, part in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, number), part) for number, part in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            name = ".".join(escaped(part)[:64] for part in path)
            at = f", line {line}" if (line := line_of(text, path)) else ""
            raise ValueError(f"{name} is an integer of more than 64 bits{at}")


def read_file(file: Path) -> tuple[dict[str, Any], str]:
    """Return what a settings file says, unchecked, and its text. Raises SettingsError."""
    try:
        return parse_toml(read_regular(file, LARGEST))
    except FileNotFoundError:
        raise SettingsError(f"{file}: no such settings file; name one with --config") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{file}: cannot be read as TOML in UTF-8: {error}") from None


def respelt(content: object, used: object, name: str = "") -> Iterator[str]:
    """Yield a sentence for each text of `content` that is used in another spelling.

    `used` is the model as JSON that was made of it; what it lacks is left out.
    """
    if isinstance(content, Mapping) and isinstance(used, Mapping):
        for key in content.keys() & used.keys():
            yield from respelt(content[key], used[key], f"{name}.{key}" if name else key)
    elif isinstance(content, list) and isinstance(used, list):
        for number, (one, ours) in enumerate(zip(content, used, strict=False)):
            yield from respelt(one, ours, f"{name}.{number}")
    elif isinstance(content, str) and isinstance(used, str) and Path(content) != Path(used):
        yield f"{name} is {content!a}: {used} is used; write that"


def remarks(config: Path | None = None) -> list[str]:
    """Return what `load` would log of settings that are used in another spelling."""
    file = _named(config)
    content = read_file(file)[0] if file else {}
    return sorted(respelt(content, load(config).model_dump(mode="json")))


def _named(config: Path | None) -> Path | None:
    named = config or (Path(p) if (p := os.environ.get("SENYUM_CONFIG")) else None)
    return named or (CONFIG_FILE if CONFIG_FILE.is_file() else None)


def load(config: Path | None = None) -> Settings:
    """Read the settings.

    `config` is a TOML file that must exist; without one, `SENYUM_CONFIG` is, and without that
    /etc/senyum/senyum.toml is read if it is there. Raises SettingsError.
    """
    file = _named(config)
    content, text = read_file(file) if file else ({}, "")
    for variable in os.environ:
        section = variable.removeprefix("SENYUM_").split("__")[0]
        ours = variable.startswith("SENYUM_") and "__" in variable
        if ours and section.lower() not in Settings.model_fields:
            raise SettingsError(f"{variable}: {section.lower()} is not a section of the settings")
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise SettingsError(describe_errors(error, str(file or "environment"), text=text)) from None
    except SourceError as error:  # a whole section as a variable, and not JSON
        raise SettingsError(f"environment: {error}; set one setting a variable") from None
    for sentence in respelt(content, settings.model_dump(mode="json")):
        log.warning("%s: %s", file, sentence)
    return settings


class SettingsFile:
    """The settings file of a unit, which can be read again while the daemon runs."""

    def __init__(self, path: Path | None = None) -> None:
        """`path`: None for the default."""
        self._path = path

    def load(self) -> Settings:
        """Read the file. Raises SettingsError."""
        return load_settings(self._path)


def load_settings(config: Path | None = None) -> Settings:
    """Read the settings of a unit that has a name of its own. Raises SettingsError."""
    settings = load(config)
    if not {"org", "site", "name"} <= settings.unit.model_fields_set:
        raise SettingsError(
            f"unit.org, unit.site and unit.name are not all set; write them in {CONFIG_FILE}, or "
            "name another settings file with --config"
        )
    return settings
