"""Test vectors of rosters: manifests and chunks, and what one unit says of each.

The unit is door 1. It had version 7, somebody was erased with version 6, and it knows two
authorities: one of both roles, and one that may send commands only.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import OKPKey

from contract import cast
from contract.unit import NOON, SteadyKey, ids
from edge.contract.authority import OrderRejectReason, Role, register, sign_order
from edge.contract.encryption import ALG, ENC, EncryptionKey
from edge.contract.events import timestamp
from edge.contract.jose import b64url
from edge.contract.roster_manifest import CHUNK_BYTES, MANIFEST_BYTES, TYP
from edge.gallery import DIMENSION
from edge.roster.chunks import EncryptedChunks, encrypt_chunks
from edge.roster.codec import Person, Roster, pack, stripped

TAKEN: Final = "taken"
WAITS: Final = "waits"  # a chunk is missing, or not the one that was signed
VERSION: Final = 7  # that the unit had
ERASED: Final = "0123456789abcdef0123456789abcdef"
EMBEDDER: Final = sha256(b"identity").hexdigest()  # as in the events of the other vectors
_FOLDER: Final = "vectors/rosters"
_PIECE: Final = 700  # bytes; chunks are as small as that, to be read

AUTHORITY: Final = SteadyKey("roster authority")
COMMANDER: Final = SteadyKey("command authority")
_DOORS: Final = ["urn:senyum:example:office:*"]


class _Chance:
    """Bytes that everybody can compute, from a name."""

    def __init__(self, name: str) -> None:
        self._name, self._count = name, 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return sha256(f"senyum contract, {self._name}, {self._count}".encode()).digest()[:size]


def _x25519(name: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(_Chance(name)(32))


def _public(key: X25519PublicKey) -> str:
    return b64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _jwk(name: str) -> dict[str, str]:
    key = _x25519(name)
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    x = _public(key.public_key())
    return {"kty": "OKP", "crv": "X25519", "x": x, "d": b64url(private)}


DOOR_KEY: Final = _jwk("encryption key of door 1")
OTHER_KEY: Final = _jwk("encryption key of door 3")


def encryption_key(jwk: dict[str, str] = DOOR_KEY) -> EncryptionKey:
    """Return the key of door 1."""
    return EncryptionKey(OKPKey.import_key(dict(jwk)))


def _wrapped(secret: bytes, jwk: dict[str, str]) -> dict[str, str]:
    """Wrap as the code does, with what is random there computed from names (RFC 7518, 4.6)."""
    key = encryption_key(jwk)
    ephemeral = _x25519("ephemeral key")
    epk = {"kty": "OKP", "crv": "X25519", "x": _public(ephemeral.public_key())}
    header = {"alg": ALG, "enc": ENC, "kid": key.kid, "epk": epk}
    protected = b64url(json.dumps(header, separators=(",", ":")).encode())
    public = _x25519("encryption key of door 1" if jwk is DOOR_KEY else "encryption key of door 3")
    shared = ephemeral.exchange(public.public_key())
    info = b"".join(
        (len(part).to_bytes(4) + part for part in (ALG.encode(), b"", b"")),
    ) + (256).to_bytes(4)
    wrapping = ConcatKDFHash(SHA256(), 32, info).derive(shared)
    content_key, nonce = _Chance("content encryption key")(32), _Chance("nonce")(12)
    sealed = AESGCM(content_key).encrypt(nonce, secret, protected.encode())
    parts = (aes_key_wrap(wrapping, content_key), nonce, sealed[:-16], sealed[-16:])
    return {"kid": key.kid, "key": ".".join((protected, *map(b64url, parts)))}


def _person(number: int) -> Person:
    template = np.zeros((1, DIMENSION), np.float32)
    template[0, number] = 1.0
    return Person(f"{number:032x}", "", "", exempt=number == 2, templates=template)


def _roster(*people: Person, version: int = VERSION + 1, **changes: Any) -> Roster:
    created = datetime.fromtimestamp(NOON, UTC)
    fields = {"tombstones": {ERASED: 6}, "salt": "5a" * 16, **changes}
    return Roster(version, created, EMBEDDER, people, **fields)


PEOPLE: Final = (_person(1), _person(2), _person(3))
ROSTER: Final = _roster(*PEOPLE)
CONTENT: Final = pack(stripped(ROSTER))


def _parcel(
    content: bytes = CONTENT, version: int = VERSION + 1, name: str = "good"
) -> EncryptedChunks:
    return encrypt_chunks(content, version, _Chance(name), _PIECE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterVector:
    """A manifest, the chunks that come after it, and what becomes of them."""

    name: str
    manifest: bytes
    verdict: str = TAKEN
    about: str
    chunks: dict[str, bytes] = field(default_factory=dict)  # name to bytes


def _claims(parcel: EncryptedChunks, **changes: Any) -> dict[str, Any]:
    return {
        "id": next(ids(500)),
        "aud": cast.DOOR_1.source,
        "version": VERSION + 1,
        "iat": timestamp(NOON * 1_000_000_000),
        "digest": parcel.digest,
        "size": parcel.size,
        "embedder": EMBEDDER,
        "at": "urn:senyum:example:all:all",
        "chunks": [entry.model_dump() for entry in parcel.entries],
        "recipients": [_wrapped(parcel.key, DOOR_KEY)],
        **changes,
    }


def _signed(claims: dict[str, Any], key: SteadyKey = AUTHORITY, typ: str = TYP) -> bytes:
    return sign_order(key, typ, claims).encode()


def _chunks(parcel: EncryptedChunks) -> dict[str, bytes]:
    return dict(zip((e.name for e in parcel.entries), parcel.chunks, strict=True))


def every() -> Iterator[RosterVector]:
    """Yield all of them."""
    good = _parcel()
    chunks = _chunks(good)
    claims = _claims(good)
    token = _signed(claims)
    names = list(chunks)
    yield RosterVector(name="good", manifest=token, chunks=chunks, about="a newer roster")
    yield RosterVector(
        name="other-order",
        manifest=token,
        chunks=dict(reversed(chunks.items())),
        about="the same, its chunks in another order",
    )
    back = _parcel(
        pack(
            _roster(
                *PEOPLE,
                Person(ERASED, "", "", exempt=False, templates=PEOPLE[0].templates),
                tombstones={},
                readmitted={ERASED: VERSION + 1},
            )
        ),
        name="back",
    )
    yield RosterVector(
        name="readmitted",
        manifest=_signed(_claims(back)),
        chunks=_chunks(back),
        about="somebody who was erased with version 6 was enrolled again with version 8",
    )
    yield RosterVector(
        name="chunk-missing",
        manifest=token,
        chunks={name: chunks[name] for name in names[1:]},
        verdict=WAITS,
        about="the first chunk does not come",
    )
    for kind, spoilt in (
        ("altered", bytes([chunks[names[0]][0] ^ 1]) + chunks[names[0]][1:]),
        ("truncated", chunks[names[0]][:-1]),
        ("exchanged", chunks[names[1]]),
        ("oversized", chunks[names[0]] + bytes(CHUNK_BYTES)),
    ):
        yield RosterVector(
            name=f"chunk-{kind}",
            manifest=token,
            chunks={**chunks, names[0]: spoilt},
            verdict=WAITS,
            about=f"the first chunk is {kind}",
        )
    yield from _refused(good, claims, token, chunks)


def _refused(
    good: EncryptedChunks, claims: dict[str, Any], token: bytes, chunks: dict[str, bytes]
) -> Iterator[RosterVector]:
    def refused(name: str, flaw: OrderRejectReason, manifest: bytes, about: str) -> RosterVector:
        return RosterVector(name=name, manifest=manifest, verdict=flaw, about=about, chunks=chunks)

    head, body, _ = token.decode().split(".")
    other = b64url(bytes(64))
    yield refused(
        "forged", OrderRejectReason.FORGED, f"{head}.{body}.{other}".encode(), "another signature"
    )
    yield refused("truncated", OrderRejectReason.MALFORMED, token[: len(head) + 50], "cut off")
    yield refused(
        "unknown-key",
        OrderRejectReason.UNKNOWN_KEY,
        _signed(claims, cast.UNREGISTERED),
        "nobody's key",
    )
    yield refused(
        "wrong-role", OrderRejectReason.WRONG_ROLE, _signed(claims, COMMANDER), "may only command"
    )
    yield refused(
        "typ-of-command",
        OrderRejectReason.MALFORMED,
        _signed(claims, typ="senyum-command+jws"),
        "another typ",
    )
    yield refused(
        "foreign",
        OrderRejectReason.FOREIGN,
        _signed({**claims, "aud": cast.DOOR_2.source}),
        "for door 2",
    )
    yield refused(
        "oversized",
        OrderRejectReason.TOO_LARGE,
        token + b"A" * MANIFEST_BYTES,
        f"over {MANIFEST_BYTES} bytes",
    )
    for name, changes, about in (
        ("member-missing", {"digest": None}, "no digest"),
        ("member-more", {"more": 1}, "a member that is none of the contract"),
        ("size-wrong", {"size": good.size + 1}, "size is not that of the chunks"),
        ("chunk-twice", {"chunks": claims["chunks"] * 2}, "each chunk twice"),
        ("chunk-name", {"chunks": [{**claims["chunks"][0], "name": "../x"}]}, "no topic level"),
        ("version-0", {"version": 0}, "version 0"),
    ):
        present = {key: value for key, value in {**claims, **changes}.items() if value is not None}
        yield refused(name, OrderRejectReason.MALFORMED, _signed(present), about)
    older = {**claims, "version": VERSION}
    yield refused("older", OrderRejectReason.STALE, _signed(older), f"version {VERSION} was here")
    yield refused(
        "other-network",
        OrderRejectReason.OTHER_NETWORK,
        _signed({**claims, "embedder": "ab" * 32}),
        "another",
    )
    elsewhere = {**claims, "recipients": [_wrapped(good.key, OTHER_KEY)]}
    yield refused(
        "no-recipient",
        OrderRejectReason.NO_RECIPIENT,
        _signed(elsewhere),
        "encrypted for door 3 alone",
    )
    kid = encryption_key().kid
    wrong = {"recipients": [{**_wrapped(good.key, OTHER_KEY), "kid": kid}]}
    yield refused(
        "wrongly-wrapped",
        OrderRejectReason.NO_RECIPIENT,
        _signed({**claims, **wrong}),
        "does not unwrap",
    )
    key = {"recipients": [_wrapped(bytes(32), DOOR_KEY)]}
    yield refused(
        "other-key", OrderRejectReason.BAD_DATA, _signed({**claims, **key}), "another content key"
    )
    digest = {"digest": "ab" * 32}
    yield refused(
        "digest-wrong", OrderRejectReason.BAD_DATA, _signed({**claims, **digest}), "another content"
    )
    ahead = {**claims, "version": VERSION + 2}
    yield refused(
        "version-lies", OrderRejectReason.BAD_DATA, _signed(ahead), "the content says version 8"
    )
    brought = Person(ERASED, "", "", exempt=False, templates=PEOPLE[0].templates)
    for name, content, flaw, about in (
        ("no-roster", b"no roster " * 200, OrderRejectReason.BAD_DATA, "the content is none"),
        (
            "erased-person",
            pack(_roster(*PEOPLE, brought, tombstones={})),
            OrderRejectReason.ERASED_PERSON,
            "holds somebody who was erased with version 6",
        ),
    ):
        parcel = _parcel(content, name=name)
        yield RosterVector(
            name=name,
            manifest=_signed(_claims(parcel)),
            verdict=flaw,
            about=about,
            chunks=_chunks(parcel),
        )


def authorities() -> list[dict[str, Any]]:
    """Return the keys that door 1 obeys."""
    return [
        register(AUTHORITY, [Role.COMMAND, Role.ROSTER], _DOORS),
        register(COMMANDER, [Role.COMMAND], _DOORS),
    ]


def files() -> dict[str, bytes]:
    """Return every file of these vectors by its path in docs/contract."""
    names: dict[bytes, str] = {}
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
    writer.writerow(("name", "manifest", "chunks", "verdict", "about"))
    for vector in every():
        manifest = names.setdefault(vector.manifest, f"rosters/{vector.name}")
        chunks = [
            f"{name}={names.setdefault(chunk, f'rosters/{vector.name}.{number}')}"
            for number, (name, chunk) in enumerate(vector.chunks.items())
        ]
        writer.writerow(
            (vector.name, manifest, " ".join(chunks), str(vector.verdict), vector.about)
        )
    private = {
        "warning": "TEST ONLY. Everybody has this key: never register it anywhere.",
        **DOOR_KEY,
        "kid": encryption_key().kid,
    }
    documents = {
        "rosters/authorities.json": {"keys": authorities()},
        "rosters/encryption-key-for-tests.json": private,
    }
    return {
        "vectors/rosters.tsv": table.getvalue().encode("ascii"),
        "vectors/rosters/content": CONTENT,
        **{f"vectors/{n}": (json.dumps(s, indent=2) + "\n").encode() for n, s in documents.items()},
        **{f"vectors/{name}": content for content, name in names.items()},
    }
