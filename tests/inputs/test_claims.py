"""Claims on the boot partition: applied, or reported with file, line and name, and kept."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from desk import BROKER, Desk, claim, unit
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.appliance.provision import boot
from edge.appliance.provision.boot import WIPING, at_boot, unapplied, wipe
from edge.appliance.provision.claim import NAME, Documents
from edge.errors import ProvisionError, SenyumError, SettingsError
from edge.settings import parse_toml

inputs = settings.get_profile("inputs")
GOOD = tomlkit.dumps(claim()).encode()
HUSH = "hush-hush"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def kept(desk: Desk, said: str, name: str = NAME) -> str:
    """Boot with what lies there: nothing changes, and the fault is named; returns the message."""
    before, present = desk.snapshot(), (desk.boot / name).lstat()
    with pytest.raises(SenyumError, match=said) as caught:
        at_boot(desk.machine, [desk.boot])
    assert desk.snapshot() == before
    assert (desk.boot / name).lstat().st_ino == present.st_ino
    assert "Nothing was changed." in (desk.boot / "senyum-error.txt").read_text()
    message = str(caught.value)
    assert "\n" not in message
    assert HUSH not in message
    assert unapplied([desk.boot])
    return message


# --- names ---------------------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from(
        [
            "senyum-claim.toml.txt",
            "senyum-claim.toml.TXT",
            "Senyum-Claim.toml",
            "SENYUM-CLAIM.TOML",
            "senyum-claim (1).toml",
            "senyum-claim - Copy.toml",
            "senyum-claim.toml ",
            "senyum-claim.toml.rtf",
            "senyum-claim.toml.docx",
            "senyum-claim.tom",
            "senyum-claim",
            "senyum_claim.toml",
            "senyum claim.toml",
            "senyumclaim.toml",
            "senyum-claim.toml~",
            "claim.toml",
            "senyum.toml",
            "senyum\u2010claim.toml",
            "senyum-claim\u200b.toml",
            "\uff53enyum-claim.toml",
            "senyum-klaim.toml",
        ]
    ),
    st.tuples(
        st.text("aB0 (_~", max_size=5),
        st.sampled_from(["senyum-claim", "SENYUM-claim", "Senyum Claim"]),
        st.text("aB0 )_~", max_size=5),
        st.sampled_from([".toml", ".TOML", ".txt", ".toml.txt", ".rtf", ""]),
    ).map("".join),
).filter(lambda name: name not in {NAME, "._" + NAME})


@given(name=NAMES)
@inputs
def test_a_file_that_looks_like_a_claim_is_reported_and_kept(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    (desk.boot / name).write_bytes(GOOD)
    assert f"rename it to {NAME}" in kept(desk, "looks like a claim", name)
    assert (desk.boot / name).read_bytes() == GOOD


@given(name=st.sampled_from(["cmdline.txt", "config.txt", "kernel8.img", "senyum-receipt.txt"]))
@inputs
def test_other_files_are_none_of_our_business(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    for each in (name, "senyum-error.txt", "senyum-request.csr", f"._{NAME}", "claim-ca.pem"):
        (desk.boot / each).write_text("x")
    assert at_boot(desk.machine, [desk.boot]) is None
    assert unapplied([desk.boot]) == []


def test_the_service_runs_for_every_name_that_is_reported() -> None:
    """systemd matches with fnmatch, which knows case."""
    unit_file = Path(__file__).parents[2] / "systemd" / "senyum-provision.service"
    lines = unit_file.read_text(encoding="utf-8").splitlines()
    globs = [
        line.partition("|/boot/firmware/")[2]
        for line in lines
        if line.startswith("ConditionPathExistsGlob=|/boot/firmware/")
    ]
    for name in (NAME, "senyum-claim.toml.txt", "SENYUM-CLAIM.TOML", "claim.toml", "senyum.toml"):
        assert any(Path(name).match(each) for each in globs), name


def test_a_file_with_a_similar_name_does_not_stop_the_claim(desk: Desk) -> None:
    desk.insert(claim())
    other = desk.boot / "senyum-claim (1).toml"
    other.write_bytes(GOOD)
    assert at_boot(desk.machine, [desk.boot]) is not None
    assert other.read_bytes() == GOOD
    assert [str(other) in each for each in unapplied([desk.boot])] == [True]


def test_a_second_name_of_the_claim_is_the_claim(desk: Desk) -> None:
    """FAT ignores case: one file answers to both."""
    desk.insert(claim())
    (desk.boot / NAME.upper()).hardlink_to(desk.boot / NAME)
    assert [str(path) for path in boot.lookalikes([desk.boot])] == []


# --- kinds of files ------------------------------------------------------------------------------


def folder(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


@pytest.mark.parametrize(
    ("make", "said"),
    [(folder, "a folder"), (fifo, r"a pipe \(FIFO\)"), (nowhere, "No such file")],
)
def test_what_is_no_file_is_refused_and_not_opened(
    desk: Desk, make: Callable[[Path], None], said: str
) -> None:
    make(desk.boot / NAME)
    kept(desk, said)


def test_a_document_that_is_no_file_is_refused(desk: Desk) -> None:
    os.mkfifo(desk.boot / "ca.pem")
    desk.insert(claim(broker={"host": "b", "ca": "ca.pem"}))
    kept(desk, r"ca\.pem: cannot be read: it is a pipe")


def test_a_document_with_an_impossible_name_is_refused(desk: Desk) -> None:
    desk.insert(claim(certificate="a\0b"))
    kept(desk, "NUL")
    desk.insert(claim(certificate="a\nb.pem"))
    kept(desk, r"a\\x0ab\.pem: cannot be read")
    desk.insert(claim(certificate="x" * 5000))
    kept(desk, "too long")


# --- content -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n# nothing\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (bytes(2048), r"line 1 contains U\+0000"),
        (GOOD.decode().encode("utf-16"), "UTF-16"),
        (GOOD.decode().encode("utf-16-be"), r"U\+0000"),
        (GOOD + "#  Kantor \u201clobby\u201d\n".encode("windows-1252"), "is not UTF-8"),
        (GOOD + b'[unit]\nname = "x"\n', "declare .*line"),
        (
            GOOD.replace(b"[unit]", b'[unit]\nname = "x"'),
            "5, column 17.; the name there is name",
        ),
        (GOOD.replace(b"name =", b"nmae ="), r"line 4: unit\.nmae is not a setting"),
        (GOOD.replace(b"latitude = -6", b"latitude = -96"), r"line \d+: unit\.place\.latitude is"),
        (GOOD + b"x = " + b"[" * 5000, "nested"),
        (GOOD + b"x = " + b"{a=" * 5000, "nested"),
        (GOOD + b"a." * 20_000 + b"b = 1", "more than 32 parts"),
        (GOOD + b"x = 1979-05-27T07:32:00Z\n", "not a setting"),
        (b"<html>", "cannot be read as TOML"),
        (b"{\\rtf1\\ansi [unit]\\par}", "cannot be read as TOML"),
        (b"#" * 300_000, r"larger than 0\.25 MB"),
    ],
)
def test_a_claim_with_a_fault_is_named_and_kept(desk: Desk, content: bytes, said: str) -> None:
    (desk.boot / NAME).write_bytes(content)
    message = kept(desk, said)
    assert message.startswith(str(desk.boot / NAME))
    assert (desk.boot / NAME).read_bytes() == content


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD + b"\n\n# \xc3\xa9\n"]
)
def test_what_notepad_writes_is_accepted(desk: Desk, content: bytes) -> None:
    (desk.boot / NAME).write_bytes(content)
    assert at_boot(desk.machine, [desk.boot]) is not None
    assert not (desk.boot / NAME).exists()
    assert desk.settings.unit.name == "lobby-1"


@pytest.mark.parametrize(
    "password", ["\ufeffhush", "hush\n", " hush", "hu\u200bsh", "", "\t", "hush" * 20_000]
)
def test_a_password_with_what_cannot_be_seen_is_refused(desk: Desk, password: str) -> None:
    desk.insert(claim(broker={**BROKER, "password": password}))
    assert "hush" not in kept(desk, r"broker\.password: ")


@given(path=st.sampled_from(["x", "a.b", "broker.port", "unit.place.latitude"]), data=st.data())
@inputs
def test_an_integer_beyond_64_bits_is_named(path: str, data: st.DataObject) -> None:
    over = data.draw(st.integers(2**63, 2**80) | st.just(2**20_000))
    number = data.draw(st.sampled_from([f"{over:#x}", f"{over:#o}", f"{over:#b}", f"[{over:#x}]"]))
    with pytest.raises(ValueError, match=r"integer of more than 64 bits, line 2\Z") as caught:
        parse_toml(f"# first\n{path} = {number}\n".encode())
    assert str(caught.value).startswith(path)
    assert parse_toml(f"{path} = {2**63 - 1:#x}".encode())


def test_a_fault_of_the_settings_names_their_file(desk: Desk) -> None:
    desk.config.write_text("[outbox]\nno_such = 1\n")
    desk.insert(claim())
    assert str(desk.config) in kept(desk, "outbox.no_such is")


def test_an_old_zone_and_a_host_in_capitals_are_said_and_replaced(desk: Desk) -> None:
    place = {"place": {"zone": "Asia/Ujung_Pandang"}}
    desk.insert(claim(unit=unit(**place), broker={**BROKER, "host": "Broker.Example"}))
    done = at_boot(desk.machine, [desk.boot])
    assert done is not None
    assert len(done.plan.remarks) == 2
    assert desk.settings.unit.place.zone == "Asia/Makassar"
    receipt = (desk.boot / "senyum-receipt.txt").read_text()
    assert "'Asia/Ujung_Pandang': Asia/Makassar is used" in receipt
    assert HUSH not in receipt
    assert "Makassar" in desk.config.read_text()
    assert "Ujung" not in desk.config.read_text()


# --- wiping --------------------------------------------------------------------------------------


def test_zeros_are_removed_only_if_their_wiping_had_begun(desk: Desk) -> None:
    file = desk.boot / NAME
    file.write_bytes(bytes(600))
    kept(desk, "U")
    (desk.etc / WIPING).write_bytes(os.fsencode(file))
    assert at_boot(desk.machine, [desk.boot]) is None
    assert not file.exists()
    assert not (desk.etc / WIPING).exists()


def test_a_claim_that_was_not_wiped_yet_is_applied_again(desk: Desk) -> None:
    file = desk.insert(claim())
    (desk.etc / WIPING).write_bytes(os.fsencode(file))
    assert at_boot(desk.machine, [desk.boot]) is not None
    assert not file.exists()


@pytest.mark.parametrize("mark", [b"", b"/gone/senyum-claim.toml"])
def test_a_mark_without_a_claim_goes(desk: Desk, mark: bytes) -> None:
    (desk.etc / WIPING).write_bytes(mark)
    assert at_boot(desk.machine, [desk.boot]) is None
    assert not (desk.etc / WIPING).exists()


def test_a_claim_that_was_changed_meanwhile_is_kept(desk: Desk) -> None:
    file = desk.insert(claim())
    documents = Documents.read(file)
    desk.insert(claim(unit=unit(name="lobby-2")))
    with pytest.raises(ProvisionError, match="was changed"):
        wipe(file, documents)
    assert b"lobby-2" in file.read_bytes()


# --- anything ------------------------------------------------------------------------------------

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["in", "Asia/Jakarta", "broker.example", "ca.pem", "\0", "-----BEGIN x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
PATHS = [
    ("unit", "org"),
    ("unit", "name"),
    ("unit", "direction"),
    ("unit", "place"),
    ("unit", "place", "zone"),
    ("unit", "place", "latitude"),
    ("broker",),
    ("broker", "host"),
    ("broker", "port"),
    ("broker", "tls"),
    ("broker", "ca"),
    ("broker", "username"),
    ("broker", "password"),
    ("broker", "protocol"),
    ("broker", "others"),
    ("certificate",),
    ("authorities",),
    ("camera",),
    ("camera", "number"),
    ("gpio", "green"),
    ("unknown",),
]


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """A good claim with one or two values replaced by anything."""
    content: dict[str, Any] = {**claim(), "unit": unit(), "broker": dict(BROKER)}
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=2)):
        table = content
        for part in path[:-1]:
            if not isinstance(table.get(part), dict):
                table[part] = {}
            table = table[part]
        table[path[-1]] = draw(VALUES)
    return content


@given(content=changed())
@inputs
def test_any_value_is_applied_or_named(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    before = desk.snapshot()
    try:
        desk.provision(content)
    except SenyumError as error:
        said = str(error)
        assert "\n" not in said
        assert HUSH not in said
        assert desk.snapshot() == before
    else:
        assert desk.settings.unit.org
        for path in (desk.state / "broker.password", desk.state / "tls.key"):
            assert not path.exists() or stat.S_IMODE(path.stat().st_mode) == 0o600


@given(
    cut=st.integers(0, len(GOOD)),
    put=st.binary(max_size=6) | st.text(max_size=4).map(str.encode),
    skip=st.integers(0, 6),
)
@inputs
def test_damaged_bytes_are_applied_or_named(
    cut: int, put: bytes, skip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    file = desk.boot / NAME
    content = GOOD[:cut] + put + GOOD[cut + skip :]
    file.write_bytes(content)
    try:
        done = at_boot(desk.machine, [desk.boot])
    except SenyumError:
        assert file.read_bytes() == content
    else:
        assert done is not None
        assert not file.exists()


@given(content=st.binary(max_size=300))
@inputs
def test_any_bytes_are_no_claim(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any-claim.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^[^\n]*any-claim\.toml: [^\n]+\Z"):
        Documents.read(file)
