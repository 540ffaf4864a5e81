"""A proxy that acknowledges chosen events itself and does not forward them to the broker."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO

from mqtt_servers import LoopbackServer

from edge.contract.jose import from_b64url


class LossyBroker(LoopbackServer):
    """Forwards packets to the port `target`, except events whose numbers are in `forgets`.

    It acknowledges these itself the first time that they arrive.
    """

    def __init__(self, target: int, forgets: set[int]) -> None:
        super().__init__()
        self.forgotten: list[int] = []
        self._forgets = set(forgets)
        self._target = target

    def serve(self, peer: socket.socket) -> None:
        lock = threading.Lock()  # a packet goes out whole

        def answer(packet: bytes) -> None:
            with lock:
                peer.sendall(packet)

        with socket.create_connection(("127.0.0.1", self._target)) as target:
            self._sockets.append(target)
            self._spawn(lambda: self._back(target, answer, peer))
            stream = peer.makefile("rb")
            while packet := _packet(stream):
                mid = self._forget(packet)
                if mid is None:
                    target.sendall(packet)
                else:
                    answer(b"\x40\x02" + mid)

    def _back(
        self, target: socket.socket, answer: Callable[[bytes], None], peer: socket.socket
    ) -> None:
        with contextlib.suppress(OSError, ValueError):
            stream = target.makefile("rb")
            while packet := _packet(stream):
                answer(packet)
            peer.shutdown(socket.SHUT_RDWR)

    def _forget(self, packet: bytes) -> bytes | None:
        """Return the packet identifier of an event to forget."""
        if packet[0] >> 4 != 3 or not packet[0] >> 1 & 3:
            return None
        at = 1
        while packet[at] & 128:
            at += 1
        body = packet[at + 1 :]
        end = 2 + int.from_bytes(body[:2])
        if not body[2:end].endswith(b"/event"):
            return None
        payload = body[end + 3 + body[end + 2] :]
        number = int(json.loads(from_b64url(payload.decode().split(".")[1]))["sequence"])
        if number not in self._forgets:
            return None
        self._forgets.remove(number)
        self.forgotten.append(number)
        return body[end : end + 2]


def _packet(stream: BinaryIO) -> bytes:
    """Read one MQTT packet; nothing at the end of the connection."""
    found = stream.read(1)
    size = shift = 0
    while found:
        byte = stream.read(1)
        if not byte:
            return b""
        found += byte
        size |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            break
    return found + stream.read(size) if found else b""
