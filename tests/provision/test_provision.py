"""From a claim to files in place; twice, in a hurry, and after a move."""

import json
import os
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from authority import Authority
from cryptography import x509
from desk import BROKER, Desk, certified, claim, unit

from edge.appliance.provision.boot import at_boot
from edge.contract.authority import Role, register
from edge.contract.encryption import EncryptionKey
from edge.contract.keys import SigningKey
from edge.contract.topics import UnitName
from edge.errors import ProvisionError
from edge.outbox.event_signer import ChainHead, SignedEvent
from edge.outbox.store import Outbox, OutboxReader
from edge.roster.keys import read_key


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_claim_makes_a_unit(desk: Desk) -> None:
    done = desk.provision(claim(gpio={"green": 5}))
    settings = desk.settings
    assert settings.unit.source == "urn:senyum:depok:balaikota:lobby-1"
    assert settings.unit.place.zone == "Asia/Jakarta"
    assert (settings.broker.host, settings.broker.port) == ("broker.example.go.id", 8883)
    assert settings.broker.tls
    assert settings.gpio.green == 5
    assert settings.attendance.smile_threshold == 60.0  # what was there before stays
    assert len(read_key(settings.roster.key, "roster key")) == 32
    assert settings.broker.password is not None
    assert settings.broker.password.read_text() == "hush-hush"
    assert (
        done.plan.registration["kid"] == SigningKey.load_or_create(desk.state / "signing.key").kid
    )
    encrypting = EncryptionKey.load_or_create(desk.state / "encryption.key")
    assert done.plan.recipient["kid"] == encrypting.kid
    request = x509.load_pem_x509_csr((desk.etc / "unit.csr").read_bytes())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=depok/balaikota/lobby-1"


def test_secrets_are_their_owner_s_alone(desk: Desk) -> None:
    desk.provision(claim())
    modes = {name: mode for name, (mode, _) in desk.snapshot().items()}
    ours = {
        f"state/{name}" for name in ("broker.password", "encryption.key", "signing.key", "tls.key")
    }
    secret = {"etc/roster.key", *ours}
    assert {name for name, mode in modes.items() if mode == 0o600} == secret
    assert modes["etc/senyum.toml"] == modes["etc/unit.csr"] == 0o644
    shown = desk.config.read_text() + (desk.etc / "unit.csr").read_text()
    assert "hush-hush" not in shown
    assert "PRIVATE" not in shown


def test_provisioning_twice_changes_nothing(desk: Desk) -> None:
    desk.provision(claim())
    before = desk.snapshot()
    done = desk.provision(claim())
    assert done.changed == ()
    assert done.sentence.endswith("already; nothing changed")
    assert desk.snapshot() == before


def test_a_part_alone_leaves_the_rest(desk: Desk) -> None:
    desk.provision(claim())
    before = desk.snapshot()
    desk.provision({"unit": unit(direction="out")})
    after = desk.snapshot()
    assert desk.settings.unit.direction == "out"
    assert desk.settings.broker.username == "lobby-1"
    assert {name for name in after if after[name] != before[name]} == {"etc/senyum.toml"}


def test_a_certificate_comes_in(desk: Desk, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "fleet")
    desk.provision(claim(broker={"host": "b", "ca": authority.pem.read_text()}))
    assert desk.settings.broker.certificate is None
    first = certified(desk, authority)
    desk.provision({"certificate": first})
    assert desk.settings.broker.certificate == desk.etc / "unit.pem"
    assert desk.settings.broker.certificate_key == desk.state / "tls.key"
    assert (desk.etc / "unit.pem").read_text() == first
    second = certified(desk, authority, days=60.0)  # a renewal touches the certificate only
    done = desk.provision({"certificate": second})
    assert done.changed == (desk.etc / "unit.pem",)
    desk.provision(claim(broker={"host": "c", "ca": authority.pem.read_text()}))
    assert desk.settings.broker.certificate == desk.etc / "unit.pem"  # the same name: it still fits


