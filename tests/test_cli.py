import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge import __version__
from edge.cli import COMMANDS, main


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert f"senyum {command}" in capsys.readouterr().out


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"senyum {__version__}\n"


@pytest.mark.parametrize("words", [[], ["dance"], ["run", "--fast"], ["receive"]])
def test_a_wrong_call_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: senyum" in capsys.readouterr().err


def test_a_caller_s_mistake_is_one_line_and_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--config", str(tmp_path / "none.toml")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("senyum: ")
    assert said.count("\n") == 1


def test_a_name_that_is_not_utf_8_is_shown_with_a_stand_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--config", os.fsdecode(bytes(tmp_path) + b"/Andr\xe9\x1b[2J.toml")]) == 2
    assert r"Andr\xe9\x1b[2J.toml" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_encoding_of_the_terminal_is_a_traceback(encoding: str) -> None:
    program = (
        "import edge.cli, edge.cli.status as s\n"
        "s.run = lambda options: print('…\\udce9')\n"
        "edge.cli.main(['status'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert b"udce9" in run.stdout


def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    config = tmp_path / "senyum.toml"
    config.write_text(
        '[unit]\norg = "a"\nsite = "b"\nname = "c"\n'
        f'[outbox]\nsigning_key = "{tmp_path}/signing.key"\n'
    )
    program = f"{sys.executable} -m edge.cli keys --config {config} | true"
    run = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--help"], 0, "for the server; not installed on this machine"),
        (["receive", "--help"], 2, "senyum: receive belongs to the server; install it there: pip"),
        (["admin", "--help"], 2, "pip install 'senyum-edge[central]'"),
        (["keys", "--help"], 0, "keys.json"),
    ],
)
@pytest.mark.parametrize("missing", ["sqlalchemy", "senyum_central"])
def test_a_unit_refuses_the_commands_of_a_server(
    missing: str, arguments: list[str], status: int, says: str
) -> None:
    if (missing, arguments[0]) == ("sqlalchemy", "admin"):
        status = 0  # needs no database
        says = "usage: senyum admin"
    without = f"import sys; sys.modules['{missing}'] = None; from edge.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", without + "sys.exit(main(sys.argv[1:]))", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    output = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode, says in output) == (status, True), output
    assert "Traceback" not in output


def test_internal_commands_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    assert "self-test" in listed
    assert "clock-watch" not in listed
