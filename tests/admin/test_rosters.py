"""The authority's side: what lies on the broker afterwards, and whom it believes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from delivering import Enroller
from private_servers import PrivateBroker
from rosters import KEY, person, roster
from wireunit import UNIT, Listener, Signer, until

from edge.contract.commands import CommandResult
from edge.contract.encryption import EncryptionKey, Recipient
from edge.contract.events import OnlineStatus
from edge.contract.keys import KeySet
from edge.contract.roster_manifest import manifest_topic
from edge.contract.topics import REPLY, TopicKind, UnitName
from edge.errors import LinkError, PeopleError, SecretError
from edge.outbox.event_signer import ChainHead
from edge.roster.file import save
from edge.settings import BrokerSettings
from senyum_central.admin.broker_session import BrokerSession
from senyum_central.admin.rosters import (
    DeliveryMonitor,
    DeliveryStatus,
    RosterRelease,
    Source,
    bump_version,
    digest_of,
    push,
    without_person,
)

ANI, BUDI, CITRA = person(1), person(2), person(3)
SECOND = UnitName(UNIT.org, UNIT.site, "pintu-2")


@pytest.fixture
def enroller(tmp_path: Path) -> Enroller:
    (tmp_path / "unit").mkdir()
    made = Enroller(tmp_path / "enroller", tmp_path / "unit")
    save(made.file, KEY, roster(3, ANI, BUDI))
    return made


def second(folder: Path) -> Recipient:
    key = EncryptionKey.load_or_create(folder / "second.key")
    return Recipient.of(key.registration(SECOND))


# --- the file ----------------------------------------------------------------------------------


def test_erasing_takes_a_person_out_for_good(enroller: Enroller) -> None:
    source = enroller.source()
    after = without_person(source, ANI.id)
    assert (after.version, after.tombstones) == (4, {ANI.id: 4})
    assert [one.id for one in after.people] == [BUDI.id]
    assert after.people[0].number == BUDI.number
    assert without_person(source, ANI.id).version == 4  # again: nothing changes
    with pytest.raises(PeopleError, match="nobody has the person id"):
        without_person(source, CITRA.id)
    assert without_person(source, CITRA.id, absent=True).tombstones == {ANI.id: 4, CITRA.id: 5}


def test_a_version_is_raised_and_never_lowered(enroller: Enroller) -> None:
    source = enroller.source()
    assert bump_version(source, 20).version == 20
    assert bump_version(source, 5).version == 20
    assert [one.id for one in source.read().people] == [ANI.id, BUDI.id]


def test_what_is_sent_names_nobody_and_its_digest_stays(enroller: Enroller) -> None:
    first = enroller.source().read()
    assert digest_of(first) == digest_of(enroller.source().read())
    load = RosterRelease.of(first, [enroller.recipient])
    said = json.dumps(load.manifests[UNIT].model_dump())
    assert load.parcel.digest == digest_of(first)
    assert not any(text in said for text in (ANI.id, ANI.number, ANI.name))
    assert load.manifests[UNIT].at == f"urn:senyum:{UNIT.org}:all:all"


def test_files_that_will_not_do_are_named(enroller: Enroller, tmp_path: Path) -> None:
    key = tmp_path / "roster.key"
    key.write_text(KEY.hex())
    key.chmod(0o600)
    authority = enroller.file.with_name("authority.key")
    source = Source.open(enroller.file, key, authority, enroller.keys)
    assert list(source.recipients) == [UNIT]
    with pytest.raises(SecretError, match="no such key"):
        Source.open(enroller.file, key, tmp_path / "none", enroller.keys)
    for units in (["urn:senyum:elsewhere:*:*"], ["nonsense"]):
        with pytest.raises(SecretError, match=r"names no unit|--units"):
            Source.open(enroller.file, key, authority, enroller.keys, units)


# --- the broker --------------------------------------------------------------------------------


def bring(
    broker: PrivateBroker,
    enroller: Enroller,
    recipients: list[Recipient],
    *,
    remove_others: bool = False,
) -> tuple[tuple[str, ...], RosterRelease]:
    new = enroller.source().read()
    load = RosterRelease.of(new, recipients)
    keys = KeySet.load(enroller.keys)
    watch = DeliveryMonitor(keys, load.manifests, digest_of(new), load.manifests)
    with BrokerSession(broker.settings, "admin") as post:
        done = push(post, watch, load, enroller.commander.key, remove_others=remove_others)
    return done.others, load


def retained(broker: PrivateBroker) -> set[str]:
    with Listener(broker.settings, "senyum/#") as listener:
        before = -1
        while before < len(listener.messages):
            before = len(listener.messages)
            until_quiet(listener, before)
        return {topic for topic, payload, kept in listener.messages if kept and payload}


def until_quiet(listener: Listener, before: int) -> None:
    try:
        until(lambda: len(listener.messages) > before, 1.0)
    except AssertionError:
        return


def topics(load: RosterRelease) -> set[str]:
    manifests = {manifest_topic(unit) for unit in load.manifests}
    any_manifest = next(iter(load.manifests.values()))
    return manifests | {any_manifest.topic(entry.name) for entry in load.parcel.entries}


@pytest.mark.broker
def test_the_broker_holds_the_newest_roster_and_nothing_else(
    broker: PrivateBroker, enroller: Enroller, tmp_path: Path
) -> None:
    both = [enroller.recipient, second(tmp_path)]
    others, load = bring(broker, enroller, both)
    assert (others, retained(broker)) == ((), topics(load))
    without_person(enroller.source(), ANI.id)
    # One unit alone: the other one's roster stays, and is named.
    others, newer = bring(broker, enroller, both[:1])
    assert others == (manifest_topic(SECOND),)
    assert retained(broker) == topics(load) | topics(newer)
    others, newest = bring(broker, enroller, both[:1], remove_others=True)
    assert (others, retained(broker)) == ((), topics(newest))


@pytest.mark.broker
def test_a_broker_that_takes_no_chunk_is_told(enroller: Enroller, tmp_path: Path) -> None:
    save(enroller.file, KEY, roster(4, *(person(n, 5) for n in range(60))))
    options = ["message_size_limit 4096"]
    with (
        PrivateBroker(tmp_path / "broker", options=options) as broker,
        pytest.raises(LinkError, match=r"broker 127\.0\.0\.1"),
    ):
        bring(broker, enroller, [enroller.recipient])


def test_a_broker_that_is_not_there_is_told() -> None:
    with pytest.raises(LinkError, match=r"broker 127\.0\.0\.1:1: "):
        BrokerSession(BrokerSettings(host="127.0.0.1", port=1), "admin")


# --- whom it believes --------------------------------------------------------------------------


@pytest.fixture
def watched(enroller: Enroller, tmp_path: Path) -> tuple[DeliveryMonitor, RosterRelease, Signer]:
    new = enroller.source().read()
    load = RosterRelease.of(new, [enroller.recipient])
    watch = DeliveryMonitor(KeySet.load(enroller.keys), [UNIT], digest_of(new), load.manifests)
    return watch, load, Signer(tmp_path / "unit")


def answer(load: RosterRelease, *, ok: bool = True, to: str | None = None) -> CommandResult:
    return CommandResult.model_validate(
        {
            "to": to or load.manifests[UNIT].id,
            "name": "roster",
            "number": 3,
            "ok": ok,
            "reason": None if ok else "stale",
            "text": "",
            "data": {"erased": [ANI.id]} if ok else {},
        },
        strict=False,
    )


def test_an_answer_to_this_manifest_confirms_or_refuses(
    watched: tuple[DeliveryMonitor, RosterRelease, Signer],
) -> None:
    watch, load, signer = watched
    topic = UNIT.subtopic(REPLY, load.manifests[UNIT].id)
    other = "01234567-89ab-7cde-8f01-23456789abcd"
    watch.hear(topic, signer.sealer.reply(answer(load, to=other)).encode())
    assert watch.reports()[0].standing is DeliveryStatus.SILENT
    watch.hear(topic, signer.sealer.reply(answer(load)).encode())
    report = watch.reports()[0]
    assert (report.standing, report.answered) == (DeliveryStatus.CONFIRMED, True)
    assert "erased 1" in report.about


def test_a_refusal_says_why(watched: tuple[DeliveryMonitor, RosterRelease, Signer]) -> None:
    watch, load, signer = watched
    topic = UNIT.subtopic(REPLY, load.manifests[UNIT].id)
    watch.hear(topic, signer.sealer.reply(answer(load, ok=False)).encode())
    (report,) = watch.reports()
    assert report.standing is DeliveryStatus.REFUSED
    assert report.about.startswith("stale")


def test_what_the_unit_did_not_sign_counts_for_nothing(
    watched: tuple[DeliveryMonitor, RosterRelease, Signer], tmp_path: Path
) -> None:
    watch, load, _ = watched
    (tmp_path / "thief").mkdir()
    thief = Signer(tmp_path / "thief")
    token = thief.sealer.reply(answer(load)).encode()
    for topic in (
        UNIT.subtopic(REPLY, load.manifests[UNIT].id),
        SECOND.subtopic(REPLY, load.manifests[UNIT].id),
        "senyum/v1/UPPER/x/y/reply/1",
    ):
        watch.hear(topic, token)
        watch.hear(topic, b"\xff")
    assert watch.reports()[0].standing is DeliveryStatus.SILENT


def test_state_tells_who_runs_it_who_another_and_who_is_away(
    watched: tuple[DeliveryMonitor, RosterRelease, Signer],
) -> None:
    watch, load, signer = watched
    topic = UNIT.topic(TopicKind.STATE)

    def said(digest: str, status: OnlineStatus = OnlineStatus.ONLINE) -> DeliveryStatus:
        signer.sealer.context = replace(signer.sealer.context, roster=digest)
        watch.hear(topic, signer.sealer.state(status, 1, ChainHead()).encode())
        return watch.reports()[0].standing

    assert said("ab" * 32) is DeliveryStatus.ANOTHER
    assert said("ab" * 32, OnlineStatus.OFFLINE) is DeliveryStatus.AWAY
    assert said(load.parcel.digest) is DeliveryStatus.CONFIRMED
    assert not watch.reports()[0].answered  # the receipt may still come
    watch.hear(topic, b'{"status":"offline","session":1}')
    assert watch.reports()[0].standing is DeliveryStatus.AWAY
