"""What a unit says about itself, for people: a sentence for each code, then the facts.

What names a person or a key is cut short, as in every line of the receiver.
"""

from collections.abc import Mapping
from types import MappingProxyType

from edge.contract.events import AuditData
from edge.types import AuditCode

SENTENCES: Mapping[AuditCode, str] = MappingProxyType(
    {
        AuditCode.STARTED: "the program began",
        AuditCode.STOPPED: "the program ended in good order",
        AuditCode.RESTARTED: "the run before did not end in good order",
        AuditCode.REBOOTED: "the machine was started anew, for a restart had not helped",
        AuditCode.REBOOT_REFUSED: "no reboot, there were too many: a person must look",
        AuditCode.MOVED: "the unit has another name from here on",
        AuditCode.CAMERA_LOST: "no pictures come",
        AuditCode.CAMERA_BACK: "pictures come again",
        AuditCode.PINS_LOST: "lights and buzzer are out of reach, nobody is recorded",
        AuditCode.PINS_BACK: "lights and buzzer are within reach again",
        AuditCode.STORE_FAILED: "events could not be made durable for a while",
        AuditCode.OUTBOX_RENEWED: "a damaged outbox was set aside; numbers may be left out before",
        AuditCode.ROSTER_INSTALLED: "another version of the roster is in force",
        AuditCode.PERSON_ERASED: "a person is gone from the roster and all before it",
        AuditCode.CLOCK_STEPPED: "the clock was set by a leap",
        AuditCode.CLOCK_ANCHOR: "dates the events of this boot that had no certain time",
        AuditCode.COMMAND_DONE: "a command was obeyed",
        AuditCode.COMMANDS_REFUSED: "commands were refused",
    }
)
# What is only told in its first characters: enough to tell it from others, and nobody's whole id.
_SHORT = MappingProxyType({"person": 4, "digest": 12, "by": 12})


def describe_audit(data: AuditData) -> str:
    """Say an audit: `camera-lost: no pictures come  why frozen`."""
    facts = [
        f"{name.replace('_', ' ')} {_told(name, value)}" for name, value in data.detail.items()
    ]
    return "  ".join([f"{data.code}: {SENTENCES[data.code]}", *facts])


def _told(name: str, value: str | float | bool | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    most = _SHORT.get(name, len(text))
    return text if len(text) <= most else f"{text[:most]}…"
