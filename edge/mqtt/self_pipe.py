"""Ends a wait of another thread."""

import os
import select


class SelfPipe:
    """Lets any thread, and a signal handler, end another's wait on a connection, or on nothing."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.stopped = False  # no connection is to be waited for any longer

    def wake(self) -> None:
        os.eventfd_write(self.fd, 1)

    def stop(self) -> None:
        """Wake, and let nobody wait for a broker's CONNACK from now on."""
        self.stopped = True
        self.wake()

    def wait(self, seconds: float) -> None:
        """Wait until woken, at most so long."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.poll(max(seconds, 0.0) * 1000)
        self.clear()

    def clear(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self.fd)
