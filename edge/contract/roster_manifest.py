"""What the roster authority says on `roster`: which roster, in which pieces, for whom.

The content of a roster is cut into chunks, each encrypted with AES-256-GCM under one key that is
made for it: 12 bytes of nonce, the ciphertext, 16 bytes of tag; associated data is the chunk's
name. The key comes wrapped for each unit's own. The chunks are the same for every unit and lie, as
the manifest says, on the topics of one name that all of them read.
"""

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.contract.events import Digest, Moment, Sha256, UnitUrn, UuidV7, Whole, describe_errors
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


class StrictManifestModel(BaseModel):
    """A part of a manifest that accepts no other type and no other field."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Chunk(StrictManifestModel):
    """One encrypted piece."""

    name: ChunkName
    sha256: Sha256
    size: Annotated[int, Field(gt=_OVERHEAD, le=CHUNK_BYTES), Whole]


class WrappedKey(StrictManifestModel):
    """The content key for one recipient."""

    kid: Digest
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){4}$", max_length=2048)]


class RosterManifest(StrictManifestModel):
    """One version of the roster, for one unit."""

    id: UuidV7
    aud: UnitUrn
    version: Annotated[int, Field(ge=1, le=MAX_NUMBER), Whole]
    iat: Moment
    digest: Sha256
    size: Annotated[int, Field(ge=1, le=MAX_NUMBER), Whole]
    embedder: Sha256
    at: UnitUrn
    chunks: Annotated[tuple[Chunk, ...], Field(min_length=1, max_length=MOST_CHUNKS)]
    recipients: Annotated[tuple[WrappedKey, ...], Field(min_length=1, max_length=8)]

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
        """Return the content key as it is wrapped for a unit's key, if it is."""
        return next((each.key for each in self.recipients if each.kid == kid), None)


def manifest_topic(unit: UnitName) -> str:
    """Return the topic of a unit's manifest."""
    return f"{ROOT}/{unit.org}/{unit.site}/{unit.name}/{LEAF}"


def chunk_topic(at: UnitName, chunk: str) -> str:
    """Return the topic of a chunk."""
    return f"{manifest_topic(at)}/{chunk}"


def parse_manifest(content: bytes | str) -> RosterManifest:
    """Read the payload of a JWS on `roster`; ValueError in words that quote nothing of it."""
    try:
        return RosterManifest.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(describe_errors(error)) from None
