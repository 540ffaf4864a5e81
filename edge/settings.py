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
from typing import Any, Literal, Self

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
    Username,
    Zone,
)
from edge.system.supplied_files import as_text, read_regular
from edge.system.text import describe_validation_error, escaped
from edge.types import Direction

log = logging.getLogger(__name__)

CONFIG_FILE = Path("/etc/senyum/senyum.toml")
STATE_DIR = Path("/var/lib/senyum")
LARGEST = 250_000  # bytes of a file of settings, or of a claim
# tomllib takes quadratic time for a name of many parts; ours have three.
_LONG_NAME = re.compile(r"(?:[^\s.\"'=#]++[ \t]*+\.[ \t]*+){32}")
_HEADER = re.compile(r"\s*\[{1,2}\s*([^\]#]+?)\s*\]{1,2}\s*(?:#.*)?")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


class CameraSettings(Section):
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
    replay: AnyPath | None = Field(default=None, description="folder of photos or a video file")
    replay_loop: bool = False

    @model_validator(mode="after")
    def _replay_has_a_path(self) -> Self:
        if self.driver == "replay" and self.replay is None:
            raise ValueError("driver replay needs camera.replay: a folder of photos or a video")
        return self


class QualityLimits(Section):
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


class InferenceSettings(Section):
    """The networks."""

    models: AnyPath | None = Field(default=None, description="folder; default: the shipped models")
    threads: int = Field(default=1, ge=1, le=8)
    detector_score: Share = Field(default=0.5, description="least confidence of a face")
    smile_frames: int = Field(default=3, ge=1, le=15, description="frames the smile is smoothed")
    quality: QualityLimits = QualityLimits()


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
        said = str(error) if at else f"{error}, line {number}"
        named = f"; the name there is {escaped(key[1])}" if key else ""
        raise ValueError(f"{said}{named}") from None
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
            raise SettingsError(f"{variable}: {section.lower()} is no section of the settings")
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise SettingsError(describe_errors(error, str(file or "environment"), text=text)) from None
    except SourceError as error:  # a whole section as a variable, and not JSON
        raise SettingsError(f"environment: {error}; set one setting a variable") from None
    for sentence in respelt(content, settings.model_dump(mode="json")):
        log.warning("%s: %s", file, sentence)
    return settings


def load_settings(config: Path | None = None) -> Settings:
    """Read the settings of a unit that has a name of its own. Raises SettingsError."""
    settings = load(config)
    if not {"org", "site", "name"} <= settings.unit.model_fields_set:
        raise SettingsError(
            f"unit.org, unit.site and unit.name are not all set; write them in {CONFIG_FILE}, or "
            "name another settings file with --config"
        )
    return settings
