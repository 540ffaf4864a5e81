"""The few settings that a command may change, and how they lie over the unit's own."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from edge.errors import SettingsError
from edge.settings import Settings
from edge.system.text import describe_validation_error


class RemoteSetting(StrEnum):
    """Settings a command may change, by name in the settings file. None can lock a unit out.

    `attendance.smile_threshold`: score that a smile must reach, 1 to 99.
    `attendance.smile_timeout`: seconds allowed for the smile, above 0 to 3600.
    `gpio.brightness`: brightness of the lights, 0 to 1.
    `gpio.volume`: volume of the buzzer, 0 to 1.
    `broker.health_period`: seconds between two reports on `health`, 5 to 3600.
    """

    SMILE_THRESHOLD = "attendance.smile_threshold"
    SMILE_TIMEOUT = "attendance.smile_timeout"
    BRIGHTNESS = "gpio.brightness"
    VOLUME = "gpio.volume"
    HEALTH_PERIOD = "broker.health_period"


def value(settings: Settings, name: RemoteSetting) -> float:
    """Return what a setting is."""
    section, field = name.split(".")
    found: float = getattr(getattr(settings, section), field)
    return found


def values(settings: Settings) -> dict[str, float]:
    """Return what each adjustable setting is, by name."""
    return {name.value: value(settings, name) for name in RemoteSetting}


def with_overrides(settings: Settings, changes: Mapping[RemoteSetting, float]) -> Settings:
    """Lay `changes` over the settings; SettingsError names what is out of bounds, and them."""
    sections: dict[str, dict[str, Any]] = {}
    for name, new in changes.items():
        section, field = name.split(".")
        sections.setdefault(section, {})[field] = new
    updated = {}
    for section, fields in sections.items():
        present = getattr(settings, section)
        try:
            updated[section] = type(present).model_validate({**present.model_dump(), **fields})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join((section, *map(str, first["loc"])))
            raise SettingsError(
                f"{where} is {first['input']!r}: {describe_validation_error(first)}"
            ) from None
    return settings.model_copy(update=updated)
