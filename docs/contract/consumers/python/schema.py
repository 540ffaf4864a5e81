"""The words of JSON Schema that the contract uses. With a library at hand, use that."""

import re

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
}


def fits(s, v, root):
    """Whether value `v` is of schema `s`, a part of the schema `root`."""

    def is_a(kind):
        if kind == "integer":  # 1.0 is one
            return is_a("number") and v == int(v)
        return isinstance(v, TYPES[kind]) and (kind == "boolean" or not isinstance(v, bool))

    def is_same(x):
        return v == x and isinstance(v, bool) == isinstance(x, bool)  # Python's True equals 1

    def matches(pattern, text):
        return re.search(pattern.replace("$", r"\Z"), text)  # Python's $ also allows a line end

    def known(name):
        patterns = s.get("patternProperties", {})
        return name in s.get("properties", {}) or any(matches(p, name) for p in patterns)

    if isinstance(s, bool):
        return s
    words = {
        "": {
            "$ref": lambda x: fits(root["$defs"][x.rpartition("/")[2]], v, root),
            "type": is_a,
            "const": is_same,
            "enum": lambda x: any(map(is_same, x)),
            "not": lambda x: not fits(x, v, root),
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
