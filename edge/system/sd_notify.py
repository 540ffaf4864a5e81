"""The service's side of sd_notify(3): READY, STATUS and WATCHDOG over a datagram socket."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells systemd how the unit is; silent where nobody listens.

    A dozen lines of the documented protocol stand here in place of a package: the bindings on
    PyPI are either unmaintained or compile against libsystemd.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            if address
            else None
        )
        self._status = ""

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, sentence: str) -> None:
        """Show `sentence` in `systemctl status`; a repeated one is not sent again."""
        if sentence != self._status:
            self._status = sentence
            self._send(f"STATUS={sentence}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def extend(self, seconds: int) -> None:
        """Ask systemd to wait so much longer for READY."""
        self._send(f"EXTEND_TIMEOUT_USEC={seconds * 1_000_000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:
            # systemd is busy or restarting: the next message is soon enough, and a service
            # manager that went away must not stop the daemon.
            return
