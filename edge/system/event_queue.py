"""What threads work together with: a queue, a pipe that wakes a polling thread, a bounded join."""

import contextlib
import os
import select
import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class EventQueue(Generic[T]):
    """A first-in-first-out queue for one consumer; any thread may put."""

    def __init__(self, capacity: int | None = None) -> None:
        """`capacity`: items that may wait; None for no limit."""
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._closed = False

    def put(self, item: T) -> bool:
        """Append an item; return False if the queue is full or closed. Never blocks."""
        with self._changed:
            full = self._capacity is not None and len(self._items) >= self._capacity
            if self._closed or full:
                return False
            self._items.append(item)
            self._changed.notify()
            return True

    def put_latest(self, item: T) -> None:
        """Append an item in place of a waiting one of the same type, which is dropped."""
        with self._changed:
            for index, waiting in enumerate(self._items):
                if type(waiting) is type(item):
                    del self._items[index]
                    break
            self._items.append(item)
            self._changed.notify()

    def get(self, timeout: float | None = None, limit: int | None = None) -> list[T]:
        """Return the waiting items, oldest first, at most `limit`.

        Waits up to `timeout` seconds (None: without limit) for the first item. Empty after the
        timeout, and at once if the queue is closed and nothing waits.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            count = len(self._items) if limit is None else min(limit, len(self._items))
            return [self._items.popleft() for _ in range(count)]

    def close(self) -> None:
        """Accept nothing more; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)


class SelfPipe:
    """Ends the wait of a thread that polls file descriptors.

    `wake` and `stop` are for any thread, and safe in a signal handler too.
    """

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.stopped = False  # whether `stop` was called

    def wake(self) -> None:
        os.eventfd_write(self.fd, 1)

    def stop(self) -> None:
        """Wake, and have every later wait for a CONNACK end at once."""
        self.stopped = True
        self.wake()

    def wait(self, seconds: float) -> None:
        """Wait until woken, for at most `seconds`."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.poll(max(seconds, 0.0) * 1000)
        self.clear()

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        os.close(self.fd)


def join_until(thread: threading.Thread, deadline: float | None) -> bool:
    """Wait for a thread to end, until `deadline` (time.monotonic()) if given; whether it ended.

    A thread that was never started counts as ended.
    """
    if thread.ident is not None:
        thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
    return not thread.is_alive()