def test_others_and_what_is_tuned(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text() + "\n[broker]\nkeepalive = 77\n")
    others = [{"host": "second"}, {"host": "third", "protocol": "auto"}]
    desk.provision(claim(broker={**BROKER, "protocol": "3.1.1", "others": others}))
    versions = [each.protocol for each in desk.settings.broker.in_order]
    assert versions == ["3.1.1", "3.1.1", "auto"]
    assert [each.host for each in desk.settings.broker.in_order] == [
        "broker.example.go.id",
        "second",
        "third",
    ]
    assert desk.settings.broker.keepalive == 77


# --- moving --------------------------------------------------------------------------------------


def record(desk: Desk, delivered: int, source: str = "urn:senyum:depok:balaikota:lobby-1") -> None:
    """Have a unit that recorded three events, of which some were delivered."""

    def seal(head: ChainHead) -> SignedEvent:
        key = SigningKey.load_or_create(desk.state / "signing.key")
        content = json.dumps({"source": source, "previous": head.digest}).encode()
        return SignedEvent(f"{source}-{head.sequence}", key.sign({"alg": "Ed25519"}, content))

    outbox = Outbox(desk.state / "outbox.db", signing_key=desk.state / "signing.key")
    outbox.append(seal, seal, seal)
    reader = OutboxReader(desk.state / "outbox.db")
    reader.set_delivered(delivered)
    reader.close()
    outbox.close()


def test_a_moved_unit_keeps_its_chain_and_speaks_with_a_new_key(desk: Desk) -> None:
    old = desk.provision(claim()).plan.registration
    record(desk, delivered=3)
    chain = (desk.state / "outbox.db").read_bytes()
    tls_key = (desk.state / "tls.key").read_bytes()
    done = desk.provision(claim(unit=unit(site="kecamatan")))
    assert done.plan.moved_from == UnitName("depok", "balaikota", "lobby-1")
    assert done.plan.registration["unit"] == "urn:senyum:depok:kecamatan:lobby-1"
    assert done.plan.registration["kid"] != old["kid"]
    assert (desk.state / "outbox.db").read_bytes() == chain
    assert (desk.state / "tls.key").read_bytes() == tls_key
    request = x509.load_pem_x509_csr((desk.etc / "unit.csr").read_bytes())
    assert request.subject.rfc4514_string() == "CN=depok/kecamatan/lobby-1"
    # The outbox goes on with the new key, behind what the old one signed.
    record(desk, delivered=3, source="urn:senyum:depok:kecamatan:lobby-1")
    again = desk.provision(claim(unit=unit(site="kecamatan")))
    assert again.plan.moved_from is None
    assert again.plan.registration["kid"] == done.plan.registration["kid"]


def test_a_certificate_of_the_old_name_is_dropped(desk: Desk, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "fleet")
    desk.provision(claim(broker={"host": "b", "ca": authority.pem.read_text()}))
    desk.provision({"certificate": certified(desk, authority)})
    desk.provision({"unit": unit(site="kecamatan")})
    assert desk.settings.broker.certificate is None
    fitting = certified(desk, authority, name="depok/kecamatan/lobby-1")
    desk.provision({"certificate": fitting})
    assert desk.settings.broker.certificate == desk.etc / "unit.pem"


def test_nobody_moves_while_events_wait(desk: Desk) -> None:
    desk.provision(claim())
    record(desk, delivered=1)
    before = desk.snapshot()
    with pytest.raises(ProvisionError, match=r"2 event\(s\) of urn:senyum:depok:balaikota:lobby-1"):
        desk.provision(claim(unit=unit(site="kecamatan")))
    assert desk.snapshot() == before
    desk.provision(claim(unit=unit(direction="out")))  # the same name may change all else


def test_nobody_moves_while_the_daemon_is_at_work(desk: Desk) -> None:
    desk.provision(claim())
    record(desk, delivered=3)
    outbox = Outbox(desk.state / "outbox.db", signing_key=desk.state / "signing.key")
    try:
        with pytest.raises(ProvisionError, match="systemctl stop senyum"):
            desk.provision(claim(unit=unit(site="kecamatan")))
    finally:
        outbox.close()


# --- at boot -------------------------------------------------------------------------------------


