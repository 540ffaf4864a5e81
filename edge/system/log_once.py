"""First failure loud, then quiet."""

import logging

from edge.errors import ErrorCode
from edge.system.journald import log_fields

log = logging.getLogger(__name__)

REMEMBERED = 32  # different troubles; more of them are told again


class LogOnce:
    """Says what is wrong once, loudly; the same again only to the debug log, until it is over."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, trouble: str, code: ErrorCode | None = None) -> None:
        level = logging.DEBUG if trouble in self._said else logging.WARNING
        log.log(level, "%s", trouble, extra=log_fields(code=code))
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said.add(trouble)

    def clear(self, relief: str) -> None:
        if self._said:
            log.info("%s", relief)
        self.reset()

    def reset(self) -> None:
        """Be loud again next time."""
        self._said.clear()
