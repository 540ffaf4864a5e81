"""What a unit is told about itself: a TOML file, or the answers of a technician."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from edge.configuration import explain
from edge.errors import SettingsError
from edge.settings import CameraSettings, GpioSettings, Name, known_zone
from edge.types import Direction

NAME = "senyum-claim.toml"
_LARGEST = 256 * 1024  # bytes; of a claim and of each file that it names
_PEM = "-----BEGIN "


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClaimedPlace(_Part):
    """Where the unit hangs; nothing here has a default, for a default would be a wrong place."""

    latitude: float = Field(ge=-90.0, le=90.0, description="degrees, WGS 84")
    longitude: float = Field(ge=-180.0, le=180.0, description="degrees, WGS 84")
    zone: Annotated[str, AfterValidator(known_zone)] = Field(description="IANA time zone")


class ClaimedUnit(_Part):
    """Who the unit is."""

    org: Name
    site: Name
    name: Name
    direction: Direction = Direction.UNSPECIFIED
    place: ClaimedPlace


class ClaimedOther(_Part):
    """A broker to turn to while the first is away; authority and password are the first's."""

    host: str = Field(min_length=1, max_length=253)
    port: int | None = Field(default=None, ge=1, le=65535, description="as of the first")
    tls: bool | None = Field(default=None, description="as of the first")


class ClaimedBroker(_Part):
    """Where events go."""

    host: str = Field(min_length=1, max_length=253)
    port: int | None = Field(default=None, ge=1, le=65535, description="8883 with TLS, else 1883")
    tls: bool = True
    ca: str | None = Field(default=None, description="PEM, or a file beside the claim")
    username: str | None = None
    password: SecretStr | None = Field(default=None, min_length=1, description="wiped afterwards")
    others: tuple[ClaimedOther, ...] = Field(default=(), max_length=7)


class Claim(_Part):
    """All of it. A part that is left out stays as it is on a unit that was provisioned before."""

    unit: ClaimedUnit | None = None
    broker: ClaimedBroker | None = None
    certificate: str | None = Field(default=None, description="PEM, or a file beside the claim")
    authorities: str | None = Field(
        default=None, description="JWK set of who may send commands and rosters, or a file"
    )
    camera: CameraSettings | None = None
    gpio: GpioSettings | None = None


@dataclass(frozen=True, slots=True)
class Documents:
    """A claim with the files that it names."""

    where: str  # for messages
    claim: Claim
    ca: bytes | None = None
    certificate: bytes | None = None
    authorities: bytes | None = None

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a claim file and what it names, whole. Raises SettingsError."""
        try:
            content = tomllib.loads(_bytes(file).decode("utf-8-sig"))
        except ValueError as error:  # of the decoder too
            raise SettingsError(f"{file}: cannot be read as TOML in UTF-8: {error}") from None
        return cls.of(content, str(file), file.parent)

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str, folder: Path) -> Self:
        """Check what was read or answered; files are looked for in `folder`."""
        try:
            claim = Claim.model_validate(content)
        except ValidationError as error:
            location = error.errors(include_url=False)[0]["loc"]
            if "password" in location:  # what it is must not reach a log
                name = ".".join(map(str, location))
                raise SettingsError(f"{where}: {name}: is not a text with content") from None
            raise SettingsError(explain(error, where, "claim")) from None
        ca = None if claim.broker is None else claim.broker.ca
        if claim.broker is not None and ca is not None and not claim.broker.tls:
            raise SettingsError(f"{where}: broker.ca needs broker.tls = true")
        return cls(
            where,
            claim,
            _document(ca, _PEM, folder),
            _document(claim.certificate, _PEM, folder),
            _document(claim.authorities, "{", folder),
        )


def _document(value: str | None, opening: str, folder: Path) -> bytes | None:
    """Return what a value holds itself, or what the file holds that it names."""
    if value is None:
        return None
    if value.lstrip().startswith(opening):
        return value.encode()
    return _bytes(folder / value)


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise SettingsError(f"{file}: is larger than {_LARGEST // 1024} KiB, which no claim is")
    return content
