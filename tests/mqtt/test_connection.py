"""What a connection hears when it ends in the middle of writing."""

import pytest
from mqtt_servers import ScriptedBroker
from wireunit import UNIT, until

from edge.contract.topics import TopicKind
from edge.errors import ErrorCode
from edge.mqtt.connection import Connection, ConnectOptions, parse_disconnect
from edge.mqtt.reason_codes import Action, ConnectionEnded

PONG = b"\xd0\x00"
QUOTA = b"\xe0\x02\x97\x00"
LONG = b"\x30\x81\x01" + bytes(129)  # a PUBLISH of 129 bytes


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"", None),
        (PONG, None),
        (PONG[:1], None),
        (QUOTA, 0x97),
        (PONG + LONG + QUOTA + PONG, 0x97),
        (QUOTA[:2], 0),  # cut short: that it is a goodbye is known
        (QUOTA[:1], None),
        (b"\xe0\x00", 0),
        (b"\xe0\x01\x8b", 0x8B),
        (LONG[:50] + QUOTA, None),  # inside a packet
        (b"\xff" * 64, None),
    ],
)
def test_the_goodbye_among_what_was_left_unread(stream: bytes, code: int | None) -> None:
    assert parse_disconnect(stream) == code


@pytest.mark.parametrize(
    ("code", "trouble", "remedy", "words"),
    [
        (0x97, ErrorCode.QUOTA, Action.SUSPECT_EVENT, "Quota"),
        (0x8E, ErrorCode.TAKEN_OVER, Action.RETRY_RARELY, "taken over"),
        (0x00, ErrorCode.LOST, Action.RETRY, "disconnected us"),
        (0x42, ErrorCode.LOST, Action.RETRY, "reason code 0x42"),  # in no standard
        (0x10, ErrorCode.LOST, Action.RETRY, "No matching subscribers"),  # of another packet
    ],
)
def test_a_goodbye_is_heard_although_a_write_failed(
    code: int, trouble: ErrorCode, remedy: Action, words: str
) -> None:
    """The reason lies behind more packets than one turn reads, and the socket takes no more."""
    said = PONG * 500 + bytes([0xE0, 0x02, code, 0x00])
    with ScriptedBroker(lambda _number, _time: said) as broker:
        connection = Connection(broker.settings)
        connection.connect(ConnectOptions("one"))
        # Claims that the scripted broker reads as those of event 1.
        token = "e30.eyJzZXF1ZW5jZSI6IjEifQ.x"
        connection.publish(UNIT.topic(TopicKind.EVENT), token, 1, retain=False)

        def lost() -> bool:
            connection.publish("senyum/v1/a/b/c/state", "x", 1, retain=False)
            connection.poll(0.0)
            return False

        with pytest.raises(ConnectionEnded) as ended:
            until(lost, 10.0)
    assert words in str(ended.value)
    assert (ended.value.error_code, ended.value.action) == (trouble, remedy)
