"""What may be asked of a unit, and what it answers: the payloads, checked at both ends.

A command is a compact JWS of typ COMMAND_TYP (`edge.contract.authority`) on `command/{name}`; its
answer one of typ REPLY_TYP, signed by the unit, on `reply/{id of the command}`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge.contract.authority import OrderRejectReason
from edge.contract.events import Moment, Text, UnitUrn, UuidV7, Whole
from edge.contract.limits import MAX_NUMBER
from edge.contract.remote_settings import RemoteSetting

COMMAND_TYP: Final = "senyum-command+jws"
REPLY_TYP: Final = "senyum-reply+jws"
MAX_BYTES: Final = 16_384  # of a command
MAX_REPLY_BYTES: Final = 65_536

# A JSON number that every language reads exactly.
Number = Annotated[int, Field(ge=1, le=MAX_NUMBER), Whole]
Sequence = Number
CommandText = Annotated[str, Field(pattern=r"^[a-z-]{1,32}$")]


class CommandName(StrEnum):
    """What may be asked."""

    PING = "ping"
    IDENTIFY = "identify"
    REPLAY = "replay"
    RELOAD = "reload"
    SETTINGS = "settings"


# These change nothing that anybody could want to postpone, so a late one does no harm.
TIMELESS: Final = frozenset({CommandName.PING, CommandName.IDENTIFY})


class StrictModel(BaseModel):
    """A payload that accepts no other type and no other field."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Command(StrictModel):
    """What an authority asks of one unit."""

    id: UuidV7
    aud: UnitUrn
    name: CommandText  # one that this version does not know is answered, too
    number: Number
    iat: Moment
    exp: Moment
    data: Annotated[dict[str, Any], Field(max_length=32)]


class CommandResult(StrictModel):
    """What became of a command."""

    to: UuidV7
    name: CommandText | None  # None, and number too, where the command was not to be read
    number: Number | None
    ok: bool
    reason: OrderRejectReason | None
    text: Text
    data: dict[str, Any]

    @model_validator(mode="after")
    def _a_refusal_has_a_reason(self) -> Self:
        if self.ok != (self.reason is None):
            raise ValueError("reason is null exactly where ok is true")
        return self


class Reply(CommandResult):
    """An answer as the unit signs it."""

    id: UuidV7
    source: UnitUrn
    time: Moment


# --- data of each command ----------------------------------------------------------------------


class NoData(StrictModel):
    """`data` of ping, identify and reload."""


class ReplayData(StrictModel):
    """`data` of replay: by number, or by time."""

    first: Sequence | None = None
    last: Sequence | None = None
    begin: Moment | None = None
    end: Moment | None = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        numbers, period = (self.first, self.last), (self.begin, self.end)
        if (None in numbers) == (None in period) or None not in (numbers[0], period[0]):
            raise ValueError("give first and last, or begin and end")
        if (self.first or 0) > (self.last or 0) or (self.begin or "") > (self.end or ""):
            raise ValueError("the end is before the begin")
        return self


class SettingsData(StrictModel):
    """`data` of settings: what to set, and what to leave to the unit's own file again.

    Without either it only answers what is in force.
    """

    set: Annotated[dict[RemoteSetting, float], Field(max_length=32)] = {}
    reset: Annotated[list[RemoteSetting], Field(max_length=32)] = []

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.set.keys() & set(self.reset):
            raise ValueError("the same setting is to be set and reset")
        return self


AnyData = NoData | ReplayData | SettingsData
DATA: Final[Mapping[CommandName, type[AnyData]]] = {
    CommandName.PING: NoData,
    CommandName.IDENTIFY: NoData,
    CommandName.REPLAY: ReplayData,
    CommandName.RELOAD: NoData,
    CommandName.SETTINGS: SettingsData,
}
