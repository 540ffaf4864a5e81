"""A roster's content to encrypted chunks, and back: in any order, over any number of outages."""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.contract.roster_manifest import (
    CHUNK_BYTES,
    MOST_CHUNKS,
    NONCE_BYTES,
    TAG_BYTES,
    Chunk,
    RosterManifest,
)
from edge.system.files import replace_file, sync_folder

KEY_BYTES = 32
PIECE_BYTES = CHUNK_BYTES - NONCE_BYTES - TAG_BYTES


@dataclass(frozen=True, slots=True)
class EncryptedChunks:
    """Content, encrypted."""

    key: bytes
    entries: tuple[Chunk, ...]
    chunks: tuple[bytes, ...]  # in the order of the entries
    digest: str  # SHA-256 of the content, hex
    size: int  # bytes of the content


def encrypt_chunks(
    content: bytes,
    version: int,
    chance: Callable[[int], bytes] = secrets.token_bytes,
    piece_bytes: int = PIECE_BYTES,
) -> EncryptedChunks:
    """Encrypt under a new key; ValueError where it is more than a manifest can name.

    `chance` returns that many unpredictable bytes.
    """
    pieces = [content[at : at + piece_bytes] for at in range(0, len(content), piece_bytes)]
    if not 1 <= len(pieces) <= MOST_CHUNKS:
        raise ValueError(f"{len(content)} bytes are not 1 to {MOST_CHUNKS * PIECE_BYTES}")
    key = chance(KEY_BYTES)
    cipher = AESGCM(key)
    # Two parcels of one version never share a name, so that a unit never mixes them.
    batch = chance(3).hex()
    entries, chunks = [], []
    for number, piece in enumerate(pieces):
        name = f"{version}-{batch}-{number}"
        nonce = chance(NONCE_BYTES)
        chunk = nonce + cipher.encrypt(nonce, piece, name.encode())
        sha256 = hashlib.sha256(chunk).hexdigest()
        entries.append(Chunk(name=name, sha256=sha256, size=len(chunk)))
        chunks.append(chunk)
    digest = hashlib.sha256(content).hexdigest()
    return EncryptedChunks(key, tuple(entries), tuple(chunks), digest, len(content))


def decrypt_chunks(manifest: RosterManifest, key: bytes, chunks: Iterable[bytes]) -> bytearray:
    """Decrypt and join; ValueError where anything is not what the manifest says."""
    if len(key) != KEY_BYTES:
        raise ValueError("the content key is none")
    cipher = AESGCM(key)
    content = bytearray()
    for entry, chunk in zip(manifest.chunks, chunks, strict=True):
        if not _is(entry, chunk):
            raise ValueError(f"chunk {entry.name} is not the one that was signed")
        nonce, sealed = chunk[:NONCE_BYTES], chunk[NONCE_BYTES:]
        try:
            content += cipher.decrypt(nonce, sealed, entry.name.encode())
        except InvalidTag:
            raise ValueError(f"chunk {entry.name} cannot be decrypted") from None
    if hashlib.sha256(content).hexdigest() != manifest.digest:
        raise ValueError("the content is not the one that was signed")
    return content


def _is(entry: Chunk, chunk: bytes) -> bool:
    return len(chunk) == entry.size and hashlib.sha256(chunk).hexdigest() == entry.sha256


class ChunkStore:
    """The chunks of one manifest as they come, in a folder; they are there after a restart.

    Encrypted as they came: nothing in the folder can be read without the unit's encryption key.
    Methods raise OSError.
    """

    def __init__(self, folder: Path, manifest: RosterManifest) -> None:
        """Go on with the chunks of this manifest that lie in the folder; remove all others."""
        self._folder = folder
        self._manifest = manifest
        self._entries = {entry.name: entry for entry in manifest.chunks}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in list(folder.iterdir()):
            entry = self._entries.get(path.name)
            if entry is None or path.stat().st_size != entry.size:
                path.unlink()
        self._here = {path.name for path in folder.iterdir()}

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the chunks that did not come yet, in their order."""
        return tuple(name for name in self._entries if name not in self._here)

    def add(self, name: str, chunk: bytes) -> bool:
        """Keep a chunk; False where it is not one of this manifest, or not as it was signed."""
        entry = self._entries.get(name)
        if entry is None or not _is(entry, chunk):
            return False
        if name not in self._here:
            # Not durable: a chunk that a power cut damages is noticed by its digest.
            replace_file(self._folder / name, chunk, mode=0o600, durable=False)
            self._here.add(name)
        return True

    def content(self, key: bytes) -> bytearray:
        """Return the whole; ValueError where something is wrong, and it is to be sent again.

        A chunk that was altered on the disk (the power may have gone before it was written) is
        removed, and then missing.
        """
        return decrypt_chunks(self._manifest, key, self._read())

    def _read(self) -> Iterator[bytes]:
        """Yield each chunk in order, one at a time: together they are as large as the roster."""
        for name, entry in self._entries.items():
            chunk = (self._folder / name).read_bytes()
            if not _is(entry, chunk):
                (self._folder / name).unlink()
                self._here.discard(name)
                raise ValueError(f"chunk {name} is damaged")
            yield chunk

    def clear(self) -> None:
        """Remove everything, durably."""
        clear(self._folder)


def clear(folder: Path) -> None:
    """Remove what lies in the folder of a basket, and the folder, durably. Raises OSError."""
    if not folder.exists():
        return
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    sync_folder(folder.parent)