def test_a_claim_on_the_boot_partition_needs_nobody(desk: Desk) -> None:
    file = desk.insert(claim())
    held = file.open("rb")  # what is at those blocks afterwards
    done = at_boot(desk.machine, [desk.folder / "none", desk.boot])
    assert done is not None
    assert held.read() == bytes(os.fstat(held.fileno()).st_size)
    held.close()
    left = {path.name: path.read_text() for path in desk.boot.iterdir()}
    assert sorted(left) == ["senyum-receipt.txt", "senyum-request.csr"]
    assert "hush-hush" not in "".join(left.values())
    assert done.plan.registration["kid"] in left["senyum-receipt.txt"]
    assert done.plan.recipient["kid"] in left["senyum-receipt.txt"]
    assert "Flash may keep copies" in left["senyum-receipt.txt"]
    assert x509.load_pem_x509_csr(left["senyum-request.csr"].encode()).is_signature_valid
    assert at_boot(desk.machine, [desk.boot]) is None


def test_what_is_wrong_is_left_on_the_card(desk: Desk) -> None:
    file = desk.insert(claim(unit=unit(site="Kantor Wali Kota")))
    before = desk.snapshot()
    with pytest.raises(Exception, match=r"unit\.site"):
        at_boot(desk.machine, [desk.boot])
    assert desk.snapshot() == before
    assert file.exists()
    said = (desk.boot / "senyum-error.txt").read_text()
    assert said.startswith(f"{file}: line 3: unit.site is 'Kantor Wali Kota'")
    desk.insert(claim())
    at_boot(desk.machine, [desk.boot])
    assert not (desk.boot / "senyum-error.txt").exists()


def test_what_the_claim_names_lies_beside_it(desk: Desk, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "fleet")
    (desk.boot / "ca.pem").write_bytes(authority.pem.read_bytes())
    commander = SigningKey.load_or_create(tmp_path / "commander.key")
    keys = {"keys": [register(commander, [Role.COMMAND], ["urn:senyum:*:*:*"])]}
    (desk.boot / "authorities.json").write_text(json.dumps(keys))
    desk.insert({"authorities": "authorities.json", **claim(broker={"host": "b", "ca": "ca.pem"})})
    at_boot(desk.machine, [desk.boot])
    assert desk.settings.broker.ca == desk.etc / "broker-ca.pem"
    assert json.loads((desk.etc / "authorities.json").read_bytes()) == keys
    assert tomllib.loads(desk.config.read_text())["broker"]["tls"] is True


# --- the power goes ------------------------------------------------------------------------------

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.link")


def die_at(number: int, desk: Desk) -> bool:
    """Provision in a process that is killed at its so manieth touch of a file; True: it was."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event in EVENTS and str(desk.folder) in str(arguments):
                count += 1
                if count == number:
                    os._exit(9)

        sys.addaudithook(watch)
        at_boot(desk.machine, [desk.boot])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


@pytest.mark.slow
def test_power_may_go_at_any_moment(tmp_path: Path) -> None:
    """Before the list counts nothing is changed; after it the next boot makes the rest."""
    assert threading.active_count() == 1
    number, kept, finished = 0, 0, 0
    while True:
        number += 1
        (tmp_path / str(number)).mkdir()
        desk = Desk(tmp_path / str(number))
        desk.provision(claim())
        record(desk, delivered=3)
        desk.insert(claim(unit=unit(site="kecamatan")))
        before = {n: c for n, c in desk.snapshot().items() if not n.endswith(".lock")}
        if not die_at(number, desk):
            break
        found = desk.snapshot()
        if "etc/provision.pending" in found:
            finished += 1
        elif desk.settings.unit.site == "balaikota":
            kept += 1
            assert {name: found[name] for name in before} == before
        at_boot(desk.machine, [desk.boot])  # power is back
        assert desk.settings.unit.site == "kecamatan"
        left = {path.name for path in (*desk.etc.iterdir(), *desk.state.iterdir())}
        assert not {name for name in left if name.endswith((".provision", ".pending"))}
        assert not (desk.boot / "senyum-claim.toml").exists()
        SigningKey.load_or_create(desk.state / "signing.key")
    assert kept > 5
    assert finished > 5
