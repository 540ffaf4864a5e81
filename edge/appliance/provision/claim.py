"""A claim: the unit's identity, location and broker, from a TOML file or from answers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError

from edge.errors import SettingsError
from edge.setting_types import Host, Name, Protocol, Section, Username, Zone, check_mqtt_text
from edge.settings import (
    LARGEST,
    CameraSettings,
    GpioSettings,
    describe_errors,
    line_of,
    parse_toml,
    respelt,
)
from edge.system.supplied_files import read_regular
from edge.system.text import describe_validation_error, escaped
from edge.types import Direction

NAME = "senyum-claim.toml"
_PEM = "-----BEGIN "


def _line(secret: SecretStr) -> SecretStr:
    check_mqtt_text(secret.get_secret_value())
    return secret


Password = Annotated[SecretStr, AfterValidator(_line)]


class ClaimedPlace(Section):
    """The unit's location; without defaults, because a default would be a wrong location."""

    latitude: float = Field(ge=-90.0, le=90.0, description="degrees, WGS 84")
    longitude: float = Field(ge=-180.0, le=180.0, description="degrees, WGS 84")
    zone: Zone = Field(description="IANA time zone")


class ClaimedUnit(Section):
    """The unit's identity."""

    org: Name
    site: Name
    name: Name
    direction: Direction = Direction.UNSPECIFIED
    place: ClaimedPlace


class ClaimedOther(Section):
    """A fallback broker; it uses the CA and the password of the first."""

    host: Host
    port: int | None = Field(default=None, ge=1, le=65535, description="default: that of the first")
    tls: bool | None = Field(default=None, description="default: that of the first")
    protocol: Protocol | None = Field(default=None, description="default: that of the first")


class ClaimedBroker(Section):
    """The broker that receives the events."""

    host: Host
    port: int | None = Field(default=None, ge=1, le=65535, description="8883 with TLS, else 1883")
    tls: bool = True
    ca: str | None = Field(default=None, description="PEM, or a file next to the claim")
    username: Username | None = None
    password: Password | None = Field(default=None, description="wiped from the claim afterwards")
    protocol: Protocol | None = Field(default=None, description="MQTT version; default: auto")
    others: tuple[ClaimedOther, ...] = Field(default=(), max_length=7)


class Claim(Section):
    """A claim. Sections that are left out stay unchanged on a unit that was provisioned before."""

    unit: ClaimedUnit | None = None
    broker: ClaimedBroker | None = None
    certificate: str | None = Field(default=None, description="PEM, or a file next to the claim")
    authorities: str | None = Field(
        default=None, description="JWK set of the command keys, or a file next to the claim"
    )
    camera: CameraSettings | None = None
    gpio: GpioSettings | None = None


@dataclass(frozen=True, slots=True)
class Documents:
    """A claim with the content of the files that it names."""

    where: str  # for messages
    claim: Claim
    remarks: tuple[str, ...] = ()  # on values that are used in another spelling
    ca: bytes | None = None
    certificate: bytes | None = None
    authorities: bytes | None = None
    digest: str = ""  # SHA-256 of the claim's file, hex

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a claim file and the files that it names. Raises SettingsError."""
        try:
            raw = _bytes(file)
            content, text = parse_toml(raw)
        except ValueError as error:
            raise SettingsError(f"{file}: cannot be read as TOML in UTF-8: {error}") from None
        if not content:
            raise SettingsError(f"{file}: is empty; add [unit] and [broker]")
        documents = cls.of(content, str(file), file.parent, text)
        return replace(documents, digest=hashlib.sha256(raw).hexdigest())

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str, folder: Path, text: str = "") -> Self:
        """Check a claim; the files that it names are in `folder`.

        `text` is its TOML, for line numbers in messages. Raises SettingsError.
        """
        try:
            claim = Claim.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if "password" in first["loc"]:  # its value must not be logged
                name = ".".join(map(str, first["loc"]))
                line = line_of(text, first["loc"])
                at = f"{where}: line {line}" if line else where
                why = (
                    describe_validation_error(first)
                    if first["type"] == "value_error"
                    else "is not a string"
                )
                raise SettingsError(f"{at}: {name}: {why}") from None
            raise SettingsError(describe_errors(error, where, "claim", text)) from None
        ca = None if claim.broker is None else claim.broker.ca
        if claim.broker is not None and ca is not None and not claim.broker.tls:
            raise SettingsError(f"{where}: broker.ca needs broker.tls = true")
        shown = claim.model_dump(mode="json", exclude={"broker": {"password"}})
        return cls(
            where,
            claim,
            tuple(sorted(respelt(content, shown))),
            _document(ca, _PEM, folder),
            _document(claim.certificate, _PEM, folder),
            _document(claim.authorities, "{", folder),
        )


def _document(value: str | None, opening: str, folder: Path) -> bytes | None:
    """Return the content of a value, or of the file that it names."""
    if value is None:
        return None
    if value.lstrip().startswith(opening):
        return value.encode()
    return _bytes(folder / value)


def _bytes(file: Path) -> bytes:
    try:
        return read_regular(file, LARGEST)
    except OSError as error:
        raise SettingsError(f"{escaped(file)}: cannot be read: {error.strerror}") from None
