"""Where a unit speaks: topics, URN, client id. Nothing about people is in any of them."""

import contextlib
import re
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from typing import Self

from edge.contract.jose import claim
from edge.settings import UnitSettings

ROOT = "senyum/v1"
_NAME = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
URN = "urn:senyum:"


class TopicKind(StrEnum):
    """The last level of a topic: what kind of message it carries."""

    EVENT = "event"
    STATE = "state"
    HEALTH = "health"


COMMAND = "command"  # followed by the command's name
REPLY = "reply"  # followed by the command's id


def _shown(text: str) -> str:
    """Cut a stranger's text so that it can stand in a log line."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


@dataclass(frozen=True, slots=True, order=True)
class UnitName:
    """The three names of a unit; ValueError says which one is no name."""

    org: str
    site: str
    name: str

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if not _NAME.fullmatch(value):
                raise ValueError(
                    f"{part.name} {_shown(value)} is no name: 1 to 32 of a-z, 0-9 and -"
                )

    @property
    def source(self) -> str:
        """The URN that CloudEvents carry as `source`."""
        return f"{URN}{self.org}:{self.site}:{self.name}"

    @property
    def client_id(self) -> str:
        """The MQTT client id. The dot is in no name, so two units never share one."""
        return f"senyum.{self.org}.{self.site}.{self.name}"

    def topic(self, leaf: TopicKind) -> str:
        return f"{ROOT}/{self.org}/{self.site}/{self.name}/{leaf}"

    def subtopic(self, *levels: str) -> str:
        """Return a topic or filter of more levels, such as `command/ping` or `command/+`."""
        return "/".join((ROOT, self.org, self.site, self.name, *levels))

    @classmethod
    def of(cls, unit: UnitSettings) -> Self:
        return cls(unit.org, unit.site, unit.name)

    @classmethod
    def from_source(cls, urn: str) -> Self:
        """Read a URN; ValueError where it is not one of a unit."""
        parts = urn.removeprefix(URN).split(":")
        if not urn.startswith(URN) or len(parts) != 3:
            raise ValueError(f"{_shown(urn)} is not urn:senyum:ORG:SITE:UNIT")
        return cls(*parts)


@lru_cache(maxsize=4096)  # topics of this contract only, which are short: an error is not kept
def parse(topic: str) -> tuple[UnitName, TopicKind]:
    """Read a topic of this contract; ValueError where it is none."""
    levels = topic.removeprefix(ROOT + "/").split("/")
    if not topic.startswith(ROOT + "/") or len(levels) != 4:
        raise ValueError(f"topic {_shown(topic)} is not {ROOT}/ORG/SITE/UNIT/KIND")
    *names, leaf = levels
    try:
        return UnitName(*names), TopicKind(leaf)
    except ValueError as error:
        raise ValueError(f"topic {_shown(topic)}: {error}") from None


def event_topic(token: str, unit: UnitName) -> str:
    """Return the topic of a stored event: that of the name it was signed with.

    A unit that was renamed has events of its former name in its archive. `unit` is used if the
    event's `source` cannot be read.
    """
    source = claim(token, "source")
    if source != unit.source:
        with contextlib.suppress(ValueError):
            unit = UnitName.from_source(str(source))
    return unit.topic(TopicKind.EVENT)


def subscription(leaf: TopicKind, group: str | None = None) -> str:
    """Return the filter for every unit's messages of one kind, shared within `group` if given."""
    if group is not None and not _NAME.fullmatch(group):
        raise ValueError(f"group {_shown(group)} is no name: 1 to 32 of a-z, 0-9 and -")
    everyone = f"{ROOT}/+/+/+/{leaf}"
    return everyone if group is None else f"$share/{group}/{everyone}"
