"""Keys of authorities and their numbers, as `senyum admin` keeps them."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from wireunit import environment

from edge.cli import main
from edge.contract.authority import Authorities, Role, signing_key
from edge.contract.keys import SigningKey
from edge.errors import SecretError
from senyum_central.admin.authority_key import next_number

UNITS = "urn:senyum:dinas:*:*"


def test_numbers_only_go_up_and_are_kept(tmp_path: Path) -> None:
    key = tmp_path / "authority.key"
    assert [next_number(key, lambda: 1000.5) for _ in range(3)] == [1000, 1001, 1002]
    assert next_number(key, lambda: 5.0) == 1003  # a clock that was set back
    assert next_number(key, lambda: 2000.0) == 2000
    assert (tmp_path / "authority.key.number").read_text() == "2000\n"
    assert stat.S_IMODE((tmp_path / "authority.key.number").stat().st_mode) == 0o600


def test_several_processes_never_give_the_same_number(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from senyum_central.admin.authority_key import next_number\n"
        f"for _ in range(20): print(next_number(Path({str(tmp_path / 'key')!r}), lambda: 1.0))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment(), text=True
        )
        for _ in range(3)
    ]
    given = [int(line) for each in processes for line in each.communicate(timeout=100)[0].split()]
    assert sorted(given) == list(range(1, 61))


@pytest.mark.parametrize("content", ["", "x", "-1", "1.5", "\x00", "9" * 5000])
def test_a_wrong_number_is_named_and_not_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "authority.key.number"
    file.write_text(content)
    with pytest.raises(SecretError, match="not a number"):
        next_number(tmp_path / "authority.key")
    assert file.read_text() == content


def test_numbers_end_where_json_would_not_be_exact(tmp_path: Path) -> None:
    (tmp_path / "key.number").write_text(str(2**53 - 1))
    with pytest.raises(SecretError, match="higher than any number"):
        next_number(tmp_path / "key")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="cannot be kept: No such file"):
        next_number(tmp_path / "nowhere" / "key")
    with pytest.raises(SecretError, match="no such key"):
        signing_key(tmp_path / "key", Role.COMMAND)


def test_keys_are_made_once_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["admin", "keys", "--authority", str(tmp_path / "a.key"), "--units", UNITS]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert main([*words, "--role", "command"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(printed)
    (entry,) = json.loads(printed)["keys"]
    assert (entry["senyum:roles"], entry["senyum:units"]) == (["command"], [UNITS])
    assert "d" not in entry
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_an_entry_that_is_replaced_is_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "authorities.json"
    words = ["admin", "keys", "--authority", str(tmp_path / "a.key"), "--units", UNITS]
    for options, said in ([], "added key"), (["--until", "2027-12-31"], "replaced key"):
        assert main([*words, *options, "--add-to", str(file)]) == 0
        assert said in capsys.readouterr().out
    (entry,) = json.loads(file.read_text())["keys"]
    assert entry["exp"] == 1830297599
    assert len(Authorities.load(file)) == 1


def test_what_is_wrong_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = str(tmp_path / "a.key")
    assert main(["admin", "keys", "--authority", key, "--units", "everybody"]) == 2
    assert "senyum:units" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "authorities.json"
    file.write_text('{"keys": [{"kid": 1}]}')
    words = ["admin", "keys", "--authority", key, "--units", UNITS, "--add-to", str(file)]
    assert main(words) == 2
    assert f"{file}: keys[0]" in capsys.readouterr().err
    assert file.read_text() == '{"keys": [{"kid": 1}]}'
    words[-1] = str(tmp_path / "nowhere" / "authorities.json")
    assert main(words) == 2
    assert "does not exist; create it" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]


def test_a_key_remembers_what_it_was_registered_for(tmp_path: Path) -> None:
    key = tmp_path / "a.key"
    words = ["admin", "keys", "--authority", str(key), "--units", UNITS]
    assert main([*words, "--role", "command"]) == 0
    kid = signing_key(key, Role.COMMAND).kid
    with pytest.raises(SecretError, match="has the role command, and units want roster"):
        signing_key(key, Role.ROSTER)
    assert main([*words, "--role", "roster"]) == 0
    assert {signing_key(key, role).kid for role in Role} == {kid}
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a.key"]


def test_a_key_that_says_nothing_of_its_roles_is_believed(tmp_path: Path) -> None:
    made = SigningKey.load_or_create(tmp_path / "a.key")
    assert {signing_key(tmp_path / "a.key", role).kid for role in Role} == {made.kid}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ping", "--unit", "a/b"], "--unit: "),
        (["ping", "--unit", "a/b/c", "--timeout", "0"], "--timeout"),
        (["ping", "--unit", "a/b/c", "--expires", "nan"], "--expires"),
        (["ping", "--unit", "a/b/c", "--first", "1"], "ping with --first"),
        (["replay", "--unit", "a/b/c"], "replay with nothing"),
        (["replay", "--unit", "a/b/c", "--first", "2", "--last", "1"], "before the begin"),
        (["replay", "--unit", "a/b/c", "--begin", "2026-08-01", "--end", "x"], "--begin 2026"),
        (["settings", "--unit", "a/b/c", "--set", "gpio.volume"], "must be NAME=NUMBER"),
        (["settings", "--unit", "a/b/c", "--set", "unit.org=1"], "settings with --set"),
        (["settings", "--unit", "a/b/c", "--reset", "unit.org"], "settings with --reset"),
    ],
)
def test_nothing_is_sent_that_no_unit_could_obey(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    where = ["--broker", "127.0.0.1:1", "--authority", str(tmp_path / "a.key")]
    assert main(["admin", "send", *words, *where, "--keys", str(tmp_path / "keys.json")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_not_a_missing_key(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(SecretError, match="pipe"):
        signing_key(tmp_path / "key", Role.COMMAND)
