"""A TCP proxy that can be cut, blocked or filtered, and a broker with scripted answers."""

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Self

from edge.settings import BrokerSettings
from senyum_lab.servers.mosquitto import free_port

CHUNK = 65_536
SILENCE = b"(silence)"
OLD_REFUSAL = b"\x20\x02\x00\x01"  # CONNACK of MQTT 3.1.1: unacceptable protocol version


class LoopbackServer:
    """Accepts connections on a loopback port, each in its own thread."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.accepted = 0
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def settings(self) -> BrokerSettings:
        return BrokerSettings(host="127.0.0.1", port=self.port)

    def serve(self, peer: socket.socket) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        """End every connection."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5.0)

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            # Otherwise the last bytes may wait for a TCP acknowledgement and be lost on closing.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(peer)
            self._spawn(lambda peer=peer: self._guarded(peer))  # type: ignore[misc]

    def _guarded(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.serve(peer)
        peer.close()


class TcpProxy(LoopbackServer):
    """Forwards to the port `target`. With `blocked` it discards what both sides send.

    `refusal` is sent to a client that speaks MQTT 5 before its connection is closed; with SILENCE
    nothing is sent and the connection stays open. The first `closed` connections of MQTT 3.1.1 are
    closed without an answer.
    """

    def __init__(self, target: int, refusal: bytes | None = None, closed: int = 0) -> None:
        super().__init__()
        self.blocked = False
        self.refusal = refusal
        self._closed = closed
        self.versions: list[int] = []
        self._target = target

    def serve(self, peer: socket.socket) -> None:
        first = peer.recv(CHUNK)
        if b"MQTT" in first:
            self.versions.append(first[first.index(b"MQTT") + 4])
        if self.versions and self.versions[-1] == 4 and self.versions.count(4) <= self._closed:
            return
        if self.refusal is not None and self.versions[-1] == 5:
            if self.refusal is SILENCE:
                peer.recv(CHUNK)
            else:
                peer.sendall(self.refusal)
            return
        with socket.create_connection(("127.0.0.1", self._target)) as target:
            self._sockets.append(target)
            target.sendall(first)
            self._spawn(lambda: self._pump(target, peer))
            self._pump(peer, target)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # reset, as by a broker that is killed
            while data := source.recv(CHUNK):
                if not self.blocked:
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


Answer = Callable[[int, int], int | bytes | None]


class ScriptedBroker(LoopbackServer):
    """Implements just enough MQTT 5 to accept events.

    `answer` is called for each event with its number and how often it has arrived. It returns the
    reason code of the PUBACK, or bytes to send before closing, or None for no answer.
    """

    def __init__(
        self,
        answer: Answer = lambda _number, _time: 0,
        connack: bytes = b"\x20\x03\x00\x00\x00",
    ) -> None:
        super().__init__()
        self.answer = answer
        self.connack = connack
        self.numbers: list[int] = []  # of the events, in order of arrival
        self.health: list[dict[str, object]] = []
        self.sizes: list[int] = []  # of all packets
        self.grants = 1  # the answer to a SUBSCRIBE of one filter

    def times(self, number: int) -> int:
        return self.numbers.count(number)

    def last_error(self) -> object:
        return self.health[-1]["last_error"] if self.health else None

    def serve(self, peer: socket.socket) -> None:
        stream = peer.makefile("rb")
        while head := stream.read(1):
            size, shift = 0, 0
            while True:
                byte = stream.read(1)[0]
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            body = stream.read(size)
            self.sizes.append(1 + shift // 7 + size)
            if not self._reply(peer, head[0], body):
                return

    def _reply(self, peer: socket.socket, head: int, body: bytes) -> bool:
        kind = head >> 4
        if kind == 1:
            peer.sendall(self.connack)
            return self.connack[3] == 0
        if kind == 12:
            peer.sendall(b"\xd0\x00")
        if kind == 14:
            return False
        if kind == 8:
            peer.sendall(b"\x90\x04" + body[:2] + b"\x00" + bytes([self.grants]))
        if kind != 3:
            return True
        qos = head >> 1 & 3
        end = 2 + int.from_bytes(body[:2])
        topic = body[2:end].decode()
        mid = body[end : end + 2] if qos else b""
        properties = end + len(mid)
        payload = body[properties + 1 + body[properties] :]
        claims = _claims(payload)
        code: int | bytes | None = 0
        if topic.endswith("/event"):
            number = int(str(claims["sequence"]))
            self.numbers.append(number)
            code = self.answer(number, self.times(number))
        elif topic.endswith("/health"):
            self.health.append(claims["data"])  # type: ignore[arg-type] # an object, as claims is
        if isinstance(code, bytes):
            peer.sendall(code)
            return False
        if qos and code is not None:
            peer.sendall(b"\x40\x03" + mid + bytes([code]) if code else b"\x40\x02" + mid)
        return True


def _claims(token: bytes) -> dict[str, object]:
    body = token.split(b".")[1]
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    return claims
