"""`senyum receive`: receives, verifies and stores the events of the units."""

import argparse
import logging
import platform
import signal
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console

from edge.contract.topics import TopicKind, subscription
from edge.errors import UsageError
from edge.setting_types import check_mqtt_text
from edge.settings import BrokerSettings
from edge.system.sd_notify import Notifier
from edge.system.time_zones import current_name
from senyum_central.cli.options import add_broker, add_store, broker_settings, open_store
from senyum_central.ingest.alarm_hook import AlarmHook
from senyum_central.ingest.console import NoticePrinter
from senyum_central.ingest.gap_requests import GapRequester, ReplayAuthority
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.instance_lock import claim
from senyum_central.ingest.key_set_file import KeySetFile
from senyum_central.ingest.message import ReceivedAt
from senyum_central.ingest.receiver import NoticeOutput, Receiver
from senyum_central.ingest.retirement import Retirement
from senyum_central.ingest.service_status import ReceiverStatus
from senyum_central.ingest.store_retry import Stopped, StoreRetry, Waiter
from senyum_central.ingest.subscriber import Subscriber
from senyum_central.ingest.subscriptions import FORMER_GROUP, SHARED_EXPIRY_S

log = logging.getLogger(__name__)

GRACE_S = 60.0
# By then the broker has dropped the share of a dead member; a request reaches another member.
SHARED_GRACE_S = SHARED_EXPIRY_S + 5.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "receive",
        help="receive, verify and store events on a central server",
        description="Receive the events of every unit, verify each, store each once, and report "
        "missing, forked and forged events.",
    )
    add_broker(parser)
    parser.add_argument(
        "--keys", type=Path, required=True, metavar="FILE", help="JWK set of the units' keys"
    )
    add_store(parser)
    parser.add_argument(
        "--group",
        metavar="NAME",
        help="share the events with the receivers of this group (default: receive every event)",
    )
    parser.add_argument(
        "--client-id",
        metavar="ID",
        help="the broker keeps messages for this client ID while the receiver is offline; each "
        f"receiver needs its own (default: {_client_id(FORMER_GROUP)})",
    )
    parser.add_argument(
        "--retire",
        metavar="ID",
        help="store the messages that the broker keeps for the stopped receiver with this client "
        "ID, end its session, and exit; add --group if it had one",
    )
    parser.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        help="time until a missing number is reported (default: "
        f"{GRACE_S:.0f}, and {SHARED_GRACE_S:.0f} with --group)",
    )
    parser.add_argument(
        "--zone",
        default="Asia/Jakarta",
        help="time zone of lines without a place (default: Asia/Jakarta)",
    )
    parser.add_argument(
        "--authority-key",
        type=Path,
        metavar="FILE",
        help="command key, mode 0600, to request missing events from the units",
    )
    parser.add_argument(
        "--on-alarm",
        metavar="COMMAND",
        help="command to run for each alarm, with the alarm as JSON on standard input",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(func=run)


def _client_id(group: str) -> str:
    return f"senyum-receive.{group}.{platform.node()}"


def run(args: argparse.Namespace) -> int:
    """Receive until SIGTERM or SIGINT, or until the other receiver is retired."""
    broker = broker_settings(args)
    keys = KeySetFile(args.keys)
    _complete(args)
    _check(args)
    authority = ReplayAuthority.load(args.authority_key) if args.authority_key else None
    with ExitStack() as stack:
        stack.enter_context(closing(claim(broker, args.retire or args.client_id)))
        notifier = stack.enter_context(closing(Notifier()))
        waiter = Waiter(ReceiverStatus(notifier))
        for number in _SIGNALS:
            signal.signal(number, _leave)
        patiently = StoreRetry(waiter)
        store = stack.enter_context(closing(patiently(lambda: open_store(args))))
        patiently(lambda: store.record_key_file(args.keys, str(ReceivedAt.now())))
        asker = GapRequester(store, authority) if authority else None
        desk = patiently(lambda: Ingestor(store, keys.keys, args.grace, ReceivedAt.now(), asker))
        outputs: list[NoticeOutput] = [waiter.status]
        if args.on_alarm:
            outputs.append(stack.enter_context(closing(AlarmHook(args.on_alarm))))
        # Last, because the reader of this output may be gone.
        outputs.append(NoticePrinter(Console(), args.zone, as_json=args.json))
        receiver = Receiver(desk, outputs, key_file=keys, patiently=patiently)
        subscriber = _subscriber(args, broker, receiver, waiter)

        def stop(_number: int, _frame: Any) -> None:
            waiter.waker.stop()

        for number in _SIGNALS:
            signal.signal(number, stop)
        try:
            receiver.start()
            subscriber.run()
        except Stopped:
            return 1 if args.retire else 0  # the session of the retired one is still there
    return 0


def _subscriber(
    args: argparse.Namespace, broker: BrokerSettings, receiver: Receiver, waiter: Waiter
) -> Subscriber:
    if args.retire:
        return Retirement(broker, args.retire, receiver, waiter, group=args.group)
    replies = args.authority_key is not None
    return Subscriber(
        broker, args.client_id, receiver, group=args.group, replies=replies, waiter=waiter
    )


def _leave(_number: int, _frame: Any) -> None:
    """Exit before anything was received."""
    raise SystemExit(0)


def _complete(args: argparse.Namespace) -> None:
    """Set the defaults that depend on other options. Raises UsageError."""
    if args.retire and args.client_id:
        raise UsageError("--retire names the client ID; omit --client-id")
    # Without a group, the receiver continues the session of the default group of earlier versions.
    args.client_id = args.client_id or _client_id(args.group or FORMER_GROUP)
    if args.grace is None:
        args.grace = SHARED_GRACE_S if args.group else GRACE_S


def _check(args: argparse.Namespace) -> None:
    try:
        subscription(TopicKind.EVENT, args.group)
    except ValueError as error:
        raise UsageError(f"--group: {error}") from None
    for option, name in (("--client-id", args.client_id), ("--retire", args.retire)):
        try:
            check_mqtt_text(name or "default")
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from None
    try:
        args.zone = current_name(args.zone)
    except ValueError as error:
        raise UsageError(f"--zone {args.zone}: {error}") from None
    if not 0 < args.grace <= 86_400:  # also refuses nan
        raise UsageError(f"--grace {args.grace}: must be more than 0 and at most 86400 seconds")
    if args.group and not args.authority_key and not args.retire:
        log.warning(
            "--group without --authority-key: the broker drops the share of a member that is "
            "offline for more than %d s, and no receiver requests it from the units",
            SHARED_EXPIRY_S,
        )
