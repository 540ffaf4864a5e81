"""A unit of another name than before: its chain goes on, older events keep their topic."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from private_servers import PrivateBroker
from wireunit import UNIT, Listener, Signer, WireUnit, attempt, context, until

from edge.contract.envelope import verify
from edge.contract.events import ChainedEvent
from edge.contract.topics import TopicKind, UnitName
from edge.outbox.event_signer import EventSigner
from edge.outbox.store import Outbox
from edge.system.clock import SystemClock


@pytest.mark.broker
def test_each_event_is_sent_under_the_name_that_signed_it(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    former = UnitName("dinas", "gudang", "pintu-9")
    names = {"org": former.org, "site": former.site, "name": former.name}
    signer = Signer(tmp_path)
    of_former = replace(context(), unit=context().unit.model_copy(update=names))
    sealer = EventSigner(of_former, signer.key, SystemClock())
    outbox = Outbox(tmp_path / "outbox.db", signing_key=tmp_path / "signing.key")
    outbox.append(partial(sealer.event, attempt(1)), partial(sealer.event, attempt(2)))
    outbox.close()
    with Listener(broker.settings) as listener, WireUnit(tmp_path, broker.settings) as unit:
        unit.record(1)
        until(lambda: len(listener.events()) >= 3, 20.0)
        found = {body.decode(): topic for topic, body, _ in listener.messages if "event" in topic}
    events = {}
    for token, topic in found.items():
        name = UNIT if topic == UNIT.topic(TopicKind.EVENT) else former
        registered = type(signer.keys).of([signer.key.registration(name)])
        event = verify(token, registered, topic).event
        assert isinstance(event, ChainedEvent)
        events[event.number] = event
    assert [events[n].source for n in (1, 2, 3)] == [former.source, former.source, UNIT.source]
    assert events[3].previous is not None
