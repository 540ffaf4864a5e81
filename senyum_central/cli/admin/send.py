"""`senyum admin send`: a command to a unit, and its answer."""

import argparse
from pathlib import Path
from typing import Any

from senyum_central.cli.options import add_broker

_MOST_SECONDS = 366 * 86_400.0


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "send",
        help="send a command to a unit and show its answer",
        description=(
            "Sign a command with a command key, send it, wait for the unit's answer, verify and "
            "show it. Exits with 0 if it was executed, 1 if it was refused or not answered."
        ),
    )
    parser.add_argument("command", choices=["ping", "identify", "replay", "reload", "settings"])
    add_broker(parser)
    parser.add_argument("--authority", type=Path, required=True, metavar="FILE", help="command key")
    parser.add_argument(
        "--keys", type=Path, required=True, metavar="FILE", help="JWK set of the units' keys"
    )
    parser.add_argument(
        "--unit", required=True, metavar="ORG/SITE/UNIT", help="or urn:senyum:ORG:SITE:UNIT"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="time to wait for the answer (default: 30)",
    )
    parser.add_argument(
        "--expires",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="validity of the command, if the unit is offline (default: 3600)",
    )
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    replay = parser.add_argument_group("replay: by number or by time")
    replay.add_argument("--first", type=int, metavar="NUMBER")
    replay.add_argument("--last", type=int, metavar="NUMBER")
    replay.add_argument("--begin", metavar="TIME", help="as 2026-08-01T07:00+07:00")
    replay.add_argument("--end", metavar="TIME")
    settings = parser.add_argument_group("settings: without options, the current values are shown")
    settings.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="may be repeated"
    )
    settings.add_argument(
        "--reset",
        action="append",
        default=[],
        metavar="NAME",
        help="restore the value of the unit's settings file",
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    from edge.contract.commands import CommandName
    from edge.contract.keys import KeySet
    from edge.contract.topics import UnitName
    from edge.errors import UsageError
    from edge.system.text import ascii_json, escaped
    from senyum_central.admin.command_sender import CommandSender, sign
    from senyum_central.cli.options import broker_settings

    name = CommandName(options.command)
    data = _data(options)
    for given, limit in (("timeout", 3600.0), ("expires", _MOST_SECONDS)):
        if not 0 < getattr(options, given) <= limit:
            raise UsageError(f"--{given}: must be more than 0 and at most {limit:g} seconds")
    try:
        urn = "urn:senyum:" + options.unit.removeprefix("urn:senyum:").replace("/", ":")
        unit = UnitName.from_source(urn)
    except ValueError as error:
        raise UsageError(f"--unit: {error}") from None
    broker, keys = broker_settings(options), KeySet.load(options.keys)
    signed = sign(options.authority, unit, name, data, options.expires)
    reply = CommandSender(unit, keys, signed).run(broker, name, options.timeout)
    if options.json:
        print(ascii_json(reply.model_dump_json()))
        return 0 if reply.ok else 1
    how = f"{name}:" if reply.ok else f"{name} refused ({reply.reason}):"
    print(escaped(f"{unit.org}/{unit.site}/{unit.name}: {how} {reply.text}"))
    settings = reply.data.get("settings")
    for setting, value in settings.items() if isinstance(settings, dict) else ():
        figure = f"{value:g}" if isinstance(value, float) else value
        print(escaped(f"  {setting} = {figure}"))
    return 0 if reply.ok else 1


def _data(options: argparse.Namespace) -> dict[str, Any]:
    """Return the data of the command. Raises UsageError, which names the option."""
    from pydantic import ValidationError

    from edge.contract.commands import DATA, CommandName
    from edge.contract.events import describe_errors
    from edge.errors import UsageError

    data: dict[str, Any] = {}
    for option in ("first", "last"):
        if getattr(options, option) is not None:
            data[option] = getattr(options, option)
    for option in ("begin", "end"):
        if getattr(options, option) is not None:
            data[option] = _moment(option, getattr(options, option))
    if options.set:
        data["set"] = dict(_setting(text) for text in options.set)
    if options.reset:
        data["reset"] = options.reset
    name = CommandName(options.command)
    try:
        wanted = DATA[name].model_validate(data, strict=False)
    except ValidationError as error:
        given = ", ".join(f"--{each}" for each in data) or "nothing"
        raise UsageError(f"{name} with {given}: {describe_errors(error)}") from None
    content: dict[str, Any] = wanted.model_dump(mode="json", exclude_unset=True)
    return content


def _moment(option: str, text: str) -> str:
    from datetime import datetime

    from edge.contract.events import timestamp
    from edge.errors import UsageError

    try:
        moment = datetime.fromisoformat(text)
        spelt = timestamp(round(moment.timestamp() * 1e9))
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            f"--{option} {text}: is not a time with a zone, such as 2026-08-01T07:00+07:00"
        )
    return spelt


def _setting(text: str) -> tuple[str, float]:
    from edge.errors import UsageError

    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise UsageError(f"--set {text}: must be NAME=NUMBER") from None
