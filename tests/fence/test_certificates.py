"""Whom the broker lets in, by certificate: the unit's real link and receiver, and docs/broker."""

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from receiving import Central
from secured_broker import CONNECT, HOST, SECONDS, Pki, RawClient, SecuredBroker
from wireunit import UNIT, WireUnit, until

from edge.contract.topics import TopicKind
from edge.errors import ErrorCode
from senyum_central.ingest.notices import NoticeKind

pytestmark = [
    pytest.mark.broker,
    # paho leaves the socket of a failed handshake to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ME = f"{UNIT.org}/{UNIT.site}/{UNIT.name}"


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
def fence(tmp_path: Path, pki: Pki) -> Iterator[SecuredBroker]:
    with SecuredBroker(tmp_path / "broker", pki) as running:
        yield running


def elsewhere(folder: Path) -> Pki:
    """An authority of another house, that may use every name it likes."""
    folder.mkdir()
    return Pki(folder)


@dataclass(frozen=True, slots=True)
class Held:
    """The files that a unit's settings name, with what is in them replaced as time goes by."""

    certificate: Path
    key: Path

    def take(self, own: tuple[Path, Path]) -> None:
        """Rename a new pair over the old, as docs/link.md says."""
        for source, target in zip(own, (self.certificate, self.key), strict=True):
            draft = target.with_suffix(".draft")
            shutil.copy(source, draft)
            draft.replace(target)


def test_a_unit_and_a_receiver_with_their_certificates_are_let_in(
    tmp_path: Path, pki: Pki, fence: SecuredBroker
) -> None:
    own = fence.settings_of(pki.client(ME))
    unit = WireUnit(tmp_path, own)
    central = fence.settings_of(pki.client("central-1"))
    with Central(tmp_path / "central.db", central, unit.signer.keys, 5.0) as receiver, unit:
        unit.record(20)
        until(lambda: len(receiver.stored()) == 20, SECONDS)
        assert unit.link.error_code is None
    assert not receiver.missing()
    assert {notice.kind for notice in receiver.notices} <= {
        NoticeKind.EVENT,
        NoticeKind.STATE,
        NoticeKind.DUPLICATE,
    }


Own = tuple[Path, Path] | None
WRONG: dict[str, Callable[[Pki, Pki], Own]] = {
    "expired": lambda pki, _: pki.client(ME, days=0),
    "revoked": lambda pki, _: pki.client(ME),
    "of another authority": lambda _, other: other.client(ME),
    "a broker's": lambda pki, _: pki.broker("broker-2.example"),
    "none": lambda _, __: None,
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_certificate_is_turned_away_and_nothing_is_lost(
    tmp_path: Path, pki: Pki, fence: SecuredBroker, what: str
) -> None:
    own = WRONG[what](pki, elsewhere(tmp_path / "elsewhere"))
    if what == "revoked":
        pki.ca.revoke(ME, pki.now)
        fence.bring_list()
        fence.reload()
    unit = WireUnit(tmp_path, fence.settings_of(own))
    with unit:
        unit.record(3)
        until(lambda: unit.link.error_code is ErrorCode.CERTIFICATE_REFUSED, SECONDS)
        assert unit.changes == []
    central = fence.settings_of(pki.client("central-1"))
    right = fence.settings_of(pki.client(ME))
    again = WireUnit(tmp_path, right)
    with Central(tmp_path / "central.db", central, unit.signer.keys, 5.0) as receiver, again:
        until(lambda: len(receiver.stored()) == 3, SECONDS)


def test_a_unit_with_anothers_certificate_is_not_authorized(
    tmp_path: Path, pki: Pki, fence: SecuredBroker
) -> None:
    """It is let in, for the broker knows it by the certificate, and may say nothing as `ME`."""
    other = pki.client(f"{UNIT.org}/{UNIT.site}/pintu-2")
    with RawClient(fence.settings_of(pki.client("central-1"))) as central:
        central.subscribe("senyum/#")
        with WireUnit(tmp_path, fence.settings_of(other)) as unit:
            unit.record(1)
            until(lambda: unit.link.error_code is ErrorCode.NOT_AUTHORIZED, SECONDS)
            assert unit.link.delivered == 0
        with WireUnit(tmp_path, fence.settings_of(pki.client(ME))) as unit:
            until(lambda: unit.link.delivered == 1, SECONDS)
        central.wait_for(UNIT.topic(TopicKind.EVENT))
        assert len([said for said in central.seen if said.topic.endswith("/event")]) == 1


@pytest.mark.parametrize("who", ["a unit", "another authority", "another host"])
def test_an_imposter_of_the_broker_gets_no_event(tmp_path: Path, pki: Pki, who: str) -> None:
    own = None
    if who == "a unit":
        own = pki.client("depok/balaikota/lobby-9")
    elif who == "another authority":
        own = elsewhere(tmp_path / "elsewhere").broker()
    with SecuredBroker(tmp_path / "imposter", pki, own) as imposter:
        settings = imposter.settings_of(pki.client(ME))
        if who == "another host":
            settings = settings.model_copy(update={"host": "127.0.0.1"})
        with WireUnit(tmp_path, settings) as unit:
            unit.record(1)
            until(lambda: unit.link.error_code is ErrorCode.BROKER_CERTIFICATE, SECONDS)
            assert unit.changes == []


def test_a_revoked_unit_is_out_when_the_broker_is_started_anew(
    tmp_path: Path, pki: Pki, fence: SecuredBroker
) -> None:
    """A reload refuses it from then on; an open connection ends with a restart alone."""
    files = fence.settings_of(pki.client(ME))
    witness = RawClient(fence.settings_of(pki.client("control-1")))
    with WireUnit(tmp_path, files) as unit, witness:
        until(lambda: unit.changes == [True], SECONDS)
        pki.ca.revoke(ME, pki.now)
        fence.bring_list()
        fence.reload()
        witness.subscribe("senyum/#")  # answered, so the reload is over
        assert unit.changes == [True]
        fence.stop()
        fence.start()
        until(lambda: unit.link.error_code is ErrorCode.CERTIFICATE_REFUSED, SECONDS)
        assert unit.changes == [True, False]


def test_a_renewed_certificate_is_taken_up_and_the_old_one_can_go(
    tmp_path: Path, pki: Pki, fence: SecuredBroker
) -> None:
    held = Held(tmp_path / "unit.pem", tmp_path / "unit.key")
    first = pki.client(ME)
    held.take(first)
    with WireUnit(tmp_path, fence.settings_of((held.certificate, held.key))) as unit:
        until(lambda: unit.changes == [True], SECONDS)
        serial = pki.shelf.newest(ME).serial
        pki.ca.renew(ME, pki.now, out=tmp_path / "renewed.pem")
        held.take((tmp_path / "renewed.pem", first[1]))
        says = partial(fence.log.read_text, errors="replace")
        until(lambda: says().count(f"as {ME} ") == 2, SECONDS)
        pki.ca.revoke(serial, pki.now)
        fence.bring_list()
        fence.stop()
        fence.start()
        until(lambda: says().count(f"as {ME} ") == 3, SECONDS)
        unit.record(1)


def test_a_revocation_list_that_has_ended_keeps_everybody_out(
    tmp_path: Path, pki: Pki, fence: SecuredBroker
) -> None:
    """What docs/broker warns of: it fails closed, for the whole fleet."""
    pki.ca.publish(pki.now - timedelta(days=10), days=5)
    fence.stop()
    fence.bring_list()
    fence.start()
    with WireUnit(tmp_path, fence.settings_of(pki.client(ME))) as unit:
        until(lambda: unit.link.error_code is ErrorCode.CERTIFICATE_REFUSED, SECONDS)
        pki.ca.publish(pki.now)
        fence.bring_list()
        fence.stop()
        fence.start()
        until(lambda: True in unit.changes, SECONDS)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_is_no_way_round_a_revocation(
    pki: Pki, fence: SecuredBroker, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=pki.pem)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*pki.client(ME))

    def knock(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        """Say CONNECT and wait for the answer, which in TLS 1.3 comes after the verdict."""
        plain = socket.create_connection((HOST, fence.port), SECONDS)
        with context.wrap_socket(plain, server_hostname=HOST, session=session) as secure:
            secure.sendall(CONNECT)
            assert secure.recv(64)[:1] == b"\x20"  # a CONNACK
            return secure.session

    session = knock(None)
    pki.ca.revoke(ME, pki.now)
    fence.bring_list()
    fence.reload()
    with pytest.raises((ssl.SSLError, ConnectionError), match=r"(?i)revoked|reset|EOF"):
        knock(session)
