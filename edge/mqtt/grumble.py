"""First failure loud, then quiet."""

import logging

log = logging.getLogger(__name__)

REMEMBERED = 32  # different troubles; more of them are told again


class Grumble:
    """Says what is wrong once, loudly; the same again only to the debug log, until it is over."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def about(self, trouble: str) -> None:
        log.log(logging.DEBUG if trouble in self._said else logging.WARNING, "%s", trouble)
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
