import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.errors import SettingsError
from edge.settings import Settings, load, load_settings


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "senyum.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_a_working_unit() -> None:
    settings = load()
    assert settings.unit.source == "urn:senyum:org:site:unit"
    assert settings.attendance.smile_threshold == 50


def test_the_environment_is_stronger_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, '[camera]\nfps = 10\n[unit]\nname = "lobby-1"\n')
    monkeypatch.setenv("SENYUM_CAMERA__FPS", "20")
    settings = load(file)
    assert (settings.camera.fps, settings.unit.name) == (20, "lobby-1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[camera]\nfps = 99", "camera.fps is 99: must be less than or equal to 60"),
        ("[camera]\nfsp = 9", "camera.fsp is not a setting of Senyum"),
        ("[camera]\nwide_range = true", "camera.wide_range is now named camera.hdr; rename it"),
        ("[liveness]\nmotion = 0", "liveness.motion moved to the model manifest; remove it"),
        ("[liveness]\nthreshold = 0.5", "liveness: threshold and threshold_model go together"),
        (
            "[liveness]\nthreshold = 1",
            "liveness.threshold is 1: must be less than or equal to 0.999",
        ),
        ("[roster]\nwrong_rate = 0", "roster.wrong_rate is now named roster.false_match_rate"),
        ('[unit]\nname = "Lobby 1"', "unit.name is 'Lobby 1': must be 1 to 32 lower case letters"),
        ('[[broker.others]]\nhots = "a"', "broker.others.0.hots is not a setting of Senyum"),
        ('[unit.place]\nzone = "Asia/Depok"', "unit.place.zone is 'Asia/Depok': not an IANA"),
        ("[unit.place]\nlatitude = 91", "unit.place.latitude is 91"),
        ("[gpio]\ngreen = 18", "gpio: a pin is used twice: green 18, red 27, buzzer 18"),
        ('[camera]\ndriver = "replay"', "camera: driver replay needs camera.replay"),
        ('[broker]\ncertificate = "a.pem"', "broker: certificate and certificate_key go together"),
        ('[broker]\nca = "a.pem"', "broker: ca and certificate need tls = true"),
        ('[broker]\nport = "lots"', "broker.port is 'lots'"),
        ("[outbox]\nmin_free_mib = 0", "outbox.min_free_mib is 0"),
        ("[outbox]\nretention_days = 0", "outbox.retention_days is 0"),
        ("[outbox]\nretention_events = 99", "outbox.retention_events is 99"),
        ("[outbox]\nreplay_rate = 0", "outbox.replay_rate is 0"),
        ("[clock]\nstale_after = 0", "clock.stale_after is 0"),
        ("[[broker.others]]\nport = 1", "broker.others.0.host is missing; add it"),
        (
            '[broker]\nhost = "a"\n[[broker.others]]\nhost = "a"',
            "broker: the same host and port stand twice",
        ),
        (
            '[[broker.others]]\nhost = "b"\nca = "a.pem"',
            "broker: one of its others: ca and certificate need tls = true",
        ),
        ("[camera\n", "cannot be read as TOML"),
        ("camera = " + "[" * 5000, "cannot be read as TOML"),
        (f"[unit.place]\nzone = 'Asi{'.' * 2000}a/Jakarta'\n", "time zone"),
    ],
)
def test_a_wrong_setting_names_itself_its_value_and_its_bounds(
    tmp_path: Path, text: str, says: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_wrong_variable_says_that_it_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SENYUM_BROKER__PORT", "70000")
    with pytest.raises(SettingsError, match=r"^SENYUM_BROKER__PORT: broker\.port is '70000'"):
        load()


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("SENYUM_KAMERA__FPS", "SENYUM_KAMERA__FPS: kamera is not a section"),
        ("SENYUM_CAMERA", "environment: .*set one setting a variable"),
        ("SENYUM_CAMERA__FSP", "SENYUM_CAMERA__FSP: camera.fsp is not a setting"),
    ],
)
def test_a_variable_that_sets_nothing_is_named(
    variable: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "3x")
    with pytest.raises(SettingsError, match=says) as caught:
        load()
    assert "\n" not in str(caught.value)


def test_a_unit_without_a_name_of_its_own_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"unit\.org, unit\.site and unit\.name are not all"):
        load_settings(write(tmp_path, '[unit]\nname = "lobby-1"\n'))


def test_a_byte_order_mark_is_no_part_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "senyum.toml"
    file.write_bytes(b'\xef\xbb\xbf[unit]\nname = "lobby-1"\n')
    assert load(file).unit.name == "lobby-1"


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: it is a folder"):
        load(tmp_path)


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load(tmp_path / "missing.toml")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "senyum.toml"
    file.write_bytes(b'[unit]\nname = "\xff"\n')
    with pytest.raises(SettingsError, match="cannot be read as TOML"):
        load(file)


@given(st.text(max_size=40))
def test_a_unit_name_is_a_topic_level_or_refused(name: str) -> None:
    allowed = (
        1 <= len(name) <= 32
        and name.isascii()
        and all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in name)
    )
    try:
        settings = Settings(unit={"name": name})  # type: ignore[arg-type]  # as from a file
    except ValidationError:
        assert not allowed
    else:
        assert allowed
        assert settings.unit.name == name


def test_the_settings_reference_is_up_to_date() -> None:
    reference = Path(__file__).parents[1] / "scripts" / "lib" / "settings_reference.py"
    check = subprocess.run(
        [sys.executable, reference, "--check"], check=False, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_a_second_byte_order_mark_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, '\ufeff\ufeff[unit]\nname = "lobby-1"\n')
    with pytest.raises(SettingsError, match="line 1 starts with a second byte order mark"):
        load(file)
