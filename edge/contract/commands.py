"""The payloads of commands and replies, validated by sender and receiver.

A command is a compact JWS of typ COMMAND_TYP (`edge.contract.authority`) on `command/{name}`; its
reply is a JWS of typ REPLY_TYP, signed by the unit, on `reply/{id of the command}`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from edge.contract.authority import OrderRejectReason
from edge.contract.events import Moment, StrictModel, Text, UnitUrn, UuidV7, Whole
from edge.contract.limits import MAX_NUMBER
from edge.contract.remote_settings import RemoteSetting

COMMAND_TYP: Final = "senyum-command+jws"
REPLY_TYP: Final = "senyum-reply+jws"
MAX_BYTES: Final = 16_384  # of a command
MAX_REPLY_BYTES: Final = 65_536

Number = Annotated[int, Field(ge=1, le=MAX_NUMBER), Whole]
CommandText = Annotated[str, Field(pattern=r"^[a-z-]{1,32}$")]


class CommandName(StrEnum):
    """The commands.

    `ping`: reports the unit's state.
    `identify`: blinks and sounds, so that a person can find the unit.
    `replay`: sends events again from the archive.
    `reload`: reads settings and roster again.
    `settings`: changes a few settings, or reports their values.
    """

    PING = "ping"
    IDENTIFY = "identify"
    REPLAY = "replay"
    RELOAD = "reload"
    SETTINGS = "settings"


# These may run late, and without a known time, because they change nothing lasting.
TIMELESS: Final = frozenset({CommandName.PING, CommandName.IDENTIFY})


class Command(StrictModel):
    """What an authority requests of one unit."""

    id: UuidV7 = Field(description="UUIDv7; the reply is published on `reply/{id}`.")
    aud: UnitUrn = Field(description="URN of the one unit that is addressed.")
    # A name that this version does not know is answered, too.
    name: CommandText = Field(description="The command; equal to the last level of the topic.")
    number: Number = Field(
        description="Higher than every number this key has used for this unit. A unit executes "
        "each number once, also across a restart."
    )
    iat: Moment = Field(description="When it was signed, UTC.")
    exp: Moment = Field(
        description="The unit refuses the command after this time, if it knows the time."
    )
    data: Annotated[dict[str, Any], Field(max_length=32)] = Field(
        description="Parameters; for replay and settings see schema/command-{name}.json, "
        "otherwise empty."
    )


class CommandResult(StrictModel):
    """The result of a command."""

    to: UuidV7 = Field(description="`id` of the command.")
    name: CommandText | None = Field(
        description="Its name; null if the command could not be read that far."
    )
    number: Number | None = Field(
        description="Its number; null if the command could not be read that far."
    )
    ok: bool = Field(description="Whether it was executed.")
    reason: OrderRejectReason | None = Field(description="Why not; null if it was executed.")
    text: Text = Field(description="One sentence for a person.")
    data: dict[str, Any] = Field(
        description="The result. ping: software, uptime_s, session, sequence, head. replay: first, "
        "last. reload: changed, restart. settings: settings (current values), set (by command). "
        "Later versions may add more."
    )

    @model_validator(mode="after")
    def _a_refusal_has_a_reason(self) -> Self:
        if self.ok != (self.reason is None):
            raise ValueError("reason is null exactly where ok is true")
        return self


class Reply(CommandResult):
    """A reply as the unit signs it."""

    id: UuidV7 = Field(description="UUIDv7 of the reply.")
    source: UnitUrn = Field(description="URN of the unit.")
    time: Moment = Field(description="When it replied, by its own clock.")


# --- data of each command ----------------------------------------------------------------------


class NoData(StrictModel):
    """`data` of ping, identify and reload."""


class ReplayData(StrictModel):
    """`data` of replay: a range of numbers or a period."""

    first: Number | None = Field(default=None, description="Number of the first event.")
    last: Number | None = Field(default=None, description="Number of the last event, included.")
    begin: Moment | None = Field(
        default=None, description="Start of the period, compared with the events' `time`; included."
    )
    end: Moment | None = Field(default=None, description="End of the period, included.")

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        numbers, period = (self.first, self.last), (self.begin, self.end)
        if (None in numbers) == (None in period) or None not in (numbers[0], period[0]):
            raise ValueError("give first and last, or begin and end")
        if (self.first or 0) > (self.last or 0) or (self.begin or "") > (self.end or ""):
            raise ValueError("the end is before the begin")
        return self


class SettingsData(StrictModel):
    """`data` of settings: values to set, and names to reset to the unit's settings file.

    Without either, the reply only reports the current values.
    """

    set: Annotated[dict[RemoteSetting, float], Field(max_length=32)] = Field(
        default={},
        description="New values by name. Bounds are those of the unit's settings file.",
    )
    reset: Annotated[list[RemoteSetting], Field(max_length=32)] = Field(
        default=[], description="Names to reset to the value in the unit's own settings file."
    )

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
