"""What the roster thread and the main loop send each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edge.contract.authority import OrderRejectReason
from edge.contract.commands import CommandResult
from edge.contract.limits import as_text
from edge.gallery import Gallery
from edge.roster.store import PendingReceipt
from edge.settings import RosterSettings
from edge.types import RosterReceived

NAME = "roster"  # of what is answered, where a reply to a command has the command's

# --- from the roster thread to the main loop -------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class RosterInstalled:
    """A roster is durable on disk and to be used from the next quiet moment on."""

    gallery: Gallery
    thresholds: RosterSettings  # the settings with the thresholds that the roster requires
    owed: PendingReceipt | None  # what to record once it is in use


@dataclass(frozen=True, slots=True, eq=False)
class RosterLoaded:
    """The answer to LoadRoster: what the roster file holds, or why it cannot be used."""

    gallery: Gallery
    thresholds: RosterSettings
    error: str | None = None
    owed: PendingReceipt | None = None


@dataclass(frozen=True, slots=True)
class RosterReplies:
    """Answers to roster manifests, to be signed and published."""

    results: Sequence[CommandResult]


@dataclass(frozen=True, slots=True)
class TopicsWanted:
    """The topics of the roster chunks to fetch now, instead of those before."""

    topics: Sequence[str]


@dataclass(frozen=True, slots=True)
class RosterMessageHandled:
    """A message on a roster topic may be acknowledged to the broker."""

    delivery: int


RosterEvent = RosterInstalled | RosterLoaded | RosterReplies | TopicsWanted | RosterMessageHandled

# --- from the main loop to the roster thread -------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadRoster:
    """Load the roster file again, and compute its thresholds from these settings."""

    rule: RosterSettings


@dataclass(frozen=True, slots=True, eq=False)
class RosterInUse:
    """These settings and this roster are used now."""

    gallery: Gallery
    rule: RosterSettings  # as in the file, for the thresholds of the next roster


@dataclass(frozen=True, slots=True)
class ReceiptDue:
    """Everything about a roster version is stored in the event chain."""

    version: int


RosterRequest = RosterReceived | LoadRoster | RosterInUse | ReceiptDue


def answer(
    to: object, version: object, flaw: OrderRejectReason | None = None, text: str = "", **data: Any
) -> CommandResult | None:
    """Return the answer to a manifest, in the form of a reply; None if it cannot be named."""
    fields_of_reply = {
        "to": to,
        "name": NAME,
        "number": version,
        "ok": flaw is None,
        "reason": flaw,
        "text": as_text(text),
        "data": data,
    }
    try:
        return CommandResult.model_validate(fields_of_reply)
    except ValidationError:
        return None
