"""Every setting, with its unit and bounds, from a TOML file, the environment and credentials.

Order, strongest first: environment (`SENYUM_CAMERA__FPS=10`), the TOML file, the default here.
Secrets are never settings: a setting names the file, and `read_secret` reads it, from the
service's credentials directory first (systemd's LoadCredential), then from the path.
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from edge.errors import SecretError, SettingsError
from edge.types import Direction

CONFIG_FILE = Path("/etc/senyum/senyum.toml")
STATE_DIR = Path("/var/lib/senyum")

# One level of an MQTT topic and one part of the unit's URN (docs/wire.md).
Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0, le=3600.0)]
Even = Annotated[int, Field(ge=64, le=4096, multiple_of=2)]
Pin = Annotated[int, Field(ge=0, le=27)]


def _known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ValueError, KeyError, OSError):
        raise ValueError("not an IANA time zone such as Asia/Jakarta") from None
    return zone


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlaceSettings(_Section):
    """Where the unit hangs; written into every event."""

    latitude: float = Field(default=0.0, ge=-90.0, le=90.0, description="degrees, WGS 84")
    longitude: float = Field(default=0.0, ge=-180.0, le=180.0, description="degrees, WGS 84")
    zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        default="Asia/Jakarta", description="IANA time zone"
    )


class UnitSettings(_Section):
    """Who this unit is; the three names are its topic and its URN."""

    org: Name = "org"
    site: Name = "site"
    name: Name = "unit"
    direction: Direction = Direction.UNSPECIFIED
    place: PlaceSettings = PlaceSettings()

    @property
    def source(self) -> str:
        """The unit's URN, the CloudEvents `source`."""
        return f"urn:senyum:{self.org}:{self.site}:{self.name}"


class CameraSettings(_Section):
    """Which camera, how large, how fast."""

    driver: Literal["picamera2", "replay"] = "picamera2"
    number: int = Field(default=0, ge=0, le=15, description="camera number of libcamera")
    main_width: Even = 1280
    main_height: Even = 960
    lores_width: Even = 320
    lores_height: Even = 240
    fps: float = Field(default=15.0, ge=1.0, le=60.0, description="frames a second")
    stall_timeout: Seconds = Field(default=1.0, description="seconds without a frame")
    replay: Path | None = Field(default=None, description="folder of photos or a video file")
    replay_loop: bool = False

    @model_validator(mode="after")
    def _replay_has_a_path(self) -> Self:
        if self.driver == "replay" and self.replay is None:
            raise ValueError("driver replay needs camera.replay: a folder of photos or a video")
        return self


class QualityLimits(_Section):
    """Which faces can be judged; also the gates of enrolment.

    Levels are those of luma, 0 (black) to 255, in the crop that identity is judged by.
    """

    min_face_px: float = Field(
        default=80.0, ge=16.0, le=2000.0, description="pixels, about the face's width"
    )
    min_sharpness: float = Field(default=20.0, ge=0.0, description="variance of the Laplacian")
    min_bright: float = Field(
        default=70.0, ge=0.0, le=255.0, description="level of the face's brightest hundredth"
    )
    min_backlit_bright: float = Field(
        default=100.0, ge=0.0, le=255.0, description="the same where the surroundings glare"
    )
    max_luma: float = Field(default=225.0, ge=0.0, le=255.0, description="mean level")
    min_contrast: float = Field(default=12.0, ge=0.0, le=128.0, description="deviation of level")
    max_yaw: float = Field(default=35.0, ge=5.0, le=90.0, description="degrees")
    max_pitch: float = Field(default=30.0, ge=5.0, le=90.0, description="degrees")
    max_roll: float = Field(default=30.0, ge=5.0, le=90.0, description="degrees")


class InferenceSettings(_Section):
    """The networks."""

    models: Path | None = Field(default=None, description="folder; default: the shipped models")
    threads: int = Field(default=1, ge=1, le=8)
    detector_score: Share = Field(default=0.5, description="least confidence of a face")
    smile_frames: int = Field(default=3, ge=1, le=15, description="frames the smile is smoothed")
    quality: QualityLimits = QualityLimits()


