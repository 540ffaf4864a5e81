"""A proxy that delays, duplicates, truncates and discards packets, and ends connections."""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mqtt_servers import CHUNK, LoopbackServer

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
PUBLISH, PUBACK = 3, 4


@dataclass(frozen=True, slots=True)
class FaultRates:
    """The probability of each fault per packet; other packets are forwarded."""

    delay: float = 0.02  # up to `longest` seconds, and every packet after it
    double: float = 0.02  # sent twice, if it is a PUBLISH or PUBACK
    close: float = 0.001  # the connection is closed
    reset: float = 0.002  # it is reset
    halve: float = 0.002  # it is reset in the middle of the packet
    swallow: float = 0.001  # this packet and all later ones are discarded
    longest: float = 0.1


class FaultyProxy(LoopbackServer):
    """Forwards packets to the port `target` with faults; `met` counts them."""

    def __init__(self, target: int, rates: FaultRates, seed: int) -> None:
        super().__init__()
        self.met: Counter[str] = Counter()
        self.calm = False  # if True, no new faults; connections that discard continue to
        self._target = target
        self._rates = rates
        self._chance = random.Random(seed)
        self._choosing = threading.Lock()

    def serve(self, peer: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as target:
            self._sockets.append(target)
            line = _Line(self, peer, target)
            back = threading.Thread(target=line.pump, args=(target, peer), daemon=True)
            back.start()
            line.pump(peer, target)
            back.join()

    def fate(self, kind: int) -> str:
        """Choose the fault of the next packet, or `pass`."""
        rates = self._rates
        with self._choosing:
            if self.calm:
                return "pass"
            at = self._chance.random()
            for name in ("delay", "double", "close", "reset", "halve", "swallow"):
                share = getattr(rates, name)
                if at < share and (name != "double" or kind in (PUBLISH, PUBACK)):
                    self.met[name] += 1
                    return name
                at -= share
        return "pass"

    def delay(self) -> float:
        with self._choosing:
            return self._chance.uniform(0.0, self._rates.longest)


class _Line:
    """One connection in both directions."""

    def __init__(self, storm: FaultyProxy, *ends: socket.socket) -> None:
        self._storm = storm
        self._ends = ends
        self._swallows = False

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            for packet in _packets(source):
                if not self._swallows and not self._pass(packet, sink):
                    break
        except OSError:
            pass
        self._end(reset=False)

    def _pass(self, packet: bytes, sink: socket.socket) -> bool:
        """Return whether the connection goes on."""
        fate = self._storm.fate(packet[0] >> 4)
        if fate == "delay":
            time.sleep(self._storm.delay())
        elif fate == "double":
            packet += packet
        elif fate == "swallow":
            self._swallows = True
            return True
        elif fate == "halve":
            sink.sendall(packet[: len(packet) // 2])
        if fate in ("close", "reset", "halve"):
            self._end(reset=fate != "close")
            return False
        sink.sendall(packet)
        return True

    def _end(self, *, reset: bool) -> None:
        for end in self._ends:
            try:
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    end.close()
                else:
                    end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def _packets(source: socket.socket) -> Iterator[bytes]:
    """Yield received packets."""
    waiting = b""
    while data := source.recv(CHUNK):
        waiting += data
        while (size := _size(waiting)) and len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]


def _size(stream: bytes) -> int:
    """Return the bytes of the packet that `stream` begins with; 0 while that is not known."""
    size = shift = 0
    for at, byte in enumerate(stream[1:5], 2):
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return at + size
    return 0
