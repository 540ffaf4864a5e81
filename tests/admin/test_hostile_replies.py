"""What a unit signs is shown as text: it adds no line, hides none and steers no terminal."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from private_servers import PrivateBroker
from wireunit import UNIT, Signer

from edge.cli import main
from edge.contract.commands import COMMAND_TYP, REPLY_TYP
from edge.contract.jose import from_b64url
from edge.contract.keys import add_registration
from edge.contract.limits import is_text
from edge.contract.topics import COMMAND, REPLY
from edge.mqtt.connection import connect_client, new_client
from edge.system.journald import PlainFormatter

C1 = "".join(map(chr, range(0x7F, 0xA0)))
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
HIDDEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u3164\u2800"
LINES = "\u2028\u2029\x85"
FORGED = "pintu-1: good: all as it was signed"
TEXTS = [
    f"a{C1}b",
    f"a{BIDI}b{HIDDEN}c",
    f"ok{LINES}07:31:04 WIB  ALARM  balaikota/pintu-1{LINES}{FORGED}",
    f"ok\r\n{FORGED}\n",
    "\x1b[2J\x1b]0;x\x07\x1b[1;31mALARM",
]


class Hostile:
    """A unit that answers every command with a text of its own."""

    def __init__(self, folder: Path, broker: PrivateBroker) -> None:
        (folder / "unit").mkdir()
        self._key = Signer(folder / "unit").key
        self.keys = folder / "keys.json"
        add_registration(self.keys, self._key.registration(UNIT))
        self.said: dict[str, Any] = {}
        self._client = new_client(broker.settings, "hostile")
        self._client.on_message = self._on_message
        connect_client(self._client, broker.settings)
        self._client.loop_start()
        self._client.subscribe(UNIT.subtopic(COMMAND, "+"), 1)

    def reply(self, to: str, name: str, number: int, **said: Any) -> str:
        claims = {
            "id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "to": to,
            "source": UNIT.source,
            "time": "2026-03-02T00:31:04.000000Z",
            "name": name,
            "number": number,
            "ok": True,
            "reason": None,
            "data": {},
            **said,
        }
        header = {"alg": self._key.alg, "kid": self._key.kid, "typ": REPLY_TYP}
        return self._key.sign(header, json.dumps(claims).encode())

    def _on_message(self, client: Client, _data: object, message: MQTTMessage) -> None:
        header, payload, _ = message.payload.decode().split(".")
        assert COMMAND_TYP.encode() in from_b64url(header)
        command = json.loads(from_b64url(payload))
        answer = self.reply(command["id"], command["name"], command["number"], **self.said)
        client.publish(UNIT.subtopic(REPLY, command["id"]), answer, 1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def hostile(tmp_path: Path, broker: PrivateBroker) -> Iterator[Hostile]:
    unit = Hostile(tmp_path, broker)
    yield unit
    unit.close()


def checked(said: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines that were printed; each is what a terminal shows, and nothing else."""
    out, err = said.readouterr()
    lines = (out + err).removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines), lines
    assert not any(line.startswith(("07:31:04", FORGED)) for line in lines)
    return lines


@pytest.mark.broker
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_an_answer_to_a_command_is_shown_escaped(
    tmp_path: Path,
    broker: PrivateBroker,
    hostile: Hostile,
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    authority = tmp_path / "authority.key"
    words = ["admin", "keys", "--authority", str(authority), "--units", UNIT.source]
    assert main([*words, "--add-to", str(tmp_path / "authorities.json")]) == 0
    capsys.readouterr()
    hostile.said = {"text": text, "data": {"settings": {text: 0.5, "gpio.volume": text, "x": [1]}}}
    words = ["admin", "send", "settings", "--unit", f"{UNIT.org}/{UNIT.site}/{UNIT.name}"]
    words += ["--broker", f"127.0.0.1:{broker.port}", "--keys", str(hostile.keys)]
    words += ["--authority", str(authority), "--timeout", "2"]
    status = main(words)
    lines = checked(capsys)
    assert status == 1 or lines[0].startswith(f"{UNIT.org}/{UNIT.site}/{UNIT.name}: settings: ")
    assert len(lines) == (1 if status else 4)
    status = main([*words, "--json"])
    (line,) = checked(capsys)
    assert status == 1 or json.loads(line)["text"] == text


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_receipt_is_shown_escaped(
    tmp_path: Path, hostile: Hostile, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    to = "01890a5d-ac96-774b-bcce-b302099a8057"
    refused = {"ok": False, "reason": "stale", "text": text}
    erased = {"text": "", "data": {"digest": text, "erased": [text]}}
    file = tmp_path / "receipts.jws"
    tokens = [hostile.reply(to, "roster", 3, **said) for said in (refused, erased)]
    file.write_text("".join(f"{token}\n" for token in tokens))
    words = ["verify", "--keys", str(hostile.keys), str(file)]
    main(words)
    # What no reader takes is refused for one reason, which both lines share.
    assert len(checked(capsys)) == (3 if is_text(text) else 2)
    main([*words, "--json"])
    (line,) = checked(capsys)
    assert json.loads(line)["file"] == str(file)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("priority", [False, True])
def test_a_log_entry_is_one_line(text: str, *, priority: bool) -> None:
    entry = logging.LogRecord("edge.x", logging.WARNING, "x.py", 1, "topic %s", (text,), None)
    assert PlainFormatter(priority=priority).format(entry).isprintable()
    about = (ValueError, ValueError(text), None)
    entry = logging.LogRecord("edge.x", logging.ERROR, "x.py", 1, "failed", (), about)
    lines = PlainFormatter(priority=priority).format(entry).split("\n")
    assert all(line.isprintable() for line in lines)
