"""A unit says to each command of docs/contract what stands there; so does who reads its answers."""

import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from contract.cast import DOOR_1, unit
from contract.orders import GENUINE, OBEYED, REFUSED
from jsonschema import Draft202012Validator
from orders import execute
from referencing import Registry
from wireunit import UnknownTime

from edge.commands.actions import CommandActions, PreparedCommand, RuntimeConfig
from edge.commands.command_log import CommandEffect, CommandLog, CompletedCommand
from edge.commands.handler import CommandHandler
from edge.contract.authority import OF_ROSTERS, AuthorityFile, OrderRejectReason
from edge.contract.commands import AnyData, Command, CommandName, Reply
from edge.contract.jose import from_b64url
from edge.contract.keys import KeySet
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.remote_settings import RemoteSetting
from edge.errors import EnvelopeError
from edge.gallery import empty
from edge.roster.messages import RosterLoaded
from edge.settings import Settings
from edge.system.clock import ClockState
from edge.types import CommandReceived
from senyum_central.replies import verify_reply

CONTRACT = Path(__file__).parents[2] / "docs" / "contract"
VECTORS = CONTRACT / "vectors"
Row = dict[str, str]


def rows(name: str) -> list[Row]:
    with (VECTORS / name).open(encoding="ascii", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))


COMMANDS, REPLIES = rows("commands.tsv"), rows("replies.tsv")


class Hands(CommandActions):
    """Executes, and judges settings as every unit does."""

    def __init__(self, command_log: CommandLog) -> None:
        own = Settings.model_construct()
        present = RuntimeConfig(own, own, empty())
        super().__init__(
            own,
            present,
            command_log,
            None,  # type: ignore[arg-type] # settings need no events
            software="",
            session=1,
        )

    def prepare(
        self, name: CommandName, data: AnyData, delivered: int, loaded: RosterLoaded | None
    ) -> PreparedCommand:
        if name is CommandName.SETTINGS:
            return super().prepare(name, data, delivered, loaded)
        return PreparedCommand("done")


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row["name"])
def test_a_unit_says_what_is_expected(tmp_path: Path, row: Row) -> None:
    shutil.copy(VECTORS / "authorities.json", tmp_path)
    door = unit()
    if row["clock"] == "-":
        door.clock.state = ClockState.UNSYNCHRONIZED
    else:
        door.clock.utc_s = int(row["clock"])
    ledger = CommandLog(tmp_path / "commands.sqlite", UnknownTime())
    for entry in json.loads((VECTORS / "authorities.json").read_text())["keys"]:
        done = CompletedCommand(entry["kid"], int(row["last"]), "-", "-", "-", None)
        ledger.add(done, CommandEffect())
    refusals = RefusalCounter()
    orders = CommandHandler(
        AuthorityFile(tmp_path / "authorities.json"),
        ledger,
        door.sealer,
        actions=Hands(ledger),
        refusals=refusals,
    )
    message = (VECTORS / row["message"]).read_bytes()
    _, reply = execute(orders, CommandReceived(row["topic"], message, row["retained"] == "yes"))
    said = [reply.token] if reply.topic else []
    ledger.close()
    assert (refusals.last or OBEYED) == row["verdict"]
    if row["verdict"] in (
        OrderRejectReason.FORGED,
        OrderRejectReason.UNKNOWN_KEY,
        OrderRejectReason.TOO_LARGE,
    ):
        assert said == []
    elif said:
        content = from_b64url(said[0].split(".")[1])
        assert (Reply.model_validate_json(content).reason or OBEYED) == row["verdict"]
        assert valid("reply", json.loads(content))
    else:
        assert row["verdict"] == OrderRejectReason.MALFORMED


@pytest.mark.parametrize("row", REPLIES, ids=lambda row: row["name"])
def test_an_answer_is_judged_as_expected(row: Row) -> None:
    keys = KeySet.load(VECTORS / "keys.json")
    message = (VECTORS / row["message"]).read_bytes()
    now = datetime.fromtimestamp(int(row["received"]), UTC)
    to = row["topic"].rpartition("/")[2]
    try:
        verify_reply(message, keys, DOOR_1, to, now)
    except EnvelopeError:
        assert row["verdict"] == REFUSED
    else:
        assert row["verdict"] == GENUINE
        assert valid("reply", json.loads(from_b64url(message.split(b".")[1].decode())))


def test_every_reason_has_its_vectors() -> None:
    told = {row["verdict"] for row in COMMANDS}
    assert (
        told == {OBEYED, *OrderRejectReason} - {OrderRejectReason.FAILED} - OF_ROSTERS
    )  # what a unit cannot do is its own affair
    assert {row["topic"].rpartition("/")[2] for row in COMMANDS} >= set(CommandName)


def valid(name: str, content: Any) -> bool:
    schema = json.loads((CONTRACT / "schema" / f"{name}.json").read_text())
    return bool(Draft202012Validator(schema, registry=Registry()).is_valid(content))


def test_the_schemas_take_what_is_good_and_refuse_what_is_malformed() -> None:
    assert valid("authorities", json.loads((VECTORS / "authorities.json").read_text()))
    for row in COMMANDS:
        message = (VECTORS / row["message"]).read_bytes()
        if row["name"].startswith("command-claims-"):
            claims = json.loads(from_b64url(message.split(b".")[1].decode()))
            if "backward" not in row["name"]:  # no schema compares two members
                assert not valid("command", claims), row["name"]
        elif row["verdict"] in (
            OBEYED,
            OrderRejectReason.BAD_DATA,
            OrderRejectReason.STALE,
            OrderRejectReason.EXPIRED,
        ):
            header, claims = (
                json.loads(from_b64url(part.decode())) for part in message.split(b".")[:2]
            )
            assert valid("command", claims), row["name"]
            assert valid("header", header), row["name"]
            Command.model_validate(claims)
            if claims["name"] in ("replay", "settings"):
                # Bounds of each setting are the unit's own; the order of two numbers, nobody's.
                beyond = row["name"].endswith(("bound", "replay-backward"))
                expected = row["verdict"] != OrderRejectReason.BAD_DATA or beyond
                assert valid(f"command-{claims['name']}", claims["data"]) == expected, row["name"]


def test_the_page_names_every_command_and_reason() -> None:
    page = (CONTRACT.parent / "commands.md").read_text(encoding="utf-8")
    for word in (*CommandName, *(set(OrderRejectReason) - OF_ROSTERS), *RemoteSetting):
        assert f"`{word.value}`" in page, word
