"""Asks a technician for the values of a claim; repeats a question after an invalid answer."""

import getpass
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from edge.appliance.provision.claim import ClaimedBroker, ClaimedPlace, ClaimedUnit
from edge.system.text import describe_validation_error

Answers = dict[str, Any]


class Terminal:
    """The terminal that the questions are asked on."""

    def ask(self, question: str) -> str:
        """Return the answer. Raises EOFError if none comes."""
        return input(question)

    def ask_secret(self, question: str) -> str:
        """Return the answer, which is not shown. Raises EOFError if none comes."""
        return getpass.getpass(question)

    def say(self, line: str) -> None:
        """Show a line."""
        sys.stdout.write(f"{line}\n")


@dataclass(frozen=True, slots=True)
class Question:
    """One field of a claim. Enter selects the current value, else `default`."""

    model: type[BaseModel]
    path: tuple[str, ...]
    text: str
    default: Any = None
    optional: bool = False  # Enter may select no value

    @property
    def kind(self) -> TypeAdapter[Any]:
        """The type of the claim's field, which validates an answer."""
        field = self.model.model_fields[self.path[-1]]
        kind: Any = Annotated[field.annotation, field]
        return TypeAdapter(kind)


QUESTIONS = (
    Question(ClaimedUnit, ("unit", "org"), "Organisation (a-z, 0-9, -)"),
    Question(ClaimedUnit, ("unit", "site"), "Site (a-z, 0-9, -)"),
    Question(ClaimedUnit, ("unit", "name"), "Unit (a-z, 0-9, -)"),
    Question(ClaimedUnit, ("unit", "direction"), "Direction (in, out, unspecified)", "in"),
    Question(ClaimedPlace, ("unit", "place", "latitude"), "Latitude, degrees, north positive"),
    Question(ClaimedPlace, ("unit", "place", "longitude"), "Longitude, degrees, east positive"),
    Question(ClaimedPlace, ("unit", "place", "zone"), "Time zone (IANA)", "Asia/Jakarta"),
    Question(ClaimedBroker, ("broker", "host"), "Broker, host name or address"),
    Question(ClaimedBroker, ("broker", "tls"), "TLS (yes, no)", "yes"),
    Question(
        ClaimedBroker, ("broker", "port"), "Port (Enter: 8883 with TLS, else 1883)", optional=True
    ),
    Question(
        ClaimedBroker,
        ("broker", "ca"),
        "CA certificate file (Enter: the system's)",
        optional=True,
    ),
    Question(ClaimedBroker, ("broker", "username"), "User name (Enter: none)", optional=True),
)


def interview(terminal: Terminal, current: Mapping[str, Any]) -> Answers:
    """Return the answers as a claim; `current` is the content of the settings file."""
    answers: Answers = {}
    for question in QUESTIONS:
        answer = _ask(terminal, question, _at(current, question.path))
        if answer is not None:
            _put(answers, question.path, answer)
    if "username" in answers["broker"]:
        password = terminal.ask_secret("Password (not shown; Enter: none): ")
        if password:
            answers["broker"]["password"] = password
    return answers


def _ask(terminal: Terminal, question: Question, known: Any) -> Any:
    default = question.default if known is None else known
    if isinstance(default, bool):
        default = "yes" if default else "no"
    shown = "" if default is None else f" [{default}]"
    while True:
        typed = terminal.ask(f"{question.text}{shown}: ").strip()
        if not typed and default is None and question.optional:
            return None
        try:
            answer = question.kind.validate_python(
                typed or str(default or "")
            )  # not strict: "8883"
            return question.kind.dump_python(answer, mode="json")
        except ValidationError as error:
            terminal.say(f"  {describe_validation_error(error.errors(include_url=False)[0])}")


def _at(content: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(content, Mapping) or name not in content:
            return None
        content = content[name]
    return content


def _put(answers: Answers, path: tuple[str, ...], answer: Any) -> None:
    for name in path[:-1]:
        answers = answers.setdefault(name, {})
    answers[path[-1]] = answer
