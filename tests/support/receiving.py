"""The real receiver in a thread of its own, and what it said and stored."""

import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Self

from central_parts import Shown

from edge.contract.keys import KeySet
from edge.errors import SenyumError
from edge.settings import BrokerSettings
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.ingest.message import ReceivedAt
from senyum_central.ingest.notices import Notice, NoticeKind
from senyum_central.ingest.receiver import Receiver
from senyum_central.ingest.subscriber import Subscriber
from senyum_central.store.event_store import Store


class Central:
    """As `senyum receive`, with shorter waits between attempts to connect.

    Leaving ends it in good order; the same store and client id go on where it was.
    """

    def __init__(self, store: Path, broker: BrokerSettings, keys: KeySet, grace_s: float) -> None:
        self.store = store
        self.notices: list[Notice] = []
        self.error: SenyumError | None = None
        self._broker = broker.model_copy(update={"backoff_min": 0.05, "backoff_max": 0.2})
        self._keys = keys
        self._grace_s = grace_s
        self._ready = threading.Event()
        self._subscriber: Subscriber | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            with closing(Store(self.store)) as store:
                desk = Ingestor(store, self._keys, self._grace_s, ReceivedAt.now())
                receiver = _Announced(desk, self.notices, self._ready)
                self._subscriber = Subscriber(self._broker, "receiver", receiver)
                receiver.start()
                self._subscriber.run()
        except SenyumError as error:
            self.error = error
        finally:
            self._ready.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10.0)
        assert self.error is None
        return self

    def __exit__(self, *_: object) -> None:
        assert self._subscriber is not None
        self._subscriber.stop()
        self._thread.join(10.0)
        assert not self._thread.is_alive()
        assert self.error is None

    def said(self, kind: NoticeKind) -> list[Notice]:
        return [notice for notice in list(self.notices) if notice.kind is kind]

    def numbers(self, kind: NoticeKind) -> list[range]:
        """Return what the lines of this kind (GAP or HEALED) name."""
        return [range(gap.first, gap.last + 1) for notice in self.said(kind) for gap in notice.gaps]

    def stored(self) -> dict[int, str]:
        """Return every stored JWS by its number; no number and no id may be there twice."""
        with closing(sqlite3.connect(self.store)) as db:
            rows = db.execute("SELECT sequence, id, jws FROM event").fetchall()
        for column in (0, 1):
            twice = [value for value, n in Counter(row[column] for row in rows).items() if n > 1]
            assert not twice
        return {sequence: token for sequence, _, token in rows}

    def missing(self) -> set[int]:
        """Return the numbers that were reported missing and did not come since."""
        reported = {number for gap in self.numbers(NoticeKind.GAP) for number in gap}
        return reported - set(self.stored())


class _Announced(Receiver):
    """Says when it is first subscribed."""

    def __init__(self, desk: Ingestor, notices: list[Notice], ready: threading.Event) -> None:
        super().__init__(desk, [Shown(notices)])
        self._ready = ready

    def connected(self) -> None:
        super().connected()
        self._ready.set()
