"""Reading the settings: the environment over a TOML file over the defaults."""

import logging
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as SourceError

from edge.errors import SettingsError
from edge.settings import CONFIG_FILE, Settings
from edge.system.supplied_files import as_text, read_regular
from edge.system.text import describe_validation_error, escaped

log = logging.getLogger(__name__)


LARGEST = 250_000  # bytes of a file of settings, or of a claim
# tomllib takes quadratic time for a name of many parts; ours have three.
_LONG_NAME = re.compile(r"(?:[^\s.\"'=#]++[ \t]*+\.[ \t]*+){32}")
_HEADER = re.compile(r"\s*\[{1,2}\s*([^\]#]+?)\s*\]{1,2}\s*(?:#.*)?")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


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
