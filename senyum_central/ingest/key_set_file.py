"""The receiver's key set file, reloaded after a change."""

import logging
import os
import stat
from pathlib import Path

from edge.contract.keys import KeySet
from edge.errors import SecretError, UsageError
from edge.system.text import pluralize

log = logging.getLogger(__name__)


def check_owner(path: Path) -> None:
    """Refuse a key set whose name came from a store, unless root or the caller wrote it.

    Anyone with write access to the database could name their own file. Raises UsageError.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise UsageError(
            f"{path}: the key set that the store names cannot be read: {error.strerror}; name one "
            "with --keys"
        ) from None
    others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others or about.st_uid not in (0, os.geteuid()):
        raise UsageError(
            f"{path}: the store names this key set, and others than root and you may write it; "
            "name one that you trust with --keys"
        )


class KeySetFile:
    """`keys.json`. An invalid change is logged once and ignored."""

    def __init__(self, path: Path) -> None:
        """Load the key set. Raises SecretError, also if it is empty."""
        self._path = path
        self._stamp = self._now()
        self.keys = self._load()

    def changed(self) -> KeySet | None:
        """Return the key set if it changed, else None."""
        stamp = self._now()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            self.keys = self._load()
        except SecretError as error:
            log.warning("%s; the previous keys stay active", error)
            return None
        log.info("%s: read again, %s", self._path, pluralize(len(self.keys), "key"))
        return self.keys

    def _load(self) -> KeySet:
        keys = KeySet.load(self._path)
        if len(keys) == 0:
            raise SecretError(
                f"{self._path}: the key set holds no key; add what `senyum keys` prints"
            )
        return keys

    def _now(self) -> tuple[int, int, int] | None:
        try:
            about = self._path.stat()
        except OSError:
            return None
        return about.st_ino, about.st_mtime_ns, about.st_size
