"""Says how the unit is: to systemd as a sentence, and to whoever asks as a bulletin."""

import os
import time
from collections.abc import Callable

from edge import __version__
from edge.contract.authority import AuthorityFile
from edge.errors import ErrorCode
from edge.inference.quality import image_stats
from edge.mqtt.link import ConnectionManager
from edge.outbox.store import Outbox
from edge.status.health import HealthState, temperature
from edge.status.status_file import Status, StatusFile
from edge.system.clock import Clock
from edge.system.sd_notify import Notifier
from edge.types import Frame


class StatusReporter:
    """What the daemon reports once a second; of the main loop's thread alone."""

    def __init__(
        self,
        tally: HealthState,
        notifier: Notifier,
        board: StatusFile,
        *,
        outbox: Outbox,
        link: ConnectionManager,
        clock: Clock,
        authorities: AuthorityFile,
        source: str,
        enrolled: Callable[[], int],
    ) -> None:
        self._tally = tally
        self._notifier = notifier
        self._board = board
        self._outbox = outbox
        self._link = link
        self._clock = clock
        self._authorities = authorities
        self._source = source
        self._enrolled = enrolled
        self._boot_id = clock.read().boot_id
        self._started_ns = time.monotonic_ns()

    def update(self, frame: Frame | None, commands: ErrorCode | None) -> None:
        """`frame` is the one that was just judged, if one was; `commands`: what ails them."""
        tally = self._tally
        tally.waiting = max(self._outbox.sequence - self._link.delivered, 0)
        tally.link_trouble = self._link.error_code
        damaged = self._authorities.damaged
        tally.commands_trouble = commands
        tally.authorities_trouble = ErrorCode.AUTHORITIES if damaged else None
        sentence = tally.summary(self._enrolled())
        self._notifier.status(sentence)
        seen = frame is not None or tally.fault is not None
        if seen and self._board.is_due(tally.codes):
            self._board.write(self._bulletin(sentence, frame))

    def close(self) -> None:
        """Take the bulletin away."""
        self._board.remove()

    def _bulletin(self, sentence: str, frame: Frame | None) -> Status:
        tally = self._tally
        seen = None if frame is None else image_stats(frame.lores.y)
        return Status(
            sentence=sentence,
            source=self._source,
            software=__version__,
            pid=os.getpid(),
            boot_id=self._boot_id,
            started_ns=self._started_ns,
            codes=tally.codes,
            fault=tally.fault,
            enrolled=self._enrolled(),
            recorded=tally.recorded,
            refused=tally.refused,
            waiting=tally.waiting,
            broker=self._link.broker,
            link_up=tally.link_up,
            clock=self._clock.read().state,
            frame_rate=round(tally.frame_rate, 1),
            level=None if seen is None else seen.level,
            sharpness=None if seen is None else seen.sharpness,
            temperature_c=temperature(),
        )
