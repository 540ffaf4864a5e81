"""Every setting, with its unit and bounds, from a TOML file, the environment and credentials.

Order, strongest first: environment (`SENYUM_CAMERA__FPS=10`), the TOML file, the default here.
Secrets are never settings: a setting names the file, and `edge.secrets` reads it.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
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

from edge.types import Direction
from edge.wording import plain

CONFIG_FILE = Path("/etc/senyum/senyum.toml")
STATE_DIR = Path("/var/lib/senyum")

# One level of an MQTT topic and one part of the unit's URN (docs/wire.md).
Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0, le=3600.0)]
Even = Annotated[int, Field(ge=64, le=4096, multiple_of=2)]
Pin = Annotated[int, Field(ge=0, le=27)]


def known_zone(zone: str) -> str:
    """Return the zone if it is one; ValueError."""
    try:
        ZoneInfo(zone)
    except (ValueError, KeyError, OSError, RecursionError):  # the last for a thousand dots
        raise ValueError("not an IANA time zone such as Asia/Jakarta") from None
    return zone


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlaceSettings(_Section):
    """Where the unit hangs; written into every event."""

    latitude: float = Field(default=0.0, ge=-90.0, le=90.0, description="degrees, WGS 84")
    longitude: float = Field(default=0.0, ge=-180.0, le=180.0, description="degrees, WGS 84")
    zone: Annotated[str, AfterValidator(known_zone)] = Field(
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
    idle_fps: float = Field(
        default=7.5, ge=1.0, le=60.0, description="the same while nobody is in view; at most fps"
    )
    rotation: Literal[0, 90, 180, 270] = Field(
        default=0, description="degrees clockwise, of the picture, until heads are up"
    )
    mirror: bool = False
    zoom: float = Field(
        default=1.0, ge=1.0, le=4.0, description="of the middle, for people far away"
    )
    focus_m: float = Field(
        default=0.7, ge=0.1, le=10.0, description="metres; of a lens that can be moved"
    )
    mains_hz: Literal[0, 50, 60] = Field(default=50, description="of the lamps; 0: they are steady")
    wide_range: bool = Field(
        default=False, description="wide dynamic range of the sensor, where it has it"
    )
    face_stops: float = Field(
        default=3.0,
        ge=0.0,
        le=6.0,
        description="most that a face may change the exposure; 0: metering is the camera's own",
    )
    warm_c: float = Field(
        default=72.0, ge=40.0, le=85.0, description="degrees Celsius; fewer frames from here on"
    )
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


class OtherBrokerSettings(_Section):
    """A broker to turn to while those before it cannot be reached; what is left out is as there."""

    host: str
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: bool | None = None
    ca: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    username: str | None = None
    password: Path | None = None


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
    backoff_min: Seconds = Field(
        default=1.0, description="seconds; spreads the units that lost a broker together"
    )
    backoff_max: Seconds = 60.0
    health_period: float = Field(
        default=60.0, ge=5.0, le=3600.0, description="seconds between two reports"
    )
    others: tuple[OtherBrokerSettings, ...] = Field(
        default=(), max_length=7, description="in order of preference, after this one"
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
            why = plain(error.errors(include_url=False)[0])
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
        return self


class OutboxSettings(_Section):
    """Where events wait, and how long they are kept afterwards."""

    file: Path = STATE_DIR / "outbox.db"
    signing_key: Path = STATE_DIR / "signing.key"
    signing_algorithm: Literal["Ed25519", "ES256"] = Field(
        default="Ed25519", description="of a key that is yet to be made"
    )
    retention_days: int = Field(default=90, ge=1, le=3650)
    retention_events: int = Field(default=100_000, ge=100, le=10_000_000)
    reserve_mb: int = Field(
        default=64, ge=1, le=100_000, description="MiB kept free: with less nothing is recorded"
    )
    replay_rate: float = Field(
        default=20.0, gt=0.0, le=1000.0, description="events a second, of those asked for again"
    )


class AuthoritySettings(_Section):
    """Who may tell this unit what to do (docs/commands.md)."""

    keys: Path = Field(
        default=Path("/etc/senyum/authorities.json"),
        description="JWK set; without the file nobody may",
    )


class ClockSettings(_Section):
    """Who is asked whether the clock is right."""

    state_file: Path | None = Field(
        default=None, description="where `senyum clock-watch` answers; unset: the kernel is asked"
    )
    stale_after: Seconds = Field(default=60.0, description="older, an answer counts for nothing")


class Settings(BaseSettings):
    """All of them; `edge.configuration` reads them."""

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
