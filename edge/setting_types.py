"""Kinds of values of settings. Each accepts what can work, text in one spelling.

What is refused says what to write instead. Nothing here looks at the network.
"""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from edge.system.supplied_files import check_line
from edge.system.time_zones import current_name

_LONGEST_HOST = 253  # characters (RFC 1035)
# Underscores too: no host may be called so, but names in a network of containers are.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_PORT = re.compile(r"(.*[^:]|\[.*\]):(\d{1,5})")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}", re.ASCII)
_LONGEST_MQTT_TEXT = 65_535  # bytes (MQTT 5, section 1.5.4)
_LONGEST_PATH = 4095  # bytes (Linux, PATH_MAX)


def host_name(text: str) -> str:
    """Return a host name or IP address as the resolver and TLS take it, in lower case.

    A name with other letters than ASCII becomes its IDNA form. ValueError says what to write.
    """
    if "://" in text:
        raise ValueError(
            "is a URL; write the host name alone, the port in `port`, and tls = true for mqtts"
        )
    if text != text.strip() or not text:
        raise ValueError("is empty, or begins or ends with a space; write the host name alone")
    if text.startswith("[") and text.endswith("]"):
        raise ValueError("has brackets; write the IPv6 address without them")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _name(text)
    scope = getattr(address, "scope_id", None)
    if scope is not None and not _INTERFACE.fullmatch(scope):
        raise ValueError("names no network interface after its %; write it as in fe80::1%eth0")
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        raise ValueError("is not the address of one machine")
    return str(address)


def _name(text: str) -> str:
    if found := _PORT.fullmatch(text):
        raise ValueError(f"contains a port; write the host name alone, and port = {int(found[2])}")
    if text.endswith("."):
        raise ValueError("ends with a dot; write it without")
    try:
        name = text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    labels = name.split(".")
    if len(name) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("is not a host name or IP address, such as broker.example.go.id")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise ValueError("is not an IPv4 address: four numbers from 0 to 255, such as 192.168.1.10")
    return name


def check_mqtt_text(text: str) -> str:
    """Return text that MQTT can carry, such as a password; ValueError quotes nothing of it."""
    if len(check_line(text).encode()) > _LONGEST_MQTT_TEXT:
        raise ValueError(f"is longer than {_LONGEST_MQTT_TEXT} bytes, the most that MQTT has")
    return text


def _username(text: str) -> str:
    try:
        return check_mqtt_text(text)
    except ValueError as error:
        raise ValueError(f"{error}; leave it out if the broker asks for no user name") from None


def _path(path: Path) -> Path:
    text = str(path)
    if "\0" in text or len(os.fsencode(text)) > _LONGEST_PATH:
        raise ValueError("is not a path: it contains U+0000 or is too long")
    if text == ".":
        raise ValueError("is empty; name a file")
    return path


def _file(path: Path) -> Path:
    try:
        folder = path.is_dir()
    except OSError:  # reported when it is read
        folder = False
    if folder:
        raise ValueError("is a folder; name the file")
    return path


@dataclass(frozen=True)
class UnitOfMeasure:
    """The unit of a setting, as docs/settings.md shows it."""

    name: str


# One level of an MQTT topic and one part of the unit's URN (docs/wire.md).
Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0, le=3600.0), UnitOfMeasure("s")]
Even = Annotated[int, Field(ge=64, le=4096, multiple_of=2), UnitOfMeasure("pixels")]
Pin = Annotated[int, Field(ge=0, le=27)]
Host = Annotated[str, AfterValidator(host_name)]
Username = Annotated[str, AfterValidator(_username)]
ProtocolName = Literal["auto", "5", "3.1.1"]  # of MQTT
# In TOML 5 may be a number too.
Protocol = Annotated[ProtocolName, BeforeValidator(lambda value: "5" if value == 5 else value)]
Zone = Annotated[str, AfterValidator(current_name)]
AnyPath = Annotated[Path, AfterValidator(_path)]  # of a file or a folder
FilePath = Annotated[AnyPath, AfterValidator(_file)]


class Section(BaseModel):
    """A table of the settings: unknown names, infinities, NaN, and true for 1 are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value: object, info: ValidationInfo) -> object:
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (kind, *get_args(kind)):
            raise ValueError("must not be true or false")
        return value
