"""What the standard library lacks: one spelling of base64url, JSON without doubles, JSON Schema.

`fits` knows the words of JSON Schema that the contract uses; with a library at hand, use that.
"""

import base64
import json
import re

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def b64(text):
    """Decode base64url; ValueError where it is padded or otherwise not as an encoder writes it."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not canonical")
    return raw


def parse(raw):
    """Read a JSON object; ValueError where it is none or gives a name twice."""

    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    def never(word):
        raise ValueError(word)

    value = json.loads(raw.decode(), object_pairs_hook=once, parse_constant=never)
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004
    return value


def fits(s, v, root):
    """Whether value `v` is of schema `s`, a part of the schema `root`."""

    def is_a(kind):
        return isinstance(v, TYPES[kind]) and (kind == "boolean" or not isinstance(v, bool))

    def matches(pattern, text):
        return re.search(pattern.replace("$", r"\Z"), text)  # Python's $ also allows a line end

    def known(name):
        patterns = s.get("patternProperties", {})
        return name in s.get("properties", {}) or any(matches(p, name) for p in patterns)

    words = {
        "": {
            "$ref": lambda x: fits(root["$defs"][x.rpartition("/")[2]], v, root),
            "type": is_a,
            "const": lambda x: v == x,
            "enum": lambda x: v in x,
            "anyOf": lambda x: any(fits(part, v, root) for part in x),
            "allOf": lambda x: all(fits(part, v, root) for part in x),
            "if": lambda x: fits(s.get("then" if fits(x, v, root) else "else", {}), v, root),
        },
        "number": {
            "minimum": lambda x: v >= x,
            "maximum": lambda x: v <= x,
            "exclusiveMinimum": lambda x: v > x,
        },
        "string": {
            "pattern": lambda x: matches(x, v),
            "minLength": lambda x: len(v) >= x,
            "maxLength": lambda x: len(v) <= x,
        },
        "array": {"items": lambda x: all(fits(x, part, root) for part in v)},
        "object": {
            "required": lambda x: set(x) <= set(v),
            "maxProperties": lambda x: len(v) <= x,
            "properties": lambda x: all(fits(x[n], v[n], root) for n in x.keys() & v.keys()),
            "patternProperties": lambda x: all(
                fits(part, v[n], root) for p, part in x.items() for n in v if matches(p, n)
            ),
            "additionalProperties": lambda x: x or all(known(n) for n in v),
        },
    }
    return all(
        check(s[word])
        for kind, checks in words.items()
        if not kind or is_a(kind)
        for word, check in checks.items()
        if word in s
    )
