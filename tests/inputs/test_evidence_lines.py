"""Whatever the lines of a file contain, `verify` names it, goes on and ends with 1."""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from central_parts import keys_of
from days import ANI, BUDI, Door, exported, key_file, take
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cli import main
from edge.contract.authority import sign_order
from edge.contract.commands import REPLY_TYP
from edge.contract.jose import b64url, from_b64url
from senyum_central.evidence import bundle
from senyum_central.store.event_store import Store
from senyum_central.store.queries import Period

inputs = settings.get_profile("inputs")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.sampled_from(
        ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00", "\ud800", "\x1b[2J", "\u202e"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES = ("kind", "topic", "received_at", "jws", "version", "first", "last", "lines", "sha256", "x")


@cache
def day() -> tuple[list[bytes], str]:
    """Return the lines of a day without the last, and the key set."""
    door = Door()
    messages = [door.at("2026-03-01T02:00:00").passes(BUDI)]
    messages += [door.at(f"2026-03-02T0{at}:30:00").passes(ANI) for at in range(3)]
    with TemporaryDirectory() as place:
        with closing(Store(Path(place) / "events.db")) as store:
            take(store, *messages, door.health(), units=(door,), at="2026-03-02T04:00:00")
            period = Period(date(2026, 3, 2), date(2026, 3, 2))
            lines = exported(store, period, keys_of(door)).splitlines(keepends=True)
        return lines[:-1], key_file(Path(place), door).read_text()


def sealed(lines: list[bytes]) -> bytes:
    body = b"".join(lines)
    end = {"kind": "end", "lines": len(lines), "sha256": hashlib.sha256(body).hexdigest()}
    return body + bundle.encode(end)


def verify(content: bytes, *options: str) -> tuple[int, str]:
    with TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()) as out:
        (Path(place) / "keys.json").write_text(day()[1])
        (Path(place) / "file").write_bytes(content)
        keys = f"--keys={place}/keys.json"
        status = main(["verify", keys, *options, f"{place}/file"])
    assert all(line.isprintable() for line in out.getvalue().splitlines())
    return status, out.getvalue()


def paths(value: object, so_far: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*so_far, name)
            yield from paths(inner, (*so_far, name))


def put(value: dict[str, object], path: tuple[str, ...], new: object) -> None:
    for name in path[:-1]:
        value = value[name]  # type: ignore[assignment] # an object, as `paths` found it
    value[path[-1]] = new


@inputs
@given(st.integers(0, 5), st.sampled_from(NAMES), JSON, st.booleans())
def test_any_value_of_any_member_is_noticed(at: int, name: str, value: object, sort: bool) -> None:
    lines, _ = day()
    line = json.loads(lines[at % len(lines)])
    changed = {**line, name: value}
    new = json.dumps(changed, sort_keys=sort).encode() + b"\n" if sort else bundle.encode(changed)
    whole = sealed([*lines[: at % len(lines)], new, *lines[at % len(lines) + 1 :]])
    status, out = verify(whole)
    # When it was received, and what the export was asked for, is in no signed message.
    free = name in ("received_at", "written", "site", "unit", "first", "last")
    assert status == 1 or free or new == lines[at % len(lines)], out
    status_json, out = verify(whole, "--json")
    assert (status_json, json.loads(out)["good"]) == (status, status == 0)


@inputs
@given(st.integers(1, 4), st.data(), JSON)
def test_any_member_of_a_message_counts(at: int, data: st.DataObject, value: object) -> None:
    lines, _ = day()
    line = json.loads(lines[at])
    header, payload, signature = line["jws"].split(".")
    part = data.draw(st.sampled_from(["header", "payload"]))
    content = json.loads(from_b64url(header if part == "header" else payload))
    path = data.draw(st.sampled_from(sorted(paths(content))))
    before = json.dumps(content)
    put(content, path, value)
    if json.dumps(content) == before:
        return
    spelled = b64url(json.dumps(content).encode())
    pair = (spelled, payload) if part == "header" else (header, spelled)
    changed = bundle.encode({**line, "jws": ".".join((*pair, signature))})
    status, out = verify(sealed([*lines[:at], changed, *lines[at + 1 :]]))
    assert status == 1, out


@inputs
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(0, 5))
def test_lines_of_anything_between_good_ones_are_named(junk: list[bytes], at: int) -> None:
    lines, _ = day()
    status, _ = verify(sealed([*lines[:at], *(each + b"\n" for each in junk), *lines[at:]]))
    assert status == 1
    verify(b"\n".join(junk))


@inputs
@given(st.lists(JSON, min_size=1, max_size=3))
def test_receipts_of_anything_are_named(values: list[object]) -> None:
    """Three parts with JSON in them look like a receipt, and prove nothing."""
    tokens = [
        ".".join((*(b64url(json.dumps(each).encode()) for each in (value, value)), "AAAA"))
        for value in values
    ]
    status, out = verify("\n".join(tokens).encode() + b"\n")
    assert status == 1
    assert "NOT GOOD" in out


@inputs
@given(
    st.dictionaries(st.sampled_from(["digest", "erased", "x"]), JSON),
    st.booleans(),
    st.text(max_size=40) | JSON,
)
def test_signed_receipts_of_anything_are_named_or_shown(
    data: dict[str, object], ok: bool, text: object
) -> None:
    door = Door()
    claims = {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "to": "01890a5d-ac96-774b-bcce-b302099a8057",
        "source": door.name.source,
        "time": "2026-03-02T00:31:04.000000Z",
        "name": "roster",
        "number": 3,
        "ok": ok,
        "reason": None if ok else "failed",
        "text": text,
        "data": data,
    }
    good = {**claims, "data": {"digest": "ab" * 32, "erased": [ANI]}, "ok": True, "reason": None}
    good["text"] = ""
    tokens = [sign_order(door.key, REPLY_TYP, each) for each in (claims, good)]
    status, out = verify("\n".join(tokens).encode() + b"\n")
    assert status in (0, 1)
    assert f"without {ANI}" in out  # the other line is judged in any case
