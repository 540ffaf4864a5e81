"""The limits of the wire contract for every message; docs/contract/README.md lists them.

Every reader of JSON from outside keeps them (`edge.contract.jose.json_object`), the models of all
messages are built of them, and the schemas of docs/contract are written from those models.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

MAX_DEPTH: Final = 32  # objects and arrays within one another, the outermost included
MAX_NUMBER: Final = 2**53 - 1  # the integers up to here are exact in a double
MAX_SEQUENCE: Final = 2**63 - 1  # of what is written as text: every database has such an integer
MAX_TEXT: Final = 200  # characters (code points) of a text for people
EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)  # both included

# --- as patterns, for the models and the schemas ----------------------------------------------

TEXT: Final = r"^[^\x00-\x1f]*$"
_DAY = (  # of the years 2020 to 2099, of which every fourth is a leap year
    r"(20[2-9][0-9]-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    r"|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    r"|20([2468][048]|[3579][26])-02-29)"
)
MOMENT: Final = (  # UTC, RFC 3339 with six decimals
    rf"^({_DAY}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{{6}}"
    r"|2100-01-01T00:00:00\.000000)Z$"
)


def _up_to(limit: int) -> str:
    """Return a pattern of the integers of as many digits as `limit`, from 10…0 up to it."""
    digits = str(limit)
    lower = [
        f"{digits[:at]}[{int(at == 0)}-{int(digit) - 1}][0-9]{{{len(digits) - at - 1}}}"
        for at, digit in enumerate(digits)
        if int(digit) > (at == 0)
    ]
    return "|".join([*lower, digits])


NANOSECONDS: Final = rf"^(0|[1-9][0-9]{{0,17}}|{_up_to(MAX_SEQUENCE)})$"
SEQUENCE: Final = rf"^0(0+[1-9][0-9]*|{_up_to(MAX_SEQUENCE)})$"  # and 20 digits long

# --- as functions ------------------------------------------------------------------------------

# A string, closed or not, or a bracket. Nothing is tried twice: the time is linear.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_FORBIDDEN = re.compile(r"[\x00-\x1f\ud800-\udfff]")


def too_deep(content: bytes) -> bool:
    """Whether JSON text is nested deeper than MAX_DEPTH. Reads no value, and never recurses."""
    depth = 0
    for token in _TOKEN.findall(content):
        if token in (b"{", b"["):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif token in (b"}", b"]"):
            depth -= 1
    return False


def is_number(value: float) -> bool:
    """Whether a JSON number is one that every reader takes; no infinity and no NaN is."""
    return -MAX_NUMBER <= value <= MAX_NUMBER


def whole(value: object) -> object:
    """Return 1.0 as 1, as JSON Schema takes it, for some languages have one type for both."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_text(text: str) -> bool:
    """Whether text holds neither control characters (U+0000 to U+001F) nor lone surrogates."""
    return _FORBIDDEN.search(text) is None


def is_moment(moment: datetime) -> bool:
    """Whether an aware datetime is from EARLIEST to LATEST."""
    return EARLIEST <= moment <= LATEST


def as_text(text: str) -> str:
    """Return text that may be signed: what is_text refuses replaced by U+FFFD, cut to MAX_TEXT."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text[:MAX_TEXT])


def as_moment(utc_ns: int) -> datetime:
    """Return the UTC of nanoseconds since 1970 to the microsecond; the nearest limit if outside.

    A clock that nobody has set yet may say 1970. What is recorded then must not be lost, and its
    instant is on the monotonic clock.
    """
    microseconds = (utc_ns - _EARLIEST_NS) // 1000
    whole = min(max(microseconds, 0), (LATEST - EARLIEST) // timedelta(microseconds=1))
    return EARLIEST + timedelta(microseconds=whole)


_EARLIEST_NS = int(EARLIEST.timestamp()) * 1_000_000_000
