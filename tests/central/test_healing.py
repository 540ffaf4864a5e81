"""A broker acknowledges events and forgets them; the receiver finds out and has them sent again.

Real outbox, link and commands of a unit, a real mosquitto behind the one that lies, and a receiver
as an operator starts it.
"""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from lossy_broker import LossyBroker
from obedient import Obedient
from places import Place
from private_servers import PrivateBroker
from processes import Process
from wireunit import UNIT, until

from edge.contract.keys import SigningKey, add_registration
from edge.outbox.store import OutboxReader

pytestmark = [pytest.mark.broker, pytest.mark.slow]

FORGOTTEN = {4, 5, 6, 12, 30}  # the last is a tail, which only the unit's health shows


def test_what_a_lying_broker_forgot_is_sent_again(
    tmp_path: Path, broker: PrivateBroker, place: Place
) -> None:
    authority = SigningKey.load_or_create(tmp_path / "authority.key")
    with ExitStack() as stack:
        unit = Obedient(tmp_path / "unit", authority, stack)
        add_registration(
            tmp_path / "keys.json",
            SigningKey.load_or_create(unit.folder / "signing.key").registration(UNIT),
        )
        receivers = [
            Process(
                tmp_path,
                broker.port,
                *place.options,
                "--grace=1",
                f"--authority-key={tmp_path / 'authority.key'}",
                name=name,
                store=False,
            )
            for name in ("one", "two")
        ]
        for one in receivers:
            stack.callback(one.kill)
        for one in receivers:
            one.ready()
        liar = stack.enter_context(LossyBroker(broker.port, FORGOTTEN))
        wires = unit.start(liar.settings, stack)
        wires.record(30)
        with closing(OutboxReader(wires.file)) as reader:
            signed = [row.token for row in reader.after(0, 100)]

            def stored() -> list[str]:
                rows = place.rows("SELECT jws FROM event ORDER BY sequence")
                return [jws for (jws,) in rows]

            until(lambda: stored() == signed, 90.0)
        said = [line for one in receivers for line in one.said]
        until(lambda: not place.rows("SELECT unit FROM gap WHERE healed_at IS NULL"), 30.0)
        assert [one.end() for one in receivers] == [0, 0]
    assert sorted(liar.forgotten) == sorted(FORGOTTEN)
    kinds = [line["kind"] for line in said]
    assert "gap" in kinds
    assert "asked" in kinds
    assert kinds.count("event") == 30, "each once, by one of the two"
    assert "given-up" not in kinds
