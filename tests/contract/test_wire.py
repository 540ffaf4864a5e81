"""What a unit really sends over a real broker is what docs/contract says."""

import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from contract import schemas
from jsonschema import Draft202012Validator
from jwcrypto import jwk, jws
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.subscribeoptions import SubscribeOptions
from private_servers import PrivateBroker
from receiving import Central
from wireunit import UNIT, WireUnit, until

from edge.cli import main
from edge.contract.jose import from_b64url
from edge.contract.keys import KeySet
from edge.contract.topics import COMMAND, REPLY, TopicKind
from edge.mqtt.connection import connect_client, new_client
from edge.settings import BrokerSettings, load

pytestmark = pytest.mark.broker

DOCUMENT = json.loads(
    (Path(__file__).parents[2] / "docs" / "contract" / "asyncapi.json").read_text(encoding="utf-8")
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A PUBLISH packet, with what the transport says of it."""

    topic: str
    payload: str
    qos: int
    retained: bool
    content_type: str | None


class Watcher:
    """Sees every packet as its sender meant it: QoS up to 2, the retain flag as published."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.sent: list[Sent] = []
        self._ready = threading.Event()
        self._client = new_client(broker, "watcher")
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._take
        connect_client(self._client, broker)

    def _subscribe(self, client: Client, *_: object) -> None:
        client.subscribe("senyum/#", options=SubscribeOptions(qos=2, retainAsPublished=True))

    def _take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        kind = getattr(message.properties, "ContentType", None)
        text = message.payload.decode("ascii")
        self.sent.append(Sent(message.topic, text, message.qos, message.retain, kind))

    def __enter__(self) -> Self:
        self._client.loop_start()
        assert self._ready.wait(5.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def operation(topic: str, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the operation and the message that the document has for a message seen."""
    for each in DOCUMENT["operations"].values():
        channel = DOCUMENT["channels"][each["channel"]["$ref"].split("/")[-1]]
        address = re.sub(r"\{\w+\}", "[a-z0-9-]{1,32}", channel["address"])
        for reference in each["messages"]:
            message = DOCUMENT["components"]["messages"][reference["$ref"].split("/")[-1]]
            if re.fullmatch(address, topic) and message["name"] == kind:
                return each, message
    raise AssertionError(f"{kind} on {topic} is not in the document")


def test_every_message_goes_as_the_document_says(broker: PrivateBroker, tmp_path: Path) -> None:
    with Watcher(broker.settings) as watcher:
        with WireUnit(tmp_path, broker.settings) as unit:
            unit.record(2)
            until(
                lambda: (
                    {sent.topic for sent in watcher.sent}
                    == {UNIT.topic(leaf) for leaf in TopicKind}
                ),
                10.0,
            )
        until(lambda: sum(sent.topic.endswith("/state") for sent in watcher.sent) == 2, 10.0)
    every = schemas.every()
    for sent in watcher.sent:
        header, payload = (json.loads(from_b64url(part)) for part in sent.payload.split(".")[:2])
        how, message = operation(sent.topic, payload["type"])
        binding = how["bindings"]["mqtt"]
        assert (sent.qos, sent.retained) == (binding["qos"], binding["retain"])
        assert sent.content_type == message["contentType"] == "application/jose"
        assert re.fullmatch(message["payload"]["pattern"], sent.payload)
        for part, reference in ((header, "header"), (payload, "payload")):
            file, _, name = message["payload"]["x-jws"][reference]["$ref"].partition("#/$defs/")
            schema = every[Path(file).stem]
            one = {**schema, "anyOf": [{"$ref": f"#/$defs/{name}"}]}
            Draft202012Validator(one).validate(part)


def test_the_document_names_every_topic_and_nothing_else() -> None:
    last_levels = [
        *TopicKind,
        f"{COMMAND}/{{command}}",
        f"{REPLY}/{{id}}",
        "roster",
        "roster/{chunk}",
    ]
    topics = {f"senyum/v1/{{org}}/{{site}}/{{unit}}/{last}" for last in last_levels}
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == topics
    kinds = {message["name"] for message in DOCUMENT["components"]["messages"].values()}
    types = [
        name
        for message in schemas.MESSAGES
        for part in schemas.message(message)["$defs"].values()
        if "specversion" in part.get("properties", {})
        for kind in [part["properties"]["type"]]
        for name in kind.get("enum", [kind.get("const")])
    ]
    assert kinds == {*types, "lastWill", COMMAND, REPLY, "roster", "rosterChunk"}


def test_an_es256_unit_from_its_setting_to_the_store(broker: PrivateBroker, tmp_path: Path) -> None:
    config, keys = tmp_path / "senyum.toml", tmp_path / "keys.json"
    config.write_text(
        f'[unit]\norg = "{UNIT.org}"\nsite = "{UNIT.site}"\nname = "{UNIT.name}"\n'
        f'[outbox]\nsigning_key = "{tmp_path}/signing.key"\nsigning_algorithm = "ES256"\n'
    )
    assert main(["keys", "--config", str(config), "--add-to", str(keys)]) == 0
    entry, encrypting = json.loads(keys.read_text())["keys"]
    assert encrypting["use"] == "enc"
    assert (entry["alg"], entry["kty"], entry["crv"]) == ("ES256", "EC", "P-256")

    central = Central(tmp_path / "central.db", broker.settings, KeySet.load(keys), 60.0)
    with central, WireUnit(tmp_path, broker.settings) as unit:
        unit.record(8)
        until(lambda: len(central.stored()) == 8, 10.0)
    assert not [notice for notice in central.notices if notice.is_warning]
    public = jwk.JWK(**entry)
    for token in central.stored().values():
        signed = jws.JWS()
        signed.allowed_algs = ["ES256"]
        signed.deserialize(token, public)  # raises where another library does not verify it
        assert signed.jose_header["alg"] == "ES256"
        assert signed.jose_header["kid"] == public.thumbprint()


def test_an_algorithm_that_nobody_chose_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "senyum.toml"
    lines = f'[unit]\norg = "a"\nsite = "b"\nname = "c"\n[outbox]\nsigning_key = "{tmp_path}/k"\n'
    config.write_text(lines)
    assert main(["keys", "--config", str(config)]) == 0
    config.write_text(f'{lines}signing_algorithm = "ES256"\n')
    assert load(config).outbox.signing_algorithm == "ES256"
    assert main(["keys", "--config", str(config)]) == 0
    assert "goes on signing with Ed25519; ES256 is for a new key" in caplog.text
    assert capsys.readouterr().out.count('"alg": "Ed25519"') == 2
    config.write_text(f'{lines}signing_algorithm = "RS256"\n')
    assert main(["keys", "--config", str(config)]) == 2
    assert "outbox.signing_algorithm is 'RS256'" in capsys.readouterr().err
