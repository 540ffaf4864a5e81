"""What the standard library lacks: one spelling of base64url, and JSON within the limits."""

import base64
import json
import re

DEPTH, NUMBER = 32, 2**53 - 1
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
FORBIDDEN = re.compile(r"[\x00-\x1f\ud800-\udfff]")


def b64(text):
    """Decode base64url; ValueError where it is padded or otherwise not as an encoder writes it."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not canonical")
    return raw


def shallow(raw):
    """Return JSON text; ValueError where it is nested too deep. Reads nothing, never recurses."""
    depth = 0
    for token in TOKEN.findall(raw):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token, 0)
        if depth > DEPTH:
            raise ValueError("nested too deep")
    return raw


def parse(raw):
    """Read a JSON object; ValueError where it is none, or beyond a limit."""

    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    def never(word):
        raise ValueError(word)

    value = json.loads(shallow(raw).decode(), object_pairs_hook=once, parse_constant=never)
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004
    waiting = [value]
    for part in waiting:  # which grows meanwhile
        if isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str) and FORBIDDEN.search(part):
            raise ValueError("a control character, or half a surrogate pair")
        elif isinstance(part, int | float) and abs(part) > NUMBER:
            raise ValueError("a number that not every reader tells from its neighbours")
    return value
