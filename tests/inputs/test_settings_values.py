"""Settings that are text: what can work is accepted, the rest says what to write instead."""

import ipaddress
import socket
import string
from argparse import Namespace
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.appliance.provision.claim import Claim
from edge.appliance.watchdog.fault_led import red_led
from edge.cli import main
from edge.errors import SecretError, SettingsError, UsageError
from edge.settings import BrokerSettings, PlaceSettings, Settings, load, remarks
from edge.system.key_files import read_secret_line
from edge.system.time_zones import RENAMED, current_name
from senyum_central.cli.options import broker_settings
from senyum_central.store import queries as shelf

inputs = settings.get_profile("inputs")
LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
NAME = (
    st.lists(LABEL, min_size=1, max_size=5)
    .map(".".join)
    .filter(
        lambda name: (
            not name.rpartition(".")[2].isdigit() and not name.rpartition(".")[2].startswith("0x")
        )
    )
)
ODD = st.text("ab.:/[]@%#? \t\n\0\x1b-_0129é\u200b\u00a0\ufeff", max_size=20)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "senyum.toml"
    file.write_text(text, encoding="utf-8")
    return file


def arguments(broker: str) -> Namespace:
    nothing = dict.fromkeys(("ca", "cert", "key", "username", "password_file"))
    return Namespace(broker=broker, protocol="auto", **nothing)


@given(host=NAME | st.ip_addresses(v=4).map(str))
@inputs
def test_a_host_that_can_work_is_accepted_everywhere(host: str) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and (address.is_multicast or address.is_unspecified):
        return
    if str(address) == "255.255.255.255":
        return
    assert BrokerSettings(host=host).host == host
    assert BrokerSettings(host=host.upper()).host == host
    assert broker_settings(arguments(f"{host}:8883")).host == host


@given(host=ODD | st.text(max_size=30))
@inputs
def test_a_host_is_usable_or_its_remedy_is_named(host: str) -> None:
    try:
        used = BrokerSettings(host=host).host
    except ValidationError:
        with pytest.raises(ValidationError):
            Claim.model_validate({"broker": {"host": host}})
        return
    assert used == used.strip().lower() or "%" in used  # the name of an interface has case
    assert used.isascii()
    assert used.isprintable()
    assert BrokerSettings(host=used).host == used
    used.encode("idna")  # as the resolver and TLS do
    assert not set(used) & set("/[]@#? ")


@given(text=ODD)
@inputs
def test_a_broker_option_is_usable_or_refused(text: str) -> None:
    try:
        found = broker_settings(arguments(text))
    except UsageError as error:
        said = str(error)
        assert "\n" not in said.replace(text, "")
    else:
        assert BrokerSettings(host=found.host).host == found.host


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("mqtts://broker.example.go.id", "write the host name alone"),
        ("broker.example.go.id:8883", "port = 8883"),
        ("[2001:db8::1]", "without them"),
        ("[2001:db8::1]:8883", "port = 8883"),
        ("broker.example.go.id.", "without"),
        ("broker.example.go.id ", "space"),
        (" broker.example.go.id", "space"),
        ("broker\u00a0.example", "not a host name"),
        ("", "empty"),
        ("user@broker.example", "not a host name"),
        ("broker.example/path", "not a host name"),
        ("broker..example", "not a host name"),
        ("-broker.example", "not a host name"),
        ("a" * 64 + ".example", "not a host name"),
        (".".join(["a" * 60] * 5), "not a host name"),
        ("10.0.0.256", "not an IPv4 address"),
        ("10.0.0", "not an IPv4 address"),
        ("010.0.0.1", "not an IPv4 address"),
        ("0x7f000001", "not an IPv4 address"),
        ("0.0.0.0", "address of one machine"),
        ("::", "address of one machine"),
        ("224.0.0.1", "address of one machine"),
        ("fe80::1%", "not a host name"),
        ("fe80::1%eth 0", "network interface"),
    ],
)
def test_a_host_that_cannot_work_is_refused_with_its_remedy(
    tmp_path: Path, host: str, remedy: str
) -> None:
    text = '[broker]\nhost = "' + host + '"\n'
    with pytest.raises(SettingsError, match=remedy) as caught:
        load(write(tmp_path, text))
    assert "line 2: broker.host is" in str(caught.value)
    other = '[broker]\nhost = "a.example"\n\n[[broker.others]]\nhost = "' + host + '"\n'
    with pytest.raises(SettingsError, match=rf"line 5: broker\.others\.0\.host.*{remedy}"):
        load(write(tmp_path, other))


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("Broker.Example.GO.ID", "broker.example.go.id"),
        ("bróker.example", "xn--brker-1ta.example"),
        ("mosquitto_1", "mosquitto_1"),
        ("192.168.1.10", "192.168.1.10"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_is_used_in_one_spelling(tmp_path: Path, given: str, used: str) -> None:
    file = write(tmp_path, f'[broker]\nhost = "{given}"\n')
    assert load(file).broker.host == used
    assert len(remarks(file)) == (given != used)


def test_the_resolver_takes_what_is_accepted() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        assert socket.getaddrinfo(BrokerSettings(host=host).host, 1883)


@given(text=st.text(max_size=30) | ODD)
@inputs
def test_a_user_name_can_be_sent_and_seen(text: str) -> None:
    try:
        used = BrokerSettings(username=text).username
    except ValidationError:
        return
    assert used == text
    assert text.strip() == text
    assert text.isprintable()
    assert text.encode()


@pytest.mark.parametrize("option", ["--client-id", "--retire"])
@pytest.mark.parametrize("name", ["a\x1bb", "a\u200b", " a", "a\n"])
def test_a_client_id_can_be_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, name: str
) -> None:
    keys = Path(__file__).parents[2] / "docs/contract/vectors/keys.json"
    paths = ["--keys", str(keys), "--store", str(tmp_path / "store.db")]
    assert main(["receive", "--broker", "localhost", *paths, option, name]) == 2
    assert f"senyum: {option}: " in capsys.readouterr().err


