"""Settings that are numbers, and what settings propose or carry elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from edge.errors import SecretError
from edge.mqtt.connection import new_client
from edge.settings import BrokerSettings, Settings
from edge.system.time_zones import current_name


def numbers(kind: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every setting that takes no truth value."""
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from numbers(field.annotation, (*path, name))
        elif bool not in (field.annotation, *get_args(field.annotation)):
            yield (*path, name)


@pytest.mark.parametrize("path", [*numbers(Settings)], ids=".".join)
def test_true_is_no_number(path: tuple[str, ...]) -> None:
    content: object = True
    for name in reversed(path):
        content = {name: content}
    with pytest.raises(ValidationError):
        Settings.model_validate(content)


def test_no_name_that_is_no_place_is_proposed() -> None:
    for zone in ("localtime", "Factory", "posix/Asia/Jakarta", "right/UTC"):
        with pytest.raises(ValueError, match="not an IANA time zone") as caught:
            current_name(zone)
        assert zone not in str(caught.value)


def test_a_password_that_mqtt_cannot_carry_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("x" * 65_536)
    file.chmod(0o600)
    with pytest.raises(SecretError, match="65535 bytes"):
        new_client(BrokerSettings(username="u", password=file), "senyum")
