"""Prevent two receivers with one client ID on a machine.

The broker would disconnect each of them in turn, endlessly.
"""

import hashlib
import os
import socket
import struct

from edge.errors import UsageError
from edge.settings import BrokerSettings

_CREDENTIALS = struct.Struct("3i")  # process, user, group: SO_PEERCRED of unix(7)


def claim(broker: BrokerSettings, client_id: str) -> socket.socket:
    """Return a socket that claims the client ID until it is closed or the process ends.

    Raises CallerError if another process of this user, or of root, has claimed it.
    """
    # An abstract socket (unix(7)) leaves no file behind, however the process ends. Its name has
    # 107 bytes at most, fewer than a host and a client ID may have.
    claimed = f"{broker.host}:{broker.port} {client_id}"
    address = f"\0senyum-receive {hashlib.sha256(os.fsencode(claimed)).hexdigest()}"
    mine = socket.socket(socket.AF_UNIX)
    try:
        mine.bind(address)
        mine.listen()
    except OSError:
        mine.close()
        if _owner(address) in {0, os.getuid()}:
            raise UsageError(
                f"client {client_id}: another receiver on this machine uses this client ID; "
                "stop it, or give each its own --client-id"
            ) from None
        # Any user can take the name; another user's process must not prevent the start.
        mine = socket.socket(socket.AF_UNIX)
    return mine


def _owner(address: str) -> int | None:
    """Return the user id of the process that listens on the address, or None."""
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(address)
        except OSError:
            return None
        found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])
