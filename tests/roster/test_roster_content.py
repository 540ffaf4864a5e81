"""What a roster says, as bytes; whoever signed them, they are looked at before they are used."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosters import person, roster, templates

from edge.gallery import DIMENSION
from edge.roster.codec import pack, stripped, unpack

PEOPLE = (person(1), person(2, 5, exempt=True), person(3, 2))
GOOD = roster(7, *PEOPLE, tombstones={"ab" * 16: 6}, readmitted={PEOPLE[0].id: 5})
PLAIN = pack(GOOD)


def test_everything_comes_back() -> None:
    content = unpack(PLAIN)
    again = content.roster()
    assert pack(again) == PLAIN
    assert (again.version, again.embedder, again.salt) == (7, GOOD.embedder, GOOD.salt)
    assert (again.tombstones, again.readmitted) == (GOOD.tombstones, GOOD.readmitted)
    assert content.people() == {one.id for one in PEOPLE}


def test_a_unit_gets_neither_numbers_nor_names() -> None:
    plain = pack(stripped(GOOD))
    assert not any(one.number.encode() in plain or one.name.encode() in plain for one in PEOPLE)
    ours, theirs = unpack(PLAIN).gallery(), unpack(plain).gallery()
    assert ours.people == theirs.people
    assert ours.exempt == theirs.exempt
    np.testing.assert_array_equal(ours.matrix, theirs.matrix)


def test_the_same_roster_has_the_same_digest_and_another_salt_another() -> None:
    assert unpack(pack(GOOD)).digest == unpack(PLAIN).digest
    assert unpack(pack(replace(GOOD, salt="00" * 16))).digest != unpack(PLAIN).digest


def spoilt(change: Callable[[dict[str, Any]], object]) -> bytes:
    (length,) = struct.unpack_from("<I", PLAIN)
    document = json.loads(PLAIN[4 : 4 + length])
    change(document)
    text = json.dumps(document).encode()
    return struct.pack("<I", len(text)) + text + PLAIN[4 + length :]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("version"),
        lambda d: d.update(version=0),
        lambda d: d.update(version=True),
        lambda d: d.update(version="7"),
        lambda d: d.update(version=2**53),
        lambda d: d.update(created="yesterday"),
        lambda d: d.update(embedder=None),
        lambda d: d.update(salt=1),
        lambda d: d.update(people={}),
        lambda d: d["people"].pop(),
        lambda d: d["people"].append(d["people"][0]),
        lambda d: d["people"][0].update(id=d["people"][1]["id"]),
        lambda d: d["people"][0].update(id="198503302010121001"),
        lambda d: d["people"][0].update(exempt=0),
        lambda d: d["people"][0].update(photos=True),
        lambda d: d["people"][0].update(photos=0),
        lambda d: d["people"][1].update(photos=6),
        lambda d: d["people"][0].pop("name"),
        lambda d: d.update(tombstones=["ab" * 16]),
        lambda d: d.update(tombstones={"ab" * 16: 0}),
        lambda d: d.update(tombstones={"AB" * 16: 1}),
        lambda d: d.update(readmitted={"somebody": 1}),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ValueError, match="is not whole"):
        unpack(spoilt(change))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_template_that_would_win_every_search_is_refused(value: float) -> None:
    bad = templates(1, 9)
    bad[0] = value
    content = unpack(pack(roster(1, replace(PEOPLE[0], templates=bad), *PEOPLE[1:])))
    with pytest.raises(ValueError, match="template"):
        content.gallery()


def test_a_roster_of_before_tombstones_is_read() -> None:
    content = unpack(
        spoilt(lambda d: [d.pop(name) for name in ("tombstones", "readmitted", "salt")])
    )
    assert (content.tombstones, content.readmitted) == ({}, {})
    assert content.roster().salt == ""


@given(st.binary(max_size=400))
def test_no_bytes_are_taken_for_a_roster(plain: bytes) -> None:
    with pytest.raises(ValueError, match="is not whole"):
        unpack(plain)


@given(st.data())
def test_no_change_to_a_roster_does_more_than_be_refused(data: st.DataObject) -> None:
    content = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                content[place] ^= data.draw(st.integers(1, 255))
            case 1:
                del content[place:]
                content += b" "
            case _:
                content[place:place] = data.draw(st.binary(min_size=1, max_size=8))
    try:
        gallery = unpack(content).gallery()
    except ValueError:
        return
    assert np.isfinite(gallery.matrix).all()
    assert gallery.matrix.shape == (gallery.size, DIMENSION)
