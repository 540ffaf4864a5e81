"""Manifest and chunks, without a broker: nothing but what was signed comes out."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract.roster_manifest import (
    CHUNK_BYTES,
    MANIFEST_BYTES,
    MOST_CHUNKS,
    RosterManifest,
    chunk_topic,
    manifest_topic,
    parse_manifest,
)
from edge.contract.topics import UnitName
from edge.roster.chunks import (
    PIECE_BYTES,
    ChunkStore,
    EncryptedChunks,
    clear,
    decrypt_chunks,
    encrypt_chunks,
)

UNIT = UnitName("dinas", "balai-kota", "pintu-1")
CONTENT = random.Random(1).randbytes(3 * PIECE_BYTES + 1000)
PARCEL = encrypt_chunks(CONTENT, 12)


def claims(parcel: EncryptedChunks = PARCEL, **changes: Any) -> dict[str, Any]:
    return {
        "id": "01234567-89ab-7cde-8f01-23456789abcd",
        "aud": UNIT.source,
        "version": 12,
        "iat": "2026-08-17T05:00:00.000000Z",
        "digest": parcel.digest,
        "size": parcel.size,
        "embedder": "cd" * 32,
        "at": "urn:senyum:dinas:all:all",
        "chunks": [chunk.model_dump() for chunk in parcel.entries],
        "recipients": [{"kid": "A" * 43, "key": "e30.AA.AA.AA.AA"}],
        **changes,
    }


def manifest(parcel: EncryptedChunks = PARCEL, **changes: Any) -> RosterManifest:
    return parse_manifest(json.dumps(claims(parcel, **changes)))


def test_it_comes_back_whole() -> None:
    assert decrypt_chunks(manifest(), PARCEL.key, PARCEL.chunks) == CONTENT
    assert max(map(len, PARCEL.chunks)) == CHUNK_BYTES
    assert len(PARCEL.chunks) == 4


def test_no_two_parcels_share_a_name_or_a_byte() -> None:
    again = encrypt_chunks(CONTENT, 12)
    assert not {c.name for c in again.entries} & {c.name for c in PARCEL.entries}
    assert again.chunks[0][:64] != PARCEL.chunks[0][:64]
    assert again.digest == PARCEL.digest


def test_topics_name_nobody() -> None:
    assert manifest_topic(UNIT) == "senyum/v1/dinas/balai-kota/pintu-1/roster"
    name = PARCEL.entries[0].name
    assert manifest().topic(name) == f"senyum/v1/dinas/all/all/roster/{name}"
    assert chunk_topic(UNIT, "a") == manifest_topic(UNIT) + "/a"


def test_the_largest_manifest_fits() -> None:
    longest = "9" * 32
    chunks = [
        {"name": f"{n:03}{longest[3:]}", "sha256": "ab" * 32, "size": CHUNK_BYTES}
        for n in range(MOST_CHUNKS)
    ]
    said = claims(chunks=chunks, size=MOST_CHUNKS * PIECE_BYTES)
    text = json.dumps(said, separators=(",", ":"))
    parse_manifest(text)
    assert 4 * (len(text) + 300) / 3 < MANIFEST_BYTES + 8192
    with pytest.raises(ValueError, match="not 1 to"):
        encrypt_chunks(bytes(MOST_CHUNKS * PIECE_BYTES + 1), 1)
    with pytest.raises(ValueError, match="not 1 to"):
        encrypt_chunks(b"", 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": "12"},
        {"version": 12.5},
        {"version": True},
        {"digest": PARCEL.digest.upper()},
        {"size": PARCEL.size + 1},
        {"at": "urn:senyum:dinas:*:*"},
        {"aud": "urn:senyum:dinas:*:*"},
        {"chunks": []},
        {"chunks": claims()["chunks"] * 2, "size": PARCEL.size * 2},
        {"chunks": [{"name": "../../x", "sha256": "ab" * 32, "size": 29}], "size": 1},
        {"chunks": [{"name": "x", "sha256": "ab" * 32, "size": CHUNK_BYTES + 1}]},
        {"chunks": [{"name": "x", "sha256": "ab" * 32, "size": 28}], "size": 0},
        {"recipients": []},
        {"recipients": [{"kid": "A" * 43, "key": "no"}]},
        {"id": "1"},
        {"iat": "yesterday"},
        {"surplus": 1},
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        manifest(**changes)


@settings(max_examples=200)
@given(st.data())
def test_no_altered_chunk_passes(data: st.DataObject) -> None:
    chunks = list(PARCEL.chunks)
    at = data.draw(st.integers(0, len(chunks) - 1))
    chunk = bytearray(chunks[at])
    match data.draw(st.sampled_from(["flip", "cut", "longer", "other", "swap"])):
        case "flip":
            chunk[data.draw(st.integers(0, len(chunk) - 1))] ^= data.draw(st.integers(1, 255))
        case "cut":
            del chunk[data.draw(st.integers(0, len(chunk) - 1)) :]
        case "longer":
            chunk += data.draw(st.binary(min_size=1, max_size=9))
        case "other":
            chunk = bytearray(data.draw(st.binary(max_size=64)))
        case "swap":
            chunk = bytearray(chunks[at - 1])
    chunks[at] = bytes(chunk)
    with pytest.raises(ValueError, match="chunk"):
        decrypt_chunks(manifest(), PARCEL.key, chunks)


def test_another_key_or_a_wrong_digest_opens_nothing() -> None:
    with pytest.raises(ValueError, match="cannot be decrypted"):
        decrypt_chunks(manifest(), bytes(32), PARCEL.chunks)
    with pytest.raises(ValueError, match="content key"):
        decrypt_chunks(manifest(), b"short", PARCEL.chunks)
    with pytest.raises(ValueError, match="not the one that was signed"):
        decrypt_chunks(manifest(digest="00" * 32), PARCEL.key, PARCEL.chunks)


# --- a folder of chunks ------------------------------------------------------------------------


@settings(max_examples=20)
@given(order=st.permutations(range(4)), restart=st.integers(0, 4))
def test_chunks_come_in_any_order_and_over_a_restart(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], restart: int
) -> None:
    folder = tmp_path_factory.mktemp("state") / "incoming"
    basket = ChunkStore(folder, manifest())
    for count, at in enumerate(order):
        if count == restart:
            basket = ChunkStore(folder, manifest())
        assert len(basket.missing) == 4 - count
        for _ in range(2):
            assert basket.add(PARCEL.entries[at].name, PARCEL.chunks[at])
    assert basket.missing == ()
    assert basket.content(PARCEL.key) == CONTENT
    basket.clear()
    assert not folder.exists()
    clear(folder)


def test_what_is_not_awaited_is_not_kept(tmp_path: Path) -> None:
    basket = ChunkStore(tmp_path / "in", manifest())
    name = PARCEL.entries[0].name
    assert not basket.add(name, PARCEL.chunks[1])
    assert not basket.add(name, b"")
    assert not basket.add("another", PARCEL.chunks[0])
    assert list((tmp_path / "in").iterdir()) == []
    assert len(basket.missing) == 4


def test_chunks_of_another_manifest_are_removed(tmp_path: Path) -> None:
    other = encrypt_chunks(CONTENT, 11)
    basket = ChunkStore(tmp_path / "in", manifest(other))
    basket.add(other.entries[0].name, other.chunks[0])
    (tmp_path / "in" / "x.draft").write_bytes(b"half")
    assert len(ChunkStore(tmp_path / "in", manifest()).missing) == 4
    assert list((tmp_path / "in").iterdir()) == []


def test_what_the_disk_lost_is_missing_again(tmp_path: Path) -> None:
    basket = ChunkStore(tmp_path / "in", manifest())
    for entry, chunk in zip(PARCEL.entries, PARCEL.chunks, strict=True):
        basket.add(entry.name, chunk)
    hole = tmp_path / "in" / PARCEL.entries[2].name
    hole.write_bytes(bytes(PARCEL.entries[2].size))
    with pytest.raises(ValueError, match="is damaged"):
        basket.content(PARCEL.key)
    assert basket.missing == (PARCEL.entries[2].name,)
    basket.add(PARCEL.entries[2].name, PARCEL.chunks[2])
    assert basket.content(PARCEL.key) == CONTENT
