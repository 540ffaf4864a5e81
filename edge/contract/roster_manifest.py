"""The signed manifest on `roster`: which roster, in which chunks, for which unit.

The content of a roster is split into chunks, each encrypted with AES-256-GCM under one key that is
generated for it: 12 bytes of nonce, the ciphertext, 16 bytes of tag; the associated data is the
chunk's name. The manifest carries this key wrapped for each unit's own key. The chunks are the same
for every unit and are retained on the topics of one name that all units read.
"""

from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator

from edge.contract.events import (
    Digest,
    Moment,
    Sha256,
    StrictModel,
    UnitUrn,
    UuidV7,
    Whole,
    describe_errors,
)
from edge.contract.limits import MAX_NUMBER
from edge.contract.topics import ROOT, UnitName

TYP: Final = "senyum-roster+jws"
LEAF: Final = "roster"
SHARED: Final = "all"  # site and unit whose topics carry the chunks for every unit of one org
CHUNK_BYTES: Final = 65_536  # of a chunk, encrypted; many brokers refuse packets of 128 KiB
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
MOST_CHUNKS: Final = 400  # 26 MB: 13,000 people with five photos; the manifest is 64 KiB then
MANIFEST_BYTES: Final = 65_536

ChunkName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
_OVERHEAD = NONCE_BYTES + TAG_BYTES


class Chunk(StrictModel):
    """One encrypted piece."""

    name: ChunkName = Field(
        description="Last level of its topic, and associated data of its encryption."
    )
    sha256: Sha256 = Field(description="SHA-256 of the encrypted chunk, hexadecimal.")
    size: Annotated[int, Field(gt=_OVERHEAD, le=CHUNK_BYTES), Whole] = Field(
        description="Bytes of the encrypted chunk: nonce (12), ciphertext, tag (16); AES-256-GCM."
    )


class WrappedKey(StrictModel):
    """The content key for one recipient."""

    kid: Digest = Field(description="RFC 7638 thumbprint of the unit's X25519 key.")
    key: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){4}$", max_length=2048)
    ] = Field(
        description="The content key, 32 bytes, as a compact JWE (RFC 7516) of alg ECDH-ES+A256KW "
        "and enc A256GCM."
    )


class RosterManifest(StrictModel):
    """One version of the roster, for one unit."""

    id: UuidV7 = Field(
        description="UUIDv7 of this manifest; the unit's reply is published on `reply/{id}`."
    )
    aud: UnitUrn = Field(description="URN of the one unit that it is for.")
    version: Annotated[int, Field(ge=1, le=MAX_NUMBER), Whole] = Field(
        description="Version of the roster. A unit accepts only a version higher than any it has "
        "had."
    )
    iat: Moment = Field(description="When it was signed, UTC.")
    digest: Sha256 = Field(
        description="SHA-256 of the roster's content, decrypted and joined, hexadecimal."
    )
    size: Annotated[int, Field(ge=1, le=MAX_NUMBER), Whole] = Field(
        description="Bytes of that content."
    )
    embedder: Sha256 = Field(
        description="SHA-256 of the identity model that made the templates, hexadecimal."
    )
    at: UnitUrn = Field(
        description="URN of the name whose topics hold the chunks: `{at}/roster/{chunk}`."
    )
    chunks: Annotated[tuple[Chunk, ...], Field(min_length=1, max_length=MOST_CHUNKS)] = Field(
        description="The chunks, in the order of the content."
    )
    recipients: Annotated[tuple[WrappedKey, ...], Field(min_length=1, max_length=8)] = Field(
        description="The content key, wrapped for each key of the unit."
    )

    @model_validator(mode="after")
    def _pieces_are_the_whole(self) -> Self:
        if len({chunk.name for chunk in self.chunks}) < len(self.chunks):
            raise ValueError("a chunk is named twice")
        if sum(chunk.size - _OVERHEAD for chunk in self.chunks) != self.size:
            raise ValueError("the sizes of the chunks are not that of the whole")
        return self

    def topic(self, chunk: str) -> str:
        """Return the topic of a chunk."""
        return chunk_topic(UnitName.from_source(self.at), chunk)

    def key_for(self, kid: str) -> str | None:
        """Return the content key wrapped for the unit's key with this id, or None."""
        return next((each.key for each in self.recipients if each.kid == kid), None)


def manifest_topic(unit: UnitName) -> str:
    """Return the topic of a unit's manifest."""
    return f"{ROOT}/{unit.org}/{unit.site}/{unit.name}/{LEAF}"


def chunk_topic(at: UnitName, chunk: str) -> str:
    """Return the topic of a chunk."""
    return f"{manifest_topic(at)}/{chunk}"


def parse_manifest(content: bytes | str) -> RosterManifest:
    """Parse the payload of a JWS on `roster`; ValueError, whose message does not quote it."""
    try:
        return RosterManifest.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(describe_errors(error)) from None
