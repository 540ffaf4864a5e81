"""Which version of MQTT a broker is spoken to by: one rule for all who connect to one.

`auto` tries MQTT 5, and at once 3.1.1 where the broker refuses 5, ends the connection instead of
answering, or stays silent. The version that was answered is remembered while the program runs;
only if that one meets such an end is the other tried again. A broker that did not say why may
have been starting: before 3.1.1 is believed of it, 5 is tried again, now that it is up.
"""

import logging
from collections.abc import Callable

from edge.errors import ErrorCode
from edge.mqtt.connection import Connection
from edge.mqtt.reason_codes import ConnectionEnded
from edge.settings import BrokerSettings

log = logging.getLogger(__name__)

# Of a connection that was not let in: the other version may be.
_DOUBTFUL = frozenset({ErrorCode.PROTOCOL, ErrorCode.CLOSED, ErrorCode.SILENT})

Dial = Callable[[bool], Connection]  # by MQTT 5, else by 3.1.1; raises Ended


class VersionNegotiation:
    """The version that one broker is spoken to by; `broker.protocol` sets it or leaves it open."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self._set = {"auto": None, "5": True, "3.1.1": False}[broker.protocol]
        self._five = self._set  # None: not known yet

    def connect(self, dial: Dial) -> Connection:
        """Return an open connection by whichever version the broker speaks; raises Ended."""
        if self._five is not None:
            return self._again(dial, five=self._five)
        try:
            connection = dial(True)
        except ConnectionEnded as newer:
            if newer.trouble not in _DOUBTFUL:
                raise
            return self._older(dial, newer)
        self._five = True
        return connection

    def _again(self, dial: Dial, *, five: bool) -> Connection:
        try:
            return dial(five)
        except ConnectionEnded as error:
            if error.trouble not in _DOUBTFUL:
                raise
            self._five = self._set
            if self._set is None:
                raise
            raise error.also(
                f"no other version is allowed (protocol = {self._broker.protocol})"
            ) from None

    def _older(self, dial: Dial, newer: ConnectionEnded) -> Connection:
        """Connect by MQTT 3.1.1, since `newer` came of MQTT 5."""
        try:
            connection = dial(False)
        except ConnectionEnded as older:
            if older.trouble not in _DOUBTFUL:
                raise  # it does speak 3.1.1
            if newer.trouble is ErrorCode.PROTOCOL and older.trouble is not ErrorCode.PROTOCOL:
                # It refused 5 for good; that it does not answer 3.1.1 may pass, as in a cluster
                # that elects a leader.
                raise older.also(f"MQTT 5: {newer.why}") from None
            raise newer.also(f"nor by MQTT 3.1.1: {older.why}{self._hint(newer)}") from None
        if newer.trouble is not ErrorCode.PROTOCOL:
            connection.close()
            try:
                connection = dial(True)
            except ConnectionEnded as error:
                if error.trouble not in _DOUBTFUL:
                    raise
                connection = dial(False)
        self._five = connection.five
        if not connection.five:
            log.info("%s; it is spoken to by MQTT 3.1.1", newer)
        return connection

    def _hint(self, newer: ConnectionEnded) -> str:
        """Return what else may be wrong with a broker that speaks neither."""
        if newer.trouble is ErrorCode.PROTOCOL:
            return ""
        if self._broker.tls:
            return "; so does one that does not accept our certificate, or misses one"
        return "; so does a port with TLS (mqtts://, tls = true)"
