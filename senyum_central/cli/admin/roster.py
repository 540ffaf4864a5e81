"""`senyum admin roster`: delivers the face roster to the units through the broker."""

import argparse
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.system.text import escaped, pluralize

if TYPE_CHECKING:
    from edge.roster.codec import Roster
    from senyum_central.admin.rosters import Source, UnitStatus

_DESCRIPTION = """\
Encrypt the face roster for each unit of the key set, sign it and publish it retained, so
that units receive it now or when they reconnect. Names and person numbers stay here.

Then wait until each unit has confirmed, with a signed receipt, that it uses the roster.
"""
_EPILOG = """\
exit status:
  0  every unit has this roster
  1  a unit has not confirmed it yet, or has rejected it; the messages stay on the broker
  2  nothing was sent: a file or an option is invalid
"""


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "roster",
        help="deliver the face roster to the units",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check", action="store_true", help="send nothing; show which units have it"
    )
    parser.add_argument(
        "--at-least",
        type=int,
        metavar="VERSION",
        help="raise the roster's version, if units have a higher one from an earlier enrolment",
    )
    add_roster_options(parser)
    parser.set_defaults(func=run)


def add_roster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for sending a roster."""
    from senyum_central.cli.options import add_broker

    add_broker(parser)
    parser.add_argument("--roster", type=Path, required=True, metavar="FILE")
    parser.add_argument("--roster-key", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--authority", type=Path, required=True, metavar="FILE", help="key that signs, mode 0600"
    )
    parser.add_argument(
        "--keys", type=Path, required=True, metavar="FILE", help="JWK set of the units' keys"
    )
    parser.add_argument(
        "--units",
        action="append",
        default=[],
        metavar="URN",
        help="only these, as urn:senyum:ORG:SITE:*; may be given again (default: all in --keys)",
    )
    parser.add_argument(
        "--remove-others",
        action="store_true",
        help="take rosters for units that are not among these off the broker",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="for the units to confirm (default: 60)",
    )
    parser.add_argument(
        "--receipts", type=Path, metavar="FILE", help="append what the units signed, one a line"
    )


def open_source(options: argparse.Namespace) -> "Source":
    """Read the files that the options name. Raises CallerError."""
    from edge.errors import UsageError
    from senyum_central.admin.rosters import Source

    if not 0 <= options.wait <= 86_400:  # also refuses nan
        raise UsageError(f"--wait {options.wait}: is not 0 to 86400 seconds")
    return Source.open(
        options.roster, options.roster_key, options.authority, options.keys, options.units
    )


def run(options: argparse.Namespace) -> int:
    from senyum_central.admin.rosters import bump_version

    source = open_source(options)
    keep = options.check or options.at_least is None
    roster = source.read() if keep else bump_version(source, options.at_least)
    return bring(options, source, roster, send=not options.check)


def bring(
    options: argparse.Namespace,
    source: "Source",
    roster: "Roster",
    *,
    send: bool = True,
    alone: bool = False,
) -> int:
    """Send a roster and wait; prints what became of it. Returns the exit status.

    With `alone`, an older roster of somebody else on the broker counts as not done.
    """
    from senyum_central.admin.broker_session import BrokerSession
    from senyum_central.admin.rosters import (
        DeliveryMonitor,
        DeliveryStatus,
        RosterRelease,
        digest_of,
        listen,
        push,
    )
    from senyum_central.cli.options import broker_settings

    load = RosterRelease.of(roster, source.recipients.values()) if send else None
    manifests = {} if load is None else load.manifests
    others: tuple[str, ...] = ()
    watch = DeliveryMonitor(source.keys, source.recipients, digest_of(roster), manifests)
    with BrokerSession(broker_settings(options), f"senyum-admin.{secrets.token_hex(8)}") as post:
        if load is None:
            listen(post, source.recipients)
            watch.settle(post)
        else:
            done = push(post, watch, load, source.authority, remove_others=options.remove_others)
            sent = f"{pluralize(done.chunks, 'chunk')} for {pluralize(len(load.manifests), 'unit')}"
            print(
                f"version {roster.version}, {pluralize(len(roster.people), 'person')}: {sent} on "
                f"the broker, {done.removed} older removed"
            )
            others = done.others
            for topic in others:
                print(
                    f"{escaped(topic)}: holds an older roster for a unit that is not among these; "
                    "--remove-others takes it away"
                )
            watch.wait(post, options.wait, _shown)
    reports = watch.reports()
    _table(reports)
    if options.receipts is not None:
        _keep(options.receipts, [each.token for each in reports if each.token])
    missing = [each for each in reports if each.standing is not DeliveryStatus.CONFIRMED]
    ready = f"{len(reports) - len(missing)} of {pluralize(len(reports), 'unit')}"
    print(f"version {roster.version} is in force on {ready}.")
    return 1 if missing or (alone and others) else 0


def _keep(file: Path, tokens: list[str]) -> None:
    from edge.errors import SenyumError

    try:
        with file.open("a", encoding="ascii") as opened:
            opened.writelines(f"{token}\n" for token in tokens)
    except OSError as error:
        raise SenyumError(f"{file}: receipts cannot be written: {error.strerror}") from None


def _shown(report: "UnitStatus") -> None:
    print(f"{report.unit.source}: {report.standing}", flush=True)


def _table(reports: "list[UnitStatus]") -> None:
    width = max(len(each.unit.source) for each in reports)
    for each in reports:
        line = f"  {each.unit.source:{width}}  {each.standing:11}  {each.about}"
        print(escaped(line).rstrip())