@given(text=st.text(string.printable + "\0\u0085é", max_size=30))
@inputs
def test_a_path_never_fails_later(text: str) -> None:
    try:
        broker = BrokerSettings(username="a", password=text)  # type: ignore[arg-type]
    except ValidationError:
        return
    assert broker.password is not None
    broker.password.exists()  # a NUL would raise ValueError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[roster]\nfile = "{folder}"', "roster.file is .*is a folder"),
        ('[outbox]\nfile = "{folder}"', "outbox.file is .*is a folder"),
        ('[authority]\nkeys = ""', "authority.keys is '': is empty"),
        ('[broker]\npassword = "x"', "password needs username"),
        ('[broker]\nusername = ""', "broker.username is '': is empty"),
        ('[broker]\nusername = "a\\u200b"', r"character 2 is U\+200B"),
        ('[broker]\npassword = "a\\u0000b"\nusername = "a"', "U\\+0000"),
        ('[outbox]\nfile = "/x/y"\nsigning_key = "/x/y"', "are the same file"),
        ("[inference.quality]\nmin_sharpness = inf", "min_sharpness"),
        ("[unit.place]\nlatitude = nan", "line 2: unit.place.latitude"),
        ("[broker]\nhost = 5", "broker.host is 5"),
        ('[broker]\nhost = "a"\nhost = "b"', "line 3; the name there is host"),
        (".".join(["a"] * 4000) + " = 1", "line 1 has a name of more than 32 parts"),
        ("[" + ".".join(["a"] * 4000) + "]", "line 1 has a name of more than 32 parts"),
        ('"br\\noker" = 1', r"br\\x0aoker"),
        ("x = " + "[" * 5000 + "]" * 5000, "nested"),
        ("x = " + "{a=" * 5000, "nested"),
    ],
)
def test_what_can_never_work_is_refused_at_load(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        load(write(tmp_path, text.replace("{folder}", str(tmp_path))))
    assert "\n" not in str(caught.value)


@given(content=st.binary(max_size=200))
@inputs
def test_any_bytes_are_settings_or_one_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(content)
    red_led(file)  # never raises: the cue is for settings that keep the daemon down
    try:
        load(file)
    except SettingsError as error:
        said = str(error)
        assert said.startswith(str(file))
        assert "\n" not in said


# --- zones ---------------------------------------------------------------------------------------


@given(old=st.sampled_from(sorted(RENAMED)))
@inputs
def test_an_old_name_of_a_zone_becomes_todays(old: str) -> None:
    used = PlaceSettings(zone=old).zone
    assert used == RENAMED[old]
    assert used not in RENAMED
    assert ZoneInfo(used).key == used


def test_every_old_name_in_the_database_has_todays() -> None:
    """In Debian 13 the names that are no city of a country are in `tzdata-legacy` alone."""
    places = {current_name(name) for name in available_timezones() if "/" in name}
    assert not places & RENAMED.keys()


@given(zone=st.text("Asia/Jkrtn_.\0\n é", max_size=40) | st.text(max_size=40))
@inputs
def test_a_zone_is_known_or_refused(zone: str) -> None:
    try:
        used = PlaceSettings(zone=zone).zone
    except ValidationError:
        return
    assert ZoneInfo(used).key == used


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "posix/Asia/Jakarta", "right/UTC"])
def test_what_is_no_place_is_no_zone(zone: str) -> None:
    with pytest.raises(ValidationError):
        PlaceSettings(zone=zone)


