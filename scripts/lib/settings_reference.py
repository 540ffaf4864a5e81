"""Writes docs/settings.md from edge/settings.py; started by scripts/write_settings_reference."""

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from generated_page import write_or_check
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge.setting_types import UnitOfMeasure
from edge.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
INTRODUCTION = """\
# Settings

Written by `scripts/write_settings_reference` from `edge/settings.py`. Change that, not this.

A setting comes from the environment, from the settings file, or from its default, in this order.
The settings file is `/etc/senyum/senyum.toml`, or the one that `--config` or `SENYUM_CONFIG`
names. It is TOML: `broker.port` is the line `port = 8883` in the section `[broker]`. The
environment variable of a setting is its name in capital letters, with the prefix `SENYUM_` and two
underscores for each dot: `SENYUM_BROKER__PORT=8883`. Passwords and keys are never settings; a
setting names their file. `senyum provision` writes the settings of a new unit, and
`senyum doctor` checks them. A restart of the service applies a changed file.
"""

# Attribute of a constraint: how the page shows it.
_BOUNDS = {
    "ge": "≥ {:.10g}",
    "gt": "> {:.10g}",
    "le": "≤ {:.10g}",
    "multiple_of": "multiple of {}",
    "max_length": "at most {}",
    "pattern": "`{}`",
}


def sections(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield each section's name and model, nested ones after their parent."""
    for field_name, field in model.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            path = f"{name}.{field_name}" if name else field_name
            yield path, inner
            yield from sections(inner, path)


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section or a list of sections, else None."""
    kinds = (field.annotation, *get_args(field.annotation))
    models = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(models, None)


def metadata(field: FieldInfo) -> Iterator[Any]:
    """Yield the metadata of a field and of the types that its annotation names."""
    yield from field.metadata
    for kind in (field.annotation, *get_args(field.annotation)):
        for item in getattr(kind, "__metadata__", ()):
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def unit(field: FieldInfo) -> str:
    """Return the unit of measure of a field, or an empty string."""
    return next((item.name for item in metadata(field) if isinstance(item, UnitOfMeasure)), "")


def values(field: FieldInfo) -> str:
    """Return the accepted values of a field: a list of words, or bounds."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if get_origin(kind) is Literal:
            return ", ".join(f"`{value}`" for value in get_args(kind))
        if isinstance(kind, type) and issubclass(kind, Enum):
            return ", ".join(f"`{member.value}`" for member in kind)
        if kind is bool:
            return "`true`, `false`"
    bounds = [
        template.format(getattr(item, attribute))
        for attribute, template in _BOUNDS.items()
        for item in metadata(field)
        if getattr(item, attribute, None) is not None
    ]
    return ", ".join(bounds)


def default(field: FieldInfo) -> str:
    """Return the default as TOML, or words for a setting that has none."""
    if field.is_required():
        return "required"
    value = field.default
    if "must be set" in (field.description or ""):
        return "required"
    if value is None or value == ():
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str | Path) else f"`{value}`"


def rows(name: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the lines of one section."""
    is_list = name == "broker.others"
    yield f"## `[[{name}]]`" if is_list else f"## `[{name}]`"
    yield ""
    yield " ".join((model.__doc__ or "").split())
    yield ""
    yield "| setting | environment | default | unit | values | meaning |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for field_name, field in model.model_fields.items():
        if section_of(field) is not None:
            continue
        variable = "-" if is_list else f"`SENYUM_{name.replace('.', '__')}__{field_name}`".upper()
        cells = (f"`{field_name}`", variable, default(field), unit(field), values(field))
        yield f"| {' | '.join(cells)} | {field.description} |"
    yield ""


def page() -> str:
    """Return the whole page."""
    lines = [INTRODUCTION]
    for name, model in sections(Settings):
        lines += rows(name, model)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "write_settings_reference"))
