"""Logs the first of a run of failures as a warning, the others at debug level."""

import logging

from edge.errors import ErrorCode
from edge.system.journald import log_fields

log = logging.getLogger(__name__)

REMEMBERED = 32  # distinct messages; beyond it they are logged again


class LogOnce:
    """Logs a problem once as a warning, and repetitions at debug level until it is over."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def warn(self, message: str, code: ErrorCode | None = None) -> None:
        level = logging.DEBUG if message in self._logged else logging.WARNING
        log.log(level, "%s", message, extra=log_fields(code=code))
        if len(self._logged) >= REMEMBERED:
            self._logged.clear()
        self._logged.add(message)

    def clear(self, message: str) -> None:
        if self._logged:
            log.info("%s", message)
        self.reset()

    def reset(self) -> None:
        """Log the next problem as a warning again."""
        self._logged.clear()
