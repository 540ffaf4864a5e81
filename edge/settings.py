"""Every setting, with its unit and bounds, from a TOML file, the environment and credentials.

Order, strongest first: environment (`SENYUM_CAMERA__FPS=10`), the TOML file, the default here.
Secrets are never settings: a setting names the file, and `edge.system.key_files` reads it.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from edge.camera_settings import CameraSettings, InferenceSettings, QualityLimits
from edge.setting_types import (
    FilePath,
    Host,
    Name,
    Pin,
    Protocol,
    Seconds,
    Section,
    Share,
    Username,
    Zone,
)
from edge.system.text import describe_validation_error
from edge.types import Direction

# All settings can be imported from here.
__all__ = ["CameraSettings", "InferenceSettings", "QualityLimits"]

CONFIG_FILE = Path("/etc/senyum/senyum.toml")
STATE_DIR = Path("/var/lib/senyum")


class PlaceSettings(Section):
    """Where the unit hangs; written into every event."""

    latitude: float = Field(default=0.0, ge=-90.0, le=90.0, description="degrees, WGS 84")
    longitude: float = Field(default=0.0, ge=-180.0, le=180.0, description="degrees, WGS 84")
    zone: Zone = Field(default="Asia/Jakarta", description="IANA time zone")


class UnitSettings(Section):
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


class RosterSettings(Section):
    """Who can be recognised, and how near is near enough."""

    file: FilePath = STATE_DIR / "roster.senyum"
    key: FilePath = Path("/etc/senyum/roster.key")
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


class AttendanceSettings(Section):
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


class LivenessSettings(Section):
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


class GpioSettings(Section):
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


class OtherBrokerSettings(Section):
    """A broker to turn to while those before it cannot be reached; what is left out is as there."""

    host: Host
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: bool | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    certificate_key: FilePath | None = None
    username: Username | None = None
    password: FilePath | None = None
    protocol: Protocol | None = None


class BrokerSettings(Section):
    """Where events go."""

    host: Host = "localhost"
    port: int = Field(default=1883, ge=1, le=65535)
    tls: bool = False
    ca: FilePath | None = Field(default=None, description="PEM; default: the system's authorities")
    certificate: FilePath | None = Field(default=None, description="PEM of the unit's certificate")
    certificate_key: FilePath | None = Field(default=None, description="PEM of its key, mode 0600")
    username: Username | None = None
    password: FilePath | None = Field(default=None, description="file, mode 0600")
    protocol: Protocol = Field(default="auto", description="version of MQTT; auto: 5, else 3.1.1")
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
    """Where events wait, and how long they are kept afterwards."""

    file: FilePath = STATE_DIR / "outbox.db"
    signing_key: FilePath = STATE_DIR / "signing.key"
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


class AuthoritySettings(Section):
    """Who may tell this unit what to do (docs/commands.md)."""

    keys: FilePath = Field(
        default=Path("/etc/senyum/authorities.json"),
        description="JWK set; without the file nobody may",
    )


class ClockSettings(Section):
    """Who is asked whether the clock is right."""

    state_file: FilePath | None = Field(
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
