"""A real broker with exactly the files of docs/broker, and clients that connect to it."""

import getpass
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from wireunit import until

from edge.contract.certificate import request
from edge.mqtt.connection import new_client, properties
from edge.settings import BrokerSettings
from senyum_central.admin.ca import CaDirectory, CertificateAuthority
from senyum_central.admin.certificates import CertificateKind, Subject
from senyum_lab.servers.mosquitto import PrivateBroker

FILES = Path(__file__).parents[2] / "docs" / "broker"
HOST = "localhost"
PASSPHRASE = b"correct horse battery"
SECONDS = 20.0
# MQTT 5, nothing asked for, and a client id that the broker puts its own in place of.
CONNECT = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc"


class Pki:
    """An authority in a folder, and the certificates that it issued, each with its key."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime.now(UTC)
        self.shelf = CaDirectory(folder / "ca")
        self.ca = CertificateAuthority.create(folder / "ca", "tests", PASSPHRASE, self.now)
        self._folder = folder

    @property
    def pem(self) -> Path:
        return self.shelf.folder / "ca.pem"

    def client(self, name: str, days: int = 30) -> tuple[Path, Path]:
        """Return certificate and key; with days below 1 it has expired so long ago."""
        return self._issue(Subject.client(name), days)

    def broker(self, host: str = HOST) -> tuple[Path, Path]:
        return self._issue(Subject.broker([host]), 30)

    def unchecked(self, name: str) -> tuple[Path, Path]:
        """Return a client's certificate of a name that the authority would not take."""
        return self._issue(Subject(name, CertificateKind.CLIENT), 30)

    def _issue(self, subject: Subject, days: int) -> tuple[Path, Path]:
        stem = re.sub(r"[^a-z0-9-]", "_", subject.name)
        base = self._folder / f"{stem}-{len(self.shelf.register.entries)}"
        paths = Path(f"{base}.pem"), Path(f"{base}.key"), Path(f"{base}.csr")
        request(subject.name, paths[1], paths[2])
        # Made in the past, so that it has ended already.
        now = self.now if days > 0 else self.now - timedelta(days=1 - days)
        self.ca.issue(subject, paths[2], now, max(days, 1), paths[0])
        return paths[:2]


class SecuredBroker(PrivateBroker):
    """mosquitto with docs/broker/mosquitto.conf and access.acl; paths, port and user are put in.

    `own` are the broker's certificate and key, `access` may change what access.acl says.
    """

    def __init__(
        self,
        folder: Path,
        pki: Pki,
        own: tuple[Path, Path] | None = None,
        access: Callable[[str], str] = str,
    ) -> None:
        super().__init__(folder)
        self._pki = pki
        self._place = folder / "senyum"
        self._place.mkdir()
        certificate, key = own or pki.broker()
        for source, name in (
            (pki.pem, "ca.pem"),
            (certificate, "broker.pem"),
            (key, "broker.key"),
        ):
            shutil.copy(source, self._place / name)
        (self._place / "access.acl").write_text(access((FILES / "access.acl").read_text()))
        text = (FILES / "mosquitto.conf").read_text()
        for theirs, ours, times in (
            ("/etc/mosquitto/senyum/", f"{self._place}/", 5),
            ("/var/lib/mosquitto/", f"{folder}/", 1),
            ("listener 8883\n", f"listener {self.port} 127.0.0.1\n", 1),
        ):
            assert text.count(theirs) == times, theirs
            text = text.replace(theirs, ours)
        self._config.write_text(f"user {getpass.getuser()}\n{text}")
        self.bring_list()

    def bring_list(self) -> None:
        """Put the authority's newest revocation list in place."""
        shutil.copy(self._pki.shelf.crl_file, self._place / "crl.pem")

    def reload(self) -> None:
        """As `systemctl reload mosquitto`; returns when it is done."""
        assert self._process is not None
        before = self.log.read_text().count("Reloading config")
        os.kill(self._process.pid, signal.SIGHUP)
        until(lambda: self.log.read_text().count("Reloading config") > before, SECONDS)

    def settings_of(
        self, own: tuple[Path, Path] | None, trusted: Path | None = None
    ) -> BrokerSettings:
        """How a client with that certificate and key reaches it."""
        certificate, key = own or (None, None)
        return BrokerSettings(
            host=HOST,
            port=self.port,
            tls=True,
            ca=trusted or self._pki.pem,
            certificate=certificate,
            certificate_key=key,
        )


@dataclass(frozen=True, slots=True)
class SeenMessage:
    """A message that a client received."""

    topic: str
    payload: bytes


class RawClient:
    """An MQTT 5 client without restrictions, which records the answers."""

    def __init__(
        self, broker: BrokerSettings, client_id: str = "visitor", will: str | None = None
    ) -> None:
        self.seen: list[SeenMessage] = []
        self.connack: ReasonCode | None = None
        self.limits: Any = None
        self.gone = threading.Event()
        self._acks: dict[int, ReasonCode] = {}
        self._broker = broker
        self._client = new_client(broker, client_id)
        if will is not None:
            self._client.will_set(will, "gone", 1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_message = self._heard
        self._client.on_publish = self._published
        self._client.on_subscribe = self._subscribed
        self._client.on_disconnect = self._disconnected

    def publish(self, topic: str, payload: str = "x", *, retain: bool = False) -> int:
        """Return the reason code of the PUBACK."""
        return self._answer(self._client.publish(topic, payload, 1, retain).mid)

    def vanish(self) -> None:
        """Close the socket without DISCONNECT, so that the broker publishes the will."""
        sock = self._client.socket()
        assert sock is not None
        sock.close()

    def send(self, topic: str, payload: str) -> None:
        """Publish without waiting for the answer."""
        self._client.publish(topic, payload, 1)

    def subscribe(self, *filters: str) -> None:
        for each in filters:
            _, mid = self._client.subscribe(each, 1)
            assert mid is not None
            self._answer(mid)

    def topics(self) -> list[str]:
        return sorted({said.topic for said in self.seen})

    def wait_for(self, topic: str) -> None:
        until(lambda: topic in self.topics(), SECONDS)

    def __enter__(self) -> Self:
        expiry = properties(PacketTypes.CONNECT, SessionExpiryInterval=0)
        self._client.connect(
            self._broker.host, self._broker.port, 30, clean_start=True, properties=expiry
        )
        self._client.loop_start()
        until(lambda: self.connack is not None, SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _answer(self, mid: int) -> int:
        until(partial(self._acks.__contains__, mid), SECONDS)
        return self._acks.pop(mid).value

    def _connected(self, _client: Client, _data: Any, _flags: Any, code: Any, limits: Any) -> None:
        self.connack, self.limits = code, limits

    def _heard(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.seen.append(SeenMessage(message.topic, bytes(message.payload)))

    def _published(self, _client: Client, _data: Any, mid: int, code: Any, _props: Any) -> None:
        self._acks[mid] = code

    def _subscribed(
        self, _client: Client, _data: Any, mid: int, codes: Sequence[ReasonCode], _props: Any
    ) -> None:
        self._acks[mid] = codes[0]

    def _disconnected(self, *_: Any) -> None:
        self.gone.set()
