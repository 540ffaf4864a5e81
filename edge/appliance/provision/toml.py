"""Writes settings as TOML; Python reads it (`tomllib`) and does not write it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def dumps(content: Mapping[str, Any]) -> str:
    """Return TOML 1.0 that reads back as `content`.

    Tables, arrays, text, numbers and booleans; what is None is left out. Raises TypeError.
    """
    return "\n".join(_table(content, ())).strip() + "\n"


def _table(content: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in content.items() if not _nested(value)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items() if value is not None]
    for key, value in content.items():
        if isinstance(value, Mapping):
            header = ".".join(map(_key, (*path, key)))
            lines += ["", f"[{header}]", *_table(value, (*path, key))]
        elif _nested(value):
            header = ".".join(map(_key, (*path, key)))
            for each in value:
                lines += ["", f"[[{header}]]", *_table(each, (*path, key))]
    return lines


def _nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return _is_array(value) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _is_array(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's too, except that TOML wants DEL escaped and no half of a pair.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    if _is_array(value):
        return f"[{', '.join(_value(each) for each in value)}]"
    raise TypeError(f"{type(value).__name__} cannot be written as TOML")
