"""Verify roster receipts: the units' signed replies to delivered face rosters.

`senyum admin roster` and `erase` keep them, one compact JWS a line: a unit's answer, or its
`state`, which names the roster by its digest. Only the units' keys are needed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.contract.commands import REPLY_TYP, Reply
from edge.contract.envelope import EnvelopeRejected, RejectReason, verify
from edge.contract.events import PersonId, Sha256, StateEvent
from edge.contract.jose import parse
from edge.contract.keys import KeySet
from edge.contract.topics import TopicKind
from edge.errors import EnvelopeError
from senyum_central.evidence.chain import ChainDefect
from senyum_central.evidence.verifier import FileDefect
from senyum_central.replies import parse_stored_reply

_NAME = "roster"  # value of `name` in a roster reply


@dataclass(frozen=True, slots=True)
class Receipt:
    """One verified receipt."""

    line: int  # from 1
    unit: str  # urn:senyum:{org}:{site}:{unit}
    time: str  # as the unit signed it
    digest: str | None  # of the installed roster; None without a roster or after a refusal
    version: int | None = None  # of the delivered roster; None for a state message
    erased: tuple[str, ...] = ()  # opaque ids
    refused: str = ""  # why


class _Installed(BaseModel):
    """The installed roster according to a roster reply."""

    model_config = ConfigDict(strict=True)

    digest: Sha256 | None = None
    erased: list[PersonId] = Field(default_factory=list)


def is_receipts(first: bytes) -> bool:
    """Return whether the first line is that of a receipts file rather than of an export."""
    return not first.startswith(b"{") and first.count(b".") == 2


def read_receipts(lines: Iterable[bytes], keys: KeySet) -> tuple[list[Receipt], list[FileDefect]]:
    """Return the genuine receipts of a file, and the defects of the other lines."""
    receipts: list[Receipt] = []
    findings: list[FileDefect] = []
    for number, raw in enumerate(lines, 1):
        try:
            receipts.append(_receipt(number, raw.strip(), keys))
        except EnvelopeRejected as error:
            unsure = error.flaw in (RejectReason.UNKNOWN_KEY, RejectReason.OUTSIDE_VALIDITY)
            findings.append(
                FileDefect(
                    ChainDefect.REFUSED if unsure else ChainDefect.ALTERED, number, str(error)
                )
            )
        except EnvelopeError as error:
            findings.append(FileDefect(ChainDefect.ALTERED, number, str(error)))
        except Exception as error:  # noqa: BLE001 - the other lines are judged in any case
            text = f"cannot be judged: {type(error).__name__}"
            findings.append(FileDefect(ChainDefect.ALTERED, number, text))
    return receipts, findings


def _receipt(line: int, token: bytes, keys: KeySet) -> Receipt:
    try:
        header = parse(token).header
    except ValueError:
        raise EnvelopeRejected(RejectReason.MALFORMED, "is not signed by a unit") from None
    key = keys.find(str(header.get("kid")))
    if key is None:
        raise EnvelopeRejected(
            RejectReason.UNKNOWN_KEY, "is signed by a key that is not registered"
        )
    if header.get("typ") == REPLY_TYP:
        return _of_reply(line, parse_stored_reply(token, keys))
    event = verify(token, keys, key.unit.topic(TopicKind.STATE)).event
    assert isinstance(event, StateEvent), "nothing else is verified on this topic"
    return Receipt(line, event.source, event.time, event.data.roster)


def _of_reply(line: int, reply: Reply) -> Receipt:
    if reply.name != _NAME:
        raise EnvelopeError(f"is an answer to {reply.name}, and of no roster")
    try:
        data = _Installed.model_validate(reply.data) if reply.ok else _Installed()
    except ValidationError:
        raise EnvelopeError("is an answer that names no roster as a unit does") from None
    return Receipt(
        line,
        reply.source,
        reply.time,
        data.digest,
        reply.number,
        tuple(data.erased),
        "" if reply.ok else f"{reply.reason}: {reply.text}",
    )