class RosterSettings(_Section):
    """Who can be recognised, and how near is near enough."""

    file: Path = STATE_DIR / "roster.senyum"
    key: Path = Path("/etc/senyum/roster.key")
    threshold: float = Field(
        default=0.62, ge=-1.0, le=1.0, description="cosine; the least, and of a small roster"
    )
    threshold_most: float = Field(default=0.8, ge=-1.0, le=1.0, description="cosine")
    margin: float = Field(
        default=0.08, ge=0.0, le=1.0, description="cosine to the runner-up; the least, as above"
    )
    margin_most: float = Field(default=0.15, ge=0.0, le=1.0, description="cosine")
    wrong_rate: float = Field(
        default=1e-4,
        ge=0.0,
        le=0.1,
        description="strangers taken for somebody, aimed at by roster; 0: threshold as it is here",
    )

    @model_validator(mode="after")
    def _most_is_not_least(self) -> Self:
        if self.threshold_most < self.threshold or self.margin_most < self.margin:
            raise ValueError("threshold_most and margin_most are below threshold and margin")
        return self


class AttendanceSettings(_Section):
    """The rules of one attempt."""

    smile: bool = Field(default=True, description="false: nobody is asked to smile")
    smile_threshold: float = Field(default=50.0, ge=1.0, le=99.0)
    smile_rise: float = Field(
        default=15.0, ge=0.0, le=50.0, description="points since the prompt; 0: any smile counts"
    )
    agreeing_frames: int = Field(default=3, ge=1, le=30, description="before an identity counts")
    unknown_frames: int = Field(default=8, ge=1, le=60, description="before somebody is unknown")
    smile_timeout: Seconds = 8.0
    exempt_pause: Seconds = Field(default=1.2, description="so that nobody can tell who is exempt")
    cool_down: Seconds = Field(default=300.0, description="one record a person in this time")
    leave_after: Seconds = Field(default=1.0, description="without the face: it has gone")
    several_ratio: Share = Field(default=0.7, description="second face's width over the first's")


class LivenessSettings(_Section):
    """What tells a person from a photo or a screen (docs/session.md, docs/accuracy.md)."""

    threshold: Share = Field(default=0.5, description="mean score of the judged frames, or more")
    frames: int = Field(default=5, ge=3, le=15, description="judged frames before it counts")
    motion: float = Field(
        default=0.05,
        ge=0.0,
        le=1.0,
        description="of the mouth in a smile that counts, eye distances; 0: any",
    )
    reaction: float = Field(
        default=0.15, ge=0.0, le=1.0, description="seconds; nobody answers a prompt sooner"
    )
    prompt_delay: float = Field(
        default=0.3, ge=0.0, le=5.0, description="seconds; the prompt comes up to so much later"
    )


class GpioSettings(_Section):
    """Pins by BCM number, polarity, brightness and volume."""

    factory: Literal["lgpio", "mock"] = "lgpio"
    green: Pin = 17
    red: Pin = 27
    buzzer: Pin = 18
    green_active_high: bool = True
    red_active_high: bool = True
    buzzer_active_high: bool = True
    brightness: Share = 1.0
    volume: Share = 0.6

    @model_validator(mode="after")
    def _pins_differ(self) -> Self:
        if len({self.green, self.red, self.buzzer}) < 3:
            raise ValueError(
                f"a pin is used twice: green {self.green}, red {self.red}, buzzer {self.buzzer}"
            )
        return self


class BrokerSettings(_Section):
    """Where events go."""

    host: str = "localhost"
    port: int = Field(default=1883, ge=1, le=65535)
    tls: bool = False
    ca: Path | None = Field(default=None, description="PEM; default: the system's authorities")
    certificate: Path | None = Field(default=None, description="PEM of the unit's certificate")
    certificate_key: Path | None = Field(default=None, description="PEM of its key, mode 0600")
    username: str | None = None
    password: Path | None = Field(default=None, description="file, mode 0600")
    keepalive: int = Field(default=30, ge=5, le=600, description="seconds")
    window: int = Field(default=20, ge=1, le=1000, description="events sent and not acknowledged")
    backoff_min: Seconds = 0.5
    backoff_max: Seconds = 60.0

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key go together")
        if not self.tls and (self.ca or self.certificate):
            raise ValueError("ca and certificate need tls = true")
        return self


