"""Helpers for long-running work: progress on the terminal, and worker processes."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
_EVERY = 1.0  # seconds between two updates


class Progress(Generic[T]):
    """Iterates over `items` and shows on standard error how many are done."""

    def __init__(self, what: str, items: Sequence[T]) -> None:
        self._what = what
        self._items = items

    def __iter__(self) -> Iterator[T]:
        began = shown = time.monotonic()
        for done, item in enumerate(self._items):
            yield item
            now = time.monotonic()
            if now - shown >= _EVERY:
                shown = now
                left = (now - began) / (done + 1) * (len(self._items) - done - 1)
                text = f"\r{self._what}: {done + 1:,} of {len(self._items):,}, {left:.0f} s left "
                print(text, end="", file=sys.stderr, flush=True)
        seconds = time.monotonic() - began
        print(f"\r{self._what}: {len(self._items):,} in {seconds:.0f} s".ljust(70), file=sys.stderr)


def exit_with_parent() -> None:
    """End this worker process when its parent ends, so that it cannot write into a later run."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
