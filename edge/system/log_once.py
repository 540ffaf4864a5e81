"""First failure loud, then quiet."""

import logging

from edge.errors import Trouble
from edge.system.journald import facts

log = logging.getLogger(__name__)

REMEMBERED = 32  # different troubles; more of them are told again


class Grumble:
    """Says what is wrong once, loudly; the same again only to the debug log, until it is over."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def about(self, trouble: str, code: Trouble | None = None) -> None:
        level = logging.DEBUG if trouble in self._said else logging.WARNING
        log.log(level, "%s", trouble, extra=facts(code=code))
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said.add(trouble)

    def over(self, relief: str) -> None:
        if self._said:
            log.info("%s", relief)
        self.forget()

    def forget(self) -> None:
        """Be loud again next time."""
        self._said.clear()
