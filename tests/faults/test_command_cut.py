"""The power goes while a command is obeyed: it is obeyed once, and answered."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from orders import Commander, Voice
from private_servers import PrivateBroker
from wireunit import UNIT, Listener, UnknownTime, environment, until

from edge.commands.command_log import CommandLog
from edge.contract.commands import Reply
from edge.contract.jose import from_b64url
from edge.contract.topics import COMMAND, REPLY

pytestmark = [pytest.mark.broker, pytest.mark.slow]
WORKER = Path(__file__).with_name("command_worker.py")


@contextmanager
def worker(folder: Path, port: int, dies: str) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, str(WORKER), str(folder), str(port), dies]
    with (folder / "worker.out").open("ab") as log:
        process = subprocess.Popen(words, env=environment(), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10.0)


@pytest.mark.parametrize("dies", ["prepare", "act", "tell"])
def test_it_is_done_once_and_answered(tmp_path: Path, dies: str) -> None:
    commander = Commander(tmp_path / "authority")
    (tmp_path / "authorities.json").write_text(json.dumps({"keys": [commander.registration]}))
    broker = PrivateBroker(tmp_path / "broker", options=["log_type all"])

    def subscribed() -> bool:
        return f"{UNIT.client_id} 1 {UNIT.subtopic(COMMAND, '+')}" in broker.log.read_text()

    with broker, Listener(broker.settings) as heard, Voice(broker.settings) as voice:

        def replies() -> list[bytes]:
            return [body for topic, body, _ in heard.messages if f"/{REPLY}/" in topic]

        with worker(tmp_path, broker.port, dies) as first:
            until(subscribed, 60.0)
            token = commander.command("identify")
            voice.say(token.encode(), UNIT.subtopic(COMMAND, "identify"))
            first.wait(60.0)
        assert replies() == []
        with worker(tmp_path, broker.port, "never"):
            until(replies, 60.0)
        (answer,) = replies()
    reply = Reply.model_validate_json(from_b64url(answer.decode().split(".")[1]))
    assert (reply.ok, reply.number) == (True, 1)
    assert (tmp_path / "effects").read_text() == "effect\n"
    ledger = CommandLog(tmp_path / "commands.sqlite", UnknownTime())
    assert ledger.settings() == {"gpio.volume": 0.25}
    assert ledger.last(commander.key.kid) == 1
    assert list(ledger.unaudited()) == []
    ledger.close()