def test_a_zone_that_was_misspelt_is_named_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match="Asia/Jakarta"):
        PlaceSettings(zone="Asia/Jakata")


def test_an_old_name_of_a_zone_is_said_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, '[unit.place]\nzone = "Asia/Ujung_Pandang"\n')
    assert load(file).unit.place.zone == "Asia/Makassar"
    assert "unit.place.zone is 'Asia/Ujung_Pandang': Asia/Makassar is used" in caplog.text


def test_without_a_database_of_zones_the_unit_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> ZoneInfo:
        raise KeyError(name)

    monkeypatch.setattr("edge.system.time_zones.ZoneInfo", nothing)
    monkeypatch.setattr("edge.system.time_zones.available_timezones", set)
    for zone in ("Asia/Makassar", "America/Port-au-Prince", "Etc/GMT+7"):
        assert load(write(tmp_path, f'[unit.place]\nzone = "{zone}"\n')).unit.place.zone == zone
    with pytest.raises(SettingsError):
        load(write(tmp_path, '[unit.place]\nzone = "not a zone"\n'))


@pytest.mark.parametrize("name", ["Asia/Ujung_Pandang", "Asia/Calcutta"])
def test_a_receiver_dates_by_old_names_too(name: str) -> None:
    assert shelf.zone_or_utc(name).key == RENAMED[name]


# --- passwords -----------------------------------------------------------------------------------

SECRETS = st.text("abc \t\r\n\0\ufeff\u200bé", max_size=12).map(str.encode)


@given(content=st.binary(max_size=40) | SECRETS)
@inputs
def test_a_password_is_what_can_be_seen_or_is_refused(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "broker.password"
    file.touch(0o600)
    file.write_bytes(content)
    try:
        secret = read_secret_line(file, "the broker password")
    except SecretError as error:
        said = str(error)
        assert said.startswith(f"{file}: the broker password")
        assert "\n" not in said
        return
    assert secret.isprintable()
    assert secret == secret.strip()
    assert content.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n") == secret.encode()


@pytest.mark.parametrize(
    "content",
    [b"hush", b"hush\n", b"hush\r\n", b"\xef\xbb\xbfhush\r\n", b"\xef\xbb\xbfhush"],
)
def test_neither_mark_nor_line_end_belongs_to_a_password(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broker.password"
    file.touch(0o600)
    file.write_bytes(content)
    assert read_secret_line(file, "the broker password") == "hush"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        ("hush\n".encode("utf-16"), "UTF-16"),
        ("hush".encode("utf-16-le"), r"U\+0000"),
        (b"hush \n", "space"),
        (b"hush\nhush", r"character 5 is U\+000A"),
        (b"hu\0sh", r"U\+0000"),
        ("hu\u200bsh".encode(), r"character 3 is U\+200B"),
        (b"hush\xe9", "not UTF-8"),
    ],
)
def test_a_password_with_what_cannot_be_seen_is_refused(
    tmp_path: Path, content: bytes, says: str
) -> None:
    file = tmp_path / "broker.password"
    file.touch(0o600)
    file.write_bytes(content)
    with pytest.raises(SecretError, match=says) as caught:
        read_secret_line(file, "the broker password")
    assert "hush" not in str(caught.value)


def test_the_defaults_pass() -> None:
    assert Settings().broker.host == "localhost"
