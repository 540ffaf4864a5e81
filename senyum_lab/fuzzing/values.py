"""Values at and beyond the limits of the contract, for every kind of field."""

import json
import math
import random
from collections.abc import Iterator
from typing import Any

MAX_NUMBER = 2**53 - 1
_SURROGATE = "\ud800"


class Raw(str):
    """JSON text that the encoder of Python does not produce."""

    __slots__ = ()


NUMBERS: tuple[Any, ...] = (
    0,
    -0.0,
    1,
    -1,
    1.0,
    0.1 + 0.2,
    2**31,
    MAX_NUMBER,
    MAX_NUMBER + 1,
    -MAX_NUMBER - 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**400,
    5e-324,
    1e308,
    Raw("1e400"),
    Raw("-1e400"),
    Raw("NaN"),
    Raw("Infinity"),
    Raw("9" * 5000),
    Raw("0" * 30 + "1"),
    Raw("1E2"),
)
STRINGS = (
    "",
    " ",
    "x" * 200,
    "x" * 201,
    "\U0001d54f" * 200,
    "é" * 200,
    "x" * 60_000,
    "\0",
    "a\0b",
    "\x01\x1f",
    "\x1b[2J\x1b[1;31mALARM",
    "\x7f\x80\x85\x9b31m",
    "ok\r\n07:31:04 WIB  ALARM  kota/pintu",
    "a\u2028b\u2029c",
    "\u202egpj\u2066\u2069\u200b\ufeff",
    _SURROGATE,
    "\udc80",
    "\udfff\ud800",
    "\U0010ffff\ufffe",
    "e" + "\u0301" * 150,
    "%s{0}${x}",
    "[bold]x[/]",
    "'; DROP TABLE event; --",
    "=HYPERLINK(1)",
    "null",
    "٣",
    "-1",
)
MOMENTS = (
    "0000-01-01T00:00:00.000000Z",
    "0001-01-01T00:00:00.000000Z",
    "0999-12-31T23:59:59.999999Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00.000000Z",
    "2019-12-31T23:59:59.999999Z",
    "2020-01-01T00:00:00.000000Z",
    "2024-02-29T12:00:00.000000Z",
    "2023-02-29T12:00:00.000000Z",
    "2038-01-19T03:14:08.000000Z",
    "2096-02-29T12:00:00.000000Z",
    "2099-12-31T23:59:59.999999Z",
    "2100-01-01T00:00:00.000000Z",
    "2100-01-01T00:00:00.000001Z",
    "2100-02-29T00:00:00.000000Z",
    "9999-12-31T23:59:59.999999Z",
    "10000-01-01T00:00:00.000000Z",
    "2026-06-30T23:59:60.000000Z",
    "2026-03-02T24:00:00.000000Z",
    "2026-04-31T00:00:00.000000Z",
    "2026-13-01T00:00:00.000000Z",
    "2026-03-02T07:31:04.000000+07:00",
    "2026-03-02T07:31:04Z",
    "2026-03-02t07:31:04.000000z",
    "2026-W10-1T07:31:04.000000Z",
    "２０２６-03-02T07:31:04.000000Z",  # noqa: RUF001 - such digits are what is tried
)
DIGITS = (
    "0" * 20,
    f"{1:020d}",
    f"{2**53 - 1:020d}",
    f"{2**53:020d}",
    f"{2**63 - 2:020d}",
    f"{2**63 - 1:020d}",
    f"{2**63:020d}",
    "9" * 20,
    "1" * 19,
    "0" * 20 + "1",
    "-" + "0" * 18 + "1",
    "0",
    str(2**63 - 1),
    str(2**63),
    str(2**64),
)
ZONES = (
    "Asia/Jakarta",
    "Asia/Ujung_Pandang",
    "Etc/GMT+12",
    "Pacific/Kiritimati",
    "Asia",
    "Factory",
    "localtime",
    "../../../etc/passwd",
    "/etc/localtime",
    "a/" * 32,
    "Z" * 65,
    "asia/jakarta",
)
URNS = (
    "urn:senyum:kota:depok:fuzz-1",
    "urn:senyum:kota:depok:fuzz-1\n",
    "urn:senyum:KOTA:depok:fuzz-1",
    "urn:senyum:kota:depok:" + "a" * 33,
    "urn:senyum:kota:depok",
    "urn:senyum:::",
)
_BY_FIELD = {
    "time": MOMENTS,
    "utc": MOMENTS,
    "sequence": DIGITS,
    "monotonic_ns": DIGITS,
    "zone": ZONES,
    "source": URNS,
    "from": URNS,
}


def of_field(chance: random.Random, name: str, value: Any, schema: dict[str, Any]) -> Any:
    """Return a replacement for `value` of the field `name`."""
    way = chance.randrange(10)
    if way < 5:
        candidates = [*_edges(schema), *_BY_FIELD.get(name, ()), *near(value)]
        if candidates:
            return chance.choice(candidates)
    if way < 7:
        return chance.choice(STRINGS)
    if way < 9:
        return chance.choice(NUMBERS)
    return chance.choice((None, True, False, [], {}, [value], {"x": value}, {_SURROGATE: 1}))


def _edges(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield values on both sides of every bound of a schema."""
    yield from schema.get("enum", ())
    for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if bound in schema:
            edge = schema[bound]
            yield from (edge, edge - 1, edge + 1, float(edge))
            yield from (math.nextafter(edge, -math.inf), math.nextafter(edge, math.inf))
    for bound in ("minLength", "maxLength"):
        if bound in schema:
            yield from ("x" * length for length in {max(schema[bound] - 1, 0), schema[bound] + 1})
    for bound in ("maxProperties", "maxItems"):
        if bound in schema:
            for count in (schema[bound], schema[bound] + 1):
                yield {f"n{at}": None for at in range(count)}
    if schema.get("type") == "integer":
        yield from (1.0, 1.5)


def near(value: Any) -> Iterator[Any]:
    """Yield values that are almost the same."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, -value, str(value))
        if abs(value) < MAX_NUMBER:
            yield from (float(value), value * 10**6)
    elif isinstance(value, str):
        yield from (value + "\n", "\n" + value, value + " ", value + "\0", value.upper())
        yield from (value[:-1], value * 2, value + "\u0301", value[::-1])


def written(value: Any) -> str:
    """Return JSON as a device writes it; Raw is copied unchanged."""
    held: list[Raw] = []

    def marked(node: Any) -> Any:
        if isinstance(node, Raw):
            held.append(node)
            return f"@RAW{len(held) - 1}@"
        if isinstance(node, dict):
            return {name: marked(inner) for name, inner in node.items()}
        if isinstance(node, list):
            return [marked(inner) for inner in node]
        return node

    text = json.dumps(marked(value), separators=(",", ":"))
    for at, raw in enumerate(held):
        text = text.replace(f'"@RAW{at}@"', raw)
    return text
