"""What is wrong with a claim is named in one line, and nothing is changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from desk import BROKER, ME, Desk, certified, claim, unit

from edge.appliance.provision.apply import provision
from edge.appliance.provision.claim import Documents
from edge.errors import UsageError
from edge.outbox.store import Outbox
from edge.system.privileges import Owner


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def refused(desk: Desk, content: dict[str, Any], owner: Owner = ME) -> str:
    """Try a claim that has to be refused; returns what is said of it."""
    before = desk.snapshot()
    with pytest.raises(UsageError) as caught:
        provision(desk.told(content), replace(desk.machine, owner=owner))
    assert desk.snapshot() == before
    said = str(caught.value)
    assert "\n" not in said
    assert "hush-hush" not in said
    return said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (claim(organisation="depok"), "claim: organisation is not a setting"),
        (claim(unit=unit(floor=3)), "claim: unit.floor is not a setting"),
        (claim(broker={**BROKER, "hots": "x"}), "claim: broker.hots is not a setting"),
        (claim(unit=unit(place={"zone": "Asia/Depok"})), "unit.place.zone is 'Asia/Depok'"),
        (claim(unit=unit(place={"latitude": 96.3})), "unit.place.latitude is 96.3"),
        (claim(unit=unit(place={"longitude": -181.0})), "unit.place.longitude is -181.0"),
        (claim(unit=unit(site="Balai Kota")), "unit.site is 'Balai Kota'"),
        (claim(unit=unit(direction="up")), "unit.direction is 'up'"),
        (claim(unit=unit(org="o" * 32, site="s" * 32)), "at most 64"),
        (claim(unit=None), r"\[unit\] is missing"),
        (claim(broker=None), r"\[broker\] is missing"),
        (claim(broker={**BROKER, "password": 5}), "broker.password: is not a string"),
        (claim(broker={**BROKER, "tls": False, "ca": "x"}), "broker.ca needs broker.tls"),
        (claim(gpio={"green": 18, "red": 27, "buzzer": 18}), "a pin is used twice: green 18"),
        (claim(gpio={"green": 27}), "a pin is used twice: green 27, red 27"),
        (claim(camera={"number": 99}), "camera.number is 99"),
        (claim(authorities="{}"), "authorities is not a JWK set"),
        (claim(authorities='{"keys": [{"kid": "a", "kty": "OKP", "d": "x"}]}'), "private key"),
        (claim(authorities='{"keys": [{"kid": "a", "kty": "OKP"}]}'), r"keys\[0\] alg: None"),
        (claim(certificate="-----BEGIN nonsense"), "certificate is not a certificate in PEM"),
        (claim(certificate="gone.pem"), "gone.pem: cannot be read: No such file"),
        (claim(broker={**BROKER, "ca": "-----BEGIN nonsense"}), "broker.ca is not a certificate"),
    ],
)
def test_what_is_wrong_is_named(desk: Desk, content: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        desk.provision(content)
    refused(desk, content)


def test_a_place_is_never_guessed(desk: Desk) -> None:
    without = {**unit(), "place": {"latitude": 1.0, "longitude": 2.0}}
    assert "unit.place.zone" in refused(desk, claim(unit=without))


def test_a_camera_that_is_not_there(desk: Desk) -> None:
    desk.cameras = 1
    said = refused(desk, claim(camera={"number": 1}))
    assert "camera.number is 1, but 1 camera(s) were found" in said
    desk.provision(claim(camera={"number": 0}))


def broken(which: str, desk: Desk, tmp_path: Path) -> str:
    """Return a certificate with something wrong."""
    authority = Authority(tmp_path, "fleet")
    (desk.boot / "ca.pem").write_bytes(authority.pem.read_bytes())
    broker = {"host": "b", "ca": "ca.pem"}
    desk.provision(claim(broker=broker))
    makers: dict[str, Callable[[], str]] = {
        "expired": lambda: certified(desk, authority, days=-1.0),
        "name": lambda: certified(desk, authority, name="depok/balaikota/lobby-2"),
        "authority": lambda: certified(desk, Authority(tmp_path, "stranger")),
        "key": authority.issue("depok.balaikota.lobby-1")[0].read_text,
    }
    return makers[which]()


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("expired", "certificate of depok/balaikota/lobby-1 expired on"),
        ("name", "certificate is for depok/balaikota/lobby-2, but the unit is"),
        ("authority", "issued by stranger, which is not in broker.ca (fleet)"),
        ("key", "certificate is not for this unit's key"),
    ],
)
def test_a_certificate_that_does_not_fit(desk: Desk, tmp_path: Path, which: str, said: str) -> None:
    content = {"certificate": broken(which, desk, tmp_path)}
    assert said in refused(desk, content)


def test_an_authority_that_has_expired_or_is_none(desk: Desk, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "fleet", days=-1.0)
    said = refused(desk, claim(broker={"host": "b", "ca": authority.pem.read_text()}))
    assert "broker.ca (fleet) expired on" in said
    leaf = Authority(tmp_path, "sound").certify("broker", ec_public())
    pem = leaf.public_bytes(Encoding.PEM).decode()
    said = refused(desk, claim(broker={"host": "b", "ca": pem}))
    assert "broker.ca (broker) is not a CA certificate" in said


def ec_public() -> Any:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def test_a_state_folder_of_somebody_else(desk: Desk) -> None:
    said = refused(desk, claim(), owner=Owner(ME.uid + 4242, ME.gid))
    assert f"{desk.state}: belongs to " in said
    assert "run: chown -R" in said


def test_state_of_a_newer_version(desk: Desk) -> None:
    file = desk.state / "outbox.db"
    Outbox(file).close()
    content = bytearray(file.read_bytes())
    content[60:64] = (99).to_bytes(4, "big")  # user_version, SQLite's file format, section 1.3
    file.write_bytes(content)
    assert "was written by a newer Senyum (schema 99" in refused(desk, claim())


def test_a_key_that_others_can_read(desk: Desk) -> None:
    desk.provision(claim())
    (desk.state / "tls.key").chmod(0o640)
    assert "can be read by others (mode 0640)" in refused(desk, claim())


def test_a_claim_that_is_none(desk: Desk) -> None:
    file = desk.boot / "senyum-claim.toml"
    for content, said in ((b"\xff\xfe", "TOML in UTF-8"), (b"[unit", "TOML in UTF-8")):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=said):
            Documents.read(file)
    file.write_bytes(b"#" * 300_000)
    with pytest.raises(UsageError, match=r"larger than 0\.25 MB"):
        Documents.read(file)
