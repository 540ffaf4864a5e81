"""Reading the settings: the environment over a TOML file over the defaults."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as SourceError

from edge.errors import SettingsError
from edge.settings import CONFIG_FILE, Settings
from edge.wording import plain


def explain(error: ValidationError, where: str, what: str = "settings") -> str:
    """Return one line for the first wrong setting: its name, its value, what is allowed."""
    errors = error.errors(include_url=False)
    # A name that is spelt wrong comes first: what is missing is missing because of it.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    name = ".".join(str(part) for part in first["loc"]) or what
    variable = "SENYUM_" + "__".join(str(part) for part in first["loc"]).upper()
    if variable in os.environ:
        where = variable
    more = error.error_count() - 1
    tail = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"{where}: {name} is no setting of Senyum; remove it or mend its spelling{tail}"
    if first["type"] == "missing":
        return f"{where}: {name} {plain(first)}{tail}"
    # A rule about several settings of a section has the whole section as its input.
    value = "" if isinstance(first["input"], dict | BaseModel) else f" is {first['input']!r}"
    return f"{where}: {name}{value}: {plain(first)}{tail}"


def read_file(file: Path) -> dict[str, Any]:
    """Return what a settings file says, unchecked. Raises SettingsError."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))  # Notepad writes a BOM
    except FileNotFoundError:
        raise SettingsError(f"{file}: no such settings file; name one with --config") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # a wrong encoding is a ValueError too
        raise SettingsError(f"{file}: cannot be read as TOML in UTF-8: {error}") from None


def load(config: Path | None = None) -> Settings:
    """Read the settings.

    `config` is a TOML file that must exist; without one, `SENYUM_CONFIG` is, and without that
    /etc/senyum/senyum.toml is read if it is there. Raises SettingsError.
    """
    named = config or (Path(p) if (p := os.environ.get("SENYUM_CONFIG")) else None)
    file = named or (CONFIG_FILE if CONFIG_FILE.is_file() else None)
    content = read_file(file) if file else {}
    for variable in os.environ:
        section = variable.removeprefix("SENYUM_").split("__")[0]
        ours = variable.startswith("SENYUM_") and "__" in variable
        if ours and section.lower() not in Settings.model_fields:
            raise SettingsError(f"{variable}: {section.lower()} is no section of the settings")
    try:
        return Settings(**content)
    except ValidationError as error:
        raise SettingsError(explain(error, str(file or "environment"))) from None
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
