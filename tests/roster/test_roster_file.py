import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.errors import RosterError
from edge.gallery import DIMENSION, mean_template
from edge.roster.codec import Person, Roster
from edge.roster.file import load, read, save
from edge.roster.keys import key_id
from edge.roster.people import person_id
from edge.types import Floats

KEY = bytes(range(32))
ORG_KEY = bytes(32)
EMBEDDER = sha256(b"network").hexdigest()
HEADER = 38

# Every byte of the header, and some of the ciphertext and of the tag.
REGIONS = [*range(HEADER), HEADER, HEADER + 4, 300, 2000, -17, -16, -1]


def units(count: int, seed: int) -> Floats:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def person(serial: int, photos: int, *, exempt: bool = False) -> Person:
    number = f"198503302010121{serial:03}"
    ident = person_id(number, ORG_KEY)
    return Person(ident, number, f"Nama Ñ {serial}", exempt, units(photos, serial))


PEOPLE = (person(1, 1), person(2, 5, exempt=True), person(3, 2))
ROSTER = Roster(7, datetime(2025, 6, 1, 8, tzinfo=UTC), EMBEDDER, PEOPLE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "roster.senyum"
    save(path, KEY, ROSTER)
    return path


@contextmanager
def refused(path: Path, says: str) -> Iterator[None]:
    with pytest.raises(RosterError, match=says) as caught:
        yield
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_enroller_reads_everything_back(file: Path) -> None:
    roster = read(file, KEY, EMBEDDER)
    assert (roster.version, roster.created, roster.embedder) == (7, ROSTER.created, EMBEDDER)
    assert len(roster.people) == len(PEOPLE)
    for found, written in zip(roster.people, PEOPLE, strict=True):
        assert (found.id, found.number, found.name, found.exempt) == (
            written.id, written.number, written.name, written.exempt,
        )  # fmt: skip
        np.testing.assert_allclose(found.templates, written.templates, atol=2.0**-11)


def test_saving_what_was_read_changes_no_template(file: Path) -> None:
    save(file, KEY, read(file, KEY))
    again = read(file, KEY)
    save(file, KEY, again)
    for a, b in zip(again.people, read(file, KEY).people, strict=True):
        np.testing.assert_array_equal(a.templates, b.templates)


def test_the_unit_gets_ids_and_one_vector_a_person(file: Path) -> None:
    gallery = load(file, KEY, EMBEDDER)
    assert tuple(gallery.people) == tuple(p.id for p in PEOPLE)
    assert gallery.size == 3
    assert gallery.exempt == {PEOPLE[1].id}
    assert (gallery.version, gallery.embedder) == (7, EMBEDDER)
    assert gallery.digest == save(file, KEY, read(file, KEY))  # of the content, however encrypted
    assert gallery.matrix.dtype == np.float32
    assert gallery.matrix.flags.c_contiguous
    np.testing.assert_allclose(
        gallery.matrix, np.stack([mean_template(p.templates) for p in PEOPLE]), atol=1e-3
    )
    match = gallery.search(PEOPLE[2].templates[0])
    assert match is not None
    assert match.person == PEOPLE[2].id
    held = repr(gallery)
    assert not any(p.number in held or p.name in held for p in PEOPLE)


def test_nothing_of_a_person_can_be_read_in_the_file(file: Path) -> None:
    content = file.read_bytes()
    for known in PEOPLE:
        assert known.number.encode() not in content
        assert known.name.encode() not in content
        assert known.id.encode() not in content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_empty_roster_knows_nobody(tmp_path: Path) -> None:
    path = tmp_path / "roster.senyum"
    save(path, KEY, replace(ROSTER, people=()))
    gallery = load(path, KEY)
    assert gallery.size == 0
    assert gallery.search(units(1, 0)[0]) is None
    assert read(path, KEY).people == ()


def test_no_two_files_are_alike(file: Path) -> None:
    first = file.read_bytes()
    save(file, KEY, ROSTER)
    assert file.read_bytes() != first


@pytest.mark.parametrize("place", REGIONS)
def test_an_altered_byte_is_noticed(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x01
    file.write_bytes(content)
    with refused(file, "altered|cut short|another key|format|no roster"):
        load(file, KEY)


@pytest.mark.parametrize("place", REGIONS)
def test_a_file_cut_anywhere_is_noticed(file: Path, place: int) -> None:
    file.write_bytes(file.read_bytes()[:place])
    with refused(file, "cut short" if place else "is empty"):
        load(file, KEY)


def test_a_longer_file_is_noticed(file: Path) -> None:
    with file.open("ab") as end:
        end.write(b"\0")
    with refused(file, "altered"):
        load(file, KEY)


def test_parts_of_two_rosters_do_not_mix(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    save(other, KEY, ROSTER)
    file.write_bytes(other.read_bytes()[:HEADER] + file.read_bytes()[HEADER:])
    with refused(file, "altered"):
        load(file, KEY)


def test_another_key_is_named_by_its_id(file: Path) -> None:
    with refused(file, "belongs to another key"):
        load(file, bytes(32))


def test_a_newer_format_asks_for_an_update(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8] = 2
    file.write_bytes(content)
    with refused(file, "has format 2, this Senyum reads format 1; update"):
        load(file, KEY)


def test_another_file_is_no_roster(file: Path) -> None:
    file.write_bytes(b"number,name,exempt\n" * 10)
    with refused(file, "is not a roster of Senyum"):
        load(file, KEY)


def test_a_roster_of_another_network_is_refused(file: Path) -> None:
    with refused(file, "another identity network"):
        load(file, KEY, sha256(b"another").hexdigest())


def test_a_roster_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "roster.senyum"
    with refused(path, "senyum enroll"):
        load(path, KEY)
    with refused(tmp_path, "cannot be read"):
        load(tmp_path, KEY)


def test_a_failed_write_keeps_the_earlier_roster(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(ValueError, match="1 to 5 templates"):
        save(file, KEY, replace(ROSTER, people=(person(4, 6),)))
    with refused(
        file / "below", "cannot be written: Not a directory|cannot be written: File exists"
    ):
        save(file / "below", KEY, ROSTER)
    assert file.read_bytes() == before


def test_a_write_that_fails_at_the_end_leaves_no_litter(tmp_path: Path) -> None:
    taken = tmp_path / "roster.senyum"
    taken.mkdir()  # rename fails after the draft was written
    (taken / "inside").touch()
    with refused(taken, "cannot be written"):
        save(taken, KEY, ROSTER)
    assert list(tmp_path.iterdir()) == [taken]


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\xff\xff\xff\xff{}",
        b"\x02\x00\x00\x00{}",
        b"\x0d\x00\x00\x00" + b'{"people":[]}',
        b"\x31\x00\x00\x00" + b'{"people":[{"photos":1}],"embedder":"","version":1}'[:49],
    ],
)
def test_what_the_keys_owner_wrote_wrongly_is_refused_too(tmp_path: Path, plain: bytes) -> None:
    path = tmp_path / "roster.senyum"
    header = struct.pack("<8sH8s12sQ", b"\x89SENYUM\n", 1, key_id(KEY), bytes(12), len(plain) + 16)
    assert len(header) == HEADER
    path.write_bytes(header + AESGCM(KEY).encrypt(bytes(12), plain, header))
    with refused(path, "genuine but not whole"):
        load(path, KEY)