class OutboxSettings(_Section):
    """Where events wait, and how long they are kept afterwards."""

    file: Path = STATE_DIR / "outbox.db"
    signing_key: Path = STATE_DIR / "signing.key"
    retention_days: int = Field(default=90, ge=1, le=3650)
    retention_events: int = Field(default=100_000, ge=100)


class Settings(BaseSettings):
    """All of them. Build with `load`."""

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

    @property
    def thresholds(self) -> dict[str, float]:
        """The limits in force that decide an attempt, as events carry them.

        The smile's own threshold is not here: each attempt says whether it was held against it.
        """
        rules, living = self.attendance, self.liveness
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


def _say(error: ValidationError, where: str) -> str:
    """One line for the first wrong setting: its name, its value, what is allowed."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    variable = "SENYUM_" + "__".join(str(part) for part in first["loc"]).upper()
    if variable in os.environ:
        where = variable
    more = error.error_count() - 1
    tail = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"{where}: {name} is no setting of Senyum; remove it or mend its spelling{tail}"
    message = first["msg"].removeprefix("Value error, ")
    # A rule about several settings of a section has the whole section as its input.
    value = "" if isinstance(first["input"], dict | BaseModel) else f" is {first['input']!r}"
    return f"{where}: {name}{value}: {message}{tail}"


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))  # Notepad writes a BOM
    except FileNotFoundError:
        raise SettingsError(f"{file}: no such settings file; name one with --config") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a wrong encoding is a ValueError too
        raise SettingsError(f"{file}: cannot be read as TOML in UTF-8: {error}") from None


def load(config: Path | None = None) -> Settings:
    """Read the settings.

    `config` is a TOML file that must exist; without one, `SENYUM_CONFIG` is, and without that
    /etc/senyum/senyum.toml is read if it is there. Raises SettingsError.
    """
    named = config or (Path(p) if (p := os.environ.get("SENYUM_CONFIG")) else None)
    file = named or (CONFIG_FILE if CONFIG_FILE.is_file() else None)
    content = _read(file) if file else {}
    for variable in os.environ:
        section = variable.removeprefix("SENYUM_").split("__")[0]
        ours = variable.startswith("SENYUM_") and "__" in variable
        if ours and section.lower() not in Settings.model_fields:
            raise SettingsError(f"{variable}: {section.lower()} is no section of the settings")
    try:
        return Settings(**content)
    except ValidationError as error:
        raise SettingsError(_say(error, str(file or "environment"))) from None
    except SourceError as error:  # a whole section as a variable, and not JSON
        raise SettingsError(f"environment: {error}; set one setting a variable") from None


def load_unit(config: Path | None = None) -> Settings:
    """Read the settings of a unit that has a name of its own. Raises SettingsError."""
    settings = load(config)
    if not {"org", "site", "name"} <= settings.unit.model_fields_set:
        raise SettingsError(
            f"unit.org, unit.site and unit.name are not all set; write them in {CONFIG_FILE}, or "
            "name another settings file with --config"
        )
    return settings


def read_secret(path: Path, what: str) -> bytes:
    """Return the content of a key file that only its owner can read.

    A credential of the same file name that systemd handed to the service comes first. Raises
    SecretError, which names the file and never its content.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        if credentials and (credential := Path(credentials) / path.name).is_file():
            return credential.read_bytes()
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretError(
                f"{path}: {what} can be read by others (mode {stat.S_IMODE(mode):04o}); "
                f"run: chmod 600 {path}"
            )
        return path.read_bytes()
    except OSError as error:
        raise SecretError(f"{path}: {what} cannot be read: {error.strerror}") from None


def write_secret(path: Path, content: bytes) -> None:
    """Write a new key file with mode 0600, durable, never over an existing one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a new file is lost in a power cut without it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
